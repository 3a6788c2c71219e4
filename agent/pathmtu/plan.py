"""Puts the parts of a probe plan together and refuses what is not sane. Pure.

The aggregator is trusted to say whom to probe, but not to be free of defects: what it asks for stays within fixed
bounds, whatever it says.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from nodetell.limits import MAX_PROBE_GRANTS, MAX_PROBE_INTERVAL_MS, MAX_PROBE_TARGETS, MIN_PROBE_INTERVAL_MS
from nodetell.names import node_name_problem
from nodetell.v1 import agent_pb2

from agent.pathmtu.datagram import Key

_MAX_PARTS = 1_000
VIAS = ("underlay", "overlay")


class PlanError(ValueError):
    """A plan that is not followed. The reason is one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """One path to probe."""

    peer: str
    via: str
    address: str
    port: int
    key: Key

    @property
    def ipv6(self) -> bool:
        """The address is one of IPv6."""
        return ":" in self.address


@dataclass(frozen=True, slots=True)
class Plan:
    """What to probe and what to answer."""

    version: int = 0
    interval_s: float = 60.0
    targets: tuple[Target, ...] = ()
    grants: tuple[Key, ...] = ()


@dataclass(slots=True)
class Assembly:
    """The parts of a plan that have come so far."""

    _version: int = 0
    _parts: list[agent_pb2.ProbePlan] = field(default_factory=list)

    def take(self, part: agent_pb2.ProbePlan) -> Plan | None:
        """Take a part in. The plan, once it is whole. Raises PlanError, and then waits for the next plan."""
        if part.part == 0:
            self._version, self._parts = part.version, []
        elif part.version != self._version or part.part != len(self._parts):
            return None  # the rest of a plan whose beginning was refused or belongs to a stream before this one
        if not 0 < part.parts <= _MAX_PARTS or part.part >= part.parts:
            self._parts = []
            raise PlanError(f"part {part.part} of {part.parts}")
        self._parts.append(part)
        if len(self._parts) < part.parts:
            return None
        parts, self._parts = self._parts, []
        return _whole(parts)


def _whole(parts: list[agent_pb2.ProbePlan]) -> Plan:
    interval_ms = parts[0].interval_ms
    if not MIN_PROBE_INTERVAL_MS <= interval_ms <= MAX_PROBE_INTERVAL_MS:
        raise PlanError(f"an interval of {interval_ms} ms")
    targets = [target for part in parts for target in part.targets]
    grants = [grant for part in parts for grant in part.grants]
    if len(targets) > MAX_PROBE_TARGETS or len(grants) > MAX_PROBE_GRANTS:
        raise PlanError(f"{len(targets)} paths to probe and {len(grants)} keys to answer")
    return Plan(
        parts[0].version,
        interval_ms / 1000,
        tuple(_target(target) for target in targets),
        tuple(_key(grant) for grant in grants),
    )


def _target(target: agent_pb2.ProbeTarget) -> Target:
    if problem := node_name_problem(target.peer):
        raise PlanError(f"a path to no node: {problem}")
    if target.via not in VIAS:
        raise PlanError(f"a path to {target.peer} by neither underlay nor overlay")
    try:
        address = ipaddress.ip_address(target.address)
    except ValueError:
        raise PlanError(f"a path to {target.peer} with no IP address") from None
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        raise PlanError(f"a path to {target.peer} at {address}")
    if not 0 < target.port < 65_536:
        raise PlanError(f"a path to {target.peer} at port {target.port}")
    return Target(target.peer, target.via, str(address), target.port, _key(target.key))


def _key(grant: agent_pb2.ProbeGrant) -> Key:
    if len(grant.id) != 8 or len(grant.key) != 16:
        raise PlanError(f"a key of {len(grant.id)} and {len(grant.key)} bytes, not 8 and 16")
    return Key(grant.id, grant.key)
