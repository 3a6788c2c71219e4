"""A host on which something happens all the time and nothing stays: pods, links, volumes, disks, counters, reboots.

It is at any time as large as before: whatever comes, something like it goes. A period is an hour, so that what is
measured at the end of each is measured in the same state.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from nodetell.v1 import facts_pb2 as pb

from agent.host import ClockState, Failure, Inventory, ReadError
from agent.netlink.stats import COUNTER_NAMES
from tests.lab.host import LabHost
from tests.lab.store import Store

START = 1_795_341_600.0
"""2026-11-22T10:00:00Z."""
STEP_S = 10.0
STEPS_AN_HOUR = 360
PODS = 60
VOLUMES = 8
_LOG_LINES = 60
_SNMP = (
    "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers "
    "OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates\n"
    "Ip: 1 64 {0} 0 0 {0} 0 0 {0} {0} 0 0 0 0 0 0 0 {1} 0\n"
    "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs "
    "OutSegs RetransSegs InErrs OutRsts InCsumErrors\n"
    "Tcp: 1 200 120000 -1 {0} {0} 3 2 14 {0} {0} {1} 0 9 0\n"
)


class Links:
    """The host's interfaces: each step one of a pod goes and another comes, and now and then one flaps."""

    def __init__(self) -> None:
        self._next = 1
        self._counted = 0
        self._inventory = Inventory()
        self._rows: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {}
        tunnel = pb.Tunnel(id=1, port=8472, local="10.0.0.11", underlay=2)
        self._add("lo", mtu=65_536, loopback=True)
        self._add("eth0", hardware=True, addresses=["10.0.0.11/24"])
        self._add("flannel.1", kind="vxlan", mtu=1450, tunnel=tunnel, addresses=["10.100.0.0/32"])
        self._add("cni0", kind="bridge", mtu=1450, addresses=["10.100.0.1/24"])
        self._add("eth1", hardware=True)
        self._fixed = self._next
        for _ in range(PODS):
            self._add_pod()
        for destination, ifindex in (("0.0.0.0/0", 2), ("10.100.0.0/24", 4), ("10.100.1.0/24", 3)):
            self._inventory.routes.append(pb.Route(destination=destination, ifindex=ifindex, table=254))

    def step(self, number: int) -> None:
        """A pod goes, another comes; traffic; every five minutes a flap; each hour, counters begin anew."""
        before = self._inventory
        self._inventory = Inventory(dict(before.links), list(before.routes))
        oldest = next(index for index in self._inventory.links if index >= self._fixed)
        del self._inventory.links[oldest]
        del self._rows[oldest]
        self._add_pod()
        flap = pb.Link()
        flap.CopyFrom(self._inventory.links[5])
        flap.up = number % 30 != 0
        flap.mtu = 9_000 if number % 60 == 7 else 1_500
        self._inventory.links[5] = flap
        self._counted = 0 if number % STEPS_AN_HOUR == STEPS_AN_HOUR - 2 else self._counted + 97
        for index, (names, values) in self._rows.items():
            risen = tuple(self._counted * (index % 7 + 1) + place for place in range(len(values)))
            self._rows[index] = names, risen if self._counted else (0,) * len(values)

    def inventory(self) -> Inventory:
        """As it is now."""
        return self._inventory

    def counters(self) -> Mapping[int, tuple[tuple[str, ...], tuple[int, ...]]]:
        """By ifindex."""
        return dict(self._rows)

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002  # the contract
        """Nothing is waited for here."""
        return False

    def close(self) -> None:
        """Nothing is open."""

    def _add_pod(self) -> None:
        self._add(f"veth{self._next * 2_654_435_761 % (1 << 32):08x}", kind="veth", mtu=1450, master=4)

    def _add(self, name: str, mtu: int = 1500, **fields: object) -> None:
        link = pb.Link(ifindex=self._next, name=name, mtu=mtu, up=True, arp_type=1, **fields)  # type: ignore[arg-type]  # fields of Link
        self._inventory.links[self._next] = link
        self._rows[self._next] = COUNTER_NAMES, (0,) * len(COUNTER_NAMES)
        self._next += 1


