"""How much of the cluster is seen, and how well: without it, quiet means nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nodetell import signals

from aggregator.model import Gap
from aggregator.view import ClusterView
from aggregator.wording import without_node


@dataclass(frozen=True, slots=True)
class Seen:
    """Nodes and the API server, in short."""

    nodes: int
    """That there are, as far as is known."""
    heard: int
    """Whose agents are connected, or that are in the bundle's last snapshot."""
    silent: tuple[str, ...]
    """Nodes whose agents are not heard, or that have none."""
    api: bool
    """Objects of the API server are known."""
    outage: str
    """Why the API server does not answer; empty: it does, or is not asked."""
    limits: int | None
    """Signals that are read less well than they could be, on any node; None: that is being gathered."""

    @property
    def whole(self) -> bool:
        """Every node is heard, and the API server too."""
        return self.nodes > 0 and self.heard >= self.nodes and self.api and not self.outage

    @property
    def share(self) -> int:
        """Of the nodes, in whole percent, never 100 where one is missing."""
        return min(99, 100 * self.heard // self.nodes) if 0 < self.heard < self.nodes else 100 * bool(self.heard)


def seen(view: ClusterView, connected: Mapping[str, bool], limited: int | None) -> Seen:
    """`connected`: by name of each node with an agent, whether it is heard; `limited`: signals that could be better."""
    every = sorted({*view.nodes, *connected})
    silent = tuple(name for name in every if not connected.get(name))
    return Seen(
        nodes=len(every),
        heard=len(every) - len(silent),
        silent=silent,
        api=view.objects.knows("nodes"),
        outage=view.outage.reason if view.outage is not None else "",
        limits=limited,
    )


@dataclass(frozen=True, slots=True)
class Limit:
    """What is the same on several nodes."""

    signal: str
    what: str
    """What the signal is, in a few words; empty: not known."""
    status: str
    because: str
    remedy: str
    nodes: tuple[str, ...]
    """None: it is about the whole."""


Alike = dict[tuple[str, str, str, str], list[Gap]]
"""Gaps that differ in the node alone."""


def add(alike: Alike, gap: Gap) -> None:
    """Put a gap to those like it."""
    alike.setdefault((gap.signal, gap.status, without_node(gap.because, gap.node), gap.remedy), []).append(gap)


def limits(gaps: Iterable[Gap]) -> list[Limit]:
    """Gaps of the diagnosis, those alike together: what concerns the whole first, then what concerns most nodes."""
    alike: Alike = {}
    for gap in gaps:
        add(alike, gap)
    return limits_of(alike)


def limits_of(alike: Alike) -> list[Limit]:
    """The same of gaps that are put together already."""
    found = []
    for (signal, status, general, remedy), gaps in alike.items():
        nodes = tuple(sorted({gap.node for gap in gaps if gap.node}))
        because = general if len(nodes) > 1 else gaps[0].because
        found.append(Limit(signal, _what(signal), status, because, remedy, nodes))
    return sorted(found, key=lambda each: (bool(each.nodes), -len(each.nodes), each.signal, each.because))


def _what(name: str) -> str:
    known = signals.BY_NAME.get(name)
    return known.what if known is not None else ""


@dataclass(frozen=True, slots=True)
class SignalSeen:
    """One signal over all hosts."""

    name: str
    what: str
    measured: int
    """Hosts on which something of it is read."""
    limited: int
    """Nodes that say that it could be better."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What limits the diagnosis, and what is read where."""

    limits: tuple[Limit, ...]
    signals: tuple[SignalSeen, ...]
    hosts: int

    @property
    def signals_limited(self) -> int:
        """Signals that are read less well than they could be, on any node."""
        return len({each.signal for each in self.limits})


def coverage(limited: Sequence[Limit], read: Mapping[str, int], hosts: int) -> Coverage:
    """`read`: on how many hosts something of a signal is read, by its name."""
    on: dict[str, set[str]] = {}
    for each in limited:
        on.setdefault(each.signal, set()).update(each.nodes)
    return Coverage(
        tuple(limited),
        tuple(
            SignalSeen(each.name, each.what, read.get(each.name, 0), len(on.get(each.name, ())))
            for each in signals.SIGNALS
            if each.collector
        ),
        hosts,
    )
