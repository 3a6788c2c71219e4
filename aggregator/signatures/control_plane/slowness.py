"""Why the API server is slow without traffic: because etcd is, because of a webhook, or by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.model import Finding, RuledOut, Severity
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes, requests, webhooks
from aggregator.signatures.control_plane.climb import Api
from aggregator.signatures.control_plane.facts import api_server, fact, latencies, traffic
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_LISTS = frozenset({"list", "listWithCount", "LIST"})
_MOST_NODES = 5


@dataclass(frozen=True, slots=True)
class EtcdSeen:
    """What hosts tell of etcd's fsyncs."""

    slow: list[Finding] = field(default_factory=list)
    """cp.etcd_slow_fsync of each host."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """Node by node where there were enough calls: the 99th percentile, ms."""


def harms(view: ClusterView, api: Api, thresholds: Thresholds) -> bool:
    """Requests are slower than usual, calls of etcd are not as fast as ever, and neither traffic nor a webhook is why:
    whatever is slow below is felt."""
    return (
        bool(api.verbs)
        and not api.etcd_flat
        and api.traffic is not None
        and not api.traffic.climbed
        and not webhooks.slow(view, api, thresholds)
    )


def cases(view: ClusterView, api: Api, etcd: EtcdSeen, thresholds: Thresholds) -> list[Case]:
    """At most one cause of slow requests, but for webhooks, of which there may be several."""
    if not api.verbs or api.traffic is None:
        return []
    surge = requests.surge(view, api, thresholds)
    if surge is not None:
        return [surge]
    slow_webhooks = webhooks.slow(view, api, thresholds)
    if slow_webhooks:
        return slow_webhooks
    if etcd.slow and not api.etcd_flat:
        return [_saturation(view, api, etcd.slow, thresholds)]
    if not etcd.measured and any(climb.name not in _LISTS for climb in api.etcd):
        return [_unseen_etcd(view, api, thresholds)]
    return [_latency(view, api, etcd, thresholds)]


def _saturation(view: ClusterView, api: Api, slow: list[Finding], thresholds: Thresholds) -> Case:
    worst = api.verbs[0]
    nodes = sorted({node for finding in slow for node in finding.nodes})
    named = ", ".join(nodes[:_MOST_NODES])
    fsyncs = [evidence for finding in slow for evidence in finding.evidence if evidence.signal == "fsync.p99"]
    p99 = max((float(evidence.value) for evidence in fsyncs), default=0.0)
    return Case(
        codes.SATURATION,
        (),
        f"etcd's fsyncs on {named} take {p99:.0f} ms (99th percentile), and so {_slow(api)}, without traffic "
        f"({_load(api)})",
        (api_server(view),),
        (*fsyncs[:_MOST_NODES], *latencies(api), *traffic(api)),
        nodes=tuple(nodes),
        severity=Severity.CRITICAL if worst.p99_ms >= thresholds.api_very_slow_ms else None,
        ruled_out=(_no_surge(api),),
        since=api.since,
    )


def _unseen_etcd(view: ClusterView, api: Api, thresholds: Thresholds) -> Case:
    worst = next(climb for climb in api.etcd if climb.name not in _LISTS)
    return Case(
        codes.SATURATION,
        (),
        f"the API server's own calls of etcd take {worst.p99_ms:.0f} ms ({worst.name}, 99th percentile; usually "
        f"{worst.past_ms:.0f} ms), and so {_slow(api)}, without traffic ({_load(api)}); etcd itself cannot be seen",
        (api_server(view),),
        (*latencies(api), *traffic(api)),
        severity=Severity.CRITICAL if api.verbs[0].p99_ms >= thresholds.api_very_slow_ms else None,
        ruled_out=(_no_surge(api),),
        since=api.since,
    )


def _latency(view: ClusterView, api: Api, etcd: EtcdSeen, thresholds: Thresholds) -> Case:
    told = [*latencies(api), *traffic(api)]
    more = ""
    if {climb.name for climb in api.verbs} == {"LIST"} and api.window is not None:
        most = requests.most_objects(view.metrics, thresholds.window_s)
        if most is not None:
            more = f"; LIST alone is slow, and there are {most[1]:,} {most[0]}"
            told.append(fact("counter.objects", most[0], most[1], "objects", api.window.end))
    ruled_out = [_no_surge(api)]
    if api.etcd_flat:
        ruled_out.append(RuledOut(codes.SATURATION, "the API server's own calls of etcd are as fast as usual"))
    elif etcd.measured:
        node, p99 = max(etcd.measured.items(), key=lambda entry: (entry[1], entry[0]))
        ruled_out.append(
            RuledOut(codes.ETCD_SLOW_FSYNC, f"etcd's fsyncs on {node} take {p99:.1f} ms (99th percentile)")
        )
    return Case(
        codes.LATENCY,
        (),
        f"{_slow(api)}, without traffic ({_load(api)}){more}",
        (api_server(view),),
        tuple(told),
        severity=Severity.CRITICAL if api.verbs[0].p99_ms >= thresholds.api_very_slow_ms else None,
        ruled_out=tuple(ruled_out),
        since=api.since,
    )


def _slow(api: Api) -> str:
    worst, more = api.verbs[0], len(api.verbs) - 1
    others = f" ({more} more verbs are slower, too)" if more else ""
    return (
        f"the API server's {worst.name} takes {worst.p99_ms:.0f} ms (99th percentile), usually {worst.past_ms:.0f} ms"
        f"{others}"
    )


def _load(api: Api) -> str:
    return api.traffic.said if api.traffic is not None else ""


def _no_surge(api: Api) -> RuledOut:
    return RuledOut(codes.SURGE, _load(api))
