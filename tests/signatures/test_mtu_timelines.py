"""Each code of the MTU incident as a timeline: where it must appear, a near miss where it must not, and its recovery.

A case is a function named <code with underscores>__<positive|near_miss|recovery>[_detail]; the last test fails if a
code lacks any of the three.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import pytest
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject
from aggregator.model import Finding, Severity, Stage
from aggregator.signatures.mtu.codes import CODES
from tests import world as worlds
from tests.lab import words
from tests.world import TestHost

KINDS = ("positive", "near_miss", "recovery")
SAID: list[str] = []
"""What all findings of the case at hand said, each time that it asked."""


class World(worlds.World):
    """One that remembers what was said."""

    def codes(self, seconds: float = 0.0) -> dict[str, Finding]:
        found = super().codes(seconds)
        SAID.extend(words.told(found.values(), self.now))
        return found


def flannel(
    world: World, name: str = "n1", inner: int = 1450, nic: int = 1500, pool: str = "", **tunnel: object
) -> TestHost:
    """A host as flannel makes it: NIC, VXLAN, bridge, two pods."""
    host = world.host(name, pool)
    below = host.nic(nic)
    host.vxlan(inner, below, **tunnel)
    host.bridge_with_pods(inner)
    return host


NIC, VXLAN, BRIDGE, VETH = "link/1", "link/2", "link/3", "link/4"


# -- mtu.overlay_exceeds_underlay --


def mtu_overlay_exceeds_underlay__positive() -> None:
    world = World()
    flannel(world, inner=1451)
    finding = world.codes(1)["mtu.overlay_exceeds_underlay"]
    assert finding.stage is Stage.RISK
    assert finding.severity is Severity.WARNING
    assert finding.nodes == ("n1",)
    assert "1451" in finding.summary
    assert "1501" in finding.summary
    assert "1500" in finding.summary
    assert {(e.subject, e.value) for e in finding.evidence} >= {("flannel.1", 1451), ("eth0", 1500)}


def mtu_overlay_exceeds_underlay__positive_ipv6_underlay() -> None:
    world = World()
    flannel(world, inner=1450, outer_ipv6=True)
    assert "mtu.overlay_exceeds_underlay" in world.codes(1)


def mtu_overlay_exceeds_underlay__positive_active_with_the_same_drops_on_two_nodes_is_critical() -> None:
    world = World()
    for name in ("n1", "n2"):
        flannel(world, name, inner=1500, df=pb.OUTER_DF_SET)
    world.pass_time(1)
    for host in world.hosts.values():
        host.rise(VXLAN, tx_dropped=20)
        host.rise("protocol/Ip", FragFails=20)
        host.rise("protocol/Icmp", OutDestUnreachs=20, InDestUnreachs=20)
    finding = world.codes(1)["mtu.overlay_exceeds_underlay"]
    assert (finding.stage, finding.severity, finding.nodes) == (Stage.ACTIVE, Severity.CRITICAL, ("n1", "n2"))


def mtu_overlay_exceeds_underlay__positive_metadata_tunnel_by_its_routes() -> None:
    world = World()
    host = world.host("n1")
    below = host.nic(1500)
    router = host.link("cilium_host", 1500, kind="veth", peer_ifindex=3, peer_netnsid=0, addresses=["10.0.0.1/32"])
    host.link("cilium_vxlan", 65000, kind="vxlan", tunnel=pb.Tunnel(external=True, underlay=below.ifindex))
    host.route("10.0.1.0/24", router, mtu=1480)
    assert "1530" in world.codes(1)["mtu.overlay_exceeds_underlay"].summary


def lightweight(world: World, own: int, veths: int) -> TestHost:
    """A metadata tunnel that the IP stack itself sends into: the route says where to."""
    host = world.host("n1")
    below = host.nic(1500)
    tunnel = host.link("vx0", own, kind="vxlan", tunnel=pb.Tunnel(external=True, underlay=below.ifindex))
    host.routes.append(
        pb.Route(destination="10.244.2.0/24", ifindex=tunnel.ifindex, table=254, encap="ip", encap_remote="10.0.0.2")
    )
    host.pod_veth(veths, "pod0")
    return host


def mtu_overlay_exceeds_underlay__positive_metadata_tunnel_that_routes_lead_through() -> None:
    world = World()
    host = lightweight(world, own=1500, veths=1500)
    assert "1550" in world.codes(1)["mtu.overlay_exceeds_underlay"].summary
    host.rise("protocol/Ip", FragOKs=20, FragCreates=40)
    assert set(world.codes(1)) == {"mtu.overlay_exceeds_underlay", "mtu.fragmenting"}


def mtu_overlay_exceeds_underlay__near_miss_metadata_tunnel_that_routes_lead_through() -> None:
    for own, veths in ((1450, 1500), (65000, 1450)):
        world = World()
        lightweight(world, own=own, veths=veths)
        assert world.codes(1) == {}


def mtu_overlay_exceeds_underlay__near_miss() -> None:
    world = World()
    flannel(world, inner=1450)
    assert world.codes(1) == {}


def mtu_overlay_exceeds_underlay__near_miss_metadata_tunnels() -> None:
    world = World()
    for name, kind, veths in (("cilium", "vxlan", 1500), ("ovn", "geneve", 1442), ("antrea", "geneve", 1450)):
        host = world.host(name)
        below = host.nic(1500)
        host.link(f"{name}_t", 65000, kind=kind, tunnel=pb.Tunnel(external=True, underlay=below.ifindex))
        host.pod_veth(veths, "pod0")
    verdict = world.pass_time(1)
    assert verdict.findings == []
    assert [(gap.node, gap.signal) for gap in verdict.gaps if gap.signal == "mtu.underlay"] == [
        ("cilium", "mtu.underlay")
    ]


def mtu_overlay_exceeds_underlay__near_miss_fallback_devices_are_nobody_s_path() -> None:
    """Up, as loading their module or an old CNI leaves them, but nothing goes in."""
    world = World()
    host = world.host("n1")
    below = host.nic(1450)
    idle = pb.Tunnel(underlay=below.ifindex, underlay_source=pb.UNDERLAY_SOURCE_DEFAULT_ROUTE)
    for name, kind, mtu in (("tunl0", "ipip", 1480), ("gre0", "gre", 1476), ("sit0", "sit", 1480)):
        host.route("fe80::/64", host.link(name, mtu, kind=kind, tunnel=idle))
    assert world.codes(1) == {}
    host.route("10.244.1.0/24", host.links[2])
    assert "tunl0" in world.codes(1)["mtu.overlay_exceeds_underlay"].summary


def mtu_overlay_exceeds_underlay__near_miss_route_mtu_beats_the_device() -> None:
    world = World()
    host = world.host("n1")
    below = host.nic(1500)
    tunnel = host.link("vxlan0", 1500, kind="vxlan", tunnel=pb.Tunnel(id=5, underlay=below.ifindex))
    host.route("10.9.0.0/24", tunnel, mtu=1450)
    assert world.codes(1) == {}


def mtu_overlay_exceeds_underlay__near_miss_default_route_is_not_where_it_goes() -> None:
    world = World()
    host = world.host("n1")
    below = host.nic(1500)
    host.nic(9000, "eth1", "10.9.9.1/24")
    host.vxlan(8950, below, underlay_source=pb.UNDERLAY_SOURCE_DEFAULT_ROUTE)
    verdict = world.pass_time(1)
    assert verdict.findings == []
    assert any("eth1" in gap.because for gap in verdict.gaps)


def mtu_overlay_exceeds_underlay__near_miss_down_and_fallback_devices() -> None:
    world = World()
    host = world.host("n1")
    below = host.nic(1500)
    host.vxlan(1500, below).up = False
    host.link("tunl0", 1480, kind="ipip", tunnel=pb.Tunnel())
    host.link("vpn0", 1500, kind="wireguard", tunnel=pb.Tunnel())
    assert world.codes(1) == {}


def mtu_overlay_exceeds_underlay__recovery() -> None:
    world = World()
    host = flannel(world, inner=1500)
    before = world.codes(1)["mtu.overlay_exceeds_underlay"]
    host.links[2].mtu = 1480
    changed = world.codes(1)["mtu.overlay_exceeds_underlay"]
    assert changed.id == before.id
    assert changed.summary != before.summary
    for ifindex in (2, 3, 4, 5):
        host.links[ifindex].mtu = 1450
    assert world.codes(1) == {}


# -- mtu.inconsistent_on_node --


def wireguard(world: World, veths: int) -> TestHost:
    """A CNI with WireGuard as the way between nodes."""
    host = world.host("n1")
    below = host.nic(1450)
    tunnel = host.link("cilium_wg0", 1370, kind="wireguard", tunnel=pb.Tunnel(underlay=below.ifindex))
    host.route("10.0.1.0/24", tunnel)
    for number in range(3):
        host.pod_veth(veths, f"lxc{number}")
    return host


def mtu_inconsistent_on_node__positive_pods_above_wireguard() -> None:
    world = World()
    wireguard(world, 1450)
    finding = world.codes(1)["mtu.inconsistent_on_node"]
    assert finding.stage is Stage.RISK
    assert "1450" in finding.summary
    assert "1370" in finding.summary


def mtu_inconsistent_on_node__positive_active_when_the_veth_drops() -> None:
    world = World()
    host = wireguard(world, 1450)
    world.pass_time(1)
    host.rise("link/3", rx_dropped=20)
    assert world.codes(1)["mtu.inconsistent_on_node"].stage is Stage.ACTIVE


def mtu_inconsistent_on_node__positive_bridge_port_and_silent_bridge_drops() -> None:
    world = World()
    host = flannel(world)
    host.links[5].mtu = 1500
    assert world.codes(1)["mtu.inconsistent_on_node"].stage is Stage.RISK
    host.rise("protocol/Ip", FragFails=20)
    finding = world.codes(1)["mtu.inconsistent_on_node"]
    assert finding.stage is Stage.ACTIVE
    assert any(piece.subject == "Ip.FragFails" and piece.value == 20 for piece in finding.evidence)


def mtu_inconsistent_on_node__positive_pod_interface() -> None:
    world = World()
    host = flannel(world)
    link = pb.PodLink(pod_uid="u1", interface="eth0", mtu=1500, host_interface="cni0veth0")
    host.item(pb.Item(key="pod_link/u1/eth0", pod_link=link))
    assert "u1" in world.codes(1)["mtu.inconsistent_on_node"].summary


def mtu_inconsistent_on_node__positive_active_when_the_pod_does_not_take_it() -> None:
    world = World()
    host = flannel(world)
    link = pb.PodLink(pod_uid="u1", interface="eth0", mtu=1400, host_interface="cni0veth0")
    host.item(pb.Item(key="pod_link/u1/eth0", pod_link=link))
    assert world.codes(1)["mtu.inconsistent_on_node"].stage is Stage.RISK
    host.rise(VETH, rx_dropped=20)
    assert world.codes(1)["mtu.inconsistent_on_node"].stage is Stage.RISK, "what the pod sends is small enough"
    host.rise(VETH, tx_dropped=20)
    assert world.codes(1)["mtu.inconsistent_on_node"].stage is Stage.ACTIVE


def mtu_inconsistent_on_node__positive_two_ends_of_a_veth() -> None:
    world = World()
    host = world.host("n1")
    host.nic()
    host.link("a", 1500, kind="veth", lower=3)
    host.link("b", 1400, kind="veth", lower=2)
    assert "a 1500, b 1400" in world.codes(1)["mtu.inconsistent_on_node"].summary


def mtu_inconsistent_on_node__near_miss() -> None:
    world = World()
    host = wireguard(world, 1370)
    vlan_parent = host.nic(9000, "eth1", "10.7.0.1/24")
    host.link("eth1.10", 1500, kind="vlan", lower=vlan_parent.ifindex, vlan_id=10)
    host.link("docker0", 1500, kind="bridge", addresses=["172.17.0.1/16"]).operstate = pb.OPER_STATE_DOWN
    ovs = host.link("ovs-system", 1500, kind="openvswitch")
    host.pod_veth(1370, "onovs", master=ovs.ifindex)
    assert world.codes(1) == {}


def mtu_inconsistent_on_node__near_miss_routes_keep_pods_below_the_tunnel() -> None:
    """Cilium with encryption: veths as large as the NIC, and routes towards other nodes' pods that say less."""
    for said, expected in ((1370, []), (1420, []), (1450, ["mtu.inconsistent_on_node"])):
        world = World()
        host = world.host("n1")
        below = host.nic(1500)
        router = host.link("cilium_host", 1500, kind="veth", peer_ifindex=9, peer_netnsid=0, addresses=["10.1.0.7/32"])
        host.link("cilium_wg0", 1420, kind="wireguard", tunnel=pb.Tunnel(underlay=below.ifindex))
        host.pod_veth(1500, "lxc0")
        host.route("10.1.1.0/24", router, mtu=said)
        assert list(world.codes(1)) == expected


