"""State of every node, and the one task that evaluates it. Agents' streams deliver here (ingest.Sink).

An update is applied at once and judged a moment later, together with all others that came meanwhile; `take` returns
when the update is on disk, and what that judgement changed in findings. Once a second everything is judged in any
case: windows slide, nodes fall silent. After a start, nodes are as their last stored update left them, and silent until
their agents come. One event loop owns all of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from nodetell.logs import event
from nodetell.paced_log import PacedLog
from nodetell.v1 import agent_pb2, facts_pb2, operator_pb2

from aggregator import engine, probing
from aggregator.clock_offset import ClockSample
from aggregator.clocks import Clocks
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.state import ClusterState
from aggregator.convert import gap_from_coverage, iso_time, milliseconds
from aggregator.database import NotStoredError as NotStoredError  # noqa: PLC0414  # take() raises it
from aggregator.findings import FindingBook, Presence, Transition
from aggregator.history.base import Kept
from aggregator.history.keeper import History
from aggregator.limits import Reached, limit_items, limits_reached, pace_items
from aggregator.model import Gap
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState
from aggregator.node_summary import node_answer, summary_of
from aggregator.pacing import Paces
from aggregator.probing import Director
from aggregator.settings import FleetSettings, PathMtuSettings
from aggregator.signatures.thresholds import Thresholds
from aggregator.store import Store
from aggregator.view import ClusterView, Outage
from aggregator.work import Work

_log = logging.getLogger("nodetell.aggregator")

GATHER_S = 0.05
"""An update is judged so much later, with all that came meanwhile."""
SLIDE_S = 1.0
"""Without updates, all is judged this often."""
ARRANGE_S = 2.0
"""Who probes whom is planned anew at most this often ..."""
ARRANGE_SHARE = 50.0
"""... and after so many times as long as it took: 0.3 s for 5,000 nodes, 2 s at first."""
ARRANGE_AT_ONCE_S = 0.05
"""An evaluation plans for so long; what is left to plan, the next one does."""
REBUILD_AT_ONCE_S = 0.05
"""After a start, nodes are rebuilt from what is stored for so long between two evaluations."""
_DONE = object()
REST = 2.0
"""After a judgement the task rests so many times as long as it took, so that others get to run."""
STORE_WAIT_S = 5.0
"""An update whose findings are not on disk by then is given back to its agent, which waits for 10 s."""
CLOSE_S = 0.3
"""When the fleet is closed, agents wait so long for the disk."""

Judge = Callable[[ClusterView, Thresholds], engine.Judgement]


class ApiView(Protocol):
    """What the fleet is told of the API server's objects."""

    @property
    def objects(self) -> ClusterState:
        """The objects."""

    @property
    def metrics(self) -> MetricsHistory:
        """What the API server says of itself."""

    def current_until(self, now: float) -> float:
        """Up to when they are current by the API server's clock, where it is `now` by the aggregator's."""

    def clock_offset_s(self) -> float | None:
        """The API server's clock less the aggregator's; None: not known."""

    def outage(self, now: float) -> Outage | None:
        """Since when the API server has not answered; None: it does."""

    def unread(self) -> Mapping[str, str]:
        """Why, by resource that is not read at present."""

    def gaps(self) -> list[Gap]:
        """What of the API server can't be read, and why."""


@dataclass(slots=True)
class Node:
    """A node that an agent has reported for."""

    kept: Kept
    """What is known, and which update it is known from."""
    instance: bytes
    """Of the agent that connected last."""
    version: str
    heard_at: float
    """Seconds since the epoch by the aggregator's clock."""
    heard_mono: float
    """The same by its monotonic clock."""
    last_update: int = 0
    """Number of the last update of this instance that was taken in."""
    connected: bool = True

    @property
    def state(self) -> NodeState:
        """What is known."""
        return self.kept.state


