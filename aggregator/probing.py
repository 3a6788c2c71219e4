"""Which node probes which path to which other. Pure: who there is goes in, a plan for each comes out.

Nodes are put on as many rings as each is to have peers, on each in another order that follows from their names alone;
a node probes those that come after it. So everybody probes and is probed equally often, and a node that comes or goes
changes what its neighbours do and nothing else. The work is O(n k), where rendezvous hashing of all pairs would be
O(n^2). On top of that each pair of classes (zone and pool) has a pair of nodes, chosen by rendezvous hashing, so that
no sort of path goes unprobed. Where there would be more pairs of classes than n k, coarser classes are used.

Pairs probe each other in both directions: a path may be broken in one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations_with_replacement
from typing import TypeVar

from nodetell.limits import MAX_PROBE_GRANTS, MAX_PROBE_TARGETS
from nodetell.v1 import agent_pb2, facts_pb2

from aggregator.cluster.objects import NodeObject
from aggregator.cluster.pools import pool_of
from aggregator.node_state import NodeState

_T = TypeVar("_T")
MAX_PART_BYTES = 850
"""Bytes of one part of a plan, serialized."""
MAX_ADDRESSES = 32
"""Addresses of a node that are looked at."""
_PAIRS_AT_ONCE = 200
"""Of an arrangement that is worked out in steps."""
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


@dataclass(frozen=True, slots=True)
class Class:
    """What sort of node it is, as far as paths may depend on it."""

    zone: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A node whose agent takes part."""

    name: str
    instance: bytes
    """Of its agent: keys end with it."""
    port: int
    """0: it answers no probes."""
    addresses: tuple[tuple[str, str, str], ...]
    """(via, network, address)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one agent is to probe and to answer."""

    targets: tuple[agent_pb2.ProbeTarget, ...]
    grants: tuple[agent_pb2.ProbeGrant, ...]


def class_of(node: NodeObject) -> Class:
    """Class of a node by what the API server says of it."""
    zone = next((node.labels[label] for label in _ZONES if node.labels.get(label)), "")
    return Class(zone, pool_of(node))


def member(name: str, instance: bytes, endpoint: facts_pb2.ProbeEndpoint) -> Member:
    """A node as its agent describes itself; what is no address of a network is left out."""
    addresses = []
    for each in endpoint.addresses[:MAX_ADDRESSES]:
        try:
            address = ipaddress.ip_address(each.address)
        except ValueError:
            continue
        unfit = address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local
        if each.via in ("underlay", "overlay") and len(each.network) <= 64 and not unfit:
            addresses.append((each.via, each.network, str(address)))
    return Member(name, instance, endpoint.port if endpoint.port < 65_536 else 0, tuple(addresses))


# -- who with whom ---------------------------------------------------------------------------------------------------


def pairs(names: Iterable[str], classes: Mapping[str, Class], peers: int) -> set[tuple[str, str]]:
    """Pairs of nodes that probe each other, the names of each in order. `peers` is k."""
    return _all_of(_pairing(names, classes, peers))


def _pairing(
    names: Iterable[str], classes: Mapping[str, Class], peers: int
) -> Generator[None, None, set[tuple[str, str]]]:
    nodes = sorted(set(names))
    found = _ring_pairs(nodes, peers)
    grouped = _grouped(nodes, classes, peers)
    if len(grouped) > 1:
        yield
        found |= yield from _class_pairs(grouped)
    return found


