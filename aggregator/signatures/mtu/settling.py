"""Observations of one node made to know of each other: harm makes a configuration active, one hole is one finding.

All but one thing is decided node by node. The one: where fragments do not arrive whole is one node, whose configuration
cut them is another's. What of that concerns all nodes is put together once, as `Elsewhere`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aggregator.model import Evidence, RuledOut, Stage
from aggregator.signatures.mtu import configuration, fragments, lookalikes, paths
from aggregator.signatures.mtu.observation import Cause, Observation
from aggregator.signatures.mtu.window import NIC_ERRORS, QUEUE_DROPS

_CONFIGURATIONS = frozenset({configuration.OVERLAY_EXCEEDS_UNDERLAY, configuration.INCONSISTENT_ON_NODE})
_MOST_RECEIVERS = 8
"""Other nodes' evidence of what a node's configuration does to them."""


@dataclass(slots=True)
class Elsewhere:
    """Who cuts packets, and who gets only some of the fragments."""

    cutters: dict[str, list[Cause]] = field(default_factory=dict)
    """By node that cuts its overlay's packets: why it does."""
    times: Counter[str] = field(default_factory=Counter)
    """Overlays that it does so for."""
    causes: Counter[Cause] = field(default_factory=Counter)
    """Number of nodes that have each of these causes."""
    receivers: list[tuple[str, tuple[Evidence, ...]]] = field(default_factory=list)
    """Nodes where fragments do not arrive whole, by name, and what shows it."""

    @classmethod
    def of(cls, by_node: Mapping[str, Sequence[Observation]]) -> Elsewhere:
        """From all nodes' observations, the nodes in order."""
        made = cls()
        for node, observations in by_node.items():
            for seen in _without_lost(observations):
                if seen.code == fragments.FRAGMENTING:
                    made.times[node] += 1
                    made.cutters.setdefault(node, []).extend(seen.causes)
                elif seen.code == fragments.FRAGMENTS_LOST and seen.about == fragments.ARRIVING:
                    made.receivers.append((node, seen.evidence))
        for causes in made.cutters.values():
            made.causes.update(set(causes))
        return made

    def causes_but_of(self, node: str) -> tuple[Cause, ...]:
        """Why nodes other than this one cut packets."""
        own = set(self.cutters.get(node, ()))
        return tuple(sorted(cause for cause, count in self.causes.items() if count > (cause in own)))

    def suffered(self, node: str, cause: Cause) -> Iterator[tuple[str, tuple[Evidence, ...]]]:
        """Nodes that suffer from what this one cuts for this cause, in order, and what shows it."""
        if not self.times[node]:
            return
        others = (receiver for receiver in self.receivers if receiver[0] != node)
        for (other, evidence), _ in zip(others, range(_MOST_RECEIVERS), strict=False):
            if cause in self.causes_but_of(other):
                for _ in range(self.times[node]):
                    yield other, evidence


def settle(observations: Sequence[Observation], elsewhere: Elsewhere, clean: str) -> list[Observation]:
    """One node's observations. `clean`: that its paths are proved to pass at full size; empty: they are not."""
    kept = [_with_clean_paths(seen, clean) for seen in _without_lost(observations)]
    kept = _with_one_hole([_with_cutters(seen, elsewhere) for seen in kept])
    hole = next((seen for seen in reversed(kept) if _is_overlay_hole(seen)), None)
    settled = [_with_harm(seen, kept, hole, elsewhere) if seen.code in _CONFIGURATIONS else seen for seen in kept]
    return [_with_path_causes(seen, settled) for seen in settled]


def _without_lost(observations: Sequence[Observation]) -> Sequence[Observation]:
    """A node whose fragments are all lost does not live on fragmentation."""
    lost = any(seen.code == fragments.FRAGMENTS_LOST and seen.about == fragments.ON_THE_WAY for seen in observations)
    return [seen for seen in observations if seen.code != fragments.FRAGMENTING] if lost else observations