def mtu_inconsistent_on_node__near_miss_docker_beside_an_overlay() -> None:
    world = World()
    host = flannel(world)
    host.bridge_with_pods(1500, name="docker0", address="172.17.0.1/16")
    assert world.codes(1) == {}


def mtu_inconsistent_on_node__near_miss_vpn_beside_pods() -> None:
    world = World()
    host = flannel(world)
    vpn = host.link("wg0", 1420, kind="wireguard", tunnel=pb.Tunnel(underlay=1), addresses=["10.8.0.2/24"])
    host.route("10.8.0.0/24", vpn)
    assert world.codes(1) == {}


def mtu_inconsistent_on_node__near_miss_the_node_is_a_container() -> None:
    world = World()
    host = world.host("n1")
    below = host.link("eth0", 1500, kind="veth", peer_ifindex=9, peer_netnsid=0, addresses=["172.18.0.2/16"])
    host.route("0.0.0.0/0", below)
    host.vxlan(1450, below)
    assert world.codes(1) == {}


def mtu_inconsistent_on_node__recovery() -> None:
    world = World()
    host = wireguard(world, 1450)
    assert "mtu.inconsistent_on_node" in world.codes(1)
    for ifindex in (3, 4, 5):
        host.links[ifindex].mtu = 1370
    assert world.codes(1) == {}


