"""What a collector hands over: the one shape between collectors and whatever sends, stores or diagnoses facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from nodetell.v1 import facts_pb2 as pb


@dataclass(frozen=True, slots=True)
class Block:
    """Cumulative counters of one subject, in the order of their names.

    A collector returns the same object again when nothing in it moved, so that "unchanged" is an identity test.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]


@dataclass(slots=True)
class Reading:
    """Everything one collector knows at one moment. It replaces the collector's reading before."""

    items: dict[str, pb.Item] = field(default_factory=dict)
    """By Item.key. Every key begins with a prefix that only this collector uses (coverage: "coverage/<signal>...")."""
    blocks: dict[str, Block] = field(default_factory=dict)
    """By subject."""
    sources: dict[str, str] = field(default_factory=dict)
    """What each signal is read from now, by signal."""
    texts: dict[str, bytes] = field(default_factory=dict)
    """Files as they were read, by path below the host's root: what tells more of them than the facts is made of these
    (agent/metrics). They are no facts and never leave the node as they are."""

    def add(self, item: pb.Item) -> None:
        """Add an item under its key."""
        self.items[item.key] = item

    def gap(
        self, signal: str, because: str, *, detail: str = "", status: int = pb.COVERAGE_STATUS_MISSING, remedy: str = ""
    ) -> None:
        """Add a coverage entry: `signal` could not be read, or not fully. `detail` keeps several of a signal apart."""
        key = f"coverage/{signal}/{detail}" if detail else f"coverage/{signal}"
        coverage = pb.Coverage(signal=signal, because=because, remedy=remedy)
        coverage.status = status  # type: ignore[assignment]  # protoc's stubs want the enum class, which is not there at run time
        self.items[key] = pb.Item(key=key, coverage=coverage)

    def source(self, signal: str, source: str) -> None:
        """Tell what `signal` is read from now ("rtnetlink", "/proc/diskstats"). Only while something of it is read."""
        self.sources[signal] = source


@lru_cache(maxsize=256)
def source_item(signal: str, source: str) -> pb.Item:
    """What a signal is read from, as a fact; the same object as long as it stays the same."""
    return pb.Item(key=f"source/{signal}", signal_source=pb.SignalSource(signal=signal, source=source))


def merged(readings: Mapping[str, Reading]) -> Reading:
    """All collectors' readings as one (later names win, which their prefixes make impossible)."""
    whole = Reading()
    for reading in readings.values():
        whole.items.update(reading.items)
        whole.blocks.update(reading.blocks)
        whole.sources.update(reading.sources)
        whole.texts.update(reading.texts)
    return whole
