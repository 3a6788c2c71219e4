"""Admission webhooks: which one makes up the latency of writes, and which one fails."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.metric_families import WEBHOOK_FAILED_OPEN, WEBHOOK_REJECTIONS, WEBHOOK_SECONDS
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.climb import Api, calls_above
from aggregator.signatures.control_plane.facts import api_server, fact, latencies, traffic
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION", "APPLY"})
"""Verbs that admission looks at."""
_FAILED = "calling_webhook_error"
"""Error type of a call that got no answer; what a webhook refuses has another."""


def slow(view: ClusterView, api: Api, thresholds: Thresholds) -> list[Case]:
    """Webhooks that make up the latency: only writes are slow, and about as many calls of the webhook take as long."""
    window = api.window
    if window is None or not api.verbs or any(climb.name not in _WRITES for climb in api.verbs):
        return []
    worst = api.verbs[0]
    usual_s = min(climb.past_ms for climb in api.verbs) / 1000
    slow_writes = sum(calls_above(climb.latency, climb.past_ms / 1000) for climb in api.verbs)
    cases = []
    for (family, labels), latency in window.latencies.items():
        if family != WEBHOOK_SECONDS:
            continue
        p99 = latency.quantile(0.99)
        explained = calls_above(latency, usual_s)
        if (
            p99 is None
            or p99 * 1000 < thresholds.webhook_share * (worst.p99_ms - worst.past_ms)
            or explained < thresholds.webhook_share * slow_writes
        ):
            continue
        name = labels[0]
        cases.append(
            Case(
                codes.WEBHOOK,
                (name,),
                f"admission webhook {name} takes {p99 * 1000:.0f} ms (99th percentile of {latency.calls} calls), which "
                f"makes up the latency of {worst.name}: {worst.p99_ms:.0f} ms, usually {worst.past_ms:.0f} ms",
                (f"Webhook/{name}", api_server(view)),
                (
                    fact("webhook.p99", name, round(p99 * 1000, 1), "ms", window.end),
                    fact("counter.webhook_calls", name, latency.calls, "calls", window.end),
                    *latencies(api),
                    *traffic(api),
                ),
                weight=p99,
                since=api.since,
            )
        )
    return cases


def failing(view: ClusterView, api: Api, thresholds: Thresholds) -> Iterator[Case]:
    """Webhooks whose calls get no answer, whether requests then fail or are let pass."""
    window = api.window
    if window is None:
        return
    seconds = window.end - window.begin
    refused: dict[str, float] = {}
    passed: dict[str, float] = {}
    for (name, error), rise in view.metrics.rises(WEBHOOK_REJECTIONS, seconds).items():
        if error == _FAILED:
            refused[name] = refused.get(name, 0.0) + rise.increment
    for (name,), rise in view.metrics.rises(WEBHOOK_FAILED_OPEN, seconds).items():
        passed[name] = passed.get(name, 0.0) + rise.increment
    for name in sorted({*refused, *passed}):
        failed, open_ = refused.get(name, 0.0), passed.get(name, 0.0)
        if failed + open_ < thresholds.webhook_failures_min:
            continue
        what = f"{failed:.0f} requests were refused for it" if failed else f"{open_:.0f} requests passed without it"
        yield Case(
            codes.WEBHOOK,
            (name,),
            f"admission webhook {name} did not answer {failed + open_:.0f} times in {seconds:.0f} s: {what}",
            (f"Webhook/{name}", api_server(view)),
            (fact("counter.webhook_failures", name, round(failed + open_), "calls", window.end),),
            since=window.begin,
        )
