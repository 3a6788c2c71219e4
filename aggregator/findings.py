"""The life of findings: they appear, change, resolve. A stable identity is the signatures' part (model.finding_id).

A finding resolves as soon as its signature no longer makes it: configuration at once, counters when a whole window is
clean, which the signature's own window sees to. Three things keep it instead, unconfirmed: a node of it that is silent,
objects of the API server that it rests on and that can't be read at present, and a signature that failed. One whose
signature has not looked at everything yet stays as it is. Pure: time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from aggregator.engine import Judgement
from aggregator.model import Finding, report_order
from aggregator.signatures.case import API
from aggregator.wording import some

KEPT_RESOLVED = 1_000
"""Resolved findings that are kept at hand; the store has the rest."""
CLEARED = "cleared"
"""Why a finding resolved whose clear condition holds."""
_NAMED_NODES = 3
_MOVING_SIGNALS = ("counter.", "fsync.", "free.")
_MOVING_UNITS = frozenset({"s", "ms", "%"})


@dataclass(frozen=True, slots=True)
class Record:
    """A finding and its life. Times are seconds since the epoch by the aggregator's clock."""

    finding: Finding
    origin: str
    """Name of the signature that makes it."""
    first_seen: float
    last_seen: float
    """When the facts last confirmed it."""
    unconfirmed: str = ""
    """Why the facts can't confirm it at present; empty: they do."""
    resolved: float | None = None
    because: str = ""
    """Why it resolved."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What can be heard and read. A node that is in neither is not observed any more."""

    heard: Container[str]
    """Names of nodes whose facts are current."""
    silent: Mapping[str, str]
    """Why, by name of each node that is not heard at present and is still expected."""
    unread: Mapping[str, str] | None = field(default_factory=dict)
    """Why, by resource of the API server that is not read at present and is still expected to be. None: the API server
    is not asked at all."""


class Kind(StrEnum):
    """What happened to a finding."""

    APPEARED = "appeared"
    CHANGED = "changed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Transition:
    """A step in the life of a finding, with all that was known at that moment."""

    kind: Kind
    record: Record
    at: float


class FindingBook:
    """All findings that stand, and the latest that are over."""

    def __init__(self, standing: Iterable[Record] = (), resolved: Iterable[Record] = ()) -> None:
        """`resolved`: oldest first."""
        self.standing: dict[str, Record] = {record.finding.id: record for record in standing}
        self.resolved: deque[Record] = deque(resolved, maxlen=KEPT_RESOLVED)

    def ordered(self) -> list[Record]:
        """Standing ones in report order."""
        return [self.standing[finding.id] for finding in report_order([r.finding for r in self.standing.values()])]

    def update(self, judgement: Judgement, presence: Presence, now: float) -> list[Transition]:
        """Take in what the signatures say at `now`."""
        transitions = []
        found = {finding.id: finding for finding in judgement.verdict.findings}
        for key, finding in found.items():
            transitions += self._seen(finding, judgement.origins[key], presence, now)
        for key in [key for key in self.standing if key not in found]:
            transitions += self._missed(self.standing[key], judgement, presence, now)
        return transitions

    def _seen(self, finding: Finding, origin: str, presence: Presence, now: float) -> list[Transition]:
        before = self.standing.get(finding.id)
        if before is not None:
            finding = _with_silent_part(finding, before.finding, presence.silent)
        why = _silence(finding, presence)
        if before is None:
            record = Record(finding, origin, now, now, why)
            return [self._keep(Kind.APPEARED, record, now)]
        last_seen = before.last_seen if why else now
        record = replace(before, finding=finding, origin=origin, last_seen=last_seen, unconfirmed=why)
        return self._changed(before, record, now)

    def _missed(self, before: Record, judgement: Judgement, presence: Presence, now: float) -> list[Transition]:
        nodes = before.finding.nodes
        why = _silence(before.finding, presence) or judgement.unjudged(before.origin, nodes)
        if why:
            return self._changed(before, replace(before, unconfirmed=why), now)
        if before.finding.code in judgement.verdict.pending:
            return []
        rests_on = resources_of(before.finding)
        if rests_on and presence.unread is None:
            because = "not observed any more: the API server is not asked"
        elif rests_on or not nodes or any(node in presence.heard for node in nodes):
            because = CLEARED
        else:
            because = f"not observed any more: {some(nodes, _NAMED_NODES)}"
        record = replace(before, unconfirmed="", resolved=now, because=because)
        del self.standing[before.finding.id]
        self.resolved.append(record)
        return [Transition(Kind.RESOLVED, record, now)]

    def _changed(self, before: Record, record: Record, now: float) -> list[Transition]:
        if before.unconfirmed == record.unconfirmed and _same(before.finding, record.finding):
            self.standing[record.finding.id] = record
            return []
        return [self._keep(Kind.CHANGED, record, now)]

    def _keep(self, kind: Kind, record: Record, now: float) -> Transition:
        self.standing[record.finding.id] = record
        return Transition(kind, record, now)


def _same(before: Finding, finding: Finding) -> bool:
    """No news. Most signatures give the very finding again that they made before."""
    return before is finding or material(before) == material(finding)


def material(finding: Finding) -> Hashable:
    """What an operator wants to be told of when it changes. Two findings that differ in anything else are the same.

    Counters, latencies, what is free, ages and shares, and the sentences that quote them, are not in it: they move by
    themselves. Levels are: a finding over an MTU of 1500 is news when the MTU becomes 1480.
    """
    levels = frozenset(
        (fact.node, fact.signal, fact.subject, fact.value)
        for fact in finding.evidence
        if not fact.signal.startswith(_MOVING_SIGNALS) and fact.unit not in _MOVING_UNITS
    )
    causes = frozenset(finding.caused_by)
    return finding.stage, finding.severity, frozenset(finding.nodes), frozenset(finding.objects), causes, levels


def _with_silent_part(finding: Finding, before: Finding, silent: Mapping[str, str]) -> Finding:
    """A finding of several nodes keeps those that it had and that can't be asked now, with their evidence."""
    missing = tuple(node for node in _told_by_hosts(before) if node in silent and node not in finding.nodes)
    if not missing:
        return finding
    evidence = tuple(fact for fact in before.evidence if fact.node in missing)
    return replace(finding, nodes=(*finding.nodes, *missing), evidence=(*finding.evidence, *evidence))


def resources_of(finding: Finding) -> list[str]:
    """Resources of the API server that the finding rests on."""
    sources = dict.fromkeys(fact.source for fact in finding.evidence if fact.source.startswith(API))
    return [source.removeprefix(API) for source in sources]


def _told_by_hosts(finding: Finding) -> tuple[str, ...]:
    """Nodes of the finding whose agents must be heard to confirm it. What the API server alone says of a node is not
    silenced by its agent's silence: that may be what it is about."""
    if not resources_of(finding):
        return finding.nodes
    told = {fact.node for fact in finding.evidence if not fact.source.startswith(API)}
    return tuple(node for node in finding.nodes if node in told)


def _silence(finding: Finding, presence: Presence) -> str:
    """Why the facts can't confirm the finding at present; empty: they can."""
    unread = presence.unread or {}
    reasons = list(dict.fromkeys(unread[each] for each in resources_of(finding) if each in unread)) if unread else []
    waiting = [node for node in _told_by_hosts(finding) if node in presence.silent] if presence.silent else []
    reasons += [f"{node}: {presence.silent[node]}" for node in waiting[:_NAMED_NODES]]
    more = len(waiting) - _NAMED_NODES
    return "; ".join(reasons) + (f"; and {more} more" if more > 0 else "")
