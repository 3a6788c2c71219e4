"""Incident 5, control_plane_saturation: whether the API server is slow, and whether etcd, its disk, traffic, a webhook
or a queue is why; whether leases are renewed and leaders lead; whether etcd has room.

A pure function of the joined view. What hosts say is worked out host by host as their facts change, what the API
server's figures say with each sample of them: an evaluation in which neither has come costs next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from aggregator.histogram import MIN_CALLS
from aggregator.model import Finding, Gap, Stage, Verdict
from aggregator.signatures import slow_fsync
from aggregator.signatures.case import Case, gather
from aggregator.signatures.control_plane import (
    etcd_state,
    fairness,
    leases,
    outage,
    requests,
    slowness,
    webhooks,
)
from aggregator.signatures.control_plane.climb import Api, api_of
from aggregator.signatures.control_plane.codes import CODES, ETCD_SLOW_FSYNC, NOISY_NEIGHBOUR
from aggregator.signatures.control_plane.facts import SOURCE
from aggregator.signatures.control_plane.slowness import EtcdSeen
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.slow_fsync import HostSyncs
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "control_plane"
_NAMED = 5
_FELT = frozenset({ETCD_SLOW_FSYNC, NOISY_NEIGHBOUR})


@dataclass(slots=True)
class _Kept:
    judged_by: Thresholds
    members: HostMemo[list[Case]] = field(default_factory=HostMemo)
    """What etcd says of itself on each host where it says something worth a finding."""
    figures: tuple[Api, list[Case]] | None = None
    """What follows from the API server's figures alone, and of which."""
    slow: tuple[Api, EtcdSeen, list[Case]] | None = None
    """Why the API server is slow, and of what that follows."""


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings about the control plane and the disks of processes that sync, and what of it cannot be seen."""
    api = api_of(view, thresholds)
    syncs = slow_fsync.hosts(view, thresholds)
    felt = slowness.harms(view, api, thresholds)
    on_hosts = [_felt(finding) if felt else finding for host in syncs for finding in host.findings]
    etcd = EtcdSeen(
        [finding for finding in on_hosts if finding.code == ETCD_SLOW_FSYNC],
        {host.node: host.etcd_p99_ms for host in syncs if host.etcd_p99_ms is not None},
    )
    kept = view.objects.derived.pop(_NAME, None)  # what raises leaves nothing half done behind
    if not isinstance(kept, _Kept) or kept.judged_by != thresholds:
        kept = _Kept(thresholds)
    cases = [
        *_of_figures(view, api, kept),
        *_slow(view, api, etcd, kept),
        *_of_members(view, kept),
        *leases.cases(view, thresholds),
        *outage.cases(view, thresholds),
    ]
    view.objects.derived[_NAME] = kept
    gaps = [gap for host in syncs for gap in host.gaps]
    return Verdict([*on_hosts, *gather(view.cluster, cases, CODES)], [*gaps, *_gaps(view, api, syncs, etcd)])


def _of_figures(view: ClusterView, api: Api, kept: _Kept) -> list[Case]:
    if kept.figures is None or kept.figures[0] is not api:
        limits = kept.judged_by
        found = [
            *requests.failing(view, api, limits),
            *webhooks.failing(view, api, limits),
            *fairness.throttled(view, api, limits),
            *etcd_state.of_api(view, limits),
        ]
        kept.figures = api, found
    return kept.figures[1]


def _slow(view: ClusterView, api: Api, etcd: EtcdSeen, kept: _Kept) -> list[Case]:
    if kept.slow is None or kept.slow[0] is not api or kept.slow[1] != etcd:
        kept.slow = api, etcd, slowness.cases(view, api, etcd, kept.judged_by)
    return kept.slow[2]


def _of_members(view: ClusterView, kept: _Kept) -> list[Case]:
    for name, state, _ in kept.members.changed(view):
        kept.members.known.pop(name, None)
        found = etcd_state.of_host(view, state, kept.judged_by)
        if found:
            kept.members.known[name] = found
    kept.members.gone(view)
    return [case for _, cases in sorted(kept.members.known.items()) for case in cases]


def _felt(finding: Finding) -> Finding:
    """What keeps etcd waiting is felt where API requests are slow for it."""
    return replace(finding, stage=Stage.ACTIVE) if finding.code in _FELT else finding


def _gaps(view: ClusterView, api: Api, syncs: list[HostSyncs], etcd: EtcdSeen) -> list[Gap]:
    if not view.metrics.revision:
        return []  # that they are not read is said by whoever should
    gaps = []
    if api.window is None:
        because = "only one sample of the API server's metrics: no rates, no latencies of a window"
        gaps.append(Gap("", SOURCE, "degraded", because))
    else:
        if api.too_few:
            said = ", ".join(f"{verb} {calls}" for verb, calls in sorted(api.too_few)[:_NAMED])
            seconds = api.window.end - api.window.begin
            because = f"not enough calls: {said} in {seconds:.0f} s, {MIN_CALLS} are needed for a tail"
            gaps.append(Gap("", SOURCE, "degraded", because))
        if not api.compared and len(api.window.latencies) > len(api.too_few):
            because = "less than ten minutes are known of the API server's past: its latency is compared with nothing"
            gaps.append(Gap("", SOURCE, "degraded", because))
        elif api.verbs and api.traffic is None:
            because = "the API server is slower than usual; its request rate before is not known: traffic or not?"
            gaps.append(Gap("", SOURCE, "degraded", because))
    if not etcd.measured and not any(gap.signal == "fsync" for host in syncs for gap in host.gaps):
        because = (
            "no host shows etcd's fsyncs (a managed control plane, or no sensor and no etcd.metrics there): judged by "
            "the API server's own calls of etcd (etcd_request_duration_seconds)"
        )
        gaps.append(Gap("", "etcd", "degraded", because))
    return gaps
