"""What the page, the HTTP API and all outputs are made from: the one way they look at what is known.

A live aggregator is one, a bundle another (the command's `diagnose --serve`): nothing that shows or sends things
knows which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from nodetell.v1 import operator_pb2

from aggregator.findings import Record, Transition
from aggregator.fleet import Fleet
from aggregator.history.columns import Past
from aggregator.history.keeper import History
from aggregator.history.reading import Point, Series
from aggregator.model import Gap
from aggregator.node_summary import with_api
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView


class Known(Protocol):
    """Everything that is known at present. One event loop owns it, and calls must be made there."""

    @property
    def live(self) -> bool:
        """It changes: False for a bundle."""

    @property
    def cluster(self) -> str:
        """Name of the cluster."""

    @property
    def thresholds(self) -> Thresholds:
        """What findings are judged by."""

    @property
    def listeners(self) -> list[Callable[[Transition], None]]:
        """Called with each transition of a finding, in order. Must return at once."""

    def now(self) -> float:
        """Seconds since the epoch: of a bundle the time of its last snapshot."""

    def view(self) -> ClusterView:
        """Hosts and objects of the API server. What it holds is live: look at it before the next await."""

    def standing(self) -> list[Record]:
        """Findings that stand, in report order."""

    def resolved(self, limit: int) -> list[Record]:
        """Findings that are over, the newest first, at most `limit`."""

    def gaps(self) -> list[Gap]:
        """What limits the diagnosis: coverage."""

    def gaps_in_parts(self) -> Iterator[list[Gap]]:
        """The same: of thousands of nodes, let others have their turn between two parts."""

    def node_names(self) -> list[str]:
        """Nodes with an agent, by name."""

    def has(self, name: str) -> bool:
        """A node of this name is known: an agent has told of it, or the API server has it."""

    def summaries(self, names: Sequence[str] | None = None) -> list[operator_pb2.NodeSummary]:
        """Nodes with an agent, by name, with what the API server says of them; of `names`, those that there are. Some
        40 us each: of thousands, ask for a part at a time."""

    def node(self, name: str) -> operator_pb2.GetNodeResponse | None:
        """Everything known of a node; of one without an agent, what the API server says. None: nobody knows it."""

    async def series(self, node: str, *, since: float, until: float) -> list[Series]:
        """Series of a node that have minute values in [since, until). Raises HistoryError."""

    async def points(self, node: str, series: str, *, since: float, until: float) -> list[Point]:
        """Minute values of a series, oldest first. Raises HistoryError."""

    async def past(self, node: str, *, since: float, until: float, step_s: float) -> Past:
        """When anything was told of a node in [since, until), and its latency histograms by columns of `step_s` (at
        least a minute). Raises HistoryError."""


class LiveKnown:
    """A running aggregator."""

    def __init__(self, fleet: Fleet, history: History, cluster: str, clock: Callable[[], float]) -> None:
        self._fleet, self._history, self._cluster, self._clock = fleet, history, cluster, clock

    @property
    def live(self) -> bool:
        """It is."""
        return True

    @property
    def cluster(self) -> str:
        """As the settings say."""
        return self._cluster

    @property
    def thresholds(self) -> Thresholds:
        """As the settings say."""
        return self._fleet.thresholds

    @property
    def listeners(self) -> list[Callable[[Transition], None]]:
        """The fleet's own."""
        return self._fleet.listeners

    def now(self) -> float:
        """By the aggregator's clock."""
        return self._clock()

    def view(self) -> ClusterView:
        """As signatures see it."""
        return self._fleet.view()

    def standing(self) -> list[Record]:
        """In report order."""
        return self._fleet.book.ordered()

    def resolved(self, limit: int) -> list[Record]:
        """The newest first."""
        return list(islice(reversed(self._fleet.book.resolved), limit))

    def gaps(self) -> list[Gap]:
        """Of everything."""
        return self._fleet.gaps()

    def gaps_in_parts(self) -> Iterator[list[Gap]]:
        """Of everything."""
        return self._fleet.gaps_in_parts()

    def has(self, name: str) -> bool:
        """To agents or the API server."""
        return name in self._fleet.nodes or name in self._fleet.view().nodes

    def node_names(self) -> list[str]:
        """Of all nodes that an agent has reported for."""
        return sorted(self._fleet.nodes)

    def summaries(self, names: Sequence[str] | None = None) -> list[operator_pb2.NodeSummary]:
        """Of all of them, or of those."""
        view = self._fleet.view()
        return [with_api(summary, view) for summary in self._fleet.summaries(names)]

    def node(self, name: str) -> operator_pb2.GetNodeResponse | None:
        """As the operators' service gives it."""
        return self._fleet.answer(name)

    async def series(self, node: str, *, since: float, until: float) -> list[Series]:
        """From the history."""
        return await self._history.series(node, since=since, until=until)

    async def points(self, node: str, series: str, *, since: float, until: float) -> list[Point]:
        """From the history."""
        return await self._history.read(node, series, since=since, until=until)

    async def past(self, node: str, *, since: float, until: float, step_s: float) -> Past:
        """From the history."""
        return await self._history.past(node, since=since, until=until, step_s=step_s)
