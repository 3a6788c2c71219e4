"""Figures of the API server's own metrics, by what evidence says of it. Pure."""

from __future__ import annotations

from dataclasses import replace

from aggregator.cluster.metric_families import (
    APF_REJECTED,
    REQUESTS,
    SYSTEM_CLIENTS,
    WEBHOOK_FAILED_OPEN,
    WEBHOOK_REJECTIONS,
    WEBHOOK_SECONDS,
    Labels,
)
from aggregator.signatures.control_plane.past import LASTING, Key
from aggregator.web.charts.asked import ApiChart, Asked, Figure, Maker, Shown
from aggregator.web.charts.timeline import MOST_LINES, Limit
from aggregator.web.charts.units import LATENCY, PER_SECOND

_ALL = "all requests"


def tail(what: str, family: str) -> Maker:
    """The 99th percentiles of the members of a family that the finding names; of a single one also what is usual."""

    def make(asked: Asked) -> Shown:
        signal = asked.evidence.signal
        told = [each for each in asked.finding.evidence if each.signal == signal]
        names = tuple(dict.fromkeys(each.subject for each in told))[:MOST_LINES] or (asked.evidence.subject,)
        if asked.evidence.subject not in names:
            names = (asked.evidence.subject,)  # one for which the chart of the others has no room
        limits = _usual(asked, f"{signal}.usual", names[0], 1000) if len(names) == 1 else ()
        title = f"{what} {names[0]}" if len(names) == 1 else what
        lines = tuple((name, (family, (name,))) for name in names)
        return ApiChart(f"{title}, 99th percentile", LATENCY, Figure.TAIL, lines, limits)

    return make


def traffic(asked: Asked) -> Shown | None:
    """How many requests there were, beside what has climbed: whether it is for them."""
    told = next((each for each in asked.finding.evidence if each.signal == "counter.request_rate"), None)
    return requests(replace(asked, evidence=told)) if told is not None else None


def _usual(asked: Asked, signal: str, subject: str, factor: float) -> tuple[Limit, ...]:
    for each in asked.finding.evidence:
        if (each.signal, each.subject) == (signal, subject) and isinstance(each.value, float | int):
            return (Limit(float(each.value) * factor, "usually"),)
    return ()


def requests(asked: Asked) -> Shown:
    """All requests, or those of a verb and a resource."""
    verb, _, resource = asked.evidence.subject.partition(" ")
    if asked.evidence.subject == _ALL:
        limits = _usual(asked, "counter.request_rate.usual", _ALL, 1)
        return ApiChart("requests to an API server", PER_SECOND, Figure.RATE, (("per second", (REQUESTS, ())),), limits)
    return _rise(f"requests: {asked.evidence.subject}", (REQUESTS, (verb, resource)))


def _rise(title: str, key: Key) -> ApiChart:
    return ApiChart(title, PER_SECOND, Figure.RISE, (("per second", key),))


def client(asked: Asked) -> Shown:
    """Requests of one of the control plane's own clients."""
    name = asked.evidence.subject
    return _rise(f"requests of {name}", (SYSTEM_CLIENTS, (name,)))


def api_errors(asked: Asked) -> Shown:
    """Requests that failed."""
    labels: Labels = (
        tuple(asked.evidence.subject.split(" ")) if asked.evidence.signal != "api.errors" else ("", "", "5xx")
    )
    title = "requests that failed with 5xx" if labels[-1] == "5xx" else f"failed requests: {asked.evidence.subject}"
    return _rise(title, (REQUESTS, labels))


def webhook_calls(asked: Asked) -> Shown:
    """How often a webhook is asked."""
    name = asked.evidence.subject
    return ApiChart(f"calls of webhook {name}", PER_SECOND, Figure.CALLS, (("per second", (WEBHOOK_SECONDS, (name,))),))


def webhook_failures(asked: Asked) -> Shown:
    """How often it did not answer."""
    name = asked.evidence.subject
    open_ = name in {labels[0] for labels in asked.view.metrics.rises(WEBHOOK_FAILED_OPEN, asked.thresholds.window_s)}
    family = WEBHOOK_FAILED_OPEN if open_ else WEBHOOK_REJECTIONS
    title = f"requests {'let pass without' if open_ else 'refused for'} webhook {name}"
    return _rise(title, (family, (name,)))


def rejected(asked: Asked) -> Shown:
    """Requests turned away by priority and fairness."""
    level = asked.evidence.subject
    return _rise(f"requests turned away at {level}", (APF_REJECTED, (level,)))


def wanted(key: Key, labels: Labels) -> bool:
    """Whether a counter is one of those that a chart of RISE adds up."""
    family, asked = key
    if family == REQUESTS and labels[0] in LASTING:
        return False
    return all(
        not ask or ask == have or (ask == "5xx" and have.startswith("5"))
        for ask, have in zip(asked, labels, strict=False)
    )
