"""Slow fsyncs of processes and devices: the tell of control-plane saturation, long before an API request is slow.

The latency is that of the window alone: a histogram since the process started hides the last minutes. Where too few
calls were made, that is said and no number given. etcd is judged by what was observed on its host; only where nobody
observes it, by what it says itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject
from aggregator.histogram import MIN_CALLS, quantile
from aggregator.model import Evidence, Finding, Gap, Severity, Stage, Verdict, finding_id
from aggregator.node_state import NodeState
from aggregator.signatures.control_plane import neighbour
from aggregator.signatures.control_plane.codes import CODES, ETCD_SLOW_FSYNC, NOISY_NEIGHBOUR, SLOW_FSYNC
from aggregator.signatures.control_plane.neighbour import Neighbour, Victim
from aggregator.signatures.control_plane.pieces import slow_since
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "slow_fsync"
_MOST_SOURCES = 6
_TOLD_BY_ETCD = ("etcd.metrics", "http")
"""How it begins what etcd says of itself was read from."""
_COMMIT = "commit"
"""A commit to etcd's database is more than a sync."""


@dataclass(frozen=True, slots=True)
class _Tail:
    """The fsyncs of one process on one device in the window."""

    counts: Sequence[int]
    """By bucket."""
    calls: int
    seconds: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class _Slow:
    """One source of latencies whose tail is over the threshold."""

    key: str
    source: pb.LatencySource
    tail: _Tail

    @property
    def p50_ms(self) -> float:
        """The median."""
        return (quantile(self.source.bounds_us, self.tail.counts, 0.5) or 0.0) / 1000


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings over every latency histogram of every host: one for etcd and one for all others, by device."""
    told = hosts(view, thresholds)
    return Verdict([each for one in told for each in one.findings], [each for one in told for each in one.gaps])


def hosts(view: ClusterView, thresholds: Thresholds) -> list[HostSyncs]:
    """What is said of each host of which there is anything to say, by name of the host."""
    # Taken out while it is worked on: what raises leaves nothing half done behind.
    kept = view.objects.derived.pop(_NAME, None)
    memo = kept if isinstance(kept, _Hosts) and kept.judged_by == (view.cluster, thresholds) else _Hosts()
    memo.judged_by = view.cluster, thresholds
    for name, state, _ in memo.memo.changed(view):
        memo.memo.known.pop(name, None)
        told = _of_host(view.cluster, state, thresholds)
        if told.findings or told.gaps or told.etcd_p99_ms is not None:
            memo.memo.known[name] = told
    memo.memo.gone(view)
    view.objects.derived[_NAME] = memo
    return [told for _, told in sorted(memo.memo.known.items())]


def prepare(state: NodeState, _: NodeObject | None) -> None:
    """Choose what is worth judging as a host's facts come, ahead of the evaluation that asks for it."""
    worth_judging(state)


@dataclass(slots=True)
class HostSyncs:
    """What the fsyncs of one host say."""

    node: str
    findings: list[Finding] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    etcd_p99_ms: float | None = None
    """Of etcd in the window; None: there is none, or too few calls."""


@dataclass(slots=True)
class _Hosts:
    memo: HostMemo[HostSyncs] = field(default_factory=HostMemo)
    judged_by: tuple[str, Thresholds] | None = None
    """Cluster's name and thresholds."""


def _of_host(cluster: str, state: NodeState, thresholds: Thresholds) -> HostSyncs:
    told = HostSyncs(state.name)
    slow: dict[tuple[str, str], list[_Slow]] = {}
    for item, of_etcd in worth_judging(state):
        source = item.latency
        measured = _tail(state, item.key, source, thresholds, always=of_etcd)
        if isinstance(measured, Gap):
            told.gaps.append(measured)
        elif measured is not None:
            if of_etcd:
                told.etcd_p99_ms = max(told.etcd_p99_ms or 0.0, measured.p99_ms)
            if measured.p99_ms > thresholds.fsync_warning_ms:
                code = ETCD_SLOW_FSYNC if of_etcd else SLOW_FSYNC
                slow.setdefault((code, source.device or source.mount), []).append(_Slow(item.key, source, measured))
    blamed = _blame(cluster, state, slow, told, thresholds)
    for key, found in slow.items():
        own_doing = [each for each in found if each.key in blamed]  # who keeps others waiting waits as well
        if rest := [each for each in found if each not in own_doing]:
            told.findings.append(_finding(cluster, state, key, rest, thresholds))
    return told