# -- mtu.inconsistent_across_nodes --


def mtu_inconsistent_across_nodes__positive() -> None:
    world = World()
    for name, nic in (("n1", 9000), ("n2", 9000), ("n3", 1500)):
        flannel(world, name, nic=nic, pool="blue")
    finding = world.codes(1)["mtu.inconsistent_across_nodes"]
    assert finding.nodes == ("n3",)
    assert "1500" in finding.summary
    assert "9000" in finding.summary


def mtu_inconsistent_across_nodes__positive_one_network_without_pools() -> None:
    world = World()
    for name, nic in (("n1", 9000), ("n2", 1500)):
        world.host(name).nic(nic, address=f"10.5.0.{nic % 250}/24")
    assert world.codes(1)["mtu.inconsistent_across_nodes"].nodes == ("n1", "n2")


def mtu_inconsistent_across_nodes__near_miss() -> None:
    world = World()
    for name in ("n1", "n2", "n3"):
        host = world.host(name, "blue")
        host.nic(1500, "bond1")
        host.link("bond0", 9000, kind="bond", addresses=[f"10.99.0.{len(world.hosts)}/24"])
    world.host("n4", "green").nic(9000)
    assert world.codes(1) == {}


def mtu_inconsistent_across_nodes__near_miss_down() -> None:
    world = World()
    for name, nic in (("n1", 9000), ("n2", 9000), ("n3", 1500)):
        host = world.host(name, "blue")
        host.nic(9000)
        host.link("eth1", nic, hardware=True, addresses=["10.6.0.1/24"]).up = nic == 9000
    assert world.codes(1) == {}


