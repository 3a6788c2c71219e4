"""What the loss of any one node or zone would strand, before it happens: a what-if over all of them, kept up to date.

Pods whose volumes can be used on the same nodes are judged together, template by template: two nodes in each zone
that would take one more pod are enough to know for every node and every zone whether its loss leaves one. Each is
judged anew when a minute has passed, and only so many in one evaluation. Where evaluations follow each other, the
first look at everything takes several of them, too: until then what was said before still is. That several pods would
need the same room at once is left to `nodetell whatif`, which places them one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from aggregator.cluster.amounts import amounts_text
from aggregator.cluster.objects import Pod
from aggregator.cluster.state import Change, ClusterState
from aggregator.cluster.workloads import controller_of, workload_of
from aggregator.cluster.zones import place_of
from aggregator.model import Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import STRANDED_ON_LOSS
from aggregator.signatures.storage.stranding import Batch, Judge, is_local
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Pinned, Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView

_NAME = "storage.stranded"
_NEEDED = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes")
_STAYING = ("DaemonSet", "Node")
_AT_ONCE = 2_000
"""Nodes that are looked at in one evaluation, about."""
_AT_FIRST = 10_000
"""... while not everything has been looked at once."""
_REST_S = 1.0
"""Where evaluations follow each other, they look for so long at nothing, unless it is the first look."""
_SEEN_AT_ONCE = 1_000
"""Batches among which those of one place are sought, for its nodes are sorted once."""
_SORTED_AT_ONCE = 5_000
"""Claims whose pods are sorted in one evaluation, likewise."""
_MANY = 2_000
_SETTLE_S = 10.0
"""More pods than so many are not listed anew with every change, but once in so many seconds."""
_MOST_PODS = 500
"""Pods that a finding names; of the others, the number is said."""
_MOST_NODES = 20
_NAMED = 4


_Key = tuple[Terms, int, str]
"""Of a batch: where its volumes can be used, id of its PodSpec, and the one node that its pods are for, if any."""


@dataclass(slots=True)
class _Known:
    """Pods with volumes that cannot follow everywhere, and what is said of them."""

    revision: int
    of_pod: dict[str, _Key] = field(default_factory=dict)
    batches: dict[_Key, Batch] = field(default_factory=dict)
    unsorted: list[str] = field(default_factory=list)
    """Claims whose pods have not been sorted yet."""
    unjudged: dict[_Key, None] = field(default_factory=dict)
    """Batches that have not been judged yet."""
    judged: dict[_Key, None] = field(default_factory=dict)
    """The others, those first that were judged longest ago."""
    looked_at: float = 0.0
    """When batches were last judged."""
    cases: list[Case] = field(default_factory=list)
    made_at: float = 0.0
    complete: bool = False
    """Every batch has been judged once."""
    outdated: bool = False
    """`cases` are not what the batches say now."""

    def sort(self, state: ClusterState, key: str) -> None:
        """Put the pod with this key where it belongs now."""
        before = self.of_pod.pop(key, None)
        if before is not None:
            batch = self.batches[before]
            del batch.pods[key]
            if batch.by_node.pop(key, None) is not None or batch.by_zone.pop(key, None) is not None:
                batch.by_zone.pop(key, None)
                self.outdated = True
            if not batch.pods:
                del self.batches[before]
                self.unjudged.pop(before, None)
                self.judged.pop(before, None)
        pod = state.pods.get(key)
        if pod is None or not pod.claims or not pod.node or pod.terminal or pod.deleted:
            return
        owner = controller_of(state, pod)
        pinned = pinned_volumes(state, pod) if owner is not None and owner.kind not in _STAYING else []
        if pinned:
            place = self.of_pod[key] = terms_of(pinned), id(pod.spec), pod.pinned_node
            if place not in self.batches:
                self.batches[place] = Batch(pod.spec)
                self.unjudged[place] = None
            self.batches[place].pods[key] = pod

    def sort_on(self, state: ClusterState, most: int) -> bool:
        """Sort the pods of so many more claims; whether all are."""
        while self.unsorted and most > 0:
            for key in state.pods_of_claim(self.unsorted.pop()):
                self.sort(state, key)
            most -= 1
        return not self.unsorted

    def take(self, state: ClusterState, change: Change) -> None:
        """Take in one change of the state."""
        if change.resource == "pods":
            self.sort(state, change.key)
        elif change.resource in ("persistentvolumeclaims", "persistentvolumes"):
            for claim in _claims_of(change):
                for key in list(state.pods_of_claim(claim)):
                    self.sort(state, key)


def _claims_of(change: Change) -> set[str]:
    if change.resource == "persistentvolumeclaims":
        return {change.key}
    return {claim for each in (change.before, change.after) if (claim := getattr(each, "claim", ""))}


def cases(view: ClusterView, thresholds: Thresholds) -> Iterable[Case]:
    """One for each zone, one for the nodes of each place, one for each kind of storage that is local to its node."""
    state = view.objects
    if not state.knows(*_NEEDED):
        return []
    known = _known(state)
    if not known.sort_on(state, _SORTED_AT_ONCE if view.gradual else len(known.unsorted)):
        return known.cases
    topology = topology_of(state)
    rests = view.gradual and known.complete and 0 <= view.now - known.looked_at < _REST_S
    if not rests:
        _look(known, view, topology, thresholds)
    if known.unjudged:
        return known.cases  # a part of it is not what is lost
    known.complete = True
    settled = len(known.of_pod) <= _MANY or not 0 <= view.now - known.made_at < _SETTLE_S
    if known.outdated and settled:
        known.cases, known.outdated = list(_cases(view, topology, known)), False
        known.made_at = view.now
    return known.cases


def pending(view: ClusterView) -> bool:
    """Not everything has been looked at: what is not said may hold all the same. To be asked after `cases`."""
    known = view.objects.derived.get(_NAME)
    if not isinstance(known, _Known) or not view.objects.knows(*_NEEDED):
        return False
    return not known.complete or bool(known.unjudged)


def _look(known: _Known, view: ClusterView, topology: Topology, thresholds: Thresholds) -> None:
    """Judge those whose turn it is."""
    judge, known.looked_at = Judge(view, topology), view.now
    all_at_once = not known.complete and not view.gradual
    most = _AT_ONCE if known.complete else _AT_FIRST
    for key in _due(known, view, thresholds, len(known.batches) if all_at_once else _SEEN_AT_ONCE):
        batch = known.batches[key]
        known.outdated |= judge.judge(key[0], batch)
        known.unjudged.pop(key, None)
        known.judged.pop(key, None)
        known.judged[key] = None
        if judge.looked_at >= most and not all_at_once:
            break


def _due(known: _Known, view: ClusterView, thresholds: Thresholds, most: int) -> list[_Key]:
    """Of so many, those that have not been judged and those that were judged longest ago first, and with each the
    others of its place."""
    due = list(islice(known.unjudged, most))
    for key in islice(known.judged, most - len(due)):
        if not _is_due(known.batches[key], view, thresholds):
            break
        due.append(key)
    turn: dict[Terms, list[_Key]] = {}
    for key in due:
        turn.setdefault(key[0], []).append(key)
    return [key for keys in turn.values() for key in keys]


def _known(state: ClusterState) -> _Known:
    before = state.derived.get(_NAME)
    changes = state.changes(before.revision) if isinstance(before, _Known) else None
    if not isinstance(before, _Known) or changes is None:
        known = state.derived[_NAME] = _Known(state.revision, unsorted=state.claims_of_pods())
        if isinstance(before, _Known):
            known.cases, known.made_at, known.outdated = before.cases, before.made_at, True
        return known
    for change in changes:
        before.take(state, change)
    before.revision = state.revision
    return before


def _is_due(batch: Batch, view: ClusterView, thresholds: Thresholds) -> bool:
    return batch.at is None or not 0 <= view.now - batch.at < thresholds.what_if_every_s


# -- what is said of it --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Strand:
    """Pods that one kind of loss would strand."""

    pods: dict[str, Pod] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        """Where they run."""
        return sorted({pod.node for pod in self.pods.values()})


def _cases(view: ClusterView, topology: Topology, known: _Known) -> Iterator[Case]:
    zones: dict[str, _Strand] = {}
    places: dict[str, _Strand] = {}
    local: dict[str, _Strand] = {}
    wheres: dict[Terms, tuple[str, bool]] = {}
    for (terms, _, _), batch in known.batches.items():
        if not batch.by_zone and not batch.by_node:
            continue
        if terms not in wheres:
            wheres[terms] = " and ".join(dict.fromkeys(str(place_of(each)) for each in terms)), is_local(terms)
        where, own = wheres[terms]
        for key, pod in batch.by_zone.items():
            zones.setdefault(topology.zones.get(pod.node, ""), _Strand()).pods[key] = pod
        for key, pod in batch.by_node.items():
            if own:
                local.setdefault(_storage(view.objects, pod), _Strand()).pods[key] = pod
            else:
                places.setdefault(where, _Strand()).pods[key] = pod
    for zone, strand in sorted(zones.items()):
        yield _case(
            view,
            ("zone", zone),
            strand,
            f"If zone {zone} were lost, {{}} could not come back: the volumes can be used nowhere else, or only "
            "where no node would take them",
            "Have replicas in other zones, or volumes that can follow (regional disks, replicated storage).",
        )
    for where, strand in sorted(places.items()):
        inside = f"in {where}" if where.startswith("zone") else f"on {where}"
        largest = max(strand.pods.values(), key=lambda pod: (pod.spec.requests.get("cpu", 0), pod.key))
        yield _case(
            view,
            ("node", where),
            strand,
            f"{{}} could not come back if the node under it were lost: the volumes can be used {inside} only, and no "
            "other node there would take it",
            f"Have one more node {inside}, with {amounts_text(largest.spec.requests)} free.",
        )
    for storage, strand in sorted(local.items()):
        yield _case(
            view,
            ("local", storage),
            strand,
            f"{{}} keep their data on their own node ({storage}), {len(strand.nodes):,} node"
            f"{'' if len(strand.nodes) == 1 else 's'} in all: what is lost with a node comes back with that node alone",
            "Local volumes are for what replicates or can be made anew: see that each of these is, and is backed up.",
        )


def _storage(state: ClusterState, pod: Pod) -> str:
    """Class of the volume that is local to its node, or its driver or kind where it has none."""
    local: list[Pinned] = [each for each in pinned_volumes(state, pod) if is_local((each.terms,))]
    if not local:
        return "local volumes"
    volume = local[0].volume
    return (
        f"class {volume.storage_class}" if volume.storage_class else volume.driver or volume.source or "local volumes"
    )


def _case(view: ClusterView, about: tuple[str, ...], strand: _Strand, statement: str, remedy: str) -> Case:
    state = view.objects
    by_workload: dict[str, list[Pod]] = {}
    for _, pod in sorted(strand.pods.items()):
        by_workload.setdefault(workload_of(state, pod), []).append(pod)
    ordered = sorted(by_workload.items(), key=lambda each: (not _all_of(state, each[1]), -len(each[1]), each[0]))
    named = ", ".join(f"{name.partition('/')[2]} {_share(state, pods)}" for name, pods in ordered[:_NAMED])
    more = len(ordered) - _NAMED
    who = (
        f"{len(strand.pods):,} pod{'' if len(strand.pods) == 1 else 's'} of {len(ordered):,} "
        f"workload{'' if len(ordered) == 1 else 's'} ({named}{f' and {more:,} more' if more > 0 else ''})"
    )
    pods = [pod for _, each in ordered for pod in each][:_MOST_PODS]
    claims = dict.fromkeys(each.claim.key for pod in pods for each in pinned_volumes(state, pod))
    return Case(
        STRANDED_ON_LOSS,
        about,
        statement.format(who),
        (
            *by_workload,
            *(f"Pod/{pod.key}" for pod in pods),
            *(f"PersistentVolumeClaim/{claim}" for claim in claims),
        ),
        tuple(
            api_evidence("pods", name, "pods.stranded", len(each), unit="pods", at=view.now)
            for name, each in ordered[: _NAMED * 2]
        ),
        nodes=tuple(strand.nodes) if about[0] == "node" and len(strand.nodes) <= _MOST_NODES else (),
        stage=Stage.RISK,
        remedies=(remedy,),
    )


def _all_of(state: ClusterState, pods: list[Pod]) -> bool:
    return len(pods) >= _alike(state, pods[0])


def _alike(state: ClusterState, pod: Pod) -> int:
    """Pods of the same controller that run."""
    if pod.owner is None:
        return 1
    return sum(bool(each.node) and not each.terminal for each in state.pods_of(pod.owner).values())


def _share(state: ClusterState, pods: list[Pod]) -> str:
    return f"{len(pods):,} of {max(_alike(state, pods[0]), len(pods)):,}"