def _all_of(steps: Generator[None, None, _T]) -> _T:
    """What comes out of steps that are taken one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: _T = end.value
            return made


def _ring_pairs(nodes: Sequence[str], peers: int) -> set[tuple[str, str]]:
    """Each node with its successor on each of k rings; the next but one where it has that already."""
    chosen: dict[str, set[str]] = {name: set() for name in nodes}
    for number in range(peers):
        ring = sorted(nodes, key=partial(_place, number))
        for place, name in enumerate(ring):
            for step in range(1, min(len(ring), peers + 1)):
                other = ring[(place + step) % len(ring)]
                if other not in chosen[name]:
                    chosen[name].add(other)
                    break
    return {_pair(name, other) for name, others in chosen.items() for other in others}


def _grouped(nodes: Sequence[str], classes: Mapping[str, Class], peers: int) -> dict[Hashable, list[str]]:
    """Nodes by class, as finely as there may be pairs of classes."""
    views: list[Callable[[Class], Hashable]] = [
        lambda each: each,
        lambda each: each.zone,
        lambda each: each.pool,
    ]
    for view in views:
        grouped: dict[Hashable, list[str]] = {}
        for name in nodes:
            grouped.setdefault(view(classes.get(name, Class())), []).append(name)
        if len(grouped) > 1 and len(grouped) * (len(grouped) + 1) // 2 <= len(nodes) * peers:
            return grouped
    return {"": list(nodes)}


def _class_pairs(grouped: Mapping[Hashable, Sequence[str]]) -> Generator[None, None, set[tuple[str, str]]]:
    """One pair of nodes for each pair of classes, and within each class of two or more."""
    found = set()
    for one, other in combinations_with_replacement(sorted(grouped, key=str), 2):
        salt = f"{one}\0{other}"
        if one == other:
            best = sorted(grouped[one], key=partial(_hash, salt))[:2]
        else:
            best = [min(grouped[each], key=partial(_hash, salt)) for each in (one, other)]
        if len(best) == 2:
            found.add(_pair(*best))
        yield
    return found


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)


@lru_cache(maxsize=1 << 16)
def _place(ring: int, name: str) -> bytes:
    return _hash(str(ring), name)


def _hash(salt: str, name: str) -> bytes:
    return hashlib.blake2b(f"{salt}\0{name}".encode(), digest_size=8).digest()


class Roster:
    """Who takes part, by what is known of hosts and Nodes: put together anew only for those that are another."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[Sequence[facts_pb2.Item], bytes, tuple[Member, ...]]] = {}
        self._classes: dict[str, tuple[NodeObject, Class]] = {}

    def members(self, hosts: Iterable[tuple[NodeState, bytes]]) -> list[Member]:
        """Of these hosts those whose agents take part; each with its agent's instance."""
        before, self._members = self._members, {}
        for state, instance in hosts:
            endpoints = state.of("probe_endpoint")
            known = before.get(state.name)
            if known is None or known[0] is not endpoints or known[1] != instance:
                made = tuple(member(state.name, instance, item.probe_endpoint) for item in endpoints)
                known = (endpoints, instance, made)
            self._members[state.name] = known
        return [each for _, _, made in self._members.values() for each in made]

    def classes(self, nodes: Mapping[str, NodeObject]) -> dict[str, Class]:
        """Classes of all nodes, by name."""
        before, self._classes = self._classes, {}
        for name, node in nodes.items():
            known = before.get(name)
            self._classes[name] = known if known is not None and known[0] is node else (node, class_of(node))
        return {name: class_ for name, (_, class_) in self._classes.items()}


# -- what each is told -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """One node's probes of another: what both are told of it."""

    prober: Member
    responder: Member
    grant: agent_pb2.ProbeGrant
    targets: list[agent_pb2.ProbeTarget]


Ways = dict[tuple[str, str], _Way]
"""By (prober, responder)."""


def assignments(
    members: Mapping[str, Member], classes: Mapping[str, Class], peers: int, secret: bytes, known: Ways | None = None
) -> dict[str, Assignment]:
    """What each agent is to do. Keys follow from `secret`, and from who probes whom in which life of their agents.

    `known`: ways of an assignment before with this secret. They are used again, and are those of this one afterwards.
    """
    return _all_of(_assigning(members, classes, peers, secret, known))


def _assigning(
    members: Mapping[str, Member], classes: Mapping[str, Class], peers: int, secret: bytes, known: Ways | None
) -> Generator[None, None, dict[str, Assignment]]:
    targets: dict[str, list[agent_pb2.ProbeTarget]] = {name: [] for name in members}
    grants: dict[str, list[agent_pb2.ProbeGrant]] = {name: [] for name in members}
    before: Ways = known if known is not None else {}
    ways: Ways = {}
    paired = yield from _pairing(members, classes, peers)
    for number, (one, other) in enumerate(sorted(paired)):
        if number % _PAIRS_AT_ONCE == 0:
            yield
        for prober, responder in ((members[one], members[other]), (members[other], members[one])):
            way = before.get((prober.name, responder.name))
            if way is None or way.prober != prober or way.responder != responder:
                way = _way(secret, prober, responder)
            ways[prober.name, responder.name] = way
            room = MAX_PROBE_TARGETS - len(targets[prober.name])
            if not way.targets or len(way.targets) > room or len(grants[responder.name]) >= MAX_PROBE_GRANTS:
                continue
            grants[responder.name].append(way.grant)
            targets[prober.name] += way.targets
    if known is not None:
        known.clear()
        known.update(ways)
    return {name: Assignment(tuple(targets[name]), tuple(grants[name])) for name in members}


