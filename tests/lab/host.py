"""One host of a lab: its files as an evidence bundle holds them, with disks, mounts and the kubelet's directories."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field

from tests.lab.nodes import cores, kibibytes
from tests.lab.shapes import Json
from tests.lab.storage import attachment_name, handle_of
from tests.lab.store import Store

_ROOT = "/var/lib/kubelet"
_MOUNTS = """22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,discard,errors=remount-ro
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:6 - sysfs sysfs rw
25 22 0:5 / /dev rw,nosuid,relatime shared:2 - devtmpfs udev rw,size=8139576k,nr_inodes=2034894,mode=755,inode64
27 22 0:24 / /run rw,nosuid,nodev,noexec,relatime shared:5 - tmpfs tmpfs rw,size=1634580k,mode=755,inode64
31 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate
35 22 259:1 / /boot/efi rw,relatime shared:30 - vfat /dev/nvme0n1p1 rw,fmask=0077,dmask=0077
"""
_MODELS = {"nvme": "Amazon Elastic Block Store", "sd": "Virtual Disk", "vd": ""}
_JIFFIES = 100
_UPTIME_S = 20 * 86_400.0
_NETWORKS = re.compile(r"(nfs4?|cifs|ceph)")


@dataclass(frozen=True)
class Disk:
    """A disk beside the root disk."""

    name: str
    dev: str
    size_kib: int
    serial: str
    model: str


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo."""

    number: int
    dev: str
    root: str
    point: str
    fs: str
    source: str
    options: str = "rw,relatime"
    fs_options: str = "rw"

    def __str__(self) -> str:
        shared = f"shared:{self.number - 200}"
        return (
            f"{self.number} 22 {self.dev} {self.root} {self.point} {self.options} {shared} - "
            f"{self.fs} {self.source} {self.fs_options}"
        )


