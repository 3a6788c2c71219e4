"""One node: how it is, what is wrong with it, its interfaces, disks, volumes, and how well it is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.convert import gap_from_coverage
from aggregator.findings import Record
from aggregator.histogram import quantile
from aggregator.node_state import NodeState
from aggregator.signatures.slow_fsync import window_of
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.web.page import words
from aggregator.web.page.models import Brief, brief, named
from aggregator.web.page.models_nodes import Row
from aggregator.web.page.models_seen import Limit, limits
from aggregator.web.page.models_stack import Stack, stack
from aggregator.web.page.models_volumes import Volumes, volumes

_DISKS = 40
_CLASSES = {"wal": "write-ahead log", "database": "database", "commit": "commits to its database"}


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that has done something since boot."""

    name: str
    dev: str
    size: str
    what: str
    flush: str
    """Mean time of a flush of late."""
    trouble: str


@dataclass(frozen=True, slots=True)
class Latency:
    """fsyncs of one process."""

    process: str
    where: str
    how: str
    p50: str
    p99: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NodePage:
    """What is shown."""

    row: Row
    about: tuple[tuple[str, str], ...]
    """(what, how) of the host in short."""
    findings: tuple[Brief, ...]
    stack: Stack | None
    """None: no interfaces are known."""
    paths: tuple[pb.PathMtu, ...]
    """As probed, what lacks most first."""
    disks: tuple[Disk, ...]
    idle: int
    """Disks without any I/O since boot."""
    latencies: tuple[Latency, ...]
    volumes: Volumes
    limits: tuple[Limit, ...]
    sources: tuple[tuple[str, str], ...]
    """(signal, what it is read from)."""
    hosted: bool
    """An agent, or a bundle, tells of the host."""


def node_page(view: ClusterView, row: Row, standing: Sequence[Record], thresholds: Thresholds) -> NodePage:
    """`row`: the node's row of the table of nodes."""
    state, node = view.hosts.get(row.name), view.nodes.get(row.name)
    return NodePage(
        row=row,
        about=tuple(_about(state, view, row)),
        findings=tuple(brief(record) for record in standing if row.name in named(record)),
        stack=stack(state, node, thresholds.window_s) if state is not None and state.of("link") else None,
        paths=_paths(state),
        disks=tuple(_disks(state, thresholds))[:_DISKS],
        idle=sum(not _used(item, state) for item in state.of("disk")) if state is not None else 0,
        latencies=tuple(_latencies(state, thresholds)),
        volumes=volumes(view, row.name),
        limits=tuple(limits(gap_from_coverage("", each) for each in state.coverage())) if state is not None else (),
        sources=tuple(_sources(state)),
        hosted=state is not None,
    )


def _about(state: NodeState | None, view: ClusterView, row: Row) -> Iterable[tuple[str, str]]:
    node = view.nodes.get(row.name)
    if node is not None:
        yield "zone and pool", ", ".join(part for part in (row.zone, row.pool) if part)
        yield "pods", f"{len(view.objects.pods_on(row.name)):,}" if view.objects.knows("pods") else "not known"
        if node.taints:
            yield "taints", words.some([str(taint) for taint in node.taints])
    if state is not None:
        yield from _about_host(state)


def _about_host(state: NodeState) -> Iterable[tuple[str, str]]:
    for item in state.of("host"):
        host = item.host
        if host.kernel_release:
            yield "kernel", " ".join(part for part in (host.kernel_release, host.machine) if part)
        if host.boot_time_unix_ms:
            yield "up", words.lasting(state.at - host.boot_time_unix_ms / 1000)
    for item in state.of("usage"):
        usage, cpus = item.usage, next((each.host.cpus for each in state.of("host")), 0)
        if usage.HasField("cpu_busy_bp"):
            yield "CPU", f"{usage.cpu_busy_bp / 100:.0f} % busy" + (f" of {cpus}" if cpus else "")
        if usage.memory_total_bytes:
            free, total = words.size(usage.memory_available_bytes), words.size(usage.memory_total_bytes)
            yield "memory", f"{free} available of {total}"
    for item in state.of("pressure"):
        if item.pressure.some_avg10_bp:
            yield f"waits for {item.pressure.resource}", f"{item.pressure.some_avg10_bp / 100:g} % of the last 10 s"
    for item in state.of("clock"):
        yield "clock", "synchronised" if item.clock.synchronized else "not synchronised"
    for item in state.of("conntrack"):
        if item.conntrack.max:
            yield "connections", f"{item.conntrack.count:,} of {item.conntrack.max:,} tracked"