def worth_judging(state: NodeState) -> list[tuple[pb.Item, bool]]:
    """Latency sources of a host that say something of its disks, each with whether it is etcd's.

    The same list for as long as none of them changes.
    """
    latencies = state.of("latency")
    known = state.derived.get(_NAME)
    if not isinstance(known, _Worth) or known.latencies is not latencies:
        known = state.derived[_NAME] = _Worth(latencies, _chosen(latencies))
    return known.chosen


@dataclass(frozen=True, slots=True)
class _Worth:
    """Sources that are worth judging, each with whether it is etcd's, and all that they were chosen from."""

    latencies: Sequence[pb.Item]
    chosen: list[tuple[pb.Item, bool]]


def _chosen(latencies: Sequence[pb.Item]) -> list[tuple[pb.Item, bool]]:
    items = sorted(latencies, key=lambda item: item.key)
    items = [item for item in items if item.latency.file_class != _COMMIT]
    observed = any(is_etcd(item.latency) and not _by_etcd(item.latency) for item in items)
    logs = {_place(item.latency) for item in items if item.latency.file_class == "wal"}
    return [
        (item, is_etcd(item.latency))
        for item in items
        # The write-ahead log is what etcd waits for; its other files would say the same again.
        if not (logs and _place(item.latency) in logs and item.latency.file_class != "wal")
        and not (observed and _by_etcd(item.latency))
    ]


def _by_etcd(source: pb.LatencySource) -> bool:
    return source.attached_by.startswith(_TOLD_BY_ETCD)


def _blame(
    cluster: str,
    state: NodeState,
    slow: dict[tuple[str, str], list[_Slow]],
    told: HostSyncs,
    thresholds: Thresholds,
) -> frozenset[str]:
    """Who keeps etcd waiting becomes a finding of its own; the keys of his histograms."""
    for (code, device), found in slow.items():
        if code != ETCD_SLOW_FSYNC or not found[0].source.device:
            continue
        worst = max(found, key=lambda each: each.tail.p99_ms)
        since = _since(state, worst, thresholds)
        keys = [worst.key, *(each.key for each in found if each is not worst)]
        noisy = neighbour.find(state, Victim(keys, worst.source.process, device, since), thresholds)
        if noisy is not None:
            told.findings.append(_noisy(cluster, state, noisy, worst.source.process))
            return noisy.keys
    return frozenset()


def _noisy(cluster: str, state: NodeState, noisy: Neighbour, victim: str) -> Finding:
    code = CODES[NOISY_NEIGHBOUR]
    return Finding(
        id=finding_id(code.code, cluster, state.name, noisy.device),
        code=code.code,
        incident=code.incident,
        stage=Stage.RISK,
        severity=code.risk,
        summary=f"On {state.name}: {noisy.process or 'something else'} keeps {victim} waiting for "
        f"{_device(state, noisy.device)}: {noisy.statement}.",
        nodes=(state.name,),
        evidence=noisy.evidence,
        clears_when=code.clears_when,
        objects=(_device_object(state, noisy.device),),
        remediation=code.remediation,
        since=noisy.since,
    )


def _device_object(state: NodeState, device: str) -> str:
    return f"Device/{state.name}/{device}"


def _since(state: NodeState, slow: _Slow, thresholds: Thresholds) -> float:
    return slow_since(state, slow.key, slow.source.bounds_us, thresholds.fsync_warning_ms * 1000)


def _place(source: pb.LatencySource) -> tuple[str, str, int]:
    return source.process, source.device, source.cgroup_id


def window_of(source: pb.LatencySource, thresholds: Thresholds) -> float:
    """Over how long a source is judged, seconds: the probe makes one call a second, and its tail needs longer."""
    probe = source.method == pb.LATENCY_METHOD_PROBE
    return max(thresholds.window_s, thresholds.fsync_probe_window_s) if probe else thresholds.window_s


