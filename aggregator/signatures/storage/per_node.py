"""What follows from a host's volumes and one kind of API objects of its node, asked again when either changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aggregator.cluster.objects import Attachment, Pod
from aggregator.cluster.state import ClusterState
from aggregator.signatures.storage.facts import Facts
from aggregator.signatures.storage.host_storage import Fleet

_T = TypeVar("_T")


@dataclass(slots=True)
class _Kept(Generic[_T]):
    """What was found, and what it followed from."""

    fleet: Fleet | None = None
    turn: int = 0
    """Of the fleet."""
    revision: int = -1
    found: dict[str, _T] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PerNode(Generic[_T]):
    """A question about each node that has an agent, and how its answers are kept."""

    name: str
    """Of its own, among all that is derived from the objects."""
    resource: str
    """Of objects that name their node: "pods", "volumeattachments"."""
    ask: Callable[[Facts, str], _T | None]
    """The answer for one node; None: nothing to tell of it."""

    def answers(self, facts: Facts) -> Mapping[str, _T]:
        """By node, for those with something to tell."""
        objects, fleet, hosts = facts.view.objects, facts.fleet, facts.fleet.hosts
        # Taken out while it is worked on: what raises leaves nothing half done behind.
        kept = objects.derived.pop(self.name, None)
        known: _Kept[_T] = kept if isinstance(kept, _Kept) else _Kept()
        if known.fleet is not fleet:
            known = _Kept(fleet)
        nodes = set(fleet.moves.since(known.turn))
        if known.revision < objects.revisions[self.resource]:
            moved = self._moved(objects, known.revision)
            nodes |= hosts.keys() if moved is None else moved & hosts.keys()
        if fleet.left > known.turn:
            for node in known.found.keys() - hosts.keys():
                del known.found[node]
        for node in nodes:
            answer = self.ask(facts, node)
            if answer is not None:
                known.found[node] = answer
            else:
                known.found.pop(node, None)
        known.turn = fleet.moves.turn
        known.revision = objects.revision
        objects.derived[self.name] = known
        return known.found

    def _moved(self, objects: ClusterState, since: int) -> set[str] | None:
        """Nodes of objects that changed; None: any may have."""
        changes = objects.changes(since) if since >= 0 else None
        if changes is None:
            return None
        both = (
            each for change in changes if change.resource == self.resource for each in (change.before, change.after)
        )
        return {each.node for each in both if isinstance(each, (Pod, Attachment))}
