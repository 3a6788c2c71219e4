"""A cause in words: the clause with its numbers, the facts, what the other nodes are, for one kind of waiting pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from aggregator.cluster.amounts import amount_text
from aggregator.cluster.objects import Pod
from aggregator.model import Evidence, RuledOut
from aggregator.scheduling import stops
from aggregator.scheduling.candidates import ELSEWHERE, KEPT, of_control_plane, of_purpose, says_lost
from aggregator.scheduling.cause import FRAGMENTATION, Cause, Survey
from aggregator.scheduling.stops import Stop
from aggregator.scheduling.volumes import volume_needs
from aggregator.signatures.case import api_evidence
from aggregator.signatures.scheduler.changes import smallest_changes
from aggregator.signatures.scheduler.surveys import Looked

_NAMED = 4
_UNITS = {"cpu": "millicores", "memory": "bytes", "ephemeral-storage": "bytes"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The part of a case that all pods of one kind share, told of one of them."""

    pod: Pod
    clause: str
    evidence: tuple[Evidence, ...]
    ruled_out: tuple[RuledOut, ...]
    remedies: tuple[str, ...]
    objects: tuple[str, ...]
    """Claims and volumes in it."""
    nodes: tuple[str, ...]


def explain(looked: Looked, pod: Pod, now: float) -> Explanation:
    """Of a kind of pod whose cause is known, and one pod of it; made once until something changes."""
    if isinstance(looked.explanation, Explanation) and looked.explanation.pod is pod:
        return looked.explanation
    if looked.cause is None:
        raise ValueError("nothing stops this pod")
    found = _told_of(looked, looked.cause, pod)
    clause = (_CLAUSES.get(found.code) or _in_detail)(looked.survey, found)
    named = [each for stop in found.stops[:1] for each in stop.objects if not each.startswith("Pod/")]
    explanation = Explanation(
        pod,
        clause,
        tuple(_facts(looked, found, pod, now)),
        tuple(_ruled_out(looked.survey, found)),
        tuple(smallest_changes(looked.fit, looked.survey, found)),
        tuple(named),
        found.nodes if _is_of_nodes(found) else (),
    )
    looked.explanation = explanation
    return explanation


def _is_of_nodes(found: Cause) -> bool:
    """The trouble is on the nodes themselves: cordoned, at a limit, lost, under pressure."""
    if found.code == stops.TAINT:
        return not any(of_purpose(stop.about) for stop in found.stops)
    return found.code in (stops.CORDONED, stops.VOLUME_LIMIT)


def _told_of(looked: Looked, found: Cause, pod: Pod) -> Cause:
    """The cause with the names of this pod's own claims and volumes: others of its kind have others."""
    if not pod.claims or pod is looked.fit.pod:
        return found
    needs = volume_needs(looked.fit.cluster, pod)
    known = [*needs.of_pod, *(stop for _, stop in (*needs.places, *needs.nodes, *needs.statics))]
    own = {(stop.code, stop.about): stop for stop in known}
    return replace(found, stops=tuple(own.get((stop.code, stop.about), stop) for stop in found.stops))


# -- clauses -------------------------------------------------------------------------------------------------------


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int) -> str:
    """ "1 node", "5,000 nodes"."""
    return f"{count:,} node{'' if count == 1 else 's'}"


def _share(seen: Survey, found: Cause) -> str:
    """ "3 of 4 nodes" of those that were meant."""
    meant = len(seen.meant.nodes)
    return counted(meant) if len(found.nodes) == meant else f"{len(found.nodes):,} of {counted(meant)}"


def _most_free(found: Cause) -> tuple[str, Stop]:
    pairs = [pair for pair in zip(found.nodes, found.stops, strict=True) if pair[1].about == found.about]
    return max(pairs, key=lambda pair: pair[1].free)


def _of_amounts(seen: Survey, found: Cause) -> str:
    name, best = _most_free(found)
    asked = amount_text(found.about, best.asked)
    if best.whole == 0:
        return f"it asks for {asked}, which none of {_share(seen, found)} has"
    if found.code == stops.TOO_LARGE:
        whole = max(stop.whole for stop in found.stops)
        return f"it asks for {asked}, and the largest of {_share(seen, found)} has {amount_text(found.about, whole)}"
    if found.code == FRAGMENTATION and len({stop.about for stop in found.stops}) > 1:
        return f"it asks for {_lacked(found)}; what is free suffices in sum, but never all of it on one node"
    total = sum(max(0, stop.free) for stop in found.stops if stop.about == found.about)
    most, in_sum = amount_text(found.about, max(0, best.free)), amount_text(found.about, total)
    if found.code == FRAGMENTATION:
        return f"it asks for {asked}; {in_sum} are free on {_share(seen, found)} in sum, but {most} at most ({name})"
    return f"it asks for {asked}; of {_share(seen, found)} {name} has the most left, {most}, and {in_sum} is the sum"


