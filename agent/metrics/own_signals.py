"""What node_exporter does not tell: fsync, paths between nodes, drops by reason, segments sent again, errors, coverage.

Rows that come and go (a pod's, a peer's) are summed up by what stays, so that the number of rows has an end and no sum
falls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from nodetell import signals
from nodetell.metrics import Distribution, Kind, Metric, Told
from nodetell.v1 import facts_pb2 as pb

from agent.metrics.rising import Group, Rising
from agent.reading import Reading

FSYNC = Metric(
    "nodetell_fsync_seconds",
    Kind.HISTOGRAM,
    "Latency of fsync and fdatasync, of other processes or of the agent's own probe. No sum is known.",
    ("process", "device", "mount", "file", "method"),
)
PATH_UP = Metric(
    "nodetell_path_up", Kind.GAUGE, "1: of the last probe to the peer, something arrived.", ("peer", "via", "device")
)
PATH_MTU = Metric(
    "nodetell_path_mtu_bytes",
    Kind.GAUGE,
    "Largest IP packet that arrived at the peer; none where nothing did.",
    ("peer", "via", "device"),
)
PATH_LOCAL = Metric(
    "nodetell_path_local_mtu_bytes",
    Kind.GAUGE,
    "MTU of the interface that probes to the peer leave by.",
    ("peer", "via", "device"),
)
PATH_RTT = Metric(
    "nodetell_path_rtt_seconds", Kind.GAUGE, "Round-trip time of the smallest probe.", ("peer", "via", "device")
)
DROPS = Metric(
    "nodetell_dropped_packets_total",
    Kind.COUNTER,
    'Packets that the kernel dropped, by its own reason and function, in the network of "host" or "pod"; "": not told.',
    ("reason", "site", "network"),
)
RETRANSMITS = Metric(
    "nodetell_retransmitted_segments_total",
    Kind.COUNTER,
    'TCP segments sent again; "large": with 1,200 bytes and more.',
    ("size", "network"),
)
TIMEOUTS = Metric(
    "nodetell_tcp_consecutive_timeouts",
    Kind.GAUGE,
    "Most retransmission time-outs in a row of one connection within the last minute or two.",
    ("network",),
)
KERNEL = Metric("nodetell_kernel_events_total", Kind.COUNTER, "Messages in the kernel's log, by class.", ("class",))
FS_ERRORS = Metric(
    "nodetell_filesystem_errors", Kind.GAUGE, "Errors that the file system has counted since it was made.", ("device",)
)
VOLUMES = Metric(
    "nodetell_volumes",
    Kind.GAUGE,
    'Volumes of the kubelet: "mounted", "not_mounted", "read_only" after an error, "device_gone".',
    ("state",),
)
MISSING = Metric(
    "nodetell_signal_missing",
    Kind.GAUGE,
    'What could not be read of a signal, entries of its coverage; "denied": the agent may not.',
    ("signal", "status"),
)
SOURCE = Metric(
    "nodetell_signal_source_info", Kind.GAUGE, "What a signal is read from now; always 1.", ("signal", "source")
)
METRICS = (
    FSYNC, PATH_UP, PATH_MTU, PATH_LOCAL, PATH_RTT, DROPS, RETRANSMITS, TIMEOUTS, KERNEL, FS_ERRORS, VOLUMES, MISSING,
    SOURCE,
)  # fmt: skip

_METHODS: Mapping[int, str] = {pb.LATENCY_METHOD_PASSIVE: "passive", pb.LATENCY_METHOD_PROBE: "probe"}
_STATUS: Mapping[int, str] = {
    pb.COVERAGE_STATUS_MISSING: "missing",
    pb.COVERAGE_STATUS_DEGRADED: "degraded",
    pb.COVERAGE_STATUS_DAMAGED: "damaged",
    pb.COVERAGE_STATUS_DENIED: "denied",
}
_CLASSES = {number: name.removeprefix("KERNEL_EVENT_CLASS_").lower() for name, number in pb.KernelEventClass.items()}


class OwnSignals:
    """Keeps sums from one answer to the next."""

    def __init__(self) -> None:
        self._fsync, self._drops, self._retransmits, self._kernel = Rising(), Rising(), Rising(), Rising()

    def tell(self, reading: Reading) -> Iterable[Told]:
        """All of it that was read."""
        kinds: dict[str, list[pb.Item]] = {}
        for item in reading.items.values():
            kinds.setdefault(item.WhichOneof("fact") or "", []).append(item)
        disks = {item.disk.dev: item.disk.name for item in kinds.get("disk", ())}
        yield self._latencies(kinds.get("latency", ()), reading, disks)
        yield from _paths(kinds.get("path_mtu", ()))
        yield self._dropped(kinds.get("drop_reason", ()), reading)
        yield from self._again(kinds.get("retransmits", ()), reading)
        yield self._events(kinds.get("kernel_event", ()))
        yield _errors(kinds.get("filesystem", ()))
        yield _volumes(kinds.get("volume", ()), read="source/volumes" in reading.items)
        yield _missing(kinds.get("coverage", ()))
        sources = [item.signal_source for item in kinds.get("signal_source", ())]
        yield Told(SOURCE, [((each.signal, each.source), 1) for each in sources])

    def _latencies(self, items: Sequence[pb.Item], reading: Reading, disks: Mapping[str, str]) -> Told:
        told = Told(FSYNC)
        groups: dict[Group, tuple[float, ...]] = {}
        for item in items:
            source, block = item.latency, reading.blocks.get(item.key)
            if block is None or source.file_class == "commit":  # several syncs and more: it is none
                continue
            bounds = tuple(bound / 1e6 for bound in source.bounds_us)
            file, method = source.file_class or "other", _METHODS.get(source.method, "")
            group: Group = source.process, disks.get(source.device, source.device), source.mount, file, method
            if groups.setdefault(group, bounds) == bounds and len(block.values) == len(bounds) + 1:
                self._fsync.take(group, item.key, block.values)
        self._fsync.settle(len(items))
        for named, bounds in groups.items():
            if len(counts := self._fsync.sums.get(named, ())) == len(bounds) + 1:
                told.add(Distribution(bounds, counts), *named)
        return told

    def _dropped(self, items: Sequence[pb.Item], reading: Reading) -> Told:
        for item in items:
            drop = item.drop_reason
            if (block := reading.blocks.get(item.key)) is not None:
                network = "" if not drop.netns else _network(host=drop.host_network)
                self._drops.take((drop.reason, drop.site, network), item.key, block.values)
        self._drops.settle(len(items))
        return Told(DROPS, [(group, counts[0]) for group, counts in self._drops.sums.items()])

    def _again(self, items: Sequence[pb.Item], reading: Reading) -> Iterable[Told]:
        again, most = Told(RETRANSMITS), Counter[str]()
        for item in items:
            network = _network(host=item.retransmits.host_network)
            most[network] = max(most[network], item.retransmits.consecutive_timeouts)
            if (block := reading.blocks.get(item.key)) is not None:
                self._retransmits.take((network,), item.key, block.values)
        self._retransmits.settle(len(items))
        for (network,), totals in self._retransmits.sums.items():
            for size, total in zip(("large", "small"), totals, strict=True):
                again.add(total, size, network)
        return again, Told(TIMEOUTS, [((network,), value) for network, value in most.items()])

    def _events(self, items: Sequence[pb.Item]) -> Told:
        for item in items:
            which = _CLASSES.get(getattr(item.kernel_event, "class"), "unspecified")
            self._kernel.take((which,), item.key, (item.kernel_event.count,))
        self._kernel.settle(len(items))
        return Told(KERNEL, [(group, counts[0]) for group, counts in self._kernel.sums.items()])


def _network(*, host: bool) -> str:
    return "host" if host else "pod"


def _paths(items: Sequence[pb.Item]) -> Iterable[Told]:
    up, mtu, local, rtt = Told(PATH_UP), Told(PATH_MTU), Told(PATH_LOCAL), Told(PATH_RTT)
    worst: dict[Group, pb.PathMtu] = {}
    for item in items:
        path = item.path_mtu
        group: Group = path.peer, path.via, path.interface
        known = worst.get(group)
        if known is None or _size(path) < _size(known):  # two addresses of one network: the worse one is told
            worst[group] = path
    for named, path in worst.items():
        arrived = path.HasField("path_mtu")
        up.add(arrived, *named)
        local.add(path.interface_mtu, *named)
        if arrived:
            mtu.add(path.path_mtu, *named)
            rtt.add(path.rtt_us / 1e6, *named)
    return up, mtu, local, rtt


def _size(path: pb.PathMtu) -> int:
    return path.path_mtu if path.HasField("path_mtu") else 0


def _errors(items: Sequence[pb.Item]) -> Told:
    errors = {item.filesystem.device: item.filesystem.errors for item in items if item.filesystem.HasField("errors")}
    return Told(FS_ERRORS, [((device,), count) for device, count in errors.items()])


def _volumes(items: Sequence[pb.Item], *, read: bool) -> Told:
    states: Counter[str] = Counter()
    for volume in (item.volume for item in items):
        states["mounted"] += volume.mounted
        states["not_mounted"] += not volume.mounted and not volume.raw_block
        states["read_only"] += volume.fs_read_only
        states["device_gone"] += volume.HasField("attached") and not volume.attached
    names = ("mounted", "not_mounted", "read_only", "device_gone") if read else ()
    return Told(VOLUMES, [((state,), states[state]) for state in names])


def _missing(items: Sequence[pb.Item]) -> Told:
    """All that is known to be missing, and a 0 for each signal of which everything is read."""
    counts = Counter(
        (signal.name, _STATUS.get(item.coverage.status, "degraded"))
        for item in items
        for signal in signals.of_gap(item.key)
    )
    lacking = {name for name, _ in counts}
    for signal in signals.SIGNALS:
        if signal.name not in lacking:
            counts[signal.name, "missing"] = 0
    return Told(MISSING, [(group, count) for group, count in sorted(counts.items())])