def mtu_inconsistent_across_nodes__recovery() -> None:
    world = World()
    for name, nic in (("n1", 9000), ("n2", 9000), ("n3", 1500)):
        flannel(world, name, nic=nic, pool="blue")
    assert "mtu.inconsistent_across_nodes" in world.codes(1)
    world.hosts["n3"].links[1].mtu = 9000
    assert world.codes(1) == {}


# -- probes --


def probe(
    world: World,
    node: str,
    peer: str,
    size: int | None,
    icmp: bool = False,
    *,
    at: float = 0.0,
    via: str = "overlay",
    full: int = 1450,
) -> None:
    """One result of a path probe."""
    result = pb.PathMtu(peer=peer, via=via, interface="veth0", interface_mtu=full, icmp_seen=icmp)
    result.at_unix_ms = round((at or world.now) * 1000)
    if size is not None:
        result.path_mtu = size
    world.hosts[node].item(pb.Item(key=f"path_mtu/{via}/{peer}", path_mtu=result))


def mtu_path_black_hole__positive() -> None:
    world = World()
    for name in ("n1", "n2", "n3"):
        flannel(world, name)
    probe(world, "n1", "n3", 1420)
    probe(world, "n2", "n3", 1420)
    probe(world, "n1", "n2", 1450)
    finding = world.codes(1)["mtu.path_black_hole"]
    assert (finding.stage, finding.nodes) == (Stage.ACTIVE, ("n3",))


def mtu_path_black_hole__positive_underlay_and_its_overlay_are_one_finding() -> None:
    world = World()
    for name in ("n1", "n2"):
        flannel(world, name)
    probe(world, "n1", "n2", 1350)
    probe(world, "n1", "n2", 1400, via="underlay", full=1500)
    (finding,) = world.pass_time(1).findings
    assert "underlay" in finding.summary
    assert {piece.value for piece in finding.evidence} == {1350, 1400}


def mtu_path_black_hole__positive_overlay_too_large_beside_a_hole_below() -> None:
    """What the overlay loses has a cause of its own here: the configuration stays proven."""
    world = World()
    for name in ("n1", "n2"):
        flannel(world, name, inner=1500)
    probe(world, "n1", "n2", 1350, full=1500)
    probe(world, "n1", "n2", 1400, via="underlay", full=1500)
    found = world.pass_time(1).findings
    assert sorted(finding.code for finding in found) == [
        "mtu.overlay_exceeds_underlay",
        "mtu.path_black_hole",
        "mtu.path_black_hole",
    ]
    assert all(finding.stage is Stage.ACTIVE for finding in found)