@dataclass
class LabHost:
    """A host with an agent, or whose files were collected. Times are seconds relative to the lab's now."""

    name: str
    store: Store
    thorough: bool = False
    """Also what not every collection has: /proc/partitions, and of every disk whether something is made of it. Only
    then is a disk known to be unused."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Others, as they are, by path; a path that ends in "/" is an empty folder."""
    silent: bool = False
    """In no snapshot from now on."""
    disks: dict[str, Disk] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    log: list[tuple[float, int, str]] = field(default_factory=list)
    booted: float = 0.0
    cpu_share: float = 0.1
    memory_share: float = 0.3
    _busy_s: float = 1000.0
    _idle_s: float = 9000.0
    _mounted: int = 400

    def __post_init__(self) -> None:
        self.booted = self.booted or self.store.now - _UPTIME_S

    # -- disks and mounts ------------------------------------------------------------------------------------------

    def attach(self, device: str, *, serial: str = "", model: str | None = None, size: str = "20Gi") -> None:
        """A disk appears ("nvme1n1", "sdc", "vdb")."""
        kind = re.match(r"nvme|sd|[a-z]+", device)[0]  # type: ignore[index]
        number = re.search(r"\d+", device)
        minor = 8 * int(number[0]) if number else 16 * (ord(device[-1]) - ord("a"))
        dev = f"{ {'nvme': 259, 'sd': 8}.get(kind, 252) }:{minor}".replace(" ", "")
        told = _MODELS.get(kind, "") if model is None else model
        self.disks[device] = Disk(device, dev, kibibytes(size), serial, told)

    def attach_volume(self, volume: str, device: str = "", *, handle: str = "", serial: str | None = None) -> str:
        """The disk of a PersistentVolume appears, with the serial number that EBS gives it; the device's name."""
        handle = handle or self._handle(volume)[1]
        device = device or f"nvme{len(self.disks) + 1}n1"
        ebs = handle.replace("-", "") if handle.startswith("vol-") else ""
        self.attach(device, serial=ebs if serial is None else serial)
        return device

    def stage(
        self, volume: str, device: str = "", *, fs: str = "ext4", handle: str = "", serial: str | None = None
    ) -> str:
        """The global mount of a CSI volume; its disk is attached first if it is not there. The device's name."""
        driver, known = self._handle(volume)
        handle = handle or known
        if device not in self.disks:
            device = self.attach_volume(volume, device, handle=handle, serial=serial)
        directory = self._staging(driver, handle)
        self._mount(self.disks[device].dev, f"{_ROOT}/{directory}/globalmount", fs, f"/dev/{device}")
        self._data(f"{directory}/vol_data.json", {"driverName": driver, "volumeHandle": handle})
        return device

    def mount_csi(
        self,
        pod: str,
        volume: str,
        device: str = "",
        *,
        fs: str = "ext4",
        read_only: bool = False,
        handle: str = "",
        serial: str | None = None,
        pod_uid: str = "",
    ) -> str:
        """A volume staged and bound into a pod ("namespace/name"); the device's name."""
        driver, known = self._handle(volume)
        handle = handle or known
        staged = f"{_ROOT}/{self._staging(driver, handle)}/globalmount"
        before = next((mount for mount in self.mounts if mount.point == staged), None)
        if before is None:
            device = self.stage(volume, device, fs=fs, handle=handle, serial=serial)
            before = self.mounts[-1]
        uid = pod_uid or self.store.uid("Pod", pod)
        directory = f"pods/{uid}/volumes/kubernetes.io~csi/{volume}"
        options = "ro,relatime" if read_only else "rw,relatime"
        self._mount(
            before.dev,
            f"{_ROOT}/{directory}/mount",
            before.fs,
            before.source,
            options=options,
            fs_options=before.fs_options,
        )
        self._data(f"{directory}/vol_data.json", self._volume_data(driver, handle, volume))
        return before.source.removeprefix("/dev/")

    def block_csi(self, pod: str, volume: str, device: str = "", *, serial: str | None = None) -> str:
        """A raw block volume given to a pod; the device's name."""
        driver, handle = self._handle(volume)
        if device not in self.disks:
            device = self.attach_volume(volume, device, serial=serial)
        uid, plugin = self.store.uid("Pod", pod), "plugins/kubernetes.io/csi/volumeDevices"
        for point in (f"{plugin}/publish/{volume}/{uid}", f"{plugin}/{volume}/dev/{uid}"):
            self._mount("0:5", f"{_ROOT}/{point}", "devtmpfs", "udev", options="rw,nosuid,relatime", root=f"/{device}")
        self._data(f"{plugin}/{volume}/data/vol_data.json", self._volume_data(driver, handle, volume))
        self.files[f"kubelet/pods/{uid}/volumeDevices/kubernetes.io~csi/{volume}/"] = b""
        return device

    def mount_remote(self, pod: str, volume: str, source: str = "10.0.0.5:/export", *, fs: str = "nfs4") -> None:
        """An in-tree network file system, mounted in a pod ("server:/path")."""
        uid = self.store.uid("Pod", pod)
        plugin = "nfs" if _NETWORKS.fullmatch(fs) and fs.startswith("nfs") else fs
        point = f"{_ROOT}/pods/{uid}/volumes/kubernetes.io~{plugin}/{volume}"
        self._mount(f"0:{self._mounted}", point, fs, source, fs_options="rw,vers=4.2,hard,proto=tcp,timeo=600")
        self.files[point.removeprefix("/var/lib/") + "/"] = b""

    def unmount(self, pod: str, volume: str, *, pod_uid: str = "") -> None:
        """Out of the pod; the global mount stays."""
        part = f"/pods/{pod_uid or self.store.uid('Pod', pod)}/"
        found = [mount for mount in self.mounts if part in mount.point and f"/{volume}" in mount.point]
        if not found:
            raise KeyError(f"{self.name}: {volume} is not mounted in {pod}")
        self.mounts = [mount for mount in self.mounts if mount not in found]
        self.forget(f"kubelet{part}")

    def unstage(self, volume: str, *, handle: str = "") -> None:
        """The global mount goes; the disk stays attached."""
        driver, known = self._handle(volume)
        directory = self._staging(driver, handle or known)
        self.mounts = [mount for mount in self.mounts if mount.point != f"{_ROOT}/{directory}/globalmount"]
        self.forget(f"kubelet/{directory}/")

    def detach(self, device: str) -> None:
        """The disk goes, whether it is mounted or not."""
        del self.disks[device]

    def release(self, pod: str, volume: str) -> None:
        """Unmount, unstage, detach: what a node does when a pod goes that alone had the volume."""
        _, handle = self._handle(volume)
        part = self._staging(*self._handle(volume))
        device = next((mount.source for mount in self.mounts if part in mount.point), "").removeprefix("/dev/")
        self.unmount(pod, volume)
        self.unstage(volume, handle=handle)
        if device in self.disks:
            self.detach(device)

    def read_only(self, device: str, word: str = "ro") -> None:
        """The file system of a device turns read-only, as the kernel shows it ("ro", or "emergency_ro")."""
        words = "rw,emergency_ro" if word == "emergency_ro" else "ro"
        self.mounts = [
            Mount(each.number, each.dev, each.root, each.point, each.fs, each.source, each.options, words)
            if each.source == f"/dev/{device}"
            else each
            for each in self.mounts
        ]

    def fs_errors(
        self, device: str, count: int, *, first: float = -60.0, last: float = -60.0, fs: str = "ext4"
    ) -> None:
        """What ext4 counts in its superblock."""
        values = {
            "errors_count": count,
            "first_error_time": int(self.store.now + first) if count else 0,
            "last_error_time": int(self.store.now + last) if count else 0,
        }
        for name, value in values.items():
            self.file(f"sys/fs/{fs}/{device}/{name}", f"{value}\n")
        self.file(f"sys/fs/{fs}/{device}/last_error_func", "ext4_journal_check_start\n" if count else "\n")

    # -- everything else -------------------------------------------------------------------------------------------

    def kernel(self, text: str, at: float = -30.0, *, level: int = 3) -> None:
        """A line of the kernel's log."""
        self.log.append((self.store.now + at, level, text))

    def usage(self, cpu: float, memory: float) -> None:
        """Share of CPU time (seen between two snapshots) and of memory in use, 0 to 1."""
        self.cpu_share, self.memory_share = cpu, memory

    def file(self, path: str, text: str) -> None:
        """Any file of the bundle's layout ("fsync.json", "proc/net/snmp", "kubelet/...")."""
        self.files[path] = text.encode()

    def forget(self, prefix: str) -> None:
        """Files whose path begins so are gone."""
        self.files = {path: text for path, text in self.files.items() if not path.startswith(prefix)}

    def pass_time(self, seconds: float) -> None:
        """CPU time goes by."""
        self._busy_s += self.cpu_share * self.cpus * seconds
        self._idle_s += (1 - self.cpu_share) * self.cpus * seconds

    @property
    def cpus(self) -> int:
        """Of its node, or 4."""
        node = self.store.objects["Node"].get(self.name)
        return int(cores(node["status"]["capacity"]["cpu"])) if node else 4

    def frozen(self) -> dict[str, bytes]:
        """All files now, by path below the host's folder."""
        now = self.store.now
        node = self.store.objects["Node"].get(self.name)
        memory = kibibytes(node["status"]["capacity"]["memory"]) if node else 16 << 20
        texts = {
            "ip-link.json": json.dumps(_LINKS),
            "ip-addr.json": json.dumps(_ADDRESSES),
            "ip-route.json": json.dumps(_ROUTES),
            "clock.json": '{"synchronized":true,"offset_seconds":0.0004}',
            "proc/uptime": f"{now - self.booted:.2f} {(now - self.booted) * self.cpus * 0.8:.2f}\n",
            "proc/stat": self._stat(),
            "proc/meminfo": _meminfo(memory, self.memory_share),
            "proc/diskstats": self._diskstats(),
            "proc/1/mountinfo": _MOUNTS + "".join(f"{mount}\n" for mount in self.mounts),
        }
        for disk in self.disks.values():
            texts |= {f"sys/block/{disk.name}/device/serial": f"{disk.serial}\n"} if disk.serial else {}
            texts |= {f"sys/block/{disk.name}/device/model": f"{disk.model:<40}\n"} if disk.model else {}
        if self.thorough:
            texts |= self._thorough()
        if self.log:
            lines = sorted(self.log)
            texts["kmsg"] = "".join(f"<{level}>[{at - self.booted:.6f}] {text}\n" for at, level, text in lines)
        return {path: text.encode() for path, text in texts.items()} | self.files

    # -- files -----------------------------------------------------------------------------------------------------

    def _mount(
        self,
        dev: str,
        point: str,
        fs: str,
        source: str,
        *,
        options: str = "rw,relatime",
        fs_options: str = "rw",
        root: str = "/",
    ) -> None:
        self.mounts.append(Mount(self._mounted, dev, root, point, fs, source, options, fs_options))
        self._mounted += 7

    def _data(self, path: str, fields: Json) -> None:
        self.file(f"kubelet/{path}", json.dumps(fields, separators=(",", ":")))

    def _volume_data(self, driver: str, handle: str, volume: str) -> Json:
        return {
            "attachmentID": attachment_name(handle, driver, self.name),
            "driverName": driver,
            "nodeName": self.name,
            "specVolID": volume,
            "volumeHandle": handle,
            "volumeLifecycleMode": "Persistent",
        }

    def _handle(self, volume: str) -> tuple[str, str]:
        """Driver and handle of a PersistentVolume; of one that the API server does not know, what it would have."""
        known = self.store.objects["PersistentVolume"].get(volume)
        csi = known["spec"].get("csi", {}) if known else {}
        return csi.get("driver", "ebs.csi.aws.com"), csi.get("volumeHandle", handle_of(volume))

    def _staging(self, driver: str, handle: str) -> str:
        return f"plugins/kubernetes.io/csi/{driver}/{hashlib.sha256(handle.encode()).hexdigest()}"

    def _stat(self) -> str:
        busy, idle = round(self._busy_s * _JIFFIES), round(self._idle_s * _JIFFIES)
        user = busy * 7 // 10
        return (
            f"cpu  {user} 0 {busy - user} {idle} 0 0 0 0 0 0\nintr 7776180000 0 9\nctxt 23328540000\n"
            f"btime {int(self.booted)}\nprocesses 15552360\nprocs_running 2\nprocs_blocked 0\n"
        )

    def _diskstats(self) -> str:
        disks = [(259, 0, "nvme0n1"), (259, 1, "nvme0n1p1"), (259, 2, "nvme0n1p2")]
        disks += [(*map(int, disk.dev.split(":")), disk.name) for disk in self.disks.values()]  # type: ignore[misc]
        work = "12960 129 414720 7776 10368 8294 414720 12441 0 12960 13219 51 0 10368 25 20736 20736"
        return "   7       0 loop0" + " 0" * 17 + "\n" + "".join(f"{a:4} {b:7} {name} {work}\n" for a, b, name in disks)

    def _thorough(self) -> dict[str, str]:
        lines = ["major minor  #blocks  name\n\n", " 259        0  104857600 nvme0n1\n"]
        lines += [" 259        1     524288 nvme0n1p1\n", " 259        2  104332288 nvme0n1p2\n"]
        found = {"sys/block/nvme0n1/holders/": "", "sys/block/nvme0n1/ro": "0\n"}
        for number, disk in enumerate(self.disks.values()):
            major, minor = disk.dev.split(":")
            lines.append(f"{major:>4} {minor:>8} {disk.size_kib:>10} {disk.name}\n")
            found |= {f"sys/block/{disk.name}/holders/": "", f"sys/block/{disk.name}/ro": "0\n"}
            found[f"sys/block/{disk.name}/diskseq"] = f"{number + 9}\n"
        return {"proc/partitions": "".join(lines), **found}