class FakeHost:
    """agent.host.Host. `step` moves its time on."""

    def __init__(self) -> None:
        self.network = Links()
        self._lab = LabHost("soak-1", Store(START), thorough=True)
        self._files: dict[str, bytes] = {}
        self._folders: dict[str, set[str]] = {}
        self._work = 0
        self._mounted: list[tuple[str, str, str]] = []
        for number in range(VOLUMES):
            self._mount(number)
        self.step(0)

    @property
    def name(self) -> str:
        """Node name."""
        return self._lab.name

    live = False
    proc = "/proc"
    """Of this very machine: its utilisation is never twice the same."""

    def step(self, number: int) -> None:
        """So many times STEP_S have passed."""
        lab, store = self._lab, self._lab.store
        store.now = START + number * STEP_S
        lab.pass_time(STEP_S)
        self.network.step(number)
        self._work += 11
        if number % (24 * STEPS_AN_HOUR) == 24 * STEPS_AN_HOUR - 3:
            lab.booted, self._work = store.now - 1, 0
        if number % 6 == 0:
            self._unmount()
            self._mount(VOLUMES + number)
        if number % 30 == 0:
            device = f"sd{chr(ord('b') + number // 30 % 20)}"
            lab.log.append((store.now, 3, f"I/O error, dev {device}, sector {number} op 0x0:(READ) flags 0x0"))
            del lab.log[:-_LOG_LINES]
        self._files = lab.frozen() | self._counters()
        self._index()

    # -- agent.host.Host -------------------------------------------------------------------------------------------

    def read(self, path: str, limit: int = 8 << 20) -> bytes:
        """Contents of a file."""
        if path not in self._files:
            raise ReadError(Failure.ABSENT, path, "no such file")
        return self._files[path][:limit]

    def entries(self, path: str) -> Sequence[str]:
        """Sorted names in a directory."""
        if path.rstrip("/") not in self._folders:
            raise ReadError(Failure.ABSENT, path, "no such directory")
        return sorted(self._folders[path.rstrip("/")])

    def link_target(self, path: str) -> str:
        """There are none."""
        raise ReadError(Failure.ABSENT, path, "no such link")

    def descriptor(self, path: str) -> int:
        """Nothing can be waited for."""
        raise ReadError(Failure.ABSENT, path, "this host tells of no changes")

    def document(self, name: str) -> object | None:  # noqa: ARG002  # the contract
        """There are none."""
        return None

    def clock(self) -> ClockState:
        """In step."""
        return ClockState(synchronized=True, offset_us=400, max_error_us=2_000)

    # -- what happens ----------------------------------------------------------------------------------------------

    def _mount(self, number: int) -> None:
        pod_uid = str(uuid.UUID(int=number + 1))
        volume, handle = f"pv-{number}", f"vol-{number:017x}"
        device = next(f"nvme{place}n1" for place in range(1, 2 * VOLUMES) if f"nvme{place}n1" not in self._lab.disks)
        self._lab.mount_csi("db/pg", volume, device, handle=handle, pod_uid=pod_uid)
        self._mounted.append((pod_uid, volume, handle))

    def _unmount(self) -> None:
        pod_uid, volume, handle = self._mounted.pop(0)
        source = next(mount.source for mount in self._lab.mounts if f"/{pod_uid}/" in mount.point)
        self._lab.unmount("db/pg", volume, pod_uid=pod_uid)
        self._lab.unstage(volume, handle=handle)
        self._lab.detach(source.removeprefix("/dev/"))

    def _counters(self) -> dict[str, bytes]:
        work = self._work
        stats = []
        for line in self._lab.frozen()["proc/diskstats"].decode().splitlines():
            fields = line.split()
            stats.append(" ".join([*fields[:3], *(str(work * 9 + place) for place in range(len(fields) - 3))]))
        texts = {
            "proc/diskstats": "\n".join(stats) + "\n",
            "proc/net/snmp": _SNMP.format(work * 31, work // 7),
            "proc/net/softnet_stat": f"{work * 50:08x} 00000000 {work // 9:08x}" + " 00000000" * 10 + "\n",
            "proc/pressure/io": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={work}\n"
            f"full avg10=0.00 avg60=0.00 avg300=0.00 total={work // 2}\n",
        }
        return {path: text.encode() for path, text in texts.items()}

    def _index(self) -> None:
        folders: dict[str, set[str]] = {}
        for path in self._files:
            parts = path.rstrip("/").split("/")
            for depth in range(1, len(parts)):
                folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
            if path.endswith("/"):
                folders.setdefault(path.rstrip("/"), set())
        self._folders = folders
