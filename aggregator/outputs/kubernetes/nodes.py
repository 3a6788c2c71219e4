"""Which Nodes have to be patched: those are looked at that something has happened to, and all of them now and then.

Thousands of Nodes are not compared anew for each finding that comes, nor for each patch that the watch shows.
"""

from __future__ import annotations

from collections.abc import Iterable

from aggregator.findings import Kind, Record, Transition
from aggregator.outputs.kubernetes.conditions import Patch, patch_of, type_of, wanted
from aggregator.view import ClusterView

SEEN_S = 120.0
"""The watch shows a Node that was patched within this; else it is taken as it is."""
ALL_S = 60.0
"""Between two looks at all Nodes."""


class Nodes:
    """What is to be patched. Pure; time is passed in, seconds of a monotonic clock."""

    def __init__(self, standing: Iterable[Record]) -> None:
        self._standing: dict[str, Record] = {}
        self._on: dict[str, dict[str, Record]] = {}
        """Findings that stand, by node and id."""
        self._held: dict[str, set[str]] = {}
        """Types that findings of this life have named, by node."""
        self._due: dict[str, Patch] = {}
        self._touched: set[str] = set()
        """Nodes to look at."""
        self._patched: dict[str, tuple[str, float]] = {}
        """Version of a Node when it was patched, and when that was."""
        self._observed: frozenset[str] = frozenset()
        """Nodes of whose hosts something was known."""
        self._revision = -1
        self._all_at = float("-inf")
        for record in standing:
            self._put(record)

    @property
    def waiting(self) -> int:
        """Nodes to be patched."""
        return len(self._due)

    def take(self, transition: Transition) -> None:
        """A finding takes a step."""
        last = self._standing.pop(transition.record.finding.id, None)
        if last is not None:
            for node in last.finding.nodes:
                self._on.get(node, {}).pop(last.finding.id, None)
            self._touched.update(last.finding.nodes)
        if transition.kind is not Kind.RESOLVED:
            self._put(transition.record)

    def _put(self, record: Record) -> None:
        finding = record.finding
        self._standing[finding.id] = record
        for node in finding.nodes:
            self._on.setdefault(node, {})[finding.id] = record
            self._held.setdefault(node, set()).add(type_of(finding.incident))
        self._touched.update(finding.nodes)

    def next(self, view: ClusterView, now: float) -> Patch | None:
        """The most urgent patch; None: all Nodes are as they should be."""
        for name in self._to_look_at(view, now):
            self._look(name, view, now)
        return min(self._due.values(), key=lambda each: (each.rank, each.node)) if self._due else None

    def done(self, patch: Patch, now: float) -> None:
        """It is patched, or can't be: the Node is left alone until the watch shows another version of it."""
        self._patched[patch.node] = patch.version, now
        self._due.pop(patch.node, None)

    def _to_look_at(self, view: ClusterView, now: float) -> set[str]:
        objects = view.objects
        changes = objects.changes(self._revision)
        names, self._touched = self._touched, set()
        if len(view.hosts) != len(self._observed):  # what was left on one that is not observed can be judged now
            names |= self._observed ^ view.hosts.keys()
            self._observed = frozenset(view.hosts)
        if changes is None or now - self._all_at >= ALL_S:
            self._all_at = now
            names.update(view.nodes, self._due, self._patched)
        else:
            names.update(each.key for each in changes if each.resource == "nodes")
        self._revision = objects.revision
        return names

    def _look(self, name: str, view: ClusterView, now: float) -> None:
        node = view.nodes.get(name)
        self._due.pop(name, None)
        version, at = self._patched.get(name, ("", 0.0))
        if node is not None and version == node.version and now - at < SEEN_S:
            return
        self._patched.pop(name, None)
        on = self._on.get(name, {})
        if not on:
            self._on.pop(name, None)
        if node is None:
            if not on:
                self._held.pop(name, None)
            return
        held = self._held.get(name, ())
        patch = patch_of(node, wanted(on.values()), held, observed=name in view.hosts, now=view.now)
        if patch is not None:
            self._due[name] = patch