def mtu_path_black_hole__near_miss() -> None:
    world = World()
    flannel(world, "n1")
    flannel(world, "n2")
    probe(world, "n1", "n2", None)
    probe(world, "n2", "n1", 1450)
    assert world.codes(1) == {}


def mtu_path_black_hole__near_miss_old() -> None:
    world = World()
    flannel(world, "n1")
    probe(world, "n1", "n2", 1400, at=world.now - 3600)
    assert world.codes(1) == {}


def mtu_path_black_hole__recovery() -> None:
    world = World()
    flannel(world, "n1")
    probe(world, "n1", "n2", 1400)
    assert "mtu.path_black_hole" in world.codes(1)
    probe(world, "n1", "n2", 1450)
    assert world.codes(1) == {}


def segments(host: TestHost, large: int, small: int, timeouts: int, peer: str = "10.244.1.7") -> None:
    """What the sensor counted of one peer so far."""
    key = f"retransmits/9/u1/{peer}"
    found = pb.Retransmits(netns=9, pod_uid="u1", peer=peer, consecutive_timeouts=timeouts)
    host.item(pb.Item(key=key, retransmits=found))
    host.counters[key] = {"large": large, "small": small}


def mtu_path_black_hole__positive_connections() -> None:
    world = World()
    host = flannel(world)
    segments(host, 1, 0, 0)
    world.pass_time(1)
    segments(host, 6, 0, 5)
    finding = world.codes(5)["mtu.path_black_hole"]
    assert (finding.stage, finding.nodes) == (Stage.ACTIVE, ("n1",))
    assert "10.244.1.7" in finding.summary


def mtu_path_black_hole__positive_connections_and_probes_are_one_finding() -> None:
    world = World()
    host = flannel(world)
    segments(host, 1, 0, 0)
    world.pass_time(1)
    segments(host, 6, 0, 5)
    probe(world, "n1", "n2", 1400)
    verdict = world.pass_time(5)
    assert [finding.code for finding in verdict.findings] == ["mtu.path_black_hole"]


def mtu_path_black_hole__positive_connections_of_a_new_peer() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    segments(host, 6, 0, 5)
    assert "6 large segments" in world.codes(5)["mtu.path_black_hole"].summary


def mtu_path_black_hole__near_miss_levels_only() -> None:
    world = World()
    segments(flannel(world), 6, 0, 5)
    assert world.codes(5) == {}


def mtu_path_black_hole__near_miss_random_loss() -> None:
    world = World()
    host = flannel(world)
    segments(host, 10, 3, 0)
    world.pass_time(1)
    segments(host, 154, 20, 1)
    assert world.codes(5) == {}


def mtu_path_black_hole__near_miss_a_peer_that_is_gone() -> None:
    world = World()
    host = flannel(world)
    segments(host, 1, 1, 0)
    world.pass_time(1)
    segments(host, 5, 6, 6)
    assert world.codes(5) == {}


def mtu_path_black_hole__recovery_connections() -> None:
    world = World()
    host = flannel(world)
    segments(host, 1, 0, 0)
    world.pass_time(1)
    segments(host, 6, 0, 5)
    assert "mtu.path_black_hole" in world.codes(5)
    segments(host, 6, 0, 0)
    assert world.codes(5) == {}


def mtu_path_smaller__positive() -> None:
    world = World()
    flannel(world, "n1")
    probe(world, "n1", "n2", 1400, icmp=True)
    finding = world.codes(1)["mtu.path_smaller"]
    assert finding.stage is Stage.RISK
    assert [rule.code for rule in finding.ruled_out] == ["mtu.path_black_hole"]


def mtu_path_smaller__near_miss() -> None:
    world = World()
    flannel(world, "n1")
    probe(world, "n1", "n2", 1400)
    assert "mtu.path_smaller" not in world.codes(1)


def mtu_path_smaller__recovery() -> None:
    world = World()
    flannel(world, "n1")
    probe(world, "n1", "n2", 1400, icmp=True)
    assert "mtu.path_smaller" in world.codes(1)
    probe(world, "n1", "n2", 1450, icmp=True)
    assert world.codes(1) == {}


# -- counters --


def mtu_drop_fingerprint__positive() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=19)
    host.rise("protocol/Ip", FragFails=19)
    host.rise("protocol/Icmp", OutDestUnreachs=19, InDestUnreachs=19)
    found = world.codes(1)
    assert list(found) == ["mtu.drop_fingerprint"]
    assert {rule.code for rule in found["mtu.drop_fingerprint"].ruled_out} == {"net.nic_errors", "net.queue_drops"}


