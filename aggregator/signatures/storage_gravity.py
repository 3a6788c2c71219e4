"""Incident 4, storage_gravity: what keeps a volume from being where its pod is.

A pure function of the joined view. Each module of aggregator/signatures/storage looks at one stretch of the way from a
pod to its mount and makes cases; cases of one cause become one finding here. What one rule has explained of a volume,
no vaguer one says again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from aggregator.model import Finding, Severity, Stage, Verdict
from aggregator.signatures.case import Case, gather
from aggregator.signatures.storage import (
    abandoned,
    attachment,
    binding,
    io_errors,
    limits,
    mounts,
    orphans,
    placement,
    provisioning,
    resize,
    stranded,
    told,
)
from aggregator.signatures.storage.codes import ATTACH_TIMEOUT, CODES, STRANDED_ON_LOSS
from aggregator.signatures.storage.facts import Facts, facts_of
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

RULES: tuple[Callable[[ClusterView, Thresholds], Iterable[Case]], ...] = (
    placement.cases,
    abandoned.cases,
    provisioning.cases,
    mounts.cases,
    resize.cases,
    binding.cases,
)
"""`cases` of the modules about where a volume may be, how it is made, mounted and made larger."""

_LOST = "storage.lost"
_POD = "Pod/"
_VOLUME = "PersistentVolume/"


@dataclass(frozen=True, slots=True)
class _Lost:
    """Findings, and the cases that they were made of."""

    cluster: str
    cases: Iterable[Case]
    findings: list[Finding]


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings of the storage incident for the whole cluster."""
    cases = [*_joined(facts_of(view, thresholds)), *(case for rule in RULES for case in rule(view, thresholds))]
    lost = _lost(view, thresholds)
    pending = {STRANDED_ON_LOSS} if stranded.pending(view) else set()
    return Verdict([*gather(view.cluster, _worse_for_several(view, cases), CODES), *lost], pending=pending)


def _lost(view: ClusterView, thresholds: Thresholds) -> list[Finding]:
    """What a loss would strand: thousands of objects, put together when that changes."""
    cases = stranded.cases(view, thresholds)
    kept = view.objects.derived.get(_LOST)
    if not isinstance(kept, _Lost) or kept.cases is not cases or kept.cluster != view.cluster:
        kept = view.objects.derived[_LOST] = _Lost(view.cluster, cases, gather(view.cluster, cases, CODES))
    return kept.findings


def _worse_for_several(view: ClusterView, cases: list[Case]) -> list[Case]:
    """What harms several workloads, or pods on several nodes, is critical, unless the cases say themselves how bad they
    are."""
    suffering: dict[tuple[str, tuple[str, ...]], tuple[set[str], set[str]]] = {}
    for case in cases:
        if case.stage is Stage.ACTIVE and case.severity is None and case.objects[:1]:
            pod = view.objects.pods.get(case.objects[0].removeprefix(_POD))
            if pod is not None:
                workloads, nodes = suffering.setdefault((case.code, case.about), (set(), set()))
                workloads.add(pod.owner.uid if pod.owner is not None else pod.key)
                nodes.add(pod.node)
    several = {cause for cause, harmed in suffering.items() if max(map(len, harmed)) > 1}
    return [
        replace(case, severity=Severity.CRITICAL)
        if case.severity is None and case.stage is Stage.ACTIVE and (case.code, case.about) in several
        else case
        for case in cases
    ]


def _joined(facts: Facts) -> list[Case]:
    """Cases of the rules that join API objects with hosts."""
    cases = list(attachment.cases(facts))
    attaching = _volumes(case for case in cases if case.code != ATTACH_TIMEOUT)
    cases += limits.full_nodes(facts)
    cases += orphans.cases(facts, attaching)
    failing = list(io_errors.cases(facts))
    active = _volumes(case for case in (*cases, *failing) if case.stage is Stage.ACTIVE)
    return [*cases, *failing, *told.cases(facts, active)]


def _volumes(cases: Iterable[Case]) -> set[str]:
    """Names of the PersistentVolumes that they are about."""
    return {each.removeprefix(_VOLUME) for case in cases for each in case.objects if each.startswith(_VOLUME)}
