"""Slow fsyncs of processes and devices: the tell of control-plane saturation, long before an API request is slow.

The latency is that of the window alone: a histogram since the process started hides the last minutes. Where too few
calls were made, that is said and no number given.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.histogram import MIN_CALLS, quantile
from aggregator.model import Evidence, Finding, Gap, Severity, Stage, Verdict, finding_id
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

ETCD_SLOW_FSYNC = "cp.etcd_slow_fsync"
SLOW_FSYNC = "disk.slow_fsync"
_CLEARS = "the 99th percentile of a whole window is at most the threshold"
_REMEDIES = {
    ETCD_SLOW_FSYNC: (
        "Give etcd a disk of its own with low fsync latency (local NVMe, or a volume class with provisioned IOPS).",
        "See who else writes to the device, and whether its cloud limits (IOPS, throughput, burst) are reached.",
    ),
    SLOW_FSYNC: (
        "See who else writes to the device, and whether its cloud limits (IOPS, throughput, burst) are reached.",
    ),
}


@dataclass(frozen=True, slots=True)
class _Tail:
    """The fsyncs of one process on one device in the window."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings over every latency histogram of every host."""
    verdict = Verdict()
    for _, state in sorted(view.hosts.items()):
        for item in sorted(state.of("latency"), key=lambda item: item.key):
            measured = _tail(state, item.key, item.latency, thresholds)
            if isinstance(measured, Gap):
                verdict.gaps.append(measured)
            elif measured is not None and measured.p99_ms > thresholds.fsync_warning_ms:
                verdict.findings.append(_finding(view.cluster, state, item, measured, thresholds))
    return verdict


def _window(source: pb.LatencySource, thresholds: Thresholds) -> float:
    """The probe makes one call a second: its tail needs longer."""
    probe = source.method == pb.LATENCY_METHOD_PROBE
    return max(thresholds.window_s, thresholds.fsync_probe_window_s) if probe else thresholds.window_s


def _tail(state: NodeState, key: str, source: pb.LatencySource, thresholds: Thresholds) -> _Tail | Gap | None:
    rises = state.increments(key, _window(source, thresholds))
    if rises is None:
        return None
    counts = [rises[name].increment if name in rises else 0 for name in state.names(key)]
    calls, seconds = sum(counts), max((rise.seconds for rise in rises.values()), default=0.0)
    p50, p99 = (quantile(source.bounds_us, counts, share) for share in (0.5, 0.99))
    if p50 is not None and p99 is not None:
        return _Tail(calls, seconds, p50 / 1000, p99 / 1000)
    if not calls:
        return None  # nobody asked for an fsync: nothing to judge, and nothing missing
    because = f"{_who(source)}: not enough calls: {calls} in {seconds:g} s, {MIN_CALLS} are needed for a tail"
    return Gap(state.name, "fsync", "degraded", because)


def _finding(cluster: str, state: NodeState, item: pb.Item, tail: _Tail, thresholds: Thresholds) -> Finding:
    node, source = state.name, item.latency
    measured = f"median {tail.p50_ms:.1f} ms, {tail.calls} calls in {tail.seconds:g} s"
    code = ETCD_SLOW_FSYNC if is_etcd(source) else SLOW_FSYNC
    critical = tail.p99_ms > thresholds.fsync_critical_ms
    where = source.mount or "an unknown mount"
    device = _device(state, source.device)
    severity = Severity.CRITICAL if critical and code == ETCD_SLOW_FSYNC else Severity.WARNING
    method = "its own probe" if source.method == pb.LATENCY_METHOD_PROBE else "passive"
    evidence = tuple(
        Evidence(node, f"fsync.{name}", f"{source.process} on {device}", value, unit, method, state.at)
        for name, value, unit in (
            ("p99", round(tail.p99_ms, 1), "ms"),
            ("p50", round(tail.p50_ms, 2), "ms"),
            ("calls", tail.calls, f"calls in {tail.seconds:g} s"),
        )
    )
    return Finding(
        id=finding_id(code, cluster, node, item.key),
        code=code,
        incident="control_plane_saturation",
        stage=Stage.RISK,
        severity=severity,
        summary=f"On {node}: the 99th percentile of {_who(source)} on {device} ({where}) is {tail.p99_ms:.0f} ms, "
        f"over {thresholds.fsync_warning_ms:g} ms ({measured}).",
        nodes=(node,),
        evidence=evidence,
        clears_when=f"{_CLEARS} ({thresholds.fsync_warning_ms:g} ms)",
        remediation=_REMEDIES[code],
    )


def is_etcd(source: pb.LatencySource) -> bool:
    """etcd itself, or a process that has it inside (k3s-server, rke2) and whose write-ahead log this is."""
    return source.process == "etcd" or "/etcd/member/wal" in source.mount or source.mount.endswith("/etcd/member")


def _who(source: pb.LatencySource) -> str:
    return "the agent's own probe" if source.method == pb.LATENCY_METHOD_PROBE else f"fsyncs of {source.process}"


def _device(state: NodeState, dev: str) -> str:
    item = state.items.get(f"disk/{dev}")
    return f"{item.disk.name} ({dev})" if item is not None and item.disk.name else dev or "an unknown device"
