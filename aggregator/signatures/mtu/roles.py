"""The same interface role on nodes of one pool: what each host has, and the table that compares them all.

A role is what an interface does (carries the overlay, is on this IP network, is this overlay), never its name: names
differ between machines, and bond0 at 9000 beside bond1 at 1500 is how storage networks are. Where no pool is known,
only what must agree everywhere is compared: one IP network, one VNI.

The table is kept from one evaluation to the next: what a host that changed costs does not depend on how many there are,
and only roles whose MTUs differ are looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Evidence, Stage
from aggregator.signatures.mtu.encapsulation import TUNNEL_KINDS
from aggregator.signatures.mtu.observation import Observation
from aggregator.signatures.mtu.topology import HostNetwork, subnet

INCONSISTENT_ACROSS_NODES = "mtu.inconsistent_across_nodes"
_SHOWN = 3

Role = tuple[tuple[str, ...], pb.Link]
"""What an interface does, and the interface."""


def roles_of(host: HostNetwork) -> list[Role]:
    """Roles of a host's interfaces; an interface has one at most."""
    pool_known = host.node is not None
    roles: list[Role] = []
    taken: set[int] = set()

    def give(role: tuple[str, ...], link: pb.Link | None) -> None:
        if link is not None and link.ifindex not in taken and host.alive(link):
            taken.add(link.ifindex)
            roles.append((role, link))

    for tunnel in sorted(host.tunnels(), key=lambda link: link.ifindex):
        if tunnel.tunnel.external or not host.carries_pods(tunnel):
            continue
        if tunnel.kind in {"vxlan", "geneve"}:
            give(("overlay", tunnel.kind, str(tunnel.tunnel.id)), tunnel)
        elif pool_known:
            give(("overlay", tunnel.kind, tunnel.name), tunnel)
        if pool_known:
            give(("carrier", tunnel.kind), host.links.get(tunnel.tunnel.underlay))
    if pool_known:
        for tunnel in host.tunnels():
            if tunnel.tunnel.external:
                give(("carrier", tunnel.kind), host.links.get(tunnel.tunnel.underlay))
        default = sorted(
            (route for route in host.routes if route.destination in {"0.0.0.0/0", "::/0"} and route.ifindex),
            key=lambda route: (route.destination != "0.0.0.0/0", route.priority),
        )
        devices = [host.links[route.ifindex] for route in default if route.ifindex in host.links]
        give(("default route",), next((link for link in devices if link.kind not in TUNNEL_KINDS), None))
    for link in sorted(host.others, key=lambda link: link.ifindex):
        if link.kind in TUNNEL_KINDS or any(p.kind == "veth" for p in host.ports.get(link.ifindex, ())):
            continue
        shared = next((network for address in link.addresses if (network := subnet(address)) is not None), None)
        if shared is not None:
            give(("network", str(shared)), link)
    return roles


_Key = tuple[str, ...]
"""Pool and role."""


@dataclass(slots=True)
class _Members:
    """The interfaces that have one role."""

    links: dict[str, list[pb.Link]] = field(default_factory=dict)
    """By node."""
    mtus: Counter[int] = field(default_factory=Counter)

    @property
    def differ(self) -> bool:
        return len(self.mtus) > 1 and len(self.links) > 1


class RoleTable:
    """Who has which role with which MTU."""

    def __init__(self) -> None:
        self._given: dict[str, list[tuple[_Key, pb.Link]]] = {}
        self._members: dict[_Key, _Members] = {}
        self._odd: set[_Key] = set()

    def put(self, node: str, pool: str, roles: Iterable[Role]) -> None:
        """These are the roles of a node's interfaces now; none: it is gone."""
        before = self._given.pop(node, [])
        now = [((pool, *role), link) for role, link in roles]
        for key, link in before:
            self._take(node, key, link)
        for key, link in now:
            members = self._members.setdefault(key, _Members())
            members.links.setdefault(node, []).append(link)
            members.mtus[link.mtu] += 1
        if now:
            self._given[node] = now
        for key in {key for key, _ in (*before, *now)}:
            if (found := self._members.get(key)) is not None and found.differ:
                self._odd.add(key)
            else:
                self._odd.discard(key)

    def _take(self, node: str, key: _Key, link: pb.Link) -> None:
        members = self._members[key]
        links = members.links[node]
        links.remove(link)
        if not links:
            del members.links[node]
        members.mtus[link.mtu] -= 1
        if not members.mtus[link.mtu]:
            del members.mtus[link.mtu]
        if not members.links:
            del self._members[key]

    def inconsistent(self, evidence: Callable[[str, pb.Link], Evidence]) -> list[Observation]:
        """The same interface role has different MTUs on nodes of one pool: one observation for each odd interface.

        `evidence` makes that of a node's interface.
        """
        return [seen for key in sorted(self._odd) for seen in _odd_ones(key, self._members[key], evidence)]


def _odd_ones(key: _Key, members: _Members, evidence: Callable[[str, pb.Link], Evidence]) -> list[Observation]:
    pool, role = key[0], key[1:]
    ordered = [(node, link) for node in sorted(members.links) for link in members.links[node]]
    ranked = members.mtus.most_common(2)
    usual = ranked[0][0] if ranked[0][1] > ranked[1][1] else None
    majority = next(((node, link) for node, link in ordered if link.mtu == usual), None)
    beside = (evidence(*majority),) if majority is not None else ()
    where = f" of pool {pool}" if pool else ""
    usual_count = members.mtus[usual] if usual is not None else 0
    found = []
    for node, link in ordered:
        if link.mtu == usual:
            continue
        if usual is not None:
            against = f"{usual} on {usual_count} other{'' if usual_count == 1 else 's'}"
        else:
            others = [f"{other.mtu} on {at}" for at, other in ordered[: _SHOWN + 1] if other is not link][:_SHOWN]
            more = len(ordered) - 1 - len(others)
            against = ", ".join(others) + (f" and {more} more" if more else "")
        found.append(
            Observation(
                code=INCONSISTENT_ACROSS_NODES,
                about=key,
                node=node,
                stage=Stage.RISK,
                statement=f"{link.name} ({_role_words(role)}{where}) has {link.mtu}, not {against}",
                evidence=(evidence(node, link), *beside),
            )
        )
    return found


def _role_words(role: tuple[str, ...]) -> str:
    match role:
        case ("overlay", kind, which):
            return f"{kind} overlay {which}"
        case ("carrier", kind):
            return f"carries the {kind} overlay"
        case ("network", network):
            return f"on {network}"
        case _:
            return role[0]
