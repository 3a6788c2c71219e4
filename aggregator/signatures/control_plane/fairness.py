"""Priority and fairness: levels that reject requests or let them wait."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.cluster.metric_families import APF_REJECTED, APF_SEATS, APF_SEATS_LIMIT
from aggregator.model import Evidence, Severity
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.climb import Api
from aggregator.signatures.control_plane.facts import api_server, fact
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_OWN = frozenset({"system", "node-high", "leader-election"})
"""Levels of the cluster's own components: a kubelet or a controller that is turned away takes more with it."""


def throttled(view: ClusterView, api: Api, thresholds: Thresholds) -> Iterator[Case]:
    """One case for each priority level."""
    window = api.window
    if window is None:
        return
    seconds = window.end - window.begin
    rejected: dict[str, dict[str, float]] = {}
    for (level, schema, reason), rise in view.metrics.rises(APF_REJECTED, seconds).items():
        if rise.increment > 0:
            of_level = rejected.setdefault(level, {})
            which = f"{schema}, {reason}"
            of_level[which] = of_level.get(which, 0.0) + rise.increment
    waits = {climb.name: climb for climb in api.queues}
    for level in sorted({*rejected, *waits}):
        turned_away = sum(rejected.get(level, {}).values())
        wait = waits.get(level)
        if turned_away < thresholds.apf_rejected_min and wait is None:
            continue
        said, told = [], _seats(view, level, seconds, window.end)
        if turned_away >= thresholds.apf_rejected_min:
            reasons = rejected[level]
            worst = max(sorted(reasons), key=lambda which: reasons[which])
            said.append(f"rejected {turned_away:.0f} requests in {seconds:.0f} s (most of them: {worst})")
            told.append(fact("counter.apf_rejected", level, round(turned_away), "requests", window.end))
        if wait is not None:
            said.append(f"lets requests wait {wait.p99_ms:.0f} ms (99th percentile; usually {wait.past_ms:.0f} ms)")
            told.append(fact("apf.wait.p99", level, round(wait.p99_ms, 1), "ms", window.end))
        yield Case(
            codes.THROTTLED,
            (level,),
            f"priority level {level} {' and '.join(said)}",
            (f"PriorityLevelConfiguration/{level}", api_server(view)),
            tuple(told),
            severity=Severity.CRITICAL if level in _OWN else None,
            weight=turned_away,
            since=window.begin,
        )


def _seats(view: ClusterView, level: str, seconds: float, at: float) -> list[Evidence]:
    found = []
    for name, family in (("apf.seats", APF_SEATS), ("apf.seats.limit", APF_SEATS_LIMIT)):
        count = view.metrics.levels(family, seconds).get((level,))
        if count is not None:
            found.append(fact(f"counter.{name}", level, round(count), "seats", at))
    return found