def _meminfo(total_kib: int, share: float) -> str:
    available = round(total_kib * (1 - share))
    free = available * 2 // 5
    values = {"MemTotal": total_kib, "MemFree": free, "MemAvailable": available, "Buffers": 43_112}
    values |= {"Cached": available - free, "SwapCached": 0, "Active": 1_197_720, "Inactive": 1_300_896}
    values |= {"SwapTotal": 0, "SwapFree": 0, "Dirty": 156, "Shmem": 12_788, "Slab": 599_788}
    values |= {"SReclaimable": 389_104, "SUnreclaim": 210_684}
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in values.items())


def _link(ifindex: int, name: str, mtu: int, flags: list[str], state: str, **fields: object) -> Json:
    received = ("errors", "dropped", "over_errors", "multicast", "length_errors", "crc_errors", "frame_errors")
    sent = ("errors", "dropped", "carrier_errors", "collisions", "aborted_errors", "fifo_errors", "window_errors")
    return {
        "ifindex": ifindex,
        "ifname": name,
        "flags": flags,
        "mtu": mtu,
        "operstate": state,
        **fields,
        "stats64": {
            "rx": {"bytes": 900_000, "packets": 9000, **dict.fromkeys((*received, "fifo_errors", "missed_errors"), 0)},
            "tx": {"bytes": 800_000, "packets": 8000, **dict.fromkeys((*sent, "heartbeat_errors"), 0)},
        },
    }


_LINKS = [
    _link(1, "lo", 65_536, ["LOOPBACK", "UP", "LOWER_UP"], "UNKNOWN", link_type="loopback"),
    _link(
        2,
        "eth0",
        1500,
        ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
        "UP",
        link_type="ether",
        parentbus="pci",
        parentdev="0000:00:05.0",
    ),
]
_ADDRESSES = [
    {"ifindex": 2, "ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.0.0.11", "prefixlen": 24}]}
]
_ROUTES = [{"dst": "default", "gateway": "10.0.0.1", "dev": "eth0", "flags": []}]
