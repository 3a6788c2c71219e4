"""The few figures of a host by which a table of nodes is sorted: fsync, drops, path MTU.

One place works them out for the query service, the page and the terminal, from what the signatures look at and over the
windows that they use: a table and a finding never disagree. They are kept while the host is the same, and for FINE_S in
any case: windows are true to no less, and asking for all nodes must stay cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.histogram import quantile
from aggregator.node_state import FINE_S, NodeState
from aggregator.signatures.slow_fsync import window_of, worth_judging
from aggregator.signatures.thresholds import Thresholds

DROPS = frozenset({"rx_dropped", "rx_missed_errors", "tx_dropped"})
"""What /proc/net/dev adds up as drops. Fifo and frame errors are errors there, and here."""
_NAME = "figures"


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """Of one host. None: not known, which is not 0."""

    fsync_p99_us: int | None = None
    """Worst of all processes and disks; too few calls say nothing."""
    fsync_process: str = ""
    """Whose it is."""
    drops_per_s: float | None = None
    """Packets that its interfaces dropped."""
    path_mtu: int | None = None
    """Largest packet that arrives on the path that lacks most of its interface's MTU, of such the smallest, bytes."""
    path_interface_mtu: int = 0
    """MTU of the interface of that path, bytes."""
    path_peer: str = ""
    """Node at its other end."""
    paths_unanswered: int = 0
    """Paths on which nothing arrived at any size."""


def figures(state: NodeState, thresholds: Thresholds) -> NodeFigures:
    """The figures of a host as it is now, or was less than FINE_S ago."""
    known = state.derived.get(_NAME)
    if not isinstance(known, _Kept) or not known.holds(state, thresholds):
        p99, process = _fsync(state, thresholds)
        told = NodeFigures(p99, process, _drops(state, thresholds.window_s), *_paths(state))
        known = state.derived[_NAME] = _Kept(told, state.revision, state.at, thresholds)
    return known.figures


def fill(summary: operator_pb2.NodeSummary, told: NodeFigures) -> None:
    """Say them in a summary."""
    summary.fsync_process, summary.path_peer = told.fsync_process, told.path_peer
    summary.path_interface_mtu, summary.paths_unanswered = told.path_interface_mtu, told.paths_unanswered
    if told.fsync_p99_us is not None:
        summary.fsync_p99_us = told.fsync_p99_us
    if told.drops_per_s is not None:
        summary.drops_per_s = told.drops_per_s
    if told.path_mtu is not None:
        summary.path_mtu = told.path_mtu


@dataclass(frozen=True, slots=True)
class _Kept:
    figures: NodeFigures
    revision: int
    at: float
    thresholds: Thresholds

    def holds(self, state: NodeState, thresholds: Thresholds) -> bool:
        """They are what would be worked out now, or nearly."""
        recent = state.revision == self.revision or 0 <= state.at - self.at < FINE_S
        return recent and self.thresholds is thresholds


def _fsync(state: NodeState, thresholds: Thresholds) -> tuple[int | None, str]:
    worst: tuple[float, str] | None = None
    for item, _ in worth_judging(state):
        source = item.latency
        rises = state.rises(item.key, window_of(source, thresholds))
        p99 = quantile(source.bounds_us, rises[0], 0.99) if rises is not None else None
        if p99 is not None and (worst is None or p99 > worst[0]):
            worst = p99, source.process
    return (None, "") if worst is None else (round(worst[0]), worst[1])


def _drops(state: NodeState, window_s: float) -> float | None:
    known = any(
        subject.startswith("link/") and state.delta(subject, "rx_dropped", 0.0) is not None
        for subject in state.counters
    )
    if not known:
        return None
    rate = 0.0
    for subject, counter in state.faults(window_s):
        if counter in DROPS and subject.startswith("link/"):
            delta = state.delta(subject, counter, window_s)
            rate += delta.increment / delta.seconds if delta is not None and delta.seconds > 0 else 0.0
    return rate


def _paths(state: NodeState) -> tuple[int | None, int, str, int]:
    """(path MTU, interface's MTU, peer, unanswered) of the worst path."""
    paths = [item.path_mtu for item in state.of("path_mtu")]
    answered = [path for path in paths if path.HasField("path_mtu")]
    silent = len(paths) - len(answered)
    if not answered:
        return None, 0, "", silent
    worst = min(answered, key=_worst_first)
    return worst.path_mtu, worst.interface_mtu, worst.peer, silent


def _worst_first(path: facts_pb2.PathMtu) -> tuple[int, int, str]:
    lacking = max(0, path.interface_mtu - path.path_mtu)
    return -lacking, path.path_mtu, path.peer