def _paths(state: NodeState | None) -> tuple[pb.PathMtu, ...]:
    paths = [item.path_mtu for item in state.of("path_mtu")] if state is not None else []
    return tuple(sorted(paths, key=lambda path: (-lacking(path), path.peer, path.via)))


def lacking(path: pb.PathMtu) -> int:
    """How many bytes of its interface's MTU do not get through; all of them where nothing does."""
    return max(0, path.interface_mtu - (path.path_mtu if path.HasField("path_mtu") else 0))


def _used(item: pb.Item, state: NodeState) -> bool:
    told = [state.level(item.key, name) for name in ("reads_completed", "writes_completed")]
    return bool(item.disk.whole_disk) or any(told)


def _disks(state: NodeState | None, thresholds: Thresholds) -> Iterable[Disk]:
    if state is None:
        return
    errors = {each.filesystem.device: each.filesystem.errors for each in state.of("filesystem")}
    for item in sorted(state.of("disk"), key=lambda each: each.disk.name):
        disk = item.disk
        if disk.whole_disk or not _used(item, state):
            continue
        count = errors.get(disk.name, 0)
        yield Disk(
            name=disk.name,
            dev=disk.dev,
            size=words.size(disk.size_bytes) if disk.HasField("size_bytes") else "",
            what=disk.model or disk.backing_file or disk.serial,
            flush=_flush(item, state, thresholds),
            trouble=words.counted(count, "error of its file system", "errors of its file system") if count else "",
        )


def _flush(item: pb.Item, state: NodeState, thresholds: Thresholds) -> str:
    risen = state.increments(item.key, thresholds.window_s)
    if risen is None or state.level(item.key, "flushes_completed") is None:
        return "not told"
    done = risen.get("flushes_completed")
    if done is None or not done.increment:
        return "none"
    spent = risen.get("flush_ms")
    mean = (spent.increment if spent is not None else 0) / done.increment
    return f"{words.milliseconds(mean * 1000)}, mean of {done.increment:,}"


def _latencies(state: NodeState | None, thresholds: Thresholds) -> Iterable[Latency]:
    found = []
    for item in state.of("latency") if state is not None else ():
        source = item.latency
        rises = state.rises(item.key, window_of(source, thresholds)) if state is not None else None
        if rises is None or not sum(rises[0]):
            continue
        p50, p99 = (quantile(source.bounds_us, rises[0], share) for share in (0.5, 0.99))
        probe = source.method == pb.LATENCY_METHOD_PROBE
        found.append(
            (
                -(p99 or 0.0),
                Latency(
                    process="the agent's probe" if probe else source.process,
                    where=", ".join(
                        part for part in (_CLASSES.get(source.file_class, ""), source.mount or source.device) if part
                    ),
                    how="by a write of its own" if probe else "observed",
                    p50=words.milliseconds(p50) if p50 is not None else "",
                    p99=words.milliseconds(p99) if p99 is not None else "",
                    calls=sum(rises[0]),
                    seconds=rises[1],
                ),
            )
        )
    return [each for _, each in sorted(found, key=lambda each: (each[0], each[1].process))]


def _sources(state: NodeState | None) -> Iterable[tuple[str, str]]:
    told = [item.signal_source for item in state.of("signal_source")] if state is not None else []
    return sorted((each.signal, each.source) for each in told)
