"""Incident 4, storage_gravity: what keeps a volume from being where its pod is.

A pure function of the joined view. Each module of aggregator/signatures/storage looks at one stretch of the way from a
pod to its mount and makes cases; cases of one cause become one finding here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aggregator.model import Verdict
from aggregator.signatures.case import Case, gather
from aggregator.signatures.storage import binding, mounts, placement, provisioning, resize
from aggregator.signatures.storage.codes import CODES
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

RULES: tuple[Callable[[ClusterView, Thresholds], Iterable[Case]], ...] = (
    placement.cases,
    provisioning.cases,
    mounts.cases,
    resize.cases,
    binding.cases,
)
"""Every module's `cases`."""


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings of the storage incident for the whole cluster."""
    cases = [case for rule in RULES for case in rule(view, thresholds)]
    return Verdict(findings=gather(view.cluster, cases, CODES))
