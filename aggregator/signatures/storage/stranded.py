"""What the loss of any one node or zone would strand, before it happens: a what-if over all of them, kept up to date.

Pods whose volumes can be used on the same nodes are judged together, template by template: two nodes in each zone
that would take one more pod are enough to know for every node and every zone whether its loss leaves one. Each is
judged anew when a minute has passed, and only so many in one evaluation. That several pods would need the same room at
once is left to `nodetell whatif`, which places them one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aggregator.cluster.amounts import amounts_text
from aggregator.cluster.objects import NodeObject, Pod, PodSpec
from aggregator.cluster.state import Change, ClusterState
from aggregator.cluster.workloads import controller_of, workload_of
from aggregator.cluster.zones import Kind, place_of
from aggregator.model import Stage
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.neighbours import asks_for_neighbours
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import STRANDED_ON_LOSS
from aggregator.signatures.thresholds import Thresholds
from aggregator.topology import Pinned, Terms, Topology, pinned_volumes, terms_of, topology_of
from aggregator.view import ClusterView
from aggregator.whatif import NOBODY, reachable

_NAME = "storage.stranded"
_NEEDED = ("nodes", "pods", "persistentvolumeclaims", "persistentvolumes")
_STAYING = ("DaemonSet", "Node")
_AT_ONCE = 700
"""Nodes that are looked at in one evaluation, about; after the first, which looks at all that is needed."""
_FIT_COSTS = 100
_COMPANY_COSTS = 400
"""What it costs to ask for a template, in nodes looked at; and for one that asks about other pods."""
_ENOUGH = 2
"""Nodes of a zone that fit: one may be the node that is lost."""
_MANY = 2_000
_SETTLE_S = 10.0
"""More pods than so many are not listed anew with every change, but once in so many seconds."""
_MOST_PODS = 500
"""Pods that a finding names; of the others, the number is said."""
_MOST_NODES = 20
_NAMED = 4


@dataclass(slots=True)
class _Batch:
    """Pods of one template whose volumes can be used on the same nodes, and what losses would do to them."""

    spec: PodSpec
    """Kept, so that its id stays its own."""
    pods: dict[str, Pod] = field(default_factory=dict)
    at: float | None = None
    """When they were judged; None: not yet."""
    by_node: dict[str, Pod] = field(default_factory=dict)
    """Those that could not come back if their node were lost."""
    by_zone: dict[str, Pod] = field(default_factory=dict)
    """... if their zone were."""


_Key = tuple[Terms, int, str]
"""Of a batch: where its volumes can be used, id of its PodSpec, and the one node that its pods are for, if any."""


@dataclass(slots=True)
class _Known:
    """Pods with volumes that cannot follow everywhere, and what is said of them."""

    revision: int
    of_pod: dict[str, _Key] = field(default_factory=dict)
    batches: dict[_Key, _Batch] = field(default_factory=dict)
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
        pod = state.pods.get(key)
        if pod is None or not pod.claims or not pod.node or pod.terminal or pod.deleted:
            return
        owner = controller_of(state, pod)
        pinned = pinned_volumes(state, pod) if owner is not None and owner.kind not in _STAYING else []
        if pinned:
            place = self.of_pod[key] = terms_of(pinned), id(pod.spec), pod.pinned_node
            self.batches.setdefault(place, _Batch(pod.spec)).pods[key] = pod

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
    topology = topology_of(state)
    due = [key for key, batch in known.batches.items() if _is_due(batch, view, thresholds)]
    if due:
        judge = _Judge(view, topology)
        for key in _in_turn(known, due):
            known.outdated |= judge.judge(key[0], known.batches[key])
            if known.complete and judge.looked_at >= _AT_ONCE:
                break
        known.complete = True
    settled = len(known.of_pod) <= _MANY or not 0 <= view.now - known.made_at < _SETTLE_S
    if known.outdated and settled:
        known.cases, known.outdated = list(_cases(view, topology, known)), False
        known.made_at = view.now
    return known.cases


def _in_turn(known: _Known, due: list[_Key]) -> list[_Key]:
    """Those that were judged longest ago first, and with each the others of its place: its nodes are sorted once."""
    oldest: dict[Terms, float] = {}
    for key in due:
        at = known.batches[key].at or 0.0
        oldest[key[0]] = min(at, oldest.get(key[0], at))
    turn = {terms: number for number, terms in enumerate(sorted(oldest, key=lambda terms: oldest[terms]))}
    return sorted(due, key=lambda key: turn[key[0]])


def _known(state: ClusterState) -> _Known:
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, _Known) else None
    if not isinstance(known, _Known) or changes is None:
        known = state.derived[_NAME] = _Known(state.revision)
        for key in state.pods:
            known.sort(state, key)
        return known
    for change in changes:
        known.take(state, change)
    known.revision = state.revision
    return known


def _is_due(batch: _Batch, view: ClusterView, thresholds: Thresholds) -> bool:
    return batch.at is None or not 0 <= view.now - batch.at < thresholds.what_if_every_s


# -- judging -------------------------------------------------------------------------------------------------------


class _Judge:
    """Finds nodes for templates, in the cluster as it is now."""

    def __init__(self, view: ClusterView, topology: Topology) -> None:
        self._state = view.objects
        self._now = view.now
        self._topology = topology
        self._cluster = Cluster(view.objects)
        self._sorted: dict[Terms, list[NodeObject]] = {}
        self.looked_at = 0

    def judge(self, terms: Terms, batch: _Batch) -> bool:
        """Say what losses would do to the pods of one batch; whether that is news."""
        before = batch.by_node.keys(), batch.by_zone.keys()
        batch.at, batch.by_node, batch.by_zone = self._now, {}, {}
        reached = {key: pod for key, pod in batch.pods.items() if self._is_reached(pod.node)}
        self.looked_at += len(batch.pods) // 10
        if is_local(terms):
            batch.by_node = reached
        elif reached:
            self._strand(terms, batch, reached)
        return before != (batch.by_node.keys(), batch.by_zone.keys())

    def _strand(self, terms: Terms, batch: _Batch, reached: dict[str, Pod]) -> None:
        fits = self._fitting(next(iter(reached.values())), self._nodes(terms))
        by_zone = Counter(fits.values())
        for key, pod in reached.items():
            zone = self._topology.zones.get(pod.node, "")
            if len(fits) == (pod.node in fits):
                batch.by_node[key] = pod
            if zone and len(fits) == by_zone[zone]:
                batch.by_zone[key] = pod
        if (batch.by_node or batch.by_zone) and not self._is_held_by_volume(next(iter(reached.values())), terms):
            batch.by_node, batch.by_zone = {}, {}

    def _nodes(self, terms: Terms) -> list[NodeObject]:
        """Nodes on which the volumes can be used, the emptiest first."""
        nodes = self._sorted.get(terms)
        if nodes is None:
            found = (self._state.nodes[name] for name in self._topology.usable(terms))
            nodes = sorted((each for each in found if reachable(each)), key=lambda each: -self._free_cpu(each))
            self._sorted[terms] = nodes
            self.looked_at += len(nodes) // 8
        return nodes

    def _is_reached(self, name: str) -> bool:
        node = self._state.nodes.get(name)
        return node is not None and reachable(node)

    def _free_cpu(self, node: NodeObject) -> int:
        return node.allocatable.get("cpu", 0) - self._cluster.requested(node.name).get("cpu", 0)

    def _fitting(self, pod: Pod, nodes: list[NodeObject]) -> dict[str, str]:
        """Zone by name of up to two nodes in each zone that would take one more pod like this."""
        cluster, company = self._cluster, asks_for_neighbours(pod)
        if company:  # it does not keep itself away, and its own node is no place for its likes
            cluster = Cluster(self._state, without_pods=frozenset({pod.key}))
        fit = Fit(cluster, pod)
        self.looked_at += _COMPANY_COSTS if company else _FIT_COSTS
        asked = pod.spec.requests.get("cpu", 0)
        wanting = Counter({self._topology.zones[node.name]: _ENOUGH for node in nodes})
        found: dict[str, str] = {}
        for node in nodes:
            if not wanting or self._free_cpu(node) < asked:
                break  # those that follow have less
            zone = self._topology.zones[node.name]
            if zone not in wanting or (company and node.name == pod.node):
                continue
            self.looked_at += 1
            if fit.fits(node):
                found[node.name] = zone
                wanting[zone] -= 1
                if not wanting[zone]:
                    del wanting[zone]
        return found

    def _is_held_by_volume(self, pod: Pod, terms: Terms) -> bool:
        """A node is there that the pod itself might use, and its volumes cannot."""
        there, standing = set(self._topology.usable(terms)), Fit(NOBODY, pod)
        for name, node in self._state.nodes.items():
            if name not in there:
                self.looked_at += 1
                if reachable(node) and next(standing.standing_stops(node), None) is None:
                    return True
        return False


def is_local(terms: Terms) -> bool:
    """One of these volumes can be used on certain nodes only, by name."""
    return any(place_of(each).kind is Kind.NODE for each in terms)


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
    for (terms, _, _), batch in known.batches.items():
        where, own = " and ".join(dict.fromkeys(str(place_of(each)) for each in terms)), is_local(terms)
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
            f"If zone {zone} were lost, {{}} could not come back: their volumes can be used nowhere else, or only "
            "where no node would take them",
            "Have replicas in other zones, or volumes that can follow (regional disks, replicated storage).",
        )
    for where, strand in sorted(places.items()):
        largest = max(strand.pods.values(), key=lambda pod: (pod.spec.requests.get("cpu", 0), pod.key))
        yield _case(
            view,
            ("node", where),
            strand,
            f"If its node were lost, each of {{}} could not come back: its volumes can be used on {where} only, and no "
            "other node there would take it".replace(" on zone", " in zone", 1),
            f"Have one more node of {where}, with {amounts_text(largest.spec.requests)} free.",
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
