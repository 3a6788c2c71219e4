"""A cluster's hosts for the benchmarks of the aggregator: what agents would report of them, by the agents' own encoder.

Hosts are like those of a large cluster: a NIC, an overlay, a bridge and 27 to 97 pods on it, disks, volumes, latencies,
probes, and what the protocol stack counts. Nothing is random that is not told by the host's number, so two runs measure
the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.histograms import BOUNDS_US, counter_names
from agent.delta import DeltaEncoder
from agent.netlink.stats import COUNTER_NAMES
from agent.reading import Block, Reading
from aggregator.node_state import NodeState

START = 1_795_341_600.0
"""When the benchmarks' time begins, seconds since the epoch: 2026-11-22T10:00:00Z, as in bench.cluster_objects."""
OVERLAY = "link/3"
"""Subject of the counters of every host's overlay."""

LINK_COUNTERS = COUNTER_NAMES[:24]
"""Those of Linux 4.6 to 5.18."""
_PROTOCOLS = {
    "protocol/Ip": (
        "InReceives",
        "OutRequests",
        "OutDiscards",
        "ReasmTimeout",
        "ReasmReqds",
        "ReasmOKs",
        "ReasmFails",
        "FragOKs",
        "FragFails",
        "FragCreates",
    ),
    "protocol/Icmp": ("InMsgs", "InDestUnreachs", "OutMsgs", "OutDestUnreachs"),
    "protocol/Ip6": ("InReceives", "OutDiscards", "FragFails"),
    "protocol/Icmp6": ("InPktTooBigs", "OutPktTooBigs"),
    "protocol/softnet": ("processed", "dropped", "time_squeeze"),
}
_LATENCY = counter_names(BOUNDS_US)
_PROCESSES = ("containerd", "kubelet", "postgres")
_PEERS = 4


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume of a pod on a host."""

    name: str
    """Of the PersistentVolume."""
    handle: str
    driver: str
    pod_uid: str


class Host:
    """One host: what it is, what it has counted, and the state that an aggregator has of it."""

    def __init__(
        self,
        number: int,
        names: Sequence[str],
        volumes: Iterable[Mounted] = (),
        *,
        overlay_mtu: int = 1450,
        take: Callable[[agent_pb2.Update], None] | None = None,
    ) -> None:
        """`names`: of all hosts. `take`: where its updates go; None: into `state`."""
        self.number, self.name = number, names[number]
        self.state = NodeState(self.name)
        self._encoder = DeltaEncoder()
        self._reading = Reading()
        self._overlay_mtu = overlay_mtu
        self._take = take or self.state.apply
        self._links(27 + number * 7 % 71)
        self._probes(names)
        self._storage(volumes)
        for subject, counters in _PROTOCOLS.items():
            self._reading.blocks[subject] = Block(counters, (1000,) * len(counters))

    def report(self, at: float) -> None:
        """Everything it is goes into the state."""
        self._apply(self._encoder.full(self._reading, round(at * 1000)))

    def traffic(self, at: float, subjects: Sequence[str] = (), **rises: int) -> None:
        """Every interface has carried packets, and fsyncs were made; these counters of these subjects rose too."""
        blocks = self._reading.blocks
        for subject, block in list(blocks.items()):
            values = list(block.values)
            if subject.startswith("link/"):
                values[:4] = [value + 97 * (self.number + 1) for value in values[:4]]
            elif subject.startswith("latency/"):
                values[20] += 30
            else:
                values[0] += 11
            if subject in subjects:
                for name, rise in rises.items():
                    values[block.names.index(name)] += rise
            blocks[subject] = Block(block.names, tuple(values))
        self._gauges(round(at))
        update = self._encoder.delta(self._reading, round(at * 1000))
        if update is not None:
            self._apply(update)

    def replace_pod(self, leaves: int, comes: int) -> None:
        """An interface of a pod goes, that of another comes."""
        gone = self._reading.items.pop(f"link/{leaves}").link
        del self._reading.items[f"pod-link/{leaves}"], self._reading.blocks[f"link/{leaves}"]
        veth = pb.Link()
        veth.CopyFrom(gone)
        veth.ifindex, veth.name = comes, f"veth{self.number:x}{comes:06x}"
        self._link(veth)
        pod = pb.PodLink(interface="eth0", mtu=veth.mtu, host_interface=veth.name, addresses=["10.99.0.1/24"])
        self._reading.add(pb.Item(key=f"pod-link/{comes}", pod_link=pod))

    def _gauges(self, at: int) -> None:
        """What is never twice the same."""
        add = self._reading.add
        add(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=4_000 + at % 100, max=262_144)))
        usage = pb.Usage(cpu_busy_bp=4_000 + at % 50, memory_total_bytes=64 << 30, memory_available_bytes=at)
        add(pb.Item(key="usage", usage=usage))

    def _apply(self, update: agent_pb2.Update) -> None:
        self._take(agent_pb2.Update.FromString(update.SerializeToString()))

    def _link(self, link: pb.Link) -> None:
        link.up, link.operstate = True, pb.OPER_STATE_UNKNOWN if link.kind == "vxlan" else pb.OPER_STATE_UP
        self._reading.add(pb.Item(key=f"link/{link.ifindex}", link=link))
        self._reading.blocks[f"link/{link.ifindex}"] = Block(LINK_COUNTERS, (1000,) * len(LINK_COUNTERS))

    def _links(self, pods: int) -> None:
        high, low = divmod(self.number, 250)
        own = f"10.{high}.{low}.11"
        pod_range = f"10.{100 + high}.{low}"
        tunnel = pb.Tunnel(id=1, port=8472, local=own, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK)
        self._link(pb.Link(ifindex=1, name="lo", mtu=65536, loopback=True, arp_type=772, addresses=["127.0.0.1/8"]))
        self._link(pb.Link(ifindex=2, name="eth0", mtu=1500, hardware=True, arp_type=1, addresses=[f"{own}/8"]))
        overlay = pb.Link(ifindex=3, name="flannel.1", kind="vxlan", mtu=self._overlay_mtu, arp_type=1, tunnel=tunnel)
        overlay.addresses.append(f"{pod_range}.0/32")
        self._link(overlay)
        mtu = self._overlay_mtu
        self._link(pb.Link(ifindex=4, name="cni0", kind="bridge", mtu=mtu, arp_type=1, addresses=[f"{pod_range}.1/24"]))
        for number in range(pods):
            veth = pb.Link(ifindex=5 + number, name=f"veth{self.number:x}{number:04x}", kind="veth", mtu=mtu, master=4)
            veth.peer_ifindex, veth.peer_netnsid = 2, number
            self._link(veth)
            pod = pb.PodLink(interface="eth0", mtu=mtu, host_interface=veth.name)
            pod.addresses.append(f"{pod_range}.{number + 2}/24")
            self._reading.add(pb.Item(key=f"pod-link/{5 + number}", pod_link=pod))
        routes = [("0.0.0.0/0", 2), ("10.0.0.0/8", 2), (f"{pod_range}.0/24", 4)]
        routes += [
            (f"10.{100 + (self.number + step) // 250}.{(self.number + step) % 250}.0/24", 3) for step in range(1, 9)
        ]
        for destination, ifindex in routes:
            route = pb.Route(destination=destination, ifindex=ifindex, table=254)
            self._reading.add(pb.Item(key=f"route/main/{destination}/{ifindex}", route=route))
        endpoint = pb.ProbeEndpoint(port=9655)
        endpoint.addresses.add(via="underlay", network="10.0.0.0/8", address=own)
        endpoint.addresses.add(via="overlay", network="vxlan 1", address=f"{pod_range}.0")
        self._reading.add(pb.Item(key="probe_endpoint", probe_endpoint=endpoint))

    def _storage(self, volumes: Iterable[Mounted]) -> None:
        add = self._reading.add
        add(pb.Item(key="host", host=pb.HostInfo(boot_time_unix_ms=1, boot_id=self.name, cpus=16)))
        self._gauges(0)
        add(pb.Item(key="disk/259:0", disk=pb.Disk(dev="259:0", name="nvme0n1")))
        self._reading.add(
            pb.Item(key="source/devices", signal_source=pb.SignalSource(signal="devices", source="sysfs"))
        )
        for number, volume in enumerate(volumes, 1):
            identity = pb.DeviceIdentity(
                dev=f"259:{number}",
                name=f"nvme{number}n1",
                serial=volume.handle.replace("-", ""),
                model="Amazon Elastic Block Store",
            )
            device = pb.AttachedDevice(identity=identity, size_bytes=100 << 30)
            device.use = pb.DEVICE_USE_MOUNTED
            add(pb.Item(key=f"device/{identity.dev}", attached_device=device))
            hashed = hashlib.sha256(volume.handle.encode()).hexdigest()
            staging = f"/var/lib/kubelet/plugins/kubernetes.io/csi/{volume.driver}/{hashed}/globalmount"
            path = f"/var/lib/kubelet/pods/{volume.pod_uid}/volumes/kubernetes.io~csi/{volume.name}/mount"
            for pod_uid, where, plugin in ((volume.pod_uid, path, "kubernetes.io~csi"), ("", staging, "")):
                fact = pb.Volume(
                    pod_uid=pod_uid,
                    volume_name=volume.name,
                    driver=volume.driver,
                    volume_handle=volume.handle,
                    path=where,
                    mounted=True,
                    dev=identity.dev,
                    plugin=plugin,
                    staging_path=staging if pod_uid else "",
                    fs_type="ext4",
                    attached=True,
                    devices=[identity.name],
                    disk=identity,
                    errors=0,
                )
                add(pb.Item(key=f"volume/{where}", volume=fact))
        for process in _PROCESSES:
            source = pb.LatencySource(process=process, device="259:0", mount="/", bounds_us=BOUNDS_US)
            source.method = pb.LATENCY_METHOD_PASSIVE
            key = f"latency/passive/{process}/259:0"
            add(pb.Item(key=key, latency=source))
            self._reading.blocks[key] = Block(_LATENCY, (5,) * len(_LATENCY))
        for number in range(4):
            self._reading.gap(f"signal-{number}", "no such file: /sys/kernel/something", detail=str(number))

    def _probes(self, names: Sequence[str]) -> None:
        for step in range(1, _PEERS + 1):
            for via, size, name in (("underlay", 1500, "eth0"), ("overlay", self._overlay_mtu, "flannel.1")):
                peer = names[(self.number + step) % len(names)]
                probe = pb.PathMtu(
                    peer=peer,
                    via=via,
                    from_address=f"10.0.0.{step}",
                    to_address=f"10.0.1.{step}",
                    interface=name,
                    interface_mtu=size,
                    path_mtu=size,
                    at_unix_ms=round(START * 1000),
                )
                self._reading.add(pb.Item(key=f"path/{via}/{peer}", path_mtu=probe))
