"""Every signal an agent knows, how it can be read, and what that takes: the one table of it.

The agent says in its facts what it was given and what it reads each signal from; `nodetell node NAME --coverage` puts
that beside this table, and docs/privileges.md is held to it. Manifest lines are those of the agent's pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """Something that the agent must be given for a signal."""

    name: str
    """As the agent tells it among its grants."""
    tier: int
    """Lowest tier of deployment that has it (docs/privileges.md)."""
    what: str
    """In a few words."""
    lines: Mapping[str, Sequence[str]]
    """Lines that give it, by the place in the pod's manifest or the agent's configuration that they go to."""


_MOUNTS, _VOLUMES, _ENV = "containers[agent].volumeMounts", "volumes", "containers[agent].env"
_POD, _CONTEXT, _CONFIG = "spec", "containers[agent].securityContext", "agent.toml"


def _host_path(name: str, path: str, inside: str, variable: str = "") -> dict[str, list[str]]:
    """The lines of a read-only mount of a directory of the host."""
    lines = {
        _MOUNTS: [f"- {{name: {name}, mountPath: {inside}, readOnly: true}}"],
        _VOLUMES: [f"- name: {name}", f"  hostPath: {{path: {path}, type: Directory}}"],
    }
    return lines | ({_ENV: [f"- {{name: {variable}, value: {inside}}}"]} if variable else {})


HOST_PROC = Need(
    "host_proc", 1, "the host's /proc, read-only", _host_path("proc", "/proc", "/host/proc", "NODETELL_AGENT_HOST_PROC")
)
HOST_SYS = Need(
    "host_sys", 1, "the host's /sys, read-only", _host_path("sys", "/sys", "/host/sys", "NODETELL_AGENT_HOST_SYS")
)
HOST_NETWORK = Need(
    "host_network",
    2,
    "the host's network namespace; no capability",
    {_POD: ["hostNetwork: true", "dnsPolicy: ClusterFirstWithHostNet"]},
)
UDEV = Need(
    "udev",
    1,
    "the host's /run/udev, read-only",
    _host_path("udev", "/run/udev", "/host/run/udev", "NODETELL_AGENT_HOST_UDEV"),
)
KUBELET = Need(
    "kubelet",
    3,
    "the kubelet's directory, read-only, and root to read it",
    {
        **_host_path("kubelet", "/var/lib/kubelet", "/var/lib/kubelet"),
        _CONTEXT: ["runAsNonRoot: false", "runAsUser: 0", "capabilities: {drop: [ALL], add: [DAC_READ_SEARCH]}"],
    },
)
KERNEL_LOG = Need(
    "kernel_log",
    3,
    "the host's /dev/kmsg, allowed by the pod's device control group, and CAP_SYSLOG where kernel.dmesg_restrict is 1",
    {
        _MOUNTS: ["- {name: kmsg, mountPath: /dev/kmsg, readOnly: true}"],
        _VOLUMES: ["- name: kmsg", "  hostPath: {path: /dev/kmsg, type: CharDevice}"],
        _CONTEXT: ["privileged: true"],
    },
)
FS_EVENTS = Need(
    "fs_events",
    3,
    "CAP_SYS_ADMIN and Linux 5.16, and the volumes' file systems mounted in the agent's container",
    {
        _MOUNTS: [
            "- {name: kubelet, mountPath: /var/lib/kubelet, readOnly: true, mountPropagation: HostToContainer}",
        ],
        _VOLUMES: ["- name: kubelet", "  hostPath: {path: /var/lib/kubelet, type: Directory}"],
        _CONTEXT: ["runAsNonRoot: false", "runAsUser: 0", "capabilities: {drop: [ALL], add: [SYS_ADMIN]}"],
    },
)
SENSOR = Need(
    "sensor",
    3,
    "the sensor (docs/sensor.md) on the node, with CAP_BPF and CAP_PERFMON, and its socket",
    {
        "containers[sensor]": [
            "args: [sensor]",
            "securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [BPF, PERFMON]}}",
        ],
        _MOUNTS: ["- {name: sensor, mountPath: /run/nodetell}"],
        _VOLUMES: ["- name: sensor", "  emptyDir: {}"],
    },
)
PROBE_DIRECTORY = Need(
    "probe_directory",
    1,
    "a directory that the agent may write to, named in its settings",
    {_CONFIG: ["[collectors]", 'probe_directories = ["/var/lib/etcd"]']},
)
PROBE_PORT = Need(
    "probe_port",
    0,
    "a UDP port on which the agent answers other nodes' probes",
    {_CONFIG: ["[path_mtu]", "port = 7446"]},
)
ETCD_METRICS = Need(
    "etcd_metrics",
    2,
    "the host's network namespace, and a metrics listener of etcd on loopback, named in the agent's settings",
    {
        _POD: ["hostNetwork: true", "dnsPolicy: ClusterFirstWithHostNet"],
        _CONFIG: ["[collectors]", 'etcd_metrics_url = "http://127.0.0.1:2381/metrics"'],
    },
)
POD_LOGS = Need(
    "pod_logs",
    3,
    "the host's /var/log/pods, read-only, root to read it, and the operator's word in the agent's settings",
    {
        **_host_path("podlogs", "/var/log/pods", "/var/log/pods"),
        _CONTEXT: ["runAsNonRoot: false", "runAsUser: 0", "capabilities: {drop: [ALL], add: [DAC_READ_SEARCH]}"],
        _CONFIG: ["[collectors]", "log_patterns = true"],
    },
)
NEEDS = (
    HOST_PROC,
    HOST_SYS,
    UDEV,
    HOST_NETWORK,
    KUBELET,
    KERNEL_LOG,
    FS_EVENTS,
    SENSOR,
    PROBE_DIRECTORY,
    PROBE_PORT,
    ETCD_METRICS,
    POD_LOGS,
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read a signal."""

    source: str
    """How the agent tells it, or how that begins."""
    needs: tuple[Need, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that the agent reads."""

    name: str
    collector: str
    """Which of the agent's collectors reads it; empty: none, it is of the agent itself."""
    what: str
    """In a few words."""
    ways: tuple[Way, ...] = ()
    """The best first."""


SIGNALS = (
    Signal("host", "host_info", "time of boot, kernel, CPUs", (Way("/proc/stat"),)),
    Signal(
        "links",
        "links",
        "interfaces: MTU, state, kind, tunnels, addresses",
        (Way("rtnetlink", (HOST_NETWORK,)), Way("sysfs", (HOST_SYS,))),
    ),
    Signal(
        "link_counters",
        "links",
        "packets, errors and drops of each interface",
        (Way("rtnetlink", (HOST_NETWORK,)), Way("sysfs", (HOST_SYS,))),
    ),
    Signal("routes", "routes", "routes with an MTU or through a tunnel", (Way("rtnetlink", (HOST_NETWORK,)),)),
    Signal(
        "protocols", "protocols", "fragmentation, ICMP, retransmissions, backlog", (Way("/proc/net", (HOST_PROC,)),)
    ),
    Signal("conntrack", "protocols", "connection tracking", (Way("/proc/sys/net/netfilter", (HOST_NETWORK,)),)),
    Signal("pressure", "protocols", "stalls for want of CPU, I/O, memory", (Way("/proc/pressure"),)),
    Signal("disks", "disks", "I/O and flushes of each device", (Way("/proc/diskstats"),)),
    Signal("disk_attributes", "disks", "size, serial number, write cache", (Way("/sys/block"),)),
    Signal(
        "fsync",
        "fsync",
        "latency of fsync and fdatasync",
        (Way("sensor", (SENSOR,)), Way("probe", (PROBE_DIRECTORY,))),
    ),
    Signal("etcd", "etcd", "size of etcd's database, its leader, its own latencies", (Way("http", (ETCD_METRICS,)),)),
    Signal(
        "volumes",
        "volumes",
        "mounts and volumes",
        (Way("/proc/1/mountinfo", (HOST_PROC,)), Way("/proc/self/mountinfo")),
    ),
    Signal(
        "fs_errors",
        "volumes",
        "errors that ext4 counted",
        (Way("fanotify", (FS_EVENTS,)), Way("/sys/fs", (HOST_SYS,))),
    ),
    Signal("volume_data", "volumes", "CSI drivers, handles, attachments", (Way("vol_data.json", (KUBELET,)),)),
    Signal("devices", "volumes", "devices attached, and what of them is used", (Way("/proc/partitions", (UDEV,)),)),
    Signal("kernel_log", "kernel_log", "errors that the kernel logged", (Way("/dev/kmsg", (KERNEL_LOG,)),)),
    Signal(
        "log_patterns",
        "log_patterns",
        "refused identities, by the end of crashing containers' logs",
        (Way("/var/log/pods", (POD_LOGS,)),),
    ),
    Signal("usage", "usage", "use of CPU and memory", (Way("/proc/stat"),)),
    Signal("clock", "clock", "whether the clock is synchronised", (Way("adjtimex(2)"),)),
    Signal("path_mtu", "path_mtu", "largest packet that gets to other nodes", (Way("probes", (PROBE_PORT,)),)),
    Signal("pod_links", "pod_links", "MTU inside pods", (Way("rtnetlink", (HOST_NETWORK,)),)),
    Signal("drops", "drops", "packets dropped, by the kernel's reason", (Way("sensor", (SENSOR,)),)),
    Signal("retransmits", "retransmits", "TCP segments sent again, by peer", (Way("sensor", (SENSOR,)),)),
    Signal("stream", "", "the way to the aggregator"),
    Signal("agent", "", "the agent's own cost"),
)
BY_NAME = {signal.name: signal for signal in SIGNALS}


OF_COLLECTORS = ("collector", "pace", "disabled")
"""Details of coverage entries that are about a collector as a whole, under its name."""


def of_gap(key: str) -> list[Signal]:
    """The signals that a coverage entry, by its key, is about: one, or all of a collector."""
    _, name, detail = (*key.split("/", 2), "", "")[:3]
    if name in BY_NAME and detail not in OF_COLLECTORS:
        return [BY_NAME[name]]
    return [signal for signal in SIGNALS if name == signal.collector]


def lacking(signal: Signal, source: str, grants: Sequence[str]) -> list[tuple[Way, list[Need]]]:
    """Ways to read it at least as well as from `source` (empty: it is not read), with what the agent lacks for each.

    A source that is none of the table's is one of the best way's own, as the sensor's methods are.
    """
    now = next((place for place, way in enumerate(signal.ways) if source.startswith(way.source)), 0)
    ways = signal.ways[: now + 1] if source else signal.ways
    lacks = [(way, [need for need in way.needs if need.name not in grants]) for way in ways]
    return [(way, needs) for way, needs in lacks if needs]