def _way(secret: bytes, prober: Member, responder: Member) -> _Way:
    grant = _key(secret, prober, responder)
    paths = _paths(prober, responder) if responder.port else []
    targets = [
        agent_pb2.ProbeTarget(peer=responder.name, via=via, address=address, port=responder.port, key=grant)
        for via, address in paths
    ]
    return _Way(prober, responder, grant, targets)


def _paths(prober: Member, responder: Member) -> list[tuple[str, str]]:
    """(via, address) of each network that both ends are on, once for each IP version."""
    own = {(via, network, ":" in address) for via, network, address in prober.addresses}
    found: dict[tuple[str, str, bool], str] = {}
    for via, network, address in responder.addresses:
        kind = (via, network, ":" in address)
        if kind in own:
            found.setdefault(kind, address)
    return [(via, address) for (via, _, _), address in found.items()]


def _key(secret: bytes, prober: Member, responder: Member) -> agent_pb2.ProbeGrant:
    ends = b"\0".join((prober.name.encode(), prober.instance, responder.name.encode(), responder.instance))
    digest = hmac.digest(secret, ends, hashlib.sha256)
    return agent_pb2.ProbeGrant(id=digest[:8], key=digest[8:24])


def parts(assignment: Assignment, version: int, interval_s: float) -> list[agent_pb2.ProbePlan]:
    """A plan as it travels: in parts of at most MAX_PART_BYTES."""
    interval_ms = round(interval_s * 1000)
    # Both numbers as large as they can get, so that filling them in later makes no part longer.
    empty = agent_pb2.ProbePlan(version=version, part=1 << 14, parts=1 << 14, interval_ms=interval_ms)
    made = [_copy(empty)]
    for field, entries in (("grants", assignment.grants), ("targets", assignment.targets)):
        for entry in entries:
            getattr(made[-1], field).append(entry)
            if made[-1].ByteSize() > MAX_PART_BYTES:
                getattr(made[-1], field).pop()
                made.append(_copy(empty))
                getattr(made[-1], field).append(entry)
    for number, part in enumerate(made):
        part.part, part.parts = number, len(made)
    return made


def _copy(plan: agent_pb2.ProbePlan) -> agent_pb2.ProbePlan:
    copy = agent_pb2.ProbePlan()
    copy.CopyFrom(plan)
    return copy


# -- who is told what and when ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Told:
    """What an agent has been told on its stream."""

    instance: bytes
    assignment: Assignment | None = None
    left: list[agent_pb2.ProbePlan] | None = None


class Director:
    """Keeps plans current with who is there, and hands them out part by part. Its owner has the clock."""

    def __init__(self, *, peers: int, interval_s: float, secret: bytes) -> None:
        self._peers, self._interval_s, self._secret = peers, interval_s, secret
        self._members: dict[str, Member] = {}
        self._classes: dict[str, Class] = {}
        self._assignments: dict[str, Assignment] = {}
        self._ways: Ways = {}
        self._told: dict[str, _Told] = {}
        self._version = 0

    def connected(self, node: str, instance: bytes) -> None:
        """An agent has opened a stream: what older streams carried may not have arrived."""
        self._told[node] = _Told(instance)

    def gone(self, node: str) -> None:
        """Nothing is to be told there any more."""
        self._told.pop(node, None)

    def arrange(self, members: Iterable[Member], classes: Mapping[str, Class] | None = None) -> None:
        """These take part now."""
        _all_of(self.arranging(members, classes))

    def arranging(
        self, members: Iterable[Member], classes: Mapping[str, Class] | None = None
    ) -> Generator[None, None, None]:
        """The same in steps of some milliseconds, for thousands of nodes; what was planned holds until the last. One
        arrangement is brought to its end before the next begins."""
        current, of_class = {each.name: each for each in members}, dict(classes or {})
        if current != self._members or of_class != self._classes:
            made = yield from _assigning(current, of_class, self._peers, self._secret, self._ways)
            self._members, self._classes, self._assignments = current, of_class, made

    def next_part(self, node: str, instance: bytes) -> agent_pb2.ProbePlan | None:
        """What to tell the agent of a node next; None: it has been told everything."""
        told = self._told.get(node)
        if told is None or told.instance != instance:
            return None
        wanted = self._assignments.get(node)
        if wanted is None and told.assignment is not None:
            wanted = Assignment((), ())
        if wanted is not None and wanted != told.assignment:
            self._version += 1
            told.assignment, told.left = wanted, parts(wanted, self._version, self._interval_s)
        return told.left.pop(0) if told.left else None
