"""What this process itself takes, what it was given of the host, and what it sees of itself instead of the host."""

from __future__ import annotations

import contextlib
import os
import re

from nodetell import signals
from nodetell.v1 import facts_pb2 as pb

from agent.hosts.live import LiveHost
from agent.reading import Reading

_INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO of include/linux/proc_ns.h, the same on every kernel."""
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SYS_ADMIN, _SYSLOG = 1, 2, 21, 34
"""Of include/uapi/linux/capability.h."""


def rss_bytes() -> int:
    """Resident memory of this process; 0: not told. Source: /proc/self/statm."""
    with contextlib.suppress(ValueError, IndexError):
        return int(_text("/proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def grants(host: LiveHost) -> list[str]:
    """Names of what this process was given of the host, by nodetell.signals. Settings are not looked at."""
    seen_from_within = in_a_pod(host)
    capabilities = _capabilities()
    may_log = _has(capabilities, _SYSLOG) or _text(f"{host.proc}/sys/kernel/dmesg_restrict").strip() == "0"
    given = {
        signals.HOST_PROC.name: not seen_from_within and os.access(f"{host.proc}/1/mountinfo", os.R_OK),
        signals.HOST_SYS.name: not seen_from_within and os.access(f"{host.sys}/class/net", os.R_OK),
        signals.HOST_NETWORK.name: not seen_from_within and host.shares_network,
        signals.UDEV.name: os.access(f"{host.udev}/data", os.R_OK),
        signals.KUBELET.name: os.access(f"{host.kubelet}/pods", os.R_OK | os.X_OK)
        and (_has(capabilities, _DAC_OVERRIDE) or _has(capabilities, _DAC_READ_SEARCH)),
        signals.POD_LOGS.name: os.access(host.logs, os.R_OK | os.X_OK)
        and (_has(capabilities, _DAC_OVERRIDE) or _has(capabilities, _DAC_READ_SEARCH)),
        signals.KERNEL_LOG.name: may_log and os.access(f"{host.dev}/kmsg", os.R_OK),
        signals.FS_EVENTS.name: not seen_from_within
        and _has(capabilities, _SYS_ADMIN)
        and (host.proc == "/proc" or os.access(f"{host.kubelet}/pods", os.R_OK | os.X_OK)),
    }
    return [name for name, has in given.items() if has]


def in_a_pod(host: LiveHost) -> bool:
    """This process is in a container, and nothing of the host is mounted there: /proc and /sys are the container's."""
    own = host.proc == "/proc" and host.sys == "/sys"
    try:
        return own and os.readlink("/proc/self/ns/pid") != _INITIAL_PID_NAMESPACE
    except OSError:
        return False  # an odd /proc says nothing


_OWN = {
    "links": "interfaces",
    "link_counters": "counters of interfaces",
    "routes": "routes",
    "protocols": "protocol counters",
    "conntrack": "tracked connections",
    "volumes": "mounts",
    "pod_links": "interfaces",
}


def own_view(host: LiveHost) -> Reading:
    """That some signals are the container's own and not the host's, where that is so."""
    reading = Reading()
    if in_a_pod(host):
        for signal, what in _OWN.items():
            need = signals.HOST_PROC if signal in {"protocols", "volumes"} else signals.HOST_NETWORK
            because = f"{what} of the agent's own container, not of the host: nothing of the host is mounted into it"
            reading.gap(
                signal, because, detail="own", status=pb.COVERAGE_STATUS_DEGRADED, remedy=f"give the agent {need.what}"
            )
    return reading


def _capabilities() -> int:
    """Effective ones, as a bit mask; none if they are not told. Source: CapEff of /proc/self/status."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", _text("/proc/self/status"), re.MULTILINE)
    return int(match[1], 16) if match else 0


def _has(mask: int, capability: int) -> bool:
    return bool(mask >> capability & 1)


def _text(path: str) -> str:
    """Contents of a small file; empty if it cannot be read."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read(1 << 16)
    return ""