def mtu_drop_fingerprint__positive_ipv6() -> None:
    world = World()
    host = flannel(world, inner=1430, outer_ipv6=True)
    world.pass_time(1)
    host.rise(VXLAN, tx_errors=20, tx_aborted_errors=20)
    host.rise("protocol/Ip6", FragFails=20)
    host.rise("protocol/Icmp6", OutPktTooBigs=20, InPktTooBigs=20)
    assert list(world.codes(1)) == ["mtu.drop_fingerprint"]


def mtu_drop_fingerprint__positive_segmentation_offload() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=7)
    host.rise("protocol/Ip", FragFails=15)
    host.rise("protocol/Icmp", OutDestUnreachs=15, InDestUnreachs=15)
    assert list(world.codes(1)) == ["mtu.drop_fingerprint"]


def mtu_drop_fingerprint__positive_explained_by_the_configuration() -> None:
    world = World()
    host = flannel(world, inner=1500, df=pb.OUTER_DF_SET)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=20)
    host.rise("protocol/Ip", FragFails=20)
    host.rise("protocol/Icmp", OutDestUnreachs=20, InDestUnreachs=20)
    found = world.codes(1)
    assert found["mtu.drop_fingerprint"].caused_by == (found["mtu.overlay_exceeds_underlay"].id,)


def mtu_drop_fingerprint__near_miss_healthy_discovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", FragFails=20)
    host.rise("protocol/Icmp", OutDestUnreachs=20)
    host.rise(VXLAN, tx_dropped=3)
    assert world.codes(1) == {}


def mtu_drop_fingerprint__near_miss_one_connection_learns_the_size() -> None:
    world = World()
    host = flannel(world, inner=1500, df=pb.OUTER_DF_SET)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=1, tx_packets=240)
    host.rise("protocol/Ip", FragFails=10)
    host.rise("protocol/Icmp", OutDestUnreachs=10, InDestUnreachs=10)
    found = world.codes(1)
    assert list(found) == ["mtu.overlay_exceeds_underlay"]
    assert found["mtu.overlay_exceeds_underlay"].stage is Stage.RISK


def mtu_drop_fingerprint__near_miss_levels_only() -> None:
    world = World()
    host = flannel(world)
    host.rise(VXLAN, tx_dropped=5000)
    host.rise("protocol/Ip", FragFails=5000)
    host.rise("protocol/Icmp", OutDestUnreachs=5000, InDestUnreachs=5000)
    verdict = world.pass_time(1)
    assert verdict.findings == []
    assert any(gap.signal == "counters" for gap in verdict.gaps)


def mtu_drop_fingerprint__near_miss_reset() -> None:
    world = World()
    host = flannel(world)
    host.rise(VXLAN, tx_dropped=5000)
    world.pass_time(1)
    host.counters[VXLAN]["tx_dropped"] = 30
    host.counters["protocol/Ip"]["FragFails"] = 3
    assert world.codes(1) == {}


def mtu_drop_fingerprint__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=19)
    host.rise("protocol/Ip", FragFails=19)
    host.rise("protocol/Icmp", OutDestUnreachs=19, InDestUnreachs=19)
    assert "mtu.drop_fingerprint" in world.codes(1)
    for _ in range(8):
        world.pass_time(5)
    assert "mtu.drop_fingerprint" in world.codes(1), "its window is not over"
    for _ in range(6):
        world.pass_time(5)
    assert world.codes(1) == {}


def mtu_icmp_blocked__positive() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", FragFails=20, OutDiscards=20)
    host.rise("protocol/Icmp", OutDestUnreachs=20)
    assert list(world.codes(1)) == ["mtu.icmp_blocked"]


def mtu_icmp_blocked__near_miss() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", FragFails=20, OutDiscards=2)
    host.rise("protocol/Icmp", OutDestUnreachs=20)
    assert world.codes(1) == {}


def mtu_icmp_blocked__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", FragFails=20, OutDiscards=20)
    host.rise("protocol/Icmp", OutDestUnreachs=20)
    assert "mtu.icmp_blocked" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert world.codes(1) == {}


def mtu_fragmenting__positive() -> None:
    world = World()
    host = flannel(world, inner=1500)
    world.pass_time(1)
    host.rise("protocol/Ip", FragOKs=100, FragCreates=200)
    found = world.codes(1)
    assert set(found) == {"mtu.fragmenting", "mtu.overlay_exceeds_underlay"}
    assert found["mtu.fragmenting"].caused_by == (found["mtu.overlay_exceeds_underlay"].id,)
    assert found["mtu.overlay_exceeds_underlay"].stage is Stage.RISK


