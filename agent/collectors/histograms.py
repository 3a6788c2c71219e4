"""Latency histograms of fsync: their shape as items and counters, and as fsync.json of a bundle."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents
from agent.reading import Block, Reading


def _bounds() -> tuple[int, ...]:
    """Four to each doubling, with 1, 2, 4 ... ms among them (the edges of etcd's own histogram), 64 us to 8.2 s."""
    steps = [round(1000 * 2**power * (1 + quarter / 4)) for power in range(-4, 13) for quarter in range(4)]
    return (64, *steps[1:], 8_192_000)


BOUNDS_US = _bounds()
"""Upper bounds of the probe's histogram, microseconds."""
_MOST_BOUNDS = 512
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1

_METHODS = {"probe": pb.LATENCY_METHOD_PROBE, "passive": pb.LATENCY_METHOD_PASSIVE}


@dataclass(slots=True)
class Histogram:
    """Latencies of one process on one device, counted since it was made."""

    process: str
    device: str
    """"major:minor"; empty: unknown."""
    mount: str
    method: str
    """"probe" or "passive"."""
    bounds_us: tuple[int, ...] = BOUNDS_US
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    file_class: str = ""
    """"wal" or "database" of etcd; empty: any other, or not told apart."""
    cgroup_id: int = 0
    """0: unknown."""
    pod_uid: str = ""
    attached_by: str = ""
    """Method of the sensor; empty for the probe."""
    observed_permille: int = 0
    """Share of the time in which calls were seen, thousandths; 0: all."""

    def add(self, latency_us: float) -> None:
        """Count one call."""
        self.counts[bisect.bisect_left(self.bounds_us, latency_us)] += 1

    @property
    def key(self) -> str:
        """Item key. A probe is told by its directory, others by the device: two probes may share a device."""
        where = (self.mount or self.device) if self.method == "probe" else (self.device or self.mount)
        key = f"latency/{self.method}/{self.process}/{where}"
        if self.file_class or self.cgroup_id:
            key += f"/{self.file_class or 'other'}"
        return f"{key}/{self.cgroup_id}" if self.cgroup_id else key

    def put(self, reading: Reading) -> None:
        """Add the item and its block of counts."""
        source = pb.LatencySource(
            process=self.process,
            device=self.device,
            mount=self.mount,
            bounds_us=self.bounds_us,
            file_class=self.file_class,
            cgroup_id=self.cgroup_id,
            pod_uid=self.pod_uid,
            attached_by=self.attached_by,
            observed_permille=self.observed_permille,
        )
        source.method = _METHODS[self.method]
        reading.add(pb.Item(key=self.key, latency=source))
        reading.blocks[self.key] = Block(counter_names(self.bounds_us), tuple(self.counts))


def counter_names(bounds_us: Sequence[int]) -> tuple[str, ...]:
    """Names of a histogram's counters: "le_64us", ..., and "gt_" with the last bound."""
    return (*(f"le_{bound}us" for bound in bounds_us), f"gt_{bounds_us[-1]}us")


def parse_fsync(document: object) -> tuple[list[Histogram], list[str]]:
    """fsync.json; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "fsync.json", 10_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    found: dict[str, Histogram] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            histogram = _histogram(documents.entry(entry))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
            continue
        if found.setdefault(histogram.key, histogram) is not histogram:
            where = histogram.device or histogram.mount
            problems.append(f"entry {number}: {histogram.process} on {where} for the second time")
    return list(found.values()), problems


def _histogram(entry: documents.Entry) -> Histogram:
    method = documents.text(entry, "method")
    if method not in _METHODS:
        raise documents.OddError('"method" is neither "passive" nor "probe"')
    bounds = [
        documents.whole(b, "bounds_us", _U32, 1)
        for b in documents.words(entry.get("bounds_us"), "bounds_us", _MOST_BOUNDS)
    ]
    counts = [
        documents.whole(c, "counts", _U64) for c in documents.words(entry.get("counts"), "counts", _MOST_BOUNDS + 1)
    ]
    if not bounds or any(low >= high for low, high in itertools.pairwise(bounds)):
        raise documents.OddError('"bounds_us" does not ascend')
    if len(counts) != len(bounds) + 1:
        raise documents.OddError(f'{len(counts)} "counts" for {len(bounds)} "bounds_us": one more is needed')
    device = documents.text(entry, "device", optional=True)
    mount = documents.text(entry, "mount", optional=True)
    return Histogram(
        documents.text(entry, "process"),
        device,
        mount,
        method,
        tuple(bounds),
        counts,
        file_class=documents.text(entry, "file_class", optional=True),
        cgroup_id=documents.whole(entry.get("cgroup_id", 0), "cgroup_id", _U64),
        pod_uid=documents.text(entry, "pod_uid", optional=True),
        attached_by=documents.text(entry, "attached_by", optional=True),
        observed_permille=documents.whole(entry.get("observed_permille", 0), "observed_permille", 1000),
    )


def fsync_document(reading: Reading) -> list[dict[str, object]]:
    """fsync.json of a reading's histograms; what is not known is left out."""
    entries: list[dict[str, object]] = []
    for key, item in reading.items.items():
        if item.HasField("latency") and key in reading.blocks:
            source = item.latency
            entry: dict[str, object] = {
                "process": source.process,
                "device": source.device,
                "mount": source.mount,
                "method": "probe" if source.method == pb.LATENCY_METHOD_PROBE else "passive",
                "bounds_us": list(source.bounds_us),
                "counts": list(reading.blocks[key].values),
            }
            more = ("file_class", "cgroup_id", "pod_uid", "attached_by", "observed_permille")
            entries.append(entry | {name: getattr(source, name) for name in more if getattr(source, name)})
    return entries
