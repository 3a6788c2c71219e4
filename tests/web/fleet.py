"""A fleet of any size for the maps: nodes in zones and pools, what they measured of their paths, how slow their disks
are, and volumes that their pods use. Made once for each size; what tests change, they put back."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import cache
from typing import Any

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import (
    Claim,
    Condition,
    NodeObject,
    NodeTerm,
    Owner,
    Pod,
    PodClaim,
    PodSpec,
    Requirement,
)
from aggregator.cluster.objects import Volume as ApiVolume
from aggregator.cluster.state import ClusterState
from aggregator.cluster.zones import HOSTNAME, ZONE
from aggregator.history.minutes import Minutes
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.server import HttpServer, make_site
from cli.bundle_known import BundleKnown
from cli.report import Report

AT = 1_790_000_100.0
ZONES, POOLS = ("eu-1a", "eu-1b", "eu-1c"), ("system", "web", "batch", "gpu<1>")
BOUNDS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000)
PEERS = 4
WITH_HISTORY = 30


def name_of(number: int) -> str:
    return f"n{number:04}"


def node(number: int) -> NodeObject:
    name = name_of(number)
    zone = ZONES[number % len(ZONES)]
    labels = {ZONE: zone, HOSTNAME: name, "agentpool": POOLS[number // 3 % len(POOLS)]}
    allocatable = {"cpu": 8_000, "memory": 32 << 30, "pods": 110}
    return NodeObject(name, labels, allocatable=allocatable, conditions=(Condition("Ready", "True"),))


def probe(number: int, peer: int, path_mtu: int | None, *, icmp: bool = False, age_s: float = 60.0) -> pb.Item:
    result = pb.PathMtu(
        peer=name_of(peer),
        via="underlay",
        from_address=f"10.0.{number >> 8}.{number & 255}",
        to_address=f"10.0.{peer >> 8}.{peer & 255}",
        interface="eth0",
        interface_mtu=1500,
        path_mtu=path_mtu,
        icmp_seen=icmp,
        at_unix_ms=round((AT - age_s) * 1000),
    )
    return pb.Item(key=f"path_mtu/underlay/{result.peer}/a/b", path_mtu=result)


def items(number: int, count: int) -> list[pb.Item]:
    """n0000 finds a black hole, n0003 no answer, n0006 a smaller path that it is told of, n0009 only old results."""
    found = []
    for step in range(1, PEERS + 1):
        peer = (number + step * 7) % count
        found.append(
            probe(number, peer, *{0: (1420,), 3: (None,), 6: (1400,)}.get(number, (1500,)), **_MORE.get(number, {}))
        )
    source = pb.LatencySource(
        process=f"db-{number % 5}", mount="/var/lib/db", bounds_us=BOUNDS, method=pb.LATENCY_METHOD_PASSIVE
    )
    return [*found, pb.Item(key="latency/passive/db/8:0", latency=source)]


_MORE: dict[int, dict[str, Any]] = {6: {"icmp": True}, 9: {"age_s": 5_000.0}}


def names() -> list[str]:
    return [*(f"le_{bound}us" for bound in BOUNDS), f"gt_{BOUNDS[-1]}us"]


def counts(number: int, minute: int) -> list[int]:
    """A hundred calls a minute: quick, but for n0001, whose disk is slow in the last ten minutes."""
    slow = number == 1 and minute >= 50
    return [0] * 8 + [100, 0, 0] if slow else [90, 8, 2, *[0] * 8]


def host(number: int, count: int) -> tuple[NodeState, bytes]:
    """The first ones with an hour of history, silent from minute 20 to 30."""
    state = NodeState(name_of(number))
    start = AT - 3_600
    full = agent_pb2.Update(at_unix_ms=round(start * 1000), full=True, items=items(number, count))
    if number >= WITH_HISTORY:
        full.at_unix_ms = round(AT * 1000)
        state.apply(full)
        return state, b""
    minutes = Minutes(state)
    full.schemas.add(id=1, names=names())
    full.blocks.add(first_slot=1, schema=1, subject="latency/passive/db/8:0", values=[0] * (len(BOUNDS) + 1))
    minutes.take(full, start)
    for minute in range(60):
        if 20 <= minute < 30:
            continue
        at = start + 60 * minute + 30
        update = agent_pb2.Update(at_unix_ms=round(at * 1000))
        sample = update.samples.add()
        last = 0
        for slot, rise in enumerate(counts(number, minute), 1):
            if rise:
                sample.slot_gaps.append(slot - last)
                sample.increments.append(rise)
                last = slot
        minutes.take(update, at)
    return state, minutes.pending()


def volumes(state: ClusterState, count: int) -> None:
    """Of each node a volume of its zone, used by a pod there; n0002's can only be used on it; one can be used anywhere,
    one nowhere."""

    def keep(name: str, terms: tuple[NodeTerm, ...] | None, **more: Any) -> None:
        state.keep(
            "persistentvolumes", name, ApiVolume(name, capacity=10 << 30, node_terms=terms, phase="Bound", **more)
        )

    for number in range(count):
        key, zone = HOSTNAME if number == 2 else ZONE, ZONES[number % len(ZONES)]
        value = name_of(number) if number == 2 else zone
        terms = (NodeTerm((Requirement(key, "In", (value,)),)),)
        keep(f"pv-{number:04}", terms, claim=f"db/data-{number}", storage_class="fast")
        state.keep(
            "persistentvolumeclaims", f"db/data-{number}", Claim("db", f"data-{number}", volume=f"pv-{number:04}")
        )
        pod = Pod(
            "db",
            f"db-{number}-0",
            PodSpec(requests={"cpu": 100, "memory": 1 << 20, "pods": 1}),
            uid=f"u{number}",
            owner=Owner("StatefulSet", f"db-{number}", f"s{number}"),
            node=name_of(number),
            phase="Running",
            claims=(PodClaim("data", f"data-{number}"),),
        )
        state.keep("pods", pod.key, pod)
    keep("pv-any", None)
    keep("pv-none", (NodeTerm((Requirement(ZONE, "In", ("gone",)),)),))


@cache
def fleet(count: int) -> BundleKnown:
    """All of it, as the page looks at it: a recording, in which what lies between two updates is known."""
    state = ClusterState()
    for resource in ("nodes", "pods", "persistentvolumes", "persistentvolumeclaims", "csinodes", "replicasets"):
        state.set_known(resource, True)
    hosts, rows = {}, {}
    for number in range(count):
        state.keep("nodes", name_of(number), node(number))
        name = name_of(number)
        hosts[name], rows[name] = host(number, count)
    volumes(state, count)
    view = ClusterView("big", hosts, state, AT)
    return BundleKnown(Report("big", AT, [], []), view, Thresholds(), rows)


async def serve(count: int) -> None:
    """Its page on loopback, until this is ended; where, as a line of JSON."""
    server = HttpServer(make_site(fleet(count), None), "127.0.0.1:0")
    print(json.dumps({"address": await server.start()}), flush=True)  # noqa: T201  # whoever started it reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
