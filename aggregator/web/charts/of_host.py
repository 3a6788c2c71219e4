"""Series of a node's own history, by what evidence says of the node. Pure."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from aggregator.history.gauges import CLOCK_OFFSET
from aggregator.node_state import NodeState
from aggregator.signatures.slow_fsync import subject_of
from aggregator.web.charts.asked import Asked, HostChart, HostLine, How, Shown
from aggregator.web.charts.timeline import Limit
from aggregator.web.charts.units import BYTES, COUNT, LATENCY, MTU, OFFSET, PER_MINUTE, PERCENT, YES, Unit

_MOST_LINES = 3


# -- interfaces, protocols, paths --------------------------------------------------------------------------------------


def delta(asked: Asked) -> Shown | None:
    """A counter of an interface, of a protocol, or of what is sent again to a peer."""
    host, subject = asked.host, asked.evidence.subject
    if host is None:
        return None
    owner, _, counter = subject.rpartition(".")
    sizes, _, peer = subject.partition(" segments to ")
    for item in host.of("link"):
        if item.link.name == owner:
            return _counter(f"{counter} of {owner}", host, f"{item.key}/{counter}", "packets")
    if f"protocol/{owner}" in host.counters:
        return _counter(subject, host, f"protocol/{owner}/{counter}", "packets")
    for item in host.of("retransmits") if peer else ():
        if item.retransmits.peer == peer:
            return _counter(f"{sizes} segments sent again to {peer}", host, f"{item.key}/{sizes}", "segments")
    return None


def _counter(title: str, host: NodeState, series: str, name: str) -> HostChart:
    return HostChart(f"{title}, {host.name}", PER_MINUTE, host.name, (HostLine(name, series, How.RISEN),))


def _gauge(title: str, host: NodeState, series: str, unit: Unit, name: str) -> HostChart:
    return HostChart(f"{title}, {host.name}", unit, host.name, (HostLine(name, series, How.HELD),))


def mtu(asked: Asked) -> Shown | None:
    """An interface's MTU."""
    host, name = asked.host, asked.evidence.subject
    found = (item for item in host.of("link") if item.link.name == name) if host is not None else iter(())
    item = next(found, None)
    return _gauge(f"MTU of {name}", host, f"{item.key}/mtu", MTU, "MTU") if item is not None and host else None


def path(asked: Asked) -> Shown | None:
    """What gets through between two nodes."""
    host = asked.host
    for item in host.of("path_mtu") if host is not None else ():
        probe = item.path_mtu
        ends = f"{probe.from_address} to {probe.to_address} on {probe.peer}"
        if host is not None and asked.evidence.subject.endswith(f" {ends}"):
            title = f"path MTU from {host.name} to {probe.peer} ({probe.via})"
            line = HostLine("largest packet that arrives", f"{item.key}/path_mtu", How.HELD)
            limits = (Limit(float(probe.interface_mtu), f"MTU of {probe.interface}"),) if probe.interface_mtu else ()
            return HostChart(title, MTU, host.name, (line,), limits)
    return None


def timeouts(asked: Asked) -> Shown | None:
    """Retransmission time-outs in a row towards a peer."""
    host, peer = asked.host, asked.evidence.subject
    for item in host.of("retransmits") if host is not None else ():
        if item.retransmits.peer == peer and host is not None:
            return _gauge(
                f"time-outs in a row towards {peer}", host, f"{item.key}/consecutive_timeouts", COUNT, "time-outs"
            )
    return None


def conntrack(asked: Asked) -> Shown | None:
    """The connection tracking table and its room."""
    host = asked.host
    if host is None:
        return None
    lines = (HostLine("entries", "conntrack/count", How.HELD), HostLine("room for", "conntrack/max", How.HELD))
    return HostChart(f"connection tracking, {host.name}", COUNT, host.name, lines)


def clock(asked: Asked) -> Shown | None:
    """By how much the clock is off."""
    host = asked.host
    if host is None:
        return None
    return _gauge("clock beside the aggregator's", host, CLOCK_OFFSET, OFFSET, "offset")


# -- disks -------------------------------------------------------------------------------------------------------------


def fsync(asked: Asked) -> Shown | None:
    """The tail and the median of one histogram."""
    host, evidence = asked.host, asked.evidence
    if host is None:
        return None
    items = [item for item in host.of("latency") if subject_of(host, item.latency) == evidence.subject]
    items.sort(key=lambda item: (_method(item.latency) != evidence.source, item.latency.file_class != "wal", item.key))
    if not items:
        return None
    lines = (
        HostLine("99th percentile", f"{items[0].key}/p99_us", How.TOLD),
        HostLine("median", f"{items[0].key}/p50_us", How.TOLD),
    )
    limits = (
        Limit(asked.thresholds.fsync_warning_ms * 1000, "warning"),
        Limit(asked.thresholds.fsync_critical_ms * 1000, "critical"),
    )
    remark = "A minute with fewer than 20 calls has no figure."
    return HostChart(f"fsync of {evidence.subject}, {host.name}", LATENCY, host.name, lines, limits, remark)