def mtu_fragmenting__near_miss_somebody_elses_fragments() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", FragOKs=100, FragCreates=600)
    assert world.codes(1) == {}


def mtu_fragmenting__recovery() -> None:
    world = World()
    host = flannel(world, inner=1500)
    world.pass_time(1)
    host.rise("protocol/Ip", FragOKs=100, FragCreates=200)
    assert "mtu.fragmenting" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert "mtu.fragmenting" not in world.codes(1)


def mtu_fragments_lost__positive_on_the_way() -> None:
    world = World()
    sender, receiver = flannel(world, "n1", inner=1500), flannel(world, "n2", inner=1500)
    world.pass_time(1)
    sender.rise("protocol/Ip", FragOKs=100, FragCreates=200)
    receiver.rise(VXLAN, rx_packets=500)
    found = world.codes(1)
    assert found["mtu.fragments_lost"].nodes == ("n1",)
    assert found["mtu.fragments_lost"].caused_by == (found["mtu.overlay_exceeds_underlay"].id,)
    assert found["mtu.overlay_exceeds_underlay"].stage is Stage.ACTIVE
    assert "mtu.fragmenting" not in found


def mtu_fragments_lost__positive_some() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", ReasmReqds=20, ReasmFails=20, ReasmTimeout=20)
    assert list(world.codes(1)) == ["mtu.fragments_lost"]


def mtu_fragments_lost__positive_some_of_those_that_another_node_cuts() -> None:
    world = World()
    sender, receiver = flannel(world, "n1", inner=1500), flannel(world, "n2")
    flannel(world, "n3", inner=1500)
    world.pass_time(1)
    sender.rise("protocol/Ip", FragOKs=50, FragCreates=100)
    receiver.rise("protocol/Ip", ReasmReqds=50, ReasmFails=50, ReasmTimeout=50)
    found = world.codes(1)
    overlay = found["mtu.overlay_exceeds_underlay"]
    assert found["mtu.fragments_lost"].nodes == ("n2",)
    assert found["mtu.fragments_lost"].caused_by == (overlay.id,)
    assert (overlay.stage, overlay.severity, overlay.nodes) == (Stage.ACTIVE, Severity.WARNING, ("n1", "n3"))
    assert any((piece.node, piece.subject) == ("n2", "Ip.ReasmFails") for piece in overlay.evidence)


def mtu_fragments_lost__near_miss() -> None:
    world = World()
    sender, receiver = flannel(world, "n1", inner=1500), flannel(world, "n2", inner=1500)
    world.pass_time(1)
    sender.rise("protocol/Ip", FragOKs=100, FragCreates=200)
    receiver.rise("protocol/Ip", ReasmReqds=200, ReasmOKs=99, ReasmFails=1)
    assert "mtu.fragments_lost" not in world.codes(1)


def mtu_fragments_lost__near_miss_a_node_is_not_watched() -> None:
    world = World()
    sender = flannel(world, "n1", inner=1500, pool="blue")
    flannel(world, "n2", inner=1500, pool="blue")
    world.objects.keep("nodes", "n3", NodeObject("n3"))
    world.pass_time(1)
    sender.rise("protocol/Ip", FragOKs=100, FragCreates=200)
    assert "mtu.fragments_lost" not in world.codes(1)


def mtu_fragments_lost__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/Ip", ReasmReqds=20, ReasmFails=20, ReasmTimeout=20)
    assert "mtu.fragments_lost" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert world.codes(1) == {}


def net_nic_errors__positive() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(NIC, rx_errors=40, rx_crc_errors=40)
    host.rise(VXLAN, tx_dropped=500)
    assert list(world.codes(1)) == ["net.nic_errors"]


def net_nic_errors__positive_below_what_carries_the_overlay() -> None:
    """A bond's member or a VLAN's parent errs: that is the device below, and the overlay's drops are its doing."""
    world = World()
    host = world.host("n1")
    member = host.link("eno1", 1500, hardware=True)
    bond = host.link("bond0", 1500, kind="bond")
    member.master = bond.ifindex
    vlan = host.link("bond0.100", 1500, kind="vlan", lower=bond.ifindex, addresses=["10.0.100.1/24"])
    tunnel = host.vxlan(1450, vlan)
    world.pass_time(1)
    host.rise(f"link/{tunnel.ifindex}", tx_dropped=400)
    assert list(world.codes(1)) == ["net.overlay_drops"]
    host.rise(f"link/{member.ifindex}", rx_errors=90, rx_crc_errors=90)
    assert list(world.codes(1)) == ["net.nic_errors"]


