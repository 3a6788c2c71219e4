"""Why none of the nodes that are left takes a pod, in one clause with the numbers, and what would make one take it.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from aggregator.cluster.amounts import amount_text, amounts_text
from aggregator.cluster.objects import NodeObject, Pod
from aggregator.cluster.zones import Kind, place_of
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import (
    CORDONED,
    HOST_PORT,
    NODE_AFFINITY,
    POD_AFFINITY,
    RESOURCES,
    SPREAD,
    TAINT,
    VOLUME_LIMIT,
    VOLUME_ZONE,
    Stop,
)
from aggregator.topology import Pinned

_WORDS = {
    NODE_AFFINITY: "not selected by it",
    TAINT: "with a taint that it does not tolerate",
    CORDONED: "cordoned",
    HOST_PORT: "with its host port taken",
    POD_AFFINITY: "ruled out by pod (anti-)affinity",
    SPREAD: "ruled out by its topology spread",
    VOLUME_LIMIT: "with as many volumes as they take",
}
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why there is no node for a pod."""

    because: str
    needs: tuple[str, ...]
    """What would make a node take it: any of these."""
    open_elsewhere: bool = False
    """But for its volumes, a node is left that would take it."""


@dataclass(slots=True)
class _Tally:
    """What keeps a pod off some nodes."""

    words: Counter[str] = field(default_factory=Counter)
    """Nodes by what keeps it off, the first reason of each."""
    most_free: dict[str, int] = field(default_factory=dict)
    """Of a resource that is short: the most that one of those nodes has."""
    nearest: tuple[float, str, str] | None = None
    """Of the nodes that only lack amounts, the one that lacks least: share of what is asked, node, what it lacks."""
    cordoned: list[str] = field(default_factory=list)
    """Nodes that are cordoned and would take it otherwise."""
    tainted: list[str] = field(default_factory=list)


def shortage_of(
    fit: Fit, candidates: Sequence[NodeObject], pinned: list[Pinned], left: Sequence[NodeObject], most: int
) -> Shortage:
    """`candidates`: nodes left on which the pod's volumes can be used; `left`: all nodes left; `most`: so
    many of each are looked at, the first ones."""
    if fit.of_pod:
        return Shortage(fit.of_pod[0].detail, ("its claims in order",))
    there = {node.name for node in candidates}
    elsewhere = bool(pinned) and any(
        node.name not in there and all(stop.code == VOLUME_ZONE for stop in fit.stops(node)) for node in left[:most]
    )
    where = _where(pinned)
    if pinned and not candidates:
        return Shortage(_no_node(pinned, where), tuple(_needs_node(fit.pod, pinned, where)), elsewhere)
    tally = _tally(fit, candidates[:most])
    part = f" (the {most:,} emptiest looked at)" if len(candidates) > most else ""
    held = f"{_held(pinned, where)}; " if pinned else ""
    named = ", ".join(f"{count:,} {word}" for word, count in _most(tally))
    count = f"{len(candidates):,} node{'s' if len(candidates) != 1 else ''}"
    because = (
        f"{held}{count} left{'' if pinned else ' in all'}{where}{part}: {named}" if candidates else "no node is left"
    )
    return Shortage(because + _free(fit.pod, tally), tuple(_needs_room(fit.pod, tally, where)), elsewhere)


def _where(pinned: list[Pinned]) -> str:
    """ " in zone a", " on node n1"; empty: anywhere."""
    places = dict.fromkeys(place_of(each.terms) for each in pinned)
    return " and".join(f" {'in' if place.kind is Kind.ZONE else 'on'} {place}" for place in places)


def _held(pinned: list[Pinned], where: str) -> str:
    named = ", ".join(each.claim.key for each in pinned[:_NAMED])
    more = f" and {len(pinned) - _NAMED} more" if len(pinned) > _NAMED else ""
    one = len(pinned) == 1
    return f"the volume{'' if one else 's'} of {named}{more} can be used{where} only"


def _no_node(pinned: list[Pinned], where: str) -> str:
    return f"{_held(pinned, where)}, and no node is left there"


def _needs_node(pod: Pod, pinned: list[Pinned], where: str) -> Iterator[str]:
    if any(place_of(each.terms).kind is Kind.NODE for each in pinned):
        yield "that very node: the data is on it alone (a replica or a backup must do meanwhile)"
        return
    yield f"a node{where} with {amounts_text(pod.spec.requests)} free"
    yield "volumes that can follow: regional disks, replicated or network storage"


def _tally(fit: Fit, candidates: Iterable[NodeObject]) -> _Tally:
    tally = _Tally()
    for node in candidates:
        stops = fit.stops(node)
        if not stops:
            continue
        first = stops[0]
        tally.words["short of " + first.about if first.code in RESOURCES else _WORDS.get(first.code, first.detail)] += 1
        if all(stop.code in RESOURCES for stop in stops):
            _lacks(tally, node, stops)
        codes = {stop.code for stop in stops}
        if codes == {CORDONED}:
            tally.cordoned.append(node.name)
        if codes == {TAINT}:
            tally.tainted.append(f"{node.name} ({first.about})")
    return tally


def _lacks(tally: _Tally, node: NodeObject, stops: Sequence[Stop]) -> None:
    for stop in stops:
        tally.most_free[stop.about] = max(stop.free, tally.most_free.get(stop.about, stop.free))
    share = max(stop.lacks / stop.asked for stop in stops)
    if tally.nearest is None or share < tally.nearest[0]:
        lacking = ", ".join(amount_text(stop.about, stop.lacks) for stop in stops)
        tally.nearest = share, node.name, lacking


def _most(tally: _Tally) -> list[tuple[str, int]]:
    return sorted(tally.words.items(), key=lambda each: (-each[1], each[0]))


def _free(pod: Pod, tally: _Tally) -> str:
    short = [
        f"{amount_text(name, most)} free at most, {amount_text(name, pod.spec.requests.get(name, 1))} asked"
        for name, most in sorted(tally.most_free.items())
    ]
    return f" ({'; '.join(short)})" if short else ""


def _needs_room(pod: Pod, tally: _Tally, where: str) -> Iterator[str]:
    if tally.nearest is not None:
        _, name, lacking = tally.nearest
        yield f"{lacking} more on {name}"
    if tally.cordoned:
        yield f"{', '.join(tally.cordoned[:_NAMED])} uncordoned"
    if tally.tainted:
        yield f"a toleration for the taint of {', '.join(tally.tainted[:_NAMED])}"
    yield f"one more node{where} that it may use, with {amounts_text(pod.spec.requests)} free"