def _method(source: pb.LatencySource) -> str:
    return source.attached_by or ("own probe" if source.method == pb.LATENCY_METHOD_PROBE else "passive")


def fsync_rate(asked: Asked) -> Shown | None:
    """Calls of a process, by where it makes them."""
    host, process = asked.host, asked.evidence.subject
    items = [item for item in host.of("latency") if item.latency.process == process] if host is not None else []
    lines = tuple(
        HostLine(item.latency.mount or item.latency.device or item.key, f"{item.key}/calls", How.RISEN)
        for item in sorted(items, key=lambda item: item.key)[:_MOST_LINES]
    )
    if not lines or host is None:
        return None
    return HostChart(f"fsyncs of {process}, {host.name}", PER_MINUTE, host.name, lines)


def disk(asked: Asked) -> Shown | None:
    """Writes to a device, or its queue."""
    host, name = asked.host, asked.evidence.subject
    for item in host.of("disk") if host is not None else ():
        if name not in (item.disk.name, item.disk.dev) or host is None:
            continue
        if asked.evidence.signal == "counter.disk.queue":
            line = HostLine("requests waiting", f"{item.key}/weighted_io_ms", How.RISEN, 1 / 60_000)
            return HostChart(f"queue of {name}, {host.name}", COUNT, host.name, (line,))
        return _counter(f"writes to {name}", host, f"{item.key}/writes_completed", "writes")
    return None


def fs_errors(asked: Asked) -> Shown | None:
    """Errors that a file system has counted."""
    host, name = asked.host, asked.evidence.subject
    for subject in host.counters if host is not None else ():
        if host is not None and subject.startswith("fs/") and subject.endswith(f"/{name}"):
            return _counter(f"errors of the file system on {name}", host, f"{subject}/errors", "errors")
    return None


def volume(asked: Asked) -> Shown | None:
    """Whether a volume is mounted, or read-only."""
    host, evidence = asked.host, asked.evidence
    for item in host.of("volume") if host is not None else ():
        if host is not None and item.volume.path and item.volume.path in (evidence.subject, evidence.value):
            what = "mounted" if evidence.signal == "volume.mounted" else "fs_read_only"
            title = f"{item.volume.volume_name or item.volume.path} {what.replace('fs_', '').replace('_', '-')}"
            return _gauge(title, host, f"{item.key}/{what}", YES, what)
    return None


def kernel(asked: Asked) -> Shown | None:
    """Messages of the kernel's log, as counted on the host."""
    host, evidence = asked.host, asked.evidence
    if host is None:
        return None
    word = evidence.signal.removeprefix("counter.kernel_")
    for item in host.of("kernel_event"):
        kind = pb.KernelEventClass.Name(getattr(item.kernel_event, "class")).removeprefix("KERNEL_EVENT_CLASS_").lower()
        subject = item.kernel_event.subject
        if subject and subject == evidence.subject.partition(": ")[0] and word in (kind, "kernel.event"):
            title = f"{kind.replace('_', ' ')} messages of the kernel about {subject}"
            return _gauge(title, host, f"{item.key}/count", COUNT, "messages so far")
    return None


# -- the rest of a host ------------------------------------------------------------------------------------------------


def etcd_size(asked: Asked) -> Shown | None:
    """etcd's database and its quota."""
    host = asked.host
    if host is None:
        return None
    parts = (("database", "database_bytes"), ("in use", "in_use_bytes"), ("quota", "quota_bytes"))
    lines = tuple(HostLine(name, f"etcd/{field}", How.HELD) for name, field in parts)
    return HostChart(f"etcd's database, {host.name}", BYTES, host.name, lines)


def etcd_leader(asked: Asked) -> Shown | None:
    """Whether the member knows a leader."""
    host = asked.host
    return _gauge("etcd has a leader", host, "etcd/has_leader", YES, "has a leader") if host is not None else None


def leader_changes(asked: Asked) -> Shown | None:
    """How often that changes."""
    host = asked.host
    return _counter("changes of etcd's leader", host, "etcd/leader_changes", "changes") if host is not None else None


def used(asked: Asked) -> Shown | None:
    """CPU or memory of the host."""
    host = asked.host
    if host is None:
        return None
    if asked.evidence.signal == "used.memory":
        return _gauge("memory available", host, "usage/memory_available_bytes", BYTES, "available")
    line = HostLine("busy", "usage/cpu_busy_bp", How.HELD, 0.01)
    return HostChart(f"CPU in use, {host.name}", PERCENT, host.name, (line,))
