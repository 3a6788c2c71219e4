"""How much one node tells at most: what is beyond it is left out, the least telling first, and that is said.

A node can have ten thousand interfaces or mounts. Then an update must still be a message that an aggregator takes
(nodetell.limits.MAX_UPDATE_BYTES) and a host that it keeps (its own limits are a little wider than these), and the
agent's memory must have an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from nodetell.v1 import facts_pb2 as pb

from agent.reading import Reading

MOST_LINKS = 2_000
"""Interfaces, and with each its 24 counters."""
MOST_TUNNELS = 800
"""... of them tunnels."""
MOST_ADDRESSES = 200
"""IP addresses of one interface: the dummy of a kube-proxy has one for each Service."""
MOST_MOUNTS = 2_000
"""Mounts of storage."""
MOST_VOLUMES = 2_000
"""Volumes that the kubelet manages."""
MOST_DISKS = 1_000
"""Disks and partitions."""
MOST_POD_LINKS = 2_000
"""Interfaces of pods, seen from inside."""
MOST_BYTES = 768 << 10
"""All of one of these kinds, serialized: paths can be 4,096 bytes long."""


def tell(reading: Reading, signal: str, what: str, left_out: int, most: int, *, detail: str = "bound") -> None:
    """Say that so many were left out, if any were. `detail` keeps several bounds of a signal apart."""
    if left_out:
        because = f"{left_out:,} of {left_out + most:,} {what} are left out: at most {most:,} are reported"
        reading.gap(signal, because, detail=detail, status=pb.COVERAGE_STATUS_DEGRADED)


def add_within(
    reading: Reading, items: Iterable[pb.Item], signal: str, what: str, most: int, *, detail: str = "bound"
) -> None:
    """Add the first of these items, as many as there is room for, and say how many are left out."""
    kept = left_out = size = 0
    for item in items:
        length = item.ByteSize()
        if kept < most and size + length <= MOST_BYTES:
            reading.add(item)
            kept, size = kept + 1, size + length
        else:
            left_out += 1
    tell(reading, signal, what, left_out, kept, detail=detail)


def chosen_links(links: Mapping[int, pb.Link], routed: Iterable[int] = ()) -> frozenset[int] | None:
    """ifindexes of the interfaces that are told; None: all of them.

    What carries traffic comes first: hardware, what routes lead to, what tunnels and bridges rest on, then tunnels,
    then the rest of what is no pod's; of pods' ends first one of each sort, so that a size that only one has is told.
    """
    if len(links) <= MOST_LINKS and sum(link.HasField("tunnel") for link in links.values()) <= MOST_TUNNELS:
        return None
    below = {link.tunnel.underlay or link.lower for link in links.values() if link.HasField("tunnel")}
    below |= {link.master for link in links.values() if not is_pods(link)} | set(routed)
    sorts: Counter[tuple[object, ...]] = Counter()
    ranked = []
    tunnels = 0
    for index, link in links.items():
        if link.hardware or link.loopback or index in below:
            rank = 0
        elif link.HasField("tunnel"):
            tunnels += 1
            rank = 1 if tunnels <= MOST_TUNNELS else 5
        elif not is_pods(link):
            rank = 2
        else:
            sort = link.kind, link.mtu, link.up, link.operstate, link.master
            sorts[sort] += 1
            rank = 3 if sorts[sort] == 1 else 4
        if rank < 5:
            ranked.append((rank, index))
    return frozenset(index for _, index in sorted(ranked)[:MOST_LINKS])


def is_pods(link: pb.Link) -> bool:
    """The end of a pod's interface on the host."""
    return link.HasField("peer_netnsid") and not link.hardware
