"""A node with ten thousand of everything: the telling ones are told, what is left out is said, and all of it fits."""

from __future__ import annotations

import random
from pathlib import Path

from nodetell.limits import MAX_UPDATE_BYTES
from nodetell.v1 import facts_pb2 as pb

from agent import bounds
from agent.collectors.disks import DisksCollector
from agent.collectors.links import LinksCollector
from agent.collectors.volumes import VolumesCollector
from agent.delta import DeltaEncoder
from agent.host import Inventory
from agent.pieces import pieces
from agent.reading import merged
from aggregator.limits import NODE
from aggregator.node_state import NodeState
from tests.agent.test_collect_links_routes import coverage, host
from tests.recorded import host_of

MANY, MOUNTS = 10_000, 4_000
NAMES = tuple(f"counter_{number}" for number in range(24))


def crowded() -> Inventory:
    """10,000 pods' ends with one of another size late among them, tunnels, a bridge, hardware at the very end."""
    links = {
        index: pb.Link(
            ifindex=index, name=f"veth{index:08x}", kind="veth", mtu=1450, up=True, master=3, peer_ifindex=2,
            peer_netnsid=index, addresses=[],
        )
        for index in range(10, MANY + 10)
    }  # fmt: skip
    links[9_000].mtu = 9_000
    links[3] = pb.Link(ifindex=3, name="cni0", kind="bridge", mtu=1450, up=True)
    links[20_000] = pb.Link(ifindex=20_000, name="flannel.1", kind="vxlan", mtu=1450, up=True)
    links[20_000].tunnel.CopyFrom(pb.Tunnel(id=1, local="10.0.0.1"))
    services = [f"10.96.{number >> 8}.{number & 255}/32" for number in range(5_000)]
    links[20_001] = pb.Link(ifindex=20_001, name="kube-ipvs0", kind="dummy", mtu=1500, addresses=services)
    links[20_002] = pb.Link(ifindex=20_002, name="eth0", mtu=1500, up=True, hardware=True, addresses=["10.0.0.1/24"])
    return Inventory(links=links, routes=[pb.Route(destination="0.0.0.0/0", ifindex=20_002, table=254)])


def test_of_ten_thousand_interfaces_those_that_carry_traffic_and_one_of_each_sort_are_told() -> None:
    inventory = crowded()
    rows = {index: (NAMES, tuple(range(24))) for index in inventory.links}
    reading = LinksCollector().collect(host(inventory, rows), 0)
    told = {item.link.ifindex: item.link for item in reading.items.values() if item.HasField("link")}
    assert len(told) == bounds.MOST_LINKS
    assert {3, 9_000, 20_000, 20_001, 20_002} <= told.keys()
    assert reading.blocks.keys() == {f"link/{index}" for index in told}
    assert told[20_000].tunnel.underlay == 20_002
    assert len(told[20_001].addresses) == bounds.MOST_ADDRESSES
    said = [because for _, because in coverage(reading).values()]
    assert any(because.startswith("8,004 of 10,004 interfaces") for because in said)
    assert any(because.startswith("kube-ipvs0: of each only 200 addresses") for because in said)


def test_which_ones_are_told_stays_the_same_and_so_do_their_objects() -> None:
    inventory, collector = crowded(), LinksCollector()
    rows = {index: (NAMES, tuple(range(24))) for index in inventory.links}
    first = collector.collect(host(inventory, rows), 0)
    del inventory.links[5_000]
    again = collector.collect(host(Inventory(inventory.links, inventory.routes), rows), 1)
    same = [key for key, item in first.items.items() if again.items.get(key) is item]
    assert len(same) >= bounds.MOST_LINKS - 2
    assert all(again.blocks[key] is block for key, block in first.blocks.items() if key in again.blocks)


def test_tunnels_beyond_their_number_are_left_out_and_nothing_else_is() -> None:
    links = {n: pb.Link(ifindex=n, kind="gre", tunnel=pb.Tunnel(id=n)) for n in range(1, 1_001)}
    links[2_000] = pb.Link(ifindex=2_000, name="eth0", hardware=True)
    chosen = bounds.chosen_links(links)
    assert chosen is not None
    assert len(chosen) == bounds.MOST_TUNNELS + 1
    assert 2_000 in chosen


def test_of_thousands_of_mounts_volumes_and_disks_as_many_are_told_as_fit(tmp_path: Path) -> None:
    pods = [f"{number:08x}-1111-2222-3333-444455556666" for number in range(MOUNTS)]
    path = "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~csi/pvc-{}/mount"
    lines = [f"{n + 10} 1 0:{n + 10} / /mnt/{'x' * 900}{n} rw - nfs server:/{n} rw" for n in range(MOUNTS)]
    lines += [f"{n + 10_010} 1 8:{n} / {path.format(pod, n)} rw - ext4 /dev/sd{n} rw" for n, pod in enumerate(pods)]
    lines.append("30050 1 9:1 / / rw - ext4 /dev/root rw")
    stats = "".join(f" 8 {n} sd{n} {' '.join(['1'] * 17)}\n" for n in range(1_010))
    mountinfo = "\n".join(lines) + "\n"
    recorded = host_of(tmp_path, {"proc/1/mountinfo": mountinfo.encode(), "proc/diskstats": stats.encode()})
    volumes, disks = VolumesCollector().collect(recorded, 0), DisksCollector().collect(recorded, 0)
    mounts = [item.mount for item in volumes.items.values() if item.HasField("mount")]
    assert [mount.mount_point.split("/")[1] for mount in mounts] == ["", *["var"] * (bounds.MOST_MOUNTS - 1)]
    assert len(mounts) == bounds.MOST_MOUNTS
    assert 0 < sum(item.HasField("volume") for item in volumes.items.values()) <= bounds.MOST_VOLUMES
    assert sum(item.HasField("disk") for item in disks.items.values()) == bounds.MOST_DISKS
    said = " ".join(because for reading in (volumes, disks) for _, because in coverage(reading).values())
    for what in ("of 8,001 mounts", "of 4,000 volumes", "of 1,010 disks and partitions"):
        assert what in said

    inventory = crowded()
    noise = random.Random(1)  # noqa: S311  # nobody's secret
    rows = {index: (NAMES, tuple(noise.getrandbits(63) for _ in NAMES)) for index in inventory.links}
    links = LinksCollector().collect(host(inventory, rows), 0)
    whole = merged({"links": links, "volumes": volumes, "disks": disks})
    update = DeltaEncoder().full(whole, 1_800_000_000_000)
    assert update.ByteSize() < MAX_UPDATE_BYTES
    assert sum(len(chunk.data) for chunk in pieces(1, update)) < MAX_UPDATE_BYTES
    state = NodeState("a")
    state.apply(update)
    assert state.reached == {}


def test_what_an_agent_tells_at_most_is_within_what_an_aggregator_keeps() -> None:
    assert NODE.interfaces >= bounds.MOST_LINKS
    assert NODE.tunnels >= bounds.MOST_TUNNELS
    assert NODE.mounts >= bounds.MOST_MOUNTS
    assert NODE.volumes >= bounds.MOST_VOLUMES
    assert NODE.disks >= bounds.MOST_DISKS
    assert NODE.pod_interfaces >= bounds.MOST_POD_LINKS
    assert NODE.series > 25 * bounds.MOST_LINKS + 20 * bounds.MOST_DISKS
