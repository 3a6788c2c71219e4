"""What the live view knows of an aggregator at present: pure bookkeeping over what it answers and tells.

Findings come by themselves (WatchFindings), nodes and coverage are asked for. After a connection was lost everything
known is kept, with since when it is old, until the next answer takes its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nodetell.v1 import operator_pb2

from aggregator.convert import gap_from_message, record_from_message
from aggregator.findings import Record
from aggregator.model import Gap, Severity, report_order

Event = operator_pb2.FindingEvent
RESOLVED_S = 3_600.0
"""Findings that have been over for longer are not shown any more."""
MOST_RESOLVED = 200
"""So many of them are kept."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone."""

    since: float
    """Seconds since the epoch, by this host's clock."""
    reason: str
    """One line."""


@dataclass(slots=True)
class Seen:
    """Everything that is shown."""

    address: str
    """Of the aggregator."""
    nodes: Sequence[operator_pb2.NodeSummary] = ()
    standing: dict[str, Record] = field(default_factory=dict)
    """Findings that stand, by id."""
    resolved: list[Record] = field(default_factory=list)
    """Those that are over, the newest first."""
    gaps: Sequence[Gap] = ()
    version: str = ""
    """Of the aggregator."""
    ahead_s: float = 0.0
    """The aggregator's clock less this host's: its times are shown beside its own clock."""
    lost: Lost | None = None
    """None: findings are told as they come."""
    fresh: dict[str, Record] | None = None
    """What stands, being told anew; None: it was told."""

    # -- what is told ------------------------------------------------------------------------------------------------

    def take_nodes(self, answer: operator_pb2.ListNodesResponse, here: float) -> None:
        """All nodes; `here`: now, by this host's clock."""
        self.nodes, self.version = list(answer.nodes), answer.aggregator_version
        self.ahead_s = answer.at_unix_ms / 1000 - here if answer.at_unix_ms else 0.0

    def take_findings(self, answer: operator_pb2.ListFindingsResponse, *, standing: bool) -> None:
        """Coverage and what is over; with `standing`, for who does not watch, what stands as well."""
        records = [record_from_message(message) for message in answer.findings]
        self.gaps = [gap_from_message(message) for message in answer.coverage]
        self.resolved = [record for record in records if record.resolved is not None][:MOST_RESOLVED]
        if standing:
            self.standing = {record.finding.id: record for record in records if record.resolved is None}

    def begin(self) -> None:
        """A watch begins: what stands will be told anew."""
        self.fresh = {}

    def take(self, event: Event) -> None:
        """What became of a finding."""
        if event.kind == Event.KIND_SYNCED:
            if self.fresh is not None:
                self.standing, self.fresh = self.fresh, None
            self.lost = None
            return
        record = record_from_message(event.finding)
        known = self.standing if self.fresh is None else self.fresh
        if event.kind == Event.KIND_RESOLVED:
            known.pop(record.finding.id, None)
            others = [each for each in self.resolved if each.finding.id != record.finding.id]
            self.resolved = [record, *others][:MOST_RESOLVED]
        else:
            known[record.finding.id] = record

    def lose(self, here: float, reason: str) -> None:
        """The connection is gone; of several attempts the first moment counts."""
        self.lost = Lost(self.lost.since if self.lost is not None else here, reason)
        self.fresh = None

    # -- what follows from it ----------------------------------------------------------------------------------------

    def now(self, here: float) -> float:
        """Now by the aggregator's clock; while it is lost the moment of that, so that nothing seems to age."""
        return (here if self.lost is None else self.lost.since) + self.ahead_s

    def ordered(self) -> list[Record]:
        """What stands, in report order."""
        return [self.standing[each.id] for each in report_order([record.finding for record in self.standing.values()])]

    def over(self, here: float) -> list[Record]:
        """What was resolved in the last hour and does not stand again, each once, the newest first."""
        since = self.now(here) - RESOLVED_S
        newest: dict[str, Record] = {}
        for record in self.resolved:
            if (record.resolved or 0.0) >= since and record.finding.id not in self.standing:
                newest.setdefault(record.finding.id, record)
        return list(newest.values())

    def counts(self) -> str:
        """ "2 findings: 1 critical, 1 warning"."""
        by = Counter(record.finding.severity for record in self.standing.values())
        told = ", ".join(f"{by[severity]:,} {severity.word}" for severity in reversed(Severity) if by[severity])
        return f"{_number(len(self.standing), 'finding')}{f': {told}' if told else ''}"

    def nodes_line(self) -> str:
        """ "3 nodes: 2 connected, 1 silent"."""
        connected = sum(node.connected for node in self.nodes)
        told = [f"{connected:,} connected"] if self.nodes else []
        told += [f"{len(self.nodes) - connected:,} silent"] if connected < len(self.nodes) else []
        return _number(len(self.nodes), "node") + (f": {', '.join(told)}" if told else "")

    def coverage_line(self) -> str:
        """ "coverage: 12 gaps of 3 signals on 2 nodes"."""
        if not self.gaps:
            return "coverage: nothing is lacking"
        nodes = {gap.node for gap in self.gaps if gap.node}
        signals = {gap.signal for gap in self.gaps}
        where = f" on {_number(len(nodes), 'node')}" if nodes else ""
        return f"coverage: {_number(len(self.gaps), 'gap')} of {_number(len(signals), 'signal')}{where}"


def matching(nodes: Iterable[operator_pb2.NodeSummary], text: str) -> list[operator_pb2.NodeSummary]:
    """Nodes with a text in their name or zone, upper and lower case the same."""
    wanted = text.casefold()
    return [node for node in nodes if wanted in node.node.casefold() or wanted in node.zone.casefold()]


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
