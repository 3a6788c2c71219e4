"""Slow fsyncs of processes and devices: the tell of control-plane saturation, long before an API request is slow.

The latency is that of the window alone: a histogram since the process started hides the last minutes. Where too few
calls were made, that is said and no number given.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from aggregator.histogram import MIN_CALLS, quantile
from aggregator.model import Evidence, Finding, Gap, Severity, Stage, Verdict, finding_id
from aggregator.node_state import NodeState
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "slow_fsync"
ETCD_SLOW_FSYNC = "cp.etcd_slow_fsync"
SLOW_FSYNC = "disk.slow_fsync"
_MOST_SOURCES = 6
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


@dataclass(frozen=True, slots=True)
class _Slow:
    """One source of latencies whose tail is over the threshold."""

    source: pb.LatencySource
    tail: _Tail


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings over every latency histogram of every host: one for etcd and one for all others, by device."""
    # Taken out while it is worked on: what raises leaves nothing half done behind.
    kept = view.objects.derived.pop(_NAME, None)
    hosts = kept if isinstance(kept, _Hosts) and kept.judged_by == (view.cluster, thresholds) else _Hosts()
    hosts.judged_by = view.cluster, thresholds
    for name, state, _ in hosts.memo.changed(view):
        hosts.memo.known.pop(name, None)
        verdict = _of_host(view.cluster, state, thresholds)
        if verdict.findings or verdict.gaps:
            hosts.memo.known[name] = verdict
    hosts.memo.gone(view)
    view.objects.derived[_NAME] = hosts
    told = [verdict for _, verdict in sorted(hosts.memo.known.items())]
    return Verdict([each for one in told for each in one.findings], [each for one in told for each in one.gaps])


@dataclass(slots=True)
class _Hosts:
    """What is said of each host of which there is anything to say."""

    memo: HostMemo[Verdict] = field(default_factory=HostMemo)
    judged_by: tuple[str, Thresholds] | None = None
    """Cluster's name and thresholds."""


def _of_host(cluster: str, state: NodeState, thresholds: Thresholds) -> Verdict:
    verdict = Verdict()
    slow: dict[tuple[str, str], list[_Slow]] = {}
    items = sorted(state.of("latency"), key=lambda item: item.key)
    logs = {_place(item.latency) for item in items if item.latency.file_class == "wal"}
    for item in items:
        source = item.latency
        if logs and _place(source) in logs and source.file_class != "wal":
            continue  # the write-ahead log is what etcd waits for; its other files would say the same again
        measured = _tail(state, item.key, source, thresholds)
        if isinstance(measured, Gap):
            verdict.gaps.append(measured)
        elif measured is not None:
            code = ETCD_SLOW_FSYNC if is_etcd(source) else SLOW_FSYNC
            slow.setdefault((code, source.device or source.mount), []).append(_Slow(source, measured))
    verdict.findings += [_finding(cluster, state, key, found, thresholds) for key, found in slow.items()]
    return verdict


def _place(source: pb.LatencySource) -> tuple[str, str, int]:
    return source.process, source.device, source.cgroup_id


def _window(source: pb.LatencySource, thresholds: Thresholds) -> float:
    """The probe makes one call a second: its tail needs longer."""
    probe = source.method == pb.LATENCY_METHOD_PROBE
    return max(thresholds.window_s, thresholds.fsync_probe_window_s) if probe else thresholds.window_s


def _tail(state: NodeState, key: str, source: pb.LatencySource, thresholds: Thresholds) -> _Tail | Gap | None:
    """A tail over the threshold; None: it is not, or there is nothing to judge."""
    rises = state.rises(key, _window(source, thresholds))
    if rises is None:
        return None
    counts, seconds = rises
    calls = sum(counts)
    if not calls:
        return None  # nobody asked for an fsync: nothing to judge, and nothing missing
    p99 = quantile(source.bounds_us, counts, 0.99)
    if p99 is not None:
        if p99 / 1000 <= thresholds.fsync_warning_ms:
            return None
        return _Tail(calls, seconds, (quantile(source.bounds_us, counts, 0.5) or 0.0) / 1000, p99 / 1000)
    because = f"{_who(source)}: not enough calls: {calls} in {seconds:g} s, {MIN_CALLS} are needed for a tail"
    return Gap(state.name, "fsync", "degraded", because)


def _finding(
    cluster: str, state: NodeState, key: tuple[str, str], found: list[_Slow], thresholds: Thresholds
) -> Finding:
    code, place = key
    found = sorted(found, key=lambda slow: -slow.tail.p99_ms)
    source, tail = found[0].source, found[0].tail
    critical = code == ETCD_SLOW_FSYNC and tail.p99_ms > thresholds.fsync_critical_ms
    measured = f"median {tail.p50_ms:.1f} ms, {tail.calls} calls in {tail.seconds:g} s"
    more = f" {len(found) - 1} more on it are slow, too." if len(found) > 1 else ""
    return Finding(
        id=finding_id(code, cluster, state.name, place),
        code=code,
        incident="control_plane_saturation",
        stage=Stage.RISK,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        summary=f"On {state.name}: the 99th percentile of {_who(source)} on {_device(state, source.device)} "
        f"({source.mount or 'an unknown mount'}) is {tail.p99_ms:.0f} ms, over {thresholds.fsync_warning_ms:g} ms "
        f"({measured}).{more}",
        nodes=(state.name,),
        evidence=tuple(evidence for slow in found[:_MOST_SOURCES] for evidence in _evidence(state, slow)),
        clears_when=f"{_CLEARS} ({thresholds.fsync_warning_ms:g} ms)",
        remediation=_REMEDIES[code],
    )


def _evidence(state: NodeState, slow: _Slow) -> list[Evidence]:
    source, tail = slow.source, slow.tail
    pod = f", pod {source.pod_uid}" if source.pod_uid else ""
    subject = f"{source.process}{pod} on {_device(state, source.device)}"
    method = source.attached_by or ("own probe" if source.method == pb.LATENCY_METHOD_PROBE else "passive")
    return [
        Evidence(state.name, f"fsync.{name}", subject, value, unit, method, state.at)
        for name, value, unit in (
            ("p99", round(tail.p99_ms, 1), "ms"),
            ("p50", round(tail.p50_ms, 2), "ms"),
            ("calls", tail.calls, f"calls in {tail.seconds:g} s"),
        )
    ]


def is_etcd(source: pb.LatencySource) -> bool:
    """etcd itself, or a process that has it inside (k3s-server, rke2) and whose write-ahead log this is."""
    return source.process == "etcd" or source.file_class == "wal" or "/etcd/member/wal" in source.mount


def _who(source: pb.LatencySource) -> str:
    return "the agent's own probe" if source.method == pb.LATENCY_METHOD_PROBE else f"fsyncs of {source.process}"


def _device(state: NodeState, dev: str) -> str:
    item = state.items.get(f"disk/{dev}")
    return f"{item.disk.name} ({dev})" if item is not None and item.disk.name else dev or "an unknown device"