def net_nic_errors__near_miss() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(NIC, rx_dropped=4000, rx_errors=30, rx_length_errors=30)
    assert world.codes(1) == {}


def net_nic_errors__near_miss_a_driver_that_says_minus_one() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.counters[NIC]["rx_crc_errors"] = 2**64 - 1
    assert world.codes(1) == {}
    host.counters[NIC]["rx_crc_errors"] = 1000
    assert world.codes(1) == {}


def net_nic_errors__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(NIC, rx_errors=40, rx_fifo_errors=40)
    assert "net.nic_errors" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert world.codes(1) == {}


def net_overlay_drops__positive() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=400, tx_packets=9000)
    found = world.codes(1)
    assert list(found) == ["net.overlay_drops"]
    assert {rule.code for rule in found["net.overlay_drops"].ruled_out} >= {"mtu.drop_fingerprint", "net.nic_errors"}


def net_overlay_drops__positive_beside_a_few_too_big_ones() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=5020)
    host.rise("protocol/Ip", FragFails=20)
    host.rise("protocol/Icmp", OutDestUnreachs=20, InDestUnreachs=20)
    assert set(world.codes(1)) == {"net.overlay_drops", "mtu.drop_fingerprint"}


def net_overlay_drops__positive_where_probes_rule_mtu_out() -> None:
    world = World()
    host = flannel(world, "n1")
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=400)
    probe(world, "n1", "n2", 1450)
    found = world.codes(1)
    assert list(found) == ["net.overlay_drops"]
    assert "mtu.path_black_hole" in {rule.code for rule in found["net.overlay_drops"].ruled_out}


def net_overlay_drops__near_miss_idle_multicast() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=7)
    assert world.codes(12) == {}


def net_overlay_drops__near_miss_tiny_share() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=60, tx_packets=5_000_000)
    assert world.codes(1) == {}


def net_overlay_drops__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise(VXLAN, tx_dropped=400)
    assert "net.overlay_drops" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert world.codes(1) == {}


def net_queue_drops__positive() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/softnet", dropped=100, time_squeeze=5)
    assert list(world.codes(1)) == ["net.queue_drops"]


def net_queue_drops__near_miss() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/softnet", processed=10_000, time_squeeze=500, dropped=2)
    assert world.codes(1) == {}


def net_queue_drops__recovery() -> None:
    world = World()
    host = flannel(world)
    world.pass_time(1)
    host.rise("protocol/softnet", dropped=100)
    assert "net.queue_drops" in world.codes(1)
    for _ in range(14):
        world.pass_time(5)
    assert world.codes(1) == {}


def conntrack(host: TestHost, count: int) -> None:
    """How full the connection tracking table is, of 262,144."""
    host.item(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=count, max=262_144)))


def net_conntrack_full__positive() -> None:
    world = World()
    conntrack(flannel(world), 262_000)
    assert world.codes(1)["net.conntrack_full"].severity is Severity.CRITICAL


def net_conntrack_full__near_miss() -> None:
    world = World()
    conntrack(flannel(world), 230_000)
    assert world.codes(1) == {}


def net_conntrack_full__recovery() -> None:
    world = World()
    host = flannel(world)
    conntrack(host, 262_144)
    assert "net.conntrack_full" in world.codes(1)
    conntrack(host, 1000)
    assert world.codes(1) == {}


# -- the cases as tests --


def _cases() -> dict[str, Callable[[], None]]:
    return {
        name: function
        for name, function in inspect.getmembers(sys.modules[__name__], inspect.isfunction)
        if "__" in name and not name.startswith("_")
    }


def _said_in(case: str) -> list[str]:
    SAID.clear()
    _cases()[case]()
    return SAID[:]


def all_words() -> dict[str, list[str]]:
    """What findings of positive cases say (tests/lab/words.py)."""
    return {case: _said_in(case) for case in _cases() if "__positive" in case}


@pytest.mark.parametrize("case", _cases())
def test_timeline(case: str) -> None:
    said = _said_in(case)
    if "__positive" in case:
        words.compare(case, said)


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_positive_a_near_miss_and_a_recovery(code: str) -> None:
    prefix = code.replace(".", "_") + "__"
    kinds = {name.removeprefix(prefix) for name in _cases() if name.startswith(prefix)}
    for kind in KINDS:
        assert any(found.startswith(kind) for found in kinds), f"{code} has no {kind}"


def test_no_case_is_about_a_code_that_does_not_exist() -> None:
    known = {code.replace(".", "_") for code in CODES}
    assert {name.split("__")[0] for name in _cases()} <= known