def _lacked(found: Cause) -> str:
    """Amounts that different nodes lack, with how many do."""
    lacking: dict[str, list[Stop]] = {}
    for stop in found.stops:
        lacking.setdefault(stop.about, []).append(stop)
    told = [
        f"{amount_text(about, alike[0].asked)}, which {counted(len(alike))} {'lacks' if len(alike) == 1 else 'lack'}"
        for about, alike in sorted(lacking.items())
    ]
    return ", and ".join(told)


def _of_pods(seen: Survey, found: Cause) -> str:
    name, best = _most_free(found)
    detail = best.detail or f"{amount_text(found.about, max(0, best.free))} left"
    return f"no more pods fit on {_share(seen, found)} ({name}: {detail})"


def _of_taints(seen: Survey, found: Cause) -> str:
    texts = dict.fromkeys(stop.about for stop in found.stops)
    if all(says_lost(text) for text in texts):
        return f"out of reach or not ready: {_share(seen, found)} ({_few(found.nodes)}; {_few(texts)})"
    return f"it does not tolerate {_few(texts)}, the taint of {_share(seen, found)} ({_few(found.nodes)})"


def _of_labels(seen: Survey, found: Cause) -> str:
    if not found.nodes:
        return found.stops[0].detail
    details = Counter(stop.detail for stop in found.stops if stop.detail)
    shown = "; ".join(f"{counted(count)}: {detail}" for detail, count in details.most_common(3))
    return f"it asks for a node with {found.about}, and none of {_share(seen, found)} is one{shown and f' ({shown})'}"


def _of_cordons(seen: Survey, found: Cause) -> str:
    return f"cordoned: {_share(seen, found)} meant for it ({_few(found.nodes)})"


def _of_company(seen: Survey, found: Cause) -> str:
    return f'the rule "{found.about}" leaves out {_share(seen, found)}: {found.stops[0].detail}'


def _in_detail(seen: Survey, found: Cause) -> str:
    first = found.stops[0]
    if not found.nodes:
        return first.detail
    return f"{first.detail or found.about} ({_share(seen, found)})"


_CLAUSES: dict[str, Callable[[Survey, Cause], str]] = {
    stops.INSUFFICIENT: _of_amounts,
    stops.TOO_LARGE: _of_amounts,
    FRAGMENTATION: _of_amounts,
    stops.TOO_MANY_PODS: _of_pods,
    stops.TAINT: _of_taints,
    stops.NODE_AFFINITY: _of_labels,
    stops.CORDONED: _of_cordons,
    stops.POD_AFFINITY: _of_company,
}


# -- facts ---------------------------------------------------------------------------------------------------------


def _facts(looked: Looked, found: Cause, of_pod: Pod, now: float) -> Iterator[Evidence]:
    if found.code in (*stops.RESOURCES, FRAGMENTATION):
        asked, unit = found.stops[0].asked, _UNITS.get(found.about, "")
        yield api_evidence("pods", of_pod.key, f"pod.requests.{found.about}", asked, unit=unit, at=now)
        pairs = sorted(zip(found.nodes, found.stops, strict=True), key=lambda pair: (-pair[1].free, pair[0]))
        for name, stop in pairs[:_NAMED]:
            yield api_evidence("nodes", name, f"free.{stop.about}", stop.free, unit=unit, at=now, node=name)
    else:
        for name, stop in zip(found.nodes[:_NAMED], found.stops, strict=False):
            signal = stop.code.removeprefix("sched.")
            yield api_evidence("nodes", name, f"node.stops.{signal}", stop.detail or stop.about, at=now, node=name)
        if not found.nodes:
            for stop in found.stops:
                yield api_evidence("pods", of_pod.key, f"pod.{stop.code.removeprefix('sched.')}", stop.detail, at=now)
    for clause in looked.survey.unknown:
        yield api_evidence("pods", of_pod.key, "diagnosis.unknown", clause, at=now)


def _ruled_out(seen: Survey, found: Cause) -> Iterator[RuledOut]:
    if found.code == FRAGMENTATION:
        yield RuledOut(stops.INSUFFICIENT, "what is free suffices in sum")
    elif found.code == stops.INSUFFICIENT:
        yield RuledOut(stops.TOO_LARGE, "an empty node that was meant for it could hold it")
    meant = len(seen.meant.nodes)
    for code, count in sorted(found.others.items()):
        if code != found.code:
            yield RuledOut(code, f"stops only {count:,} of {counted(meant)} meant for it")
    yield from _never_meant(seen, found)


def _never_meant(seen: Survey, found: Cause) -> Iterator[RuledOut]:
    """Nodes that are left aside, by what kept them."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, why in seen.meant.aside.items():
        code = stops.TAINT if why.startswith(KEPT) else stops.NODE_AFFINITY
        groups.setdefault(stops.VOLUME_ZONE if why.startswith(ELSEWHERE) else code, []).append((name, why))
    for code, nodes in sorted(groups.items()):
        name, why = nodes[0]
        told = f"{name} {why}"
        if code == stops.TAINT:
            taints = [each.removeprefix(KEPT) for _, each in nodes]
            whose = "the control plane" if all(map(of_control_plane, taints)) else "others"
            told = f"kept for {whose}: {taints[0]}"
        if code != found.code:
            yield RuledOut(code, f"never meant for it: {counted(len(nodes))} ({told})")
