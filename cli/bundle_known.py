"""An evidence bundle as the page and the API look at it: the other implementation of aggregator.known.Known.

Its moment is that of the last snapshot, and it never changes. What counters and gauges did from snapshot to snapshot
goes through the very code that a live aggregator keeps its history with, so charts of a bundle have points, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nodetell.v1 import operator_pb2

from agent.hosts.bundle import BundleError, open_bundle
from aggregator.convert import milliseconds
from aggregator.findings import Record, Transition
from aggregator.history.columns import Past, past_of
from aggregator.history.reading import Live, Point, Series, read, series_of
from aggregator.model import Gap
from aggregator.node_summary import node_answer, summary_of, with_api
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from cli.diagnose import join, judged, limits_of
from cli.exits import UNREADABLE, CliError
from cli.report import Report


@dataclass(frozen=True, slots=True)
class BundleKnown:
    """A diagnosed bundle."""

    report: Report
    hosts: ClusterView
    thresholds: Thresholds
    rows: Mapping[str, bytes]
    """What counters and gauges did, by node: a MinuteRows each."""
    listeners: list[Callable[[Transition], None]] = field(default_factory=list)
    """Never called."""

    @property
    def live(self) -> bool:
        """It is not."""
        return False

    @property
    def cluster(self) -> str:
        """As the bundle names it."""
        return self.report.cluster

    def now(self) -> float:
        """The last snapshot's time."""
        return self.report.at

    def view(self) -> ClusterView:
        """Hosts and objects of the last snapshot."""
        return self.hosts

    def standing(self) -> list[Record]:
        """What the diagnosis says, in its order."""
        return list(self.report.records)

    def resolved(self, limit: int) -> list[Record]:  # noqa: ARG002  # the protocol's
        """Nothing is ever over."""
        return []

    def gaps(self) -> list[Gap]:
        """Of the diagnosis."""
        return list(self.report.gaps)

    def gaps_in_parts(self) -> Iterator[list[Gap]]:
        """All at once: they are there."""
        return iter((self.gaps(),))

    def has(self, name: str) -> bool:
        """A host or an object of the bundle."""
        return name in self.hosts.hosts or name in self.hosts.nodes

    def node_names(self) -> list[str]:
        """Hosts of the bundle."""
        return sorted(self.hosts.hosts)

    def summaries(self, names: Sequence[str] | None = None) -> list[operator_pb2.NodeSummary]:
        """Of all of them, or of those."""
        findings = Counter(node for record in self.report.records for node in set(record.finding.nodes))
        wanted = self.hosts.hosts.keys() if names is None else self.hosts.hosts.keys() & set(names)
        return [self._summary(name, findings[name]) for name in sorted(wanted)]

    def node(self, name: str) -> operator_pb2.GetNodeResponse | None:
        """Everything the bundle says of a node."""
        state = self.hosts.hosts.get(name)
        if state is None:
            return node_answer(self.hosts, name)
        findings = sum(name in record.finding.nodes for record in self.report.records)
        return node_answer(self.hosts, name, self._summary(name, findings), state)

    def _summary(self, name: str, findings: int) -> operator_pb2.NodeSummary:
        state = self.hosts.hosts[name]
        summary = with_api(summary_of(state, findings, self.thresholds), self.hosts)
        summary.heard_at_unix_ms = milliseconds(state.at)
        summary.connected = state.at >= self.report.at
        return summary

    async def series(self, node: str, *, since: float, until: float) -> list[Series]:
        """Of its snapshots."""
        return await asyncio.to_thread(series_of, None, self._live(node), node, since=since, until=until)

    async def points(self, node: str, series: str, *, since: float, until: float) -> list[Point]:
        """Minute by minute; what rose between two snapshots, evenly between them."""
        return await asyncio.to_thread(read, None, self._live(node), node, series, since=since, until=until)

    async def past(self, node: str, *, since: float, until: float, step_s: float) -> Past:
        """From a node's first snapshot to its last: what lies between two is known as well as what they say."""
        live = self._live(node)
        past = await asyncio.to_thread(past_of, None, live, node, since=since, until=until, step_s=step_s)
        return replace(past, heard=((past.heard[0][0], past.heard[-1][1]),)) if past.heard else past

    def _live(self, node: str) -> list[Live]:
        return [Live(1, self.rows[node])] if node in self.rows else []


def known_of(path: str) -> BundleKnown:
    """The bundle there, diagnosed. Raises CliError where it cannot be read at all."""
    try:
        with open_bundle(Path(path)) as bundle:
            joined = join(bundle)
            report = judged(bundle, joined)
    except BundleError as error:
        raise CliError(UNREADABLE, str(error)) from error
    records = [Record(each.finding, each.origin, report.at, report.at) for each in report.records]
    rows = {name: minutes.pending() for name, minutes in joined.minutes.items()}
    whole = Report(report.cluster, report.at, records, report.gaps)
    return BundleKnown(whole, joined.view, limits_of(joined), rows)
