"""Incident 2, scheduler_stuck: pods that no node takes, and what tells before the first one waits.

A pure function of the joined view. Each module of aggregator/signatures/scheduler looks at one of its tells and makes
cases; cases of one cause become one finding here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aggregator.model import Verdict
from aggregator.signatures.case import Case, gather
from aggregator.signatures.scheduler import budgets, headroom, idle, pending, quota
from aggregator.signatures.scheduler.codes import CODES
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

RULES: tuple[Callable[[ClusterView, Thresholds], Iterable[Case]], ...] = (
    pending.cases,
    quota.cases,
    headroom.cases,
    budgets.cases,
)
"""Every module's `cases`; what needs the agents beside the API server is in idle."""


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings of the scheduler's incident for the whole cluster."""
    cases, gaps = idle.judge(view, thresholds)
    cases += [case for rule in RULES for case in rule(view, thresholds)]
    return Verdict(gather(view.cluster, cases, CODES), gaps)