def _tail(
    state: NodeState, key: str, source: pb.LatencySource, thresholds: Thresholds, *, always: bool
) -> _Tail | Gap | None:
    """The tail of the window; None: there is nothing to judge, or, unless `always`, it is below the threshold."""
    rises = state.rises(key, window_of(source, thresholds))
    if rises is None:
        return None
    counts, seconds = rises
    calls = sum(counts)
    if not calls:
        return None  # nobody asked for an fsync: nothing to judge, and nothing missing
    if not always and calls >= MIN_CALLS and len(counts) == len(source.bounds_us) + 1:
        # Most hosts are told apart by two sums: fewer than one call in a hundred took longer.
        slow = sum(counts[bisect_right(source.bounds_us, thresholds.fsync_warning_ms * 1000) :])
        if slow * 100 < calls:
            return None
    p99 = quantile(source.bounds_us, counts, 0.99)
    if p99 is not None:
        return _Tail(counts, calls, seconds, p99 / 1000)
    because = f"{_who(source)}: not enough calls: {calls} in {seconds:g} s, {MIN_CALLS} are needed for a tail"
    return Gap(state.name, "fsync", "degraded", because)


def _finding(
    cluster: str, state: NodeState, key: tuple[str, str], found: list[_Slow], thresholds: Thresholds
) -> Finding:
    code, place = key
    found = sorted(found, key=lambda slow: -slow.tail.p99_ms)
    source, tail = found[0].source, found[0].tail
    critical = code == ETCD_SLOW_FSYNC and tail.p99_ms > thresholds.fsync_critical_ms
    measured = f"median {found[0].p50_ms:.1f} ms, {tail.calls} calls in {tail.seconds:g} s"
    more = f" {len(found) - 1} more on it are slow, too." if len(found) > 1 else ""
    whole = neighbour.whole_disk(state, source.device)
    return Finding(
        id=finding_id(code, cluster, state.name, place),
        code=code,
        incident=CODES[code].incident,
        stage=Stage.RISK,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        summary=f"On {state.name}: the 99th percentile of {_who(source)} on {_device(state, source.device)} "
        f"({source.mount or 'an unknown mount'}) is {tail.p99_ms:.0f} ms, over {thresholds.fsync_warning_ms:g} ms "
        f"({measured}).{more}",
        nodes=(state.name,),
        evidence=tuple(evidence for slow in found[:_MOST_SOURCES] for evidence in _evidence(state, slow)),
        clears_when=CODES[code].clears_when,
        objects=tuple(_device_object(state, each) for each in dict.fromkeys((source.device, whole)) if each),
        remediation=CODES[code].remediation,
        since=_since(state, found[0], thresholds),
    )


def felt(finding: Finding) -> Finding:
    """The same, where API requests are slow for it."""
    return finding if finding.stage is Stage.ACTIVE else replace(finding, stage=Stage.ACTIVE)


def _evidence(state: NodeState, slow: _Slow) -> list[Evidence]:
    source, tail = slow.source, slow.tail
    subject = subject_of(state, source)
    method = source.attached_by or ("own probe" if source.method == pb.LATENCY_METHOD_PROBE else "passive")
    return [
        Evidence(state.name, f"fsync.{name}", subject, value, unit, method, state.at)
        for name, value, unit in (
            ("p99", round(tail.p99_ms, 1), "ms"),
            ("p50", round(slow.p50_ms, 2), "ms"),
            ("calls", tail.calls, f"calls in {tail.seconds:g} s"),
        )
    ]


def subject_of(state: NodeState, source: pb.LatencySource) -> str:
    """Whose fsyncs they are, and on what: "etcd on nvme0n1 (259:3)"."""
    pod = f", pod {source.pod_uid}" if source.pod_uid else ""
    return f"{source.process}{pod} on {_device(state, source.device)}"


def is_etcd(source: pb.LatencySource) -> bool:
    """etcd itself, or a process that has it inside (k3s-server, rke2) and whose write-ahead log this is."""
    return source.process == "etcd" or source.file_class == "wal" or "/etcd/member/wal" in source.mount


def _who(source: pb.LatencySource) -> str:
    return "the agent's own probe" if source.method == pb.LATENCY_METHOD_PROBE else f"fsyncs of {source.process}"


def _device(state: NodeState, dev: str) -> str:
    item = state.items.get(f"disk/{dev}")
    return f"{item.disk.name} ({dev})" if item is not None and item.disk.name else dev or "an unknown device"
