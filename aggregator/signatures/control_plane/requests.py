"""Who asks the API server for what: the resources, verbs and clients whose requests have grown, and those that fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aggregator.cluster.metric_families import OBJECTS, REQUESTS, SYSTEM_CLIENTS, Labels
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.model import Severity
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.climb import Api
from aggregator.signatures.control_plane.facts import api_server, fact, latencies, traffic
from aggregator.signatures.control_plane.past import LASTING
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAMED = 3
_AGGREGATED = ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io")
"""APIs that another server answers: what fails there is that server's fault."""
_CRITICAL_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Grown:
    """Requests of one kind, per second."""

    what: str
    """ "LIST secrets", or a client."""
    now: float
    before: float


def grown(history: MetricsHistory, window_s: float, thresholds: Thresholds) -> list[Grown]:
    """Verbs with their resources whose requests have grown, most of all first."""
    kinds = _kinds(_rates(history, REQUESTS, window_s, 0.0))
    past = _kinds(_past(history, REQUESTS, window_s, thresholds))
    return _grown(kinds, past)


def clients(history: MetricsHistory, window_s: float, thresholds: Thresholds) -> list[Grown]:
    """Components of the control plane, likewise; none where the server does not tell them apart."""
    now = {labels[0]: rate for labels, rate in _rates(history, SYSTEM_CLIENTS, window_s, 0.0).items()}
    past = {labels[0]: rate for labels, rate in _past(history, SYSTEM_CLIENTS, window_s, thresholds).items()}
    return _grown(now, past)


def most_objects(history: MetricsHistory, window_s: float) -> tuple[str, int] | None:
    """The resource with most objects, and how many; None: the server does not say."""
    counts = history.levels(OBJECTS, window_s)
    if not counts:
        return None
    labels, count = max(counts.items(), key=lambda entry: (entry[1], entry[0]))
    return labels[0], round(count)


def failing(view: ClusterView, api: Api, thresholds: Thresholds) -> Iterator[Case]:
    """Requests that end with 5xx."""
    window = api.window
    if window is None:
        return
    total, bad = 0.0, dict[tuple[str, str, str], float]()
    for (verb, resource, code), rise in view.metrics.rises(REQUESTS, window.end - window.begin).items():
        if verb in LASTING or resource.partition(".")[2] in _AGGREGATED:
            continue
        total += rise.increment
        if code.startswith("5") and rise.increment > 0:
            kind = verb, resource, code
            bad[kind] = bad.get(kind, 0.0) + rise.increment
    failed = sum(bad.values())
    if failed < thresholds.api_errors_min or failed <= thresholds.api_errors_ratio * total:
        return
    share = failed / total
    worst = sorted(bad, key=lambda kind: (-bad[kind], kind))[:_NAMED]
    said = ", ".join(f"{verb} {resource} ({code}: {bad[verb, resource, code]:.0f})" for verb, resource, code in worst)
    yield Case(
        codes.TIMEOUT,
        ("5xx",),
        f"{100 * share:.1f} % of the API server's requests failed with 5xx: {failed:.0f} of {total:.0f} in "
        f"{window.end - window.begin:.0f} s, most of all {said}",
        (api_server(view),),
        (
            fact("api.errors", "5xx", round(100 * share, 1), "%", window.end),
            *(
                fact(
                    "counter.api_errors",
                    f"{verb} {resource} {code}",
                    round(bad[verb, resource, code]),
                    "requests",
                    window.end,
                )
                for verb, resource, code in worst
            ),
        ),
        severity=Severity.CRITICAL if share >= _CRITICAL_SHARE else None,
        since=window.begin,
    )


def surge(view: ClusterView, api: Api, thresholds: Thresholds) -> Case | None:
    """Latency that has climbed with the number of requests; None: it has not."""
    window, load = api.window, api.traffic
    if window is None or load is None or not api.verbs or not load.climbed:
        return None
    span = window.end - window.begin
    top = grown(view.metrics, span, thresholds)[:_NAMED]
    known = clients(view.metrics, span, thresholds)[:_NAMED]
    worst = api.verbs[0]
    first = top[0] if top else None
    named = f", most of all {first.what}: {first.now:.1f}/s, before {first.before:.1f}/s" if first is not None else ""
    by = f"; of the control plane's own clients {_said(known)} grew" if known else ""
    told = [
        *traffic(api),
        *latencies(api),
        *(fact("counter.request_rate", each.what, round(each.now, 1), "requests/s", window.end) for each in top),
        *(fact("counter.client_rate", each.what, round(each.now, 1), "requests/s", window.end) for each in known),
    ]
    return Case(
        codes.SURGE,
        (),
        f"The 99th percentile of {worst.name} is {worst.p99_ms:.0f} ms, usually {worst.past_ms:.0f} ms, and requests "
        f"have grown with it ({load.said}){named}{by}",
        (api_server(view),),
        tuple(told),
        since=api.since,
    )


def _said(found: list[Grown]) -> str:
    return ", ".join(f"{each.what} ({each.before:.1f}/s to {each.now:.1f}/s)" for each in found)


def _rates(history: MetricsHistory, family: str, window_s: float, before_s: float) -> Mapping[Labels, float]:
    return {labels: rise.per_second for labels, rise in history.rises(family, window_s, before_s).items()}


def _past(history: MetricsHistory, family: str, window_s: float, thresholds: Thresholds) -> Mapping[Labels, float]:
    """Of the hour before the window; where nothing is known of it, of the time before the first sample."""
    rates = _rates(history, family, thresholds.api_past_s, window_s)
    return rates or {k: rise.per_second for k, rise in history.rises_before(family).items() if rise.seconds}


def _kinds(rates: Mapping[Labels, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for (verb, resource, _), rate in rates.items():
        if verb not in LASTING:
            kind = f"{verb} {resource}"
            found[kind] = found.get(kind, 0.0) + rate
    return found


def _grown(now: Mapping[str, float], past: Mapping[str, float]) -> list[Grown]:
    """Those that make up at least a tenth of all growth."""
    more = [Grown(what, rate, past.get(what, 0.0)) for what, rate in now.items() if rate > past.get(what, 0.0)]
    total = sum(each.now - each.before for each in more)
    more.sort(key=lambda each: (each.before - each.now, each.what))
    return [each for each in more if each.now - each.before >= total / 10]
