"""Figures of the API server's own metrics, by what evidence says of it. Pure."""

from __future__ import annotations

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
from aggregator.web.charts.timeline import Limit
from aggregator.web.charts.units import LATENCY, PER_SECOND


def tail(what: str, family: str) -> Maker:
    """The 99th percentile of one member of a family, and what is usual of it."""

    def make(asked: Asked) -> Shown:
        signal, subject = asked.evidence.signal.removesuffix(".usual"), asked.evidence.subject
        usual = next(
            (
                Limit(float(each.value) * 1000, "usually")
                for each in asked.finding.evidence
                if (each.signal, each.subject) == (f"{signal}.usual", subject) and isinstance(each.value, float | int)
            ),
            None,
        )
        key = family, (subject,)
        return ApiChart(f"{what} {subject}, 99th percentile", LATENCY, Figure.TAIL, key, (usual,) if usual else ())

    return make


def requests(asked: Asked) -> Shown:
    """All requests, or those of a verb and a resource."""
    verb, _, resource = asked.evidence.subject.partition(" ")
    if asked.evidence.subject == "all requests":
        usual = next(
            (
                Limit(float(each.value), "usually")
                for each in asked.finding.evidence
                if each.signal == "counter.request_rate.usual" and isinstance(each.value, float | int)
            ),
            None,
        )
        limits = (usual,) if usual else ()
        return ApiChart("requests to an API server", PER_SECOND, Figure.RATE, (REQUESTS, ()), limits)
    return ApiChart(f"requests: {asked.evidence.subject}", PER_SECOND, Figure.RISE, (REQUESTS, (verb, resource)))


def client(asked: Asked) -> Shown:
    """Requests of one of the control plane's own clients."""
    name = asked.evidence.subject
    return ApiChart(f"requests of {name}", PER_SECOND, Figure.RISE, (SYSTEM_CLIENTS, (name,)))


def api_errors(asked: Asked) -> Shown:
    """Requests that failed."""
    labels: Labels = (
        tuple(asked.evidence.subject.split(" ")) if asked.evidence.signal != "api.errors" else ("", "", "5xx")
    )
    title = "requests that failed with 5xx" if labels[-1] == "5xx" else f"failed requests: {asked.evidence.subject}"
    return ApiChart(title, PER_SECOND, Figure.RISE, (REQUESTS, labels))


def webhook_calls(asked: Asked) -> Shown:
    """How often a webhook is asked."""
    name = asked.evidence.subject
    return ApiChart(f"calls of webhook {name}", PER_SECOND, Figure.CALLS, (WEBHOOK_SECONDS, (name,)))


def webhook_failures(asked: Asked) -> Shown:
    """How often it did not answer."""
    name = asked.evidence.subject
    open_ = name in {labels[0] for labels in asked.view.metrics.rises(WEBHOOK_FAILED_OPEN, asked.thresholds.window_s)}
    family = WEBHOOK_FAILED_OPEN if open_ else WEBHOOK_REJECTIONS
    title = f"requests {'let pass without' if open_ else 'refused for'} webhook {name}"
    return ApiChart(title, PER_SECOND, Figure.RISE, (family, (name,)))


def rejected(asked: Asked) -> Shown:
    """Requests turned away by priority and fairness."""
    level = asked.evidence.subject
    return ApiChart(f"requests turned away at {level}", PER_SECOND, Figure.RISE, (APF_REJECTED, (level,)))


def wanted(key: Key, labels: Labels) -> bool:
    """Whether a counter is one of those that a chart of RISE adds up."""
    family, asked = key
    if family == REQUESTS and labels[0] in LASTING:
        return False
    return all(
        not ask or ask == have or (ask == "5xx" and have.startswith("5"))
        for ask, have in zip(asked, labels, strict=False)
    )
