"""What several of the page's views have in common: findings told in short, and incidents: causes with their effects."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aggregator.findings import Record
from aggregator.model import Finding, Severity, Stage
from aggregator.signatures.catalog import CODES
from aggregator.story import tell
from aggregator.web.page import words


@dataclass(frozen=True, slots=True)
class Badge:
    """How bad it is, in a word and a shape: colour alone tells nothing."""

    key: str
    """For the style: "critical", "warning", "info", "quiet", "unseen"."""
    word: str
    stage: str = ""
    """ "active" or "risk"; empty: neither."""


QUIET = Badge("quiet", "quiet")
UNSEEN = Badge("unseen", "cannot be seen")


def badge_of(severity: Severity, stage: Stage) -> Badge:
    """Of one finding, or of the worst of several."""
    return Badge(severity.word, severity.word, stage.value)


@dataclass(frozen=True, slots=True)
class Brief:
    """A finding in a list."""

    id: str
    code: str
    title: str
    summary: str
    badge: Badge
    nodes: tuple[str, ...]
    since: float
    """When it began as far as is known, else when it was first seen; 0.0: neither is known."""
    exact: bool
    """`since` is when it began."""
    unconfirmed: str
    resolved: float | None
    because: str


def brief(record: Record) -> Brief:
    """Of a record."""
    finding = record.finding
    return Brief(
        id=finding.id,
        code=finding.code,
        title=words.title(finding.code),
        summary=finding.summary,
        badge=badge_of(finding.severity, finding.stage),
        nodes=finding.nodes,
        since=began(record),
        exact=bool(finding.since),
        unconfirmed=record.unconfirmed,
        resolved=record.resolved,
        because=record.because,
    )


def named(record: Record) -> frozenset[str]:
    """Nodes that a finding is about, or names among its objects."""
    objects = (each.removeprefix("Node/") for each in record.finding.objects if each.startswith("Node/"))
    return frozenset((*record.finding.nodes, *objects))


def began(record: Record) -> float:
    """When what a finding names began, as far as is known, else when it was first seen; 0.0: not known."""
    return record.finding.since or record.first_seen


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause with what follows from it: what is broken, why, since when, what to do first."""

    badge: Badge
    root: Brief
    suffers: Brief
    """What is felt of it; the root itself, where nothing follows from it."""
    steps: tuple[Brief, ...]
    """What lies between them, the cause first."""
    since: float
    """The earliest that is known of the chain; 0.0: nothing is."""
    first: tuple[str, ...]
    """What to do first."""
    others: tuple[Brief, ...]
    """What else follows."""
    unconfirmed: str

    @property
    def alone(self) -> bool:
        """Nothing follows from it."""
        return self.root.id == self.suffers.id


def incidents(records: Sequence[Record], most: int = 1_000_000) -> tuple[list[Incident], int]:
    """Standing findings by their causes, what is worst first: at most so many, and how many there are.

    Each finding that nothing explains is one; where findings name each other, the first of them is.
    """
    by_id = {record.finding.id: record for record in records}
    effects = _effects(records)
    whole: list[tuple[str, list[Record]]] = []
    told = set[str]()
    for record in [*(each for each in records if _is_root(each.finding, by_id)), *records]:
        if record.finding.id not in told:
            below = _reach(record.finding.id, effects)
            told |= below.keys()
            whole.append((record.finding.id, [by_id[each] for each in below]))
    whole.sort(key=lambda each: _weight(each[1], each[0]))
    return [_incident(root, found) for root, found in whole[:most]], len(whole)


def _reach(root: str, effects: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """A finding and all that follows from it."""
    reached, ahead = {root: None}, [root]
    while ahead:
        for each in effects.get(ahead.pop(), ()):
            if each not in reached:
                reached[each] = None
                ahead.append(each)
    return reached


def _is_root(finding: Finding, known: Container[str]) -> bool:
    return not any(cause in known for cause in finding.caused_by if cause != finding.id)


def _incident(root: str, records: Sequence[Record]) -> Incident:
    """`records`: the root and all that follows from it."""
    by_id = {record.finding.id: record for record in records}
    story = tell((record.finding for record in records), _felt(root, records))
    chain = [by_id[step.finding.id] for step in story.chain]
    told = {record.finding.id for record in chain}
    return Incident(
        badge=worst(records),
        root=brief(chain[0]),
        suffers=brief(chain[-1]),
        steps=tuple(brief(record) for record in chain[1:-1]),
        since=min((at for record in records if (at := began(record))), default=0.0),
        first=story.first or _usual(story.cause.code),
        others=tuple(brief(record) for record in records if record.finding.id not in told),
        unconfirmed=chain[0].unconfirmed,
    )


def _felt(root: str, records: Sequence[Record]) -> str:
    """What is felt of a cause: of the worst that follows from it, what is farthest from it."""
    effects = _effects(records)
    depth, ahead = {root: 0}, deque([root])
    while ahead:
        here = ahead.popleft()
        for each in effects.get(here, ()):
            if each not in depth:
                depth[each] = depth[here] + 1
                ahead.append(each)
    felt = max(
        records,
        key=lambda each: (each.finding.stage is Stage.ACTIVE, each.finding.severity, depth.get(each.finding.id, 0)),
    )
    return felt.finding.id


def _effects(records: Iterable[Record]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        for cause in record.finding.caused_by:
            found.setdefault(cause, []).append(record.finding.id)
    return found


def worst(records: Iterable[Record]) -> Badge:
    """Of several findings: what is active before what is a risk, then the severity. Quiet where there are none."""
    every = list(records)
    active = [record for record in every if record.finding.stage is Stage.ACTIVE]
    among = active or every
    if not among:
        return QUIET
    return badge_of(max(record.finding.severity for record in among), Stage.ACTIVE if active else Stage.RISK)


def _usual(code: str) -> tuple[str, ...]:
    known = CODES.get(code)
    return known.remediation if known is not None else ()


def _weight(records: Sequence[Record], root: str) -> tuple[bool, int, float, str]:
    risk = all(record.finding.stage is Stage.RISK for record in records)
    severity = max(record.finding.severity for record in records)
    return risk, -severity, min((at for record in records if (at := began(record))), default=float("inf")), root