def _with_clean_paths(seen: Observation, clean: str) -> Observation:
    """Drops that nothing proves to be MTU, on a node whose paths are proved clean at full size: then it is not MTU."""
    if not clean or seen.code not in MAYBE_MTU:
        return seen
    return replace(seen, ruled_out=(*seen.ruled_out, RuledOut(paths.PATH_BLACK_HOLE, clean)))


MAYBE_MTU = frozenset({lookalikes.OVERLAY_DROPS, NIC_ERRORS, QUEUE_DROPS})
"""Findings that clean paths say something of."""


def _with_cutters(seen: Observation, elsewhere: Elsewhere) -> Observation:
    if seen.code != fragments.FRAGMENTS_LOST or seen.about != fragments.ARRIVING:
        return seen
    causes = elsewhere.causes_but_of(seen.node)
    return replace(seen, causes=causes) if causes else seen


def _with_one_hole(observations: list[Observation]) -> list[Observation]:
    """An underlay that loses large packets loses those of its overlay too: one cause, one finding, the underlay's.

    Unless the node's configuration explains what its overlay loses.
    """
    below = {seen.code for seen in observations if seen.about == ("underlay",)}
    if not below or any(seen.code in _CONFIGURATIONS and _explains_path(seen) for seen in observations):
        return observations
    others: list[Observation] = []
    folded: list[Observation] = []
    for seen in observations:
        (folded if seen.about == ("overlay",) and seen.code in below else others).append(seen)
    return others + [replace(seen, about=("underlay",)) for seen in folded]


def _explains_path(seen: Observation) -> bool:
    """Configurations that make full-size packets vanish between nodes."""
    return seen.code == configuration.OVERLAY_EXCEEDS_UNDERLAY or seen.about[0] in {"pods above", "members"}


def _is_overlay_hole(seen: Observation) -> bool:
    return seen.code == paths.PATH_BLACK_HOLE and seen.about == ("overlay",)


def _with_harm(
    seen: Observation, own: list[Observation], hole: Observation | None, elsewhere: Elsewhere
) -> Observation:
    """A configuration of which something proves that it does harm."""
    proof = list(_harms((seen.code, seen.about), seen.node, own, elsewhere))
    if hole is not None and _explains_path(seen):
        proof.append(hole.evidence)
    if not proof:
        return seen
    return replace(seen, stage=Stage.ACTIVE, evidence=(*seen.evidence, *(fact for facts in proof for fact in facts)))


def _harms(cause: Cause, node: str, own: Iterable[Observation], elsewhere: Elsewhere) -> Iterator[tuple[Evidence, ...]]:
    """Evidence of what a cause does, on this node and on others: in the order of nodes, all lost fragments last."""
    foreign = list(elsewhere.suffered(node, cause))
    after = bisect_left(foreign, node, key=lambda each: each[0])
    local = [seen for seen in own if seen.stage is Stage.ACTIVE and cause in seen.causes]
    yield from (evidence for _, evidence in foreign[:after])
    for seen in local:
        if seen.code != fragments.FRAGMENTS_LOST:
            yield from (seen.evidence for each in seen.causes if each == cause)
    yield from (evidence for _, evidence in foreign[after:])
    for seen in local:
        if seen.code == fragments.FRAGMENTS_LOST and seen.about == fragments.ON_THE_WAY:
            yield from (seen.evidence for each in seen.causes if each == cause)


def _with_path_causes(seen: Observation, own: list[Observation]) -> Observation:
    if seen.code not in {paths.PATH_BLACK_HOLE, fragments.FRAGMENTS_LOST} or seen.causes or seen.about == ("underlay",):
        return seen
    causes = {
        (other.code, other.about)
        for other in own
        if other.code in _CONFIGURATIONS
        and _explains_path(other)
        and (seen.code == paths.PATH_BLACK_HOLE or other.code == configuration.OVERLAY_EXCEEDS_UNDERLAY)
    }
    return replace(seen, causes=tuple(sorted(causes))) if causes else seen
