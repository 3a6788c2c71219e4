"""A pool that has no room for a pod of the size that is usual in it: the next one will wait, though none does yet.

The usual size is the 95th percentile of the pods that run in the pool or wait for it, in order of the larger of their
shares of the pool (CPU or memory); it must fit as a whole, both amounts on one node. Pods of DaemonSets are left out:
they are many, small, and never looking for room. Gated pods are not looking for it yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aggregator.cluster.amounts import amounts_text
from aggregator.cluster.objects import Pod
from aggregator.model import Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.scheduler.codes import HEADROOM_LOW
from aggregator.signatures.scheduler.pools import RESOURCES, Pool, Size, is_meant_for, is_usual, pools, size_of
from aggregator.signatures.scheduler.words import counted
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "headroom"


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was found of a pool, and with what."""

    waiting: Counter[Size]
    thresholds: Thresholds
    case: Case | None


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """One for each pool without room. Nothing where nodes or pods are not known."""
    if not view.objects.knows("nodes", "pods"):
        return
    known = pools(view.objects)
    waiting = _waiting(view, known)
    for name, pool in sorted(known.items()):
        found = _judged(view, pool, waiting.get(name, Counter()), thresholds)
        if found is not None:
            yield found


def _judged(view: ClusterView, pool: Pool, waiting: Counter[Size], thresholds: Thresholds) -> Case | None:
    """Once until a node of the pool, what runs there, or what waits for it changes."""
    kept = pool.derived.get(_NAME)
    if isinstance(kept, _Judged) and kept.waiting == waiting and kept.thresholds == thresholds:
        return kept.case
    sizes = pool.sizes + waiting
    case = None
    if sizes.total() >= thresholds.headroom_pods_min:
        usual = _usual(pool, sizes, thresholds.headroom_percentile)
        if any(usual) and not pool.has_room(usual):
            case = _case(view, pool, usual, sizes.total(), thresholds)
    pool.derived[_NAME] = _Judged(waiting, thresholds, case)
    return case


def _waiting(view: ClusterView, known: Mapping[str, Pool]) -> dict[str, Counter[Size]]:
    """Sizes of pods that wait, by each pool that would take them, going by one node of it."""
    by_spec: dict[tuple[int, str], tuple[Pod, int]] = {}
    for pod in view.objects.waiting.values():
        if not pod.gates and not pod.deleted and is_usual(pod):
            key = id(pod.spec), pod.pinned_node
            by_spec[key] = (pod, by_spec[key][1] + 1 if key in by_spec else 1)
    found: dict[str, Counter[Size]] = {}
    for name, pool in known.items():
        node = view.nodes[min(pool.members)] if by_spec else None
        for pod, count in by_spec.values():
            if node is not None and is_meant_for(pod, node):
                found.setdefault(name, Counter())[size_of(pod.spec.requests)] += count
    return found


def _usual(pool: Pool, sizes: Mapping[Size, int], percentile: float) -> Size:
    """Size at the percentile, by nearest rank."""
    has = [amount or 1 for amount in pool.has]
    rank = percentile * sum(sizes.values())
    passed, usual = 0, (0, 0)
    for size in sorted(sizes, key=lambda size: (max(size[0] / has[0], size[1] / has[1]), size)):
        usual = size
        passed += sizes[size]
        if passed >= rank:
            break
    return usual


def _case(view: ClusterView, pool: Pool, usual: Size, pods: int, thresholds: Thresholds) -> Case:
    roomiest = max(
        pool.members,
        key=lambda name: (min(_ratio(free, asked) for free, asked in zip(pool.free(name), usual, strict=True)), name),
    )
    left = dict(zip(RESOURCES, pool.free(roomiest), strict=True))
    asked = dict(zip(RESOURCES, usual, strict=True))
    nodes, percentile = counted(len(pool.members)), round(thresholds.headroom_percentile * 100)
    told = [api_evidence("nodes", pool.name, "pool.nodes", len(pool.members), unit="nodes", at=view.now)]
    for index, resource in enumerate(RESOURCES):
        share = round(100 * pool.share(index), 1)
        told.append(api_evidence("pods", pool.name, f"pool.requested.{resource}", share, unit="%", at=view.now))
        told.append(api_evidence("nodes", roomiest, f"free.{resource}", left[resource], at=view.now, node=roomiest))
    lacking = {each: asked[each] - left[each] for each in RESOURCES if asked[each] > left[each]}
    short = f"{amounts_text(lacking)} short" if lacking else "at its limit of pods"
    return Case(
        HEADROOM_LOW,
        (pool.name,),
        f"No node of pool {pool.name} ({nodes}) has room for a pod of the size that is usual there, "
        f"{amounts_text(asked)} ({percentile} % of its {pods:,} pods are no larger); {roomiest} comes closest, {short}",
        (),
        tuple(told),
        stage=Stage.RISK,
    )


def _ratio(free: int, asked: int) -> float:
    return free / asked if asked else 1.0