class Fleet:
    """All nodes, and the findings about them."""

    def __init__(
        self,
        store: Store,
        book: FindingBook,
        *,
        history: History | None = None,
        cluster: str = "default",
        settings: FleetSettings | None = None,
        path_mtu: PathMtuSettings | None = None,
        thresholds: Thresholds | None = None,
        api: ApiView | None = None,
        judge: Judge = engine.judge,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nodes: dict[str, Node] = {}
        self.book = book
        self.paces = Paces()
        """How fast agents are heard."""
        self.listeners: list[Callable[[Transition], None]] = []
        """Called with each transition, in order, before it is on disk."""
        self.limits_of: list[Callable[[], list[Gap]]] = []
        """What else knows limits of its own: the surfaces."""
        self.work = Work()
        """What has been done so far."""
        self._store, self._judge, self._clock, self._monotonic = store, judge, clock, monotonic
        self._settings, self.thresholds = settings or FleetSettings(), thresholds or Thresholds()
        self._history = history or History(None, history_s=self._settings.history_s, clock=clock)
        self._cluster = cluster
        self._api = api
        self._objects = api.objects if api is not None else ClusterState()
        self._metrics = api.metrics if api is not None else MetricsHistory()
        self._path_mtu = path_mtu or PathMtuSettings()
        self._director = Director(
            peers=self._path_mtu.peers, interval_s=self._path_mtu.interval_s, secret=os.urandom(32)
        )
        self._roster = probing.Roster()
        self._arrange_mono = float("-inf")
        self._arranging: Iterator[None] | None = None
        """Who probes whom, being planned."""
        self._arrange_took = 0.0
        """Who probes whom is not planned anew before this, by the monotonic clock."""
        self._hosts: dict[str, NodeState] = {}
        """Nodes whose facts are known."""
        self._judgement = engine.Judgement()
        self._clocks = Clocks(self.thresholds.clock_offset_s, clock, monotonic)
        self._started, self._started_mono = clock(), monotonic()
        self._awaited = {node for record in book.standing.values() for node in record.finding.nodes}
        """Nodes that findings of an earlier life name and that were not heard in this one."""
        self._changed = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        """Of updates that the next judgement includes."""
        self._unstored: set[asyncio.Future[None]] = set()
        """Of updates whose agents wait."""
        self._commits: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._paced_log = PacedLog(_log, monotonic)

    # -- what agents say (ingest.Sink) -------------------------------------------------------------------------------

    def connect(self, hello: agent_pb2.Hello, peer: str) -> bool:
        """An agent is there. True: the state after hello.last_update of that instance is held."""
        if hello.node not in self.nodes:
            self._rebuild(hello.node)
        node = self.nodes.get(hello.node)
        if node is None:
            if len(self.nodes) >= self._settings.max_nodes:
                self._refuse(hello.node, peer)
                return False
            node = self.nodes[hello.node] = Node(self._history.fresh(hello.node), hello.instance, "", 0.0, 0.0)
        if node.instance != hello.instance:
            node.instance, node.last_update = hello.instance, 0
        elif 0 < node.last_update < hello.last_update:
            self._history.missing(hello.node, hello.last_update - node.last_update)
        node.version = node.kept.version = hello.version[:80]
        node.connected = True
        self._director.connected(hello.node, hello.instance)
        self._hear(node)
        return 0 < node.last_update == hello.last_update

    async def take(self, node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        """Take an update in; returns when it is on disk, and what it changed in findings is.

        Raises UpdateError if it does not fit, and NotStoredError if the disk does not take them in time: the agent
        comes again and says everything. It is judged meanwhile as if all were well.
        """
        known = self.nodes.get(node)
        if known is None:
            raise UpdateError(self._limit())
        if known.instance != instance:
            raise UpdateError(f"another agent reports for node {node}")
        stored = self._history.take(known.kept, instance, number, update)
        engine.prepare(known.state, self._objects.nodes.get(node))
        known.last_update = number
        self.work.updates += 1
        self._hosts[node] = known.state
        self._awaited.discard(node)
        self._hear(known)
        judged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(judged)
        self._unstored.add(judged)
        self._changed.set()
        try:
            async with asyncio.timeout(STORE_WAIT_S):
                await judged
                if stored is not None:
                    await stored
        except TimeoutError:
            self.work.not_stored += 1
            raise NotStoredError(self._store.problem or "it was not stored in time") from None
        finally:
            self._unstored.discard(judged)

    def heard(self, node: str, now_unix_ms: int) -> None:
        """The agent is alive and nothing changed; `now_unix_ms` by its host's clock."""
        known = self.nodes.get(node)
        if known is not None:
            known.state.touch(now_unix_ms / 1000)
            self._hear(known)

    def measured(self, node: str, sample: ClockSample) -> None:
        """The clock of the agent's host was read."""
        if node in self.nodes:
            self._clocks.add(node, sample)

    def instruction(self, node: str, instance: bytes) -> agent_pb2.Instruction | None:
        """What the agent is to be told next; None: nothing."""
        part = self._director.next_part(node, instance)
        return agent_pb2.Instruction(probe_plan=part) if part is not None else None

    def disconnect(self, node: str, instance: bytes) -> None:
        """The stream is gone."""
        known = self.nodes.get(node)
        if known is not None and known.instance == instance:
            known.connected = False

    def _hear(self, node: Node) -> None:
        node.heard_at, node.heard_mono = self._clock(), self._monotonic()

    def _limit(self) -> str:
        return f"fleet.max_nodes: {self._settings.max_nodes} nodes are known already, and no more are taken"

    def _refuse(self, node: str, peer: str) -> None:
        if len(self._refused) < self._settings.max_nodes and node not in self._refused:
            self._refused.add(node)
            event(_log, logging.ERROR, "node_refused", node=node, peer=peer, reason=self._limit())

    # -- after a restart ---------------------------------------------------------------------------------------------

    def _rebuild(self, name: str) -> None:
        """A node as it was when its last update was acknowledged, if that is stored and not done yet."""
        kept = self._history.rebuilt(name)
        if kept is None:
            return
        if name in self.nodes or len(self.nodes) >= self._settings.max_nodes:
            self._history.forget(name)
            return
        ago = max(0.0, self._clock() - kept.received)
        heard = kept.received, self._monotonic() - ago
        self.nodes[name] = Node(kept, kept.instance, kept.version, *heard, last_update=kept.number, connected=False)
        engine.prepare(kept.state, self._objects.nodes.get(name))
        self._hosts[name] = kept.state
        self._awaited.discard(name)

    def _rebuild_some(self) -> None:
        """A few of those whose agents have not come yet."""
        begun = time.monotonic()
        while (name := self._history.waiting()) is not None and time.monotonic() - begun < REBUILD_AT_ONCE_S:
            self._rebuild(name)
            self._changed.set()

    # -- judging -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Judge, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(SLIDE_S):
                    await self._changed.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._changed.clear()
            begun = time.monotonic()
            self.evaluate()
            self._rebuild_some()
            self._history.step()
            await asyncio.sleep(REST * (time.monotonic() - begun))

    async def close(self) -> None:
        """Judge what has come and let it get to the disk if that takes no time; nobody waits for it afterwards."""
        self.evaluate()
        if self._commits:
            await asyncio.wait(self._commits, timeout=CLOSE_S)
        _give_back(list(self._unstored), "the aggregator stops")

    def evaluate(self) -> None:
        """Judge everything now, tell the listeners, send what changed to the store."""
        waiting, self._waiting = self._waiting, []
        begun = time.monotonic()
        try:
            transitions = self._evaluate()
        except Exception as error:  # noqa: BLE001  # a defect: the agents concerned come again, the task goes on
            _log.exception("event=evaluation_failed")
            self.work.failed += 1
            _give_back(waiting, f"the findings could not be evaluated: {error}")
            return
        self.work.evaluations.note(time.monotonic() - begun)
        if transitions:
            commit = asyncio.get_running_loop().create_task(self._commit(transitions, waiting))
            self._commits.add(commit)
            commit.add_done_callback(self._commits.discard)
        else:
            _release(waiting)

    def _evaluate(self) -> list[Transition]:
        now = self._clock()
        presence = self._presence()
        self._clocks.settle(self._hosts, self._api.clock_offset_s() if self._api is not None else None)
        view = self.view()
        self._arrange_probing(view, presence)
        judgement = self._judge(view, self.thresholds)
        self._log_failures(self._judgement, judgement)
        self._judgement = judgement
        self.work.signatures_failed = len(judgement.failed)
        transitions = self.book.update(judgement, presence, now)
        for transition in transitions:
            finding = transition.record.finding
            self._paced_log.event(
                logging.INFO,
                f"finding_{transition.kind.value}",
                finding.id,
                id=finding.id,
                stage=finding.stage.value,
                severity=finding.severity.word,
                summary=finding.summary,
                unconfirmed=transition.record.unconfirmed,
                because=transition.record.because,
            )
            for listener in self.listeners:
                listener(transition)
        return transitions

    def _arrange_probing(self, view: ClusterView, presence: Presence) -> None:
        """Plan who probes whom, from time to time, among the nodes that are heard."""
        now = self._monotonic()
        if self._arranging is None:
            if not self._path_mtu.enabled or now < self._arrange_mono:
                return
            hosts = (
                (state, self.nodes[name].instance) for name, state in self._hosts.items() if name in presence.heard
            )
            members, classes = self._roster.members(hosts), self._roster.classes(view.nodes)
            self._arranging, self._arrange_took = self._director.arranging(members, classes), 0.0
        begun, took = time.monotonic(), 0.0
        while self._arranging is not None and took < ARRANGE_AT_ONCE_S:
            done = next(self._arranging, _DONE) is _DONE
            took = time.monotonic() - begun
            if done:
                self._arranging = None
                self._arrange_mono = now + max(ARRANGE_S, ARRANGE_SHARE * (self._arrange_took + took))
        self._arrange_took += took

    @staticmethod
    def _log_failures(before: engine.Judgement, after: engine.Judgement) -> None:
        for name, reason in after.failed.items():
            if before.failed.get(name) != reason:
                event(_log, logging.ERROR, "signature_failed", signature=name, reason=reason)
        for name, nodes in after.left_out.items():
            for node, reason in nodes.items():
                if before.left_out.get(name, {}).get(node) != reason:
                    event(_log, logging.ERROR, "signature_failed", signature=name, node=node, reason=reason)

    def view(self) -> ClusterView:
        """Hosts and API objects as they are now."""
        now = self._clock()
        current = self._api.current_until(now) if self._api is not None else now
        outage = self._api.outage(now) if self._api is not None else None
        return ClusterView(self._cluster, self._hosts, self._objects, current, self._metrics, outage, gradual=True)

    async def _commit(self, transitions: list[Transition], waiting: list[asyncio.Future[None]]) -> None:
        await self._store.commit(transitions)
        _release(waiting)

    def _presence(self) -> Presence:
        """Who is heard. Drops nodes that have been silent for too long."""
        now, settings = self._monotonic(), self._settings
        silent: dict[str, str] = {}
        for name, node in list(self.nodes.items()):
            quiet = now - node.heard_mono
            if quiet > settings.forget_after_s:
                event(_log, logging.WARNING, "node_forgotten", node=name, heard=iso_time(node.heard_at))
                del self.nodes[name]
                self._history.forget(name)
                self._director.gone(name)
                self._hosts.pop(name, None)
                self._clocks.forget(name)
            elif quiet > settings.silent_after_s:
                silent[name] = f"not heard since {iso_time(node.heard_at)}"
        if now - self._started_mono > settings.forget_after_s:
            self._awaited.clear()
        for name in self._awaited:
            silent[name] = f"not heard since the aggregator started at {iso_time(self._started)}"
        unread = self._api.unread() if self._api is not None else None
        return Presence({name for name in self._hosts if name not in silent}, silent, unread)

    # -- what operators ask ------------------------------------------------------------------------------------------

    def gaps(self) -> list[Gap]:
        """What limits the diagnosis: the store, the API server, the signatures, then each node's own coverage."""
        return [gap for part in self.gaps_in_parts() for gap in part]

    def gaps_in_parts(self) -> Iterator[list[Gap]]:
        """The same, a node at a time: between two parts, others may have their turn."""
        yield self.own_gaps()
        for name in sorted(self._hosts):
            if (host := self._hosts.get(name)) is not None:
                yield [gap_from_coverage(name, coverage) for coverage in host.coverage()]
        for name in ("", *sorted(self.nodes)):
            yield [gap_from_coverage(name, item.coverage) for item in pace_items(self._held_back(name))]

    def own_gaps(self) -> list[Gap]:
        """... without what agents say of their nodes' coverage, and what holds them back."""
        gaps = []
        if self._store.problem:
            gaps.append(Gap("", "store", "missing", f"findings can't be stored: {self._store.problem}"))
        if self._store.notice:
            gaps.append(Gap("", "store", "damaged", self._store.notice))
        gaps += self._history.gaps()
        if self._api is not None:
            gaps += self._api.gaps()
        gaps += [gap for limits in self.limits_of for gap in limits()]
        gaps += self._clocks.gaps()
        return gaps + self._judgement.verdict.gaps

    def _held_back(self, name: str) -> dict[str, Reached]:
        return self.paces.reached(name, self._monotonic())

    def reached(self, name: str) -> Mapping[str, Reached]:
        """Limits by which something of a node is left out or held back. Raises KeyError if it is not known."""
        return {**self.nodes[name].state.reached, **self._held_back(name)}

    def silent(self) -> list[str]:
        """Nodes that are expected and not heard."""
        now, after = self._monotonic(), self._settings.silent_after_s
        return [*(name for name, node in self.nodes.items() if now - node.heard_mono > after), *self._awaited]

    def limited(self, name: str) -> list[facts_pb2.Item]:
        """Coverage entries for what of a node is left out or held back. Raises KeyError if it is not known."""
        return [*limit_items(self.nodes[name].state.reached), *pace_items(self._held_back(name))]

    def summaries(self, names: Iterable[str] | None = None) -> list[operator_pb2.NodeSummary]:
        """All nodes, by name; of `names`, those that are known."""
        findings = self._findings_by_node()
        wanted = self.nodes if names is None else self.nodes.keys() & set(names)
        return [self._summary(name, self.nodes[name], findings) for name in sorted(wanted)]

    def summary(self, name: str) -> operator_pb2.NodeSummary:
        """One node. Raises KeyError if it is not known."""
        return self._summary(name, self.nodes[name], self._findings_by_node())

    def answer(self, name: str) -> operator_pb2.GetNodeResponse | None:
        """Everything known of a node; of one without an agent, what the API server says. None: nobody knows it."""
        node = self.nodes.get(name)
        if node is None:
            return node_answer(self.view(), name)
        return node_answer(self.view(), name, self.summary(name), node.state, self.limited(name))

    def _findings_by_node(self) -> Mapping[str, int]:
        return Counter(node for record in self.book.standing.values() for node in set(record.finding.nodes))

    def _summary(self, name: str, node: Node, findings: Mapping[str, int]) -> operator_pb2.NodeSummary:
        state = node.state
        summary = summary_of(state, findings.get(name, 0), self.thresholds)
        summary.connected, summary.agent_version = node.connected, node.version
        summary.heard_at_unix_ms = milliseconds(node.heard_at)
        summary.limits.extend(limits_reached({**state.reached, **self._held_back(name)}))
        return summary


def _release(waiting: list[asyncio.Future[None]]) -> None:
    for judged in waiting:
        if not judged.done():
            judged.set_result(None)


def _give_back(waiting: list[asyncio.Future[None]], reason: str) -> None:
    for judged in waiting:
        if not judged.done():
            judged.set_exception(NotStoredError(reason))
