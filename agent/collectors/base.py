"""What a collector is. Adding one: a module here, a row in registry.py, a fixture, a row in docs/signals.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.events.waiter import Source
from agent.host import Host, ReadError
from agent.reading import Reading

NETWORK_LANE = "network"
"""Collectors of this lane share the host's Network and run again at once when the kernel tells of a change in it."""


class Collector(Protocol):
    """Reads one signal of a host. May keep what it needs between runs: previous values, file handles.

    Collectors of one lane run in one thread, one after another; a lane that hangs delays only itself.
    """

    @property
    def name(self) -> str:
        """One word: "links", "disks", ..."""
        ...

    @property
    def lane(self) -> str:
        """Name of its thread; most collectors have one of their own, named after themselves."""
        ...

    @property
    def interval_s(self) -> float:
        """Seconds between runs."""
        ...

    def collect(self, host: Host, now: float) -> Reading:
        """Everything known at `now`, seconds since the epoch.

        What cannot be read becomes a coverage entry; only a defect raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """The sources of a collector that could be opened, and why others could not."""

    sources: Sequence[Source]
    problems: Sequence[ReadError] = ()


@runtime_checkable
class Woken(Protocol):
    """What a collector has besides, if the kernel tells when it should run: it then polls only to be safe."""

    @property
    def safety_interval_s(self) -> float:
        """Seconds between runs while the kernel tells. Where a source is missing, `interval_s` holds."""
        ...

    def sources(self, host: Host) -> Opened:
        """Open them; called once, in the collector's own thread, before its first run. The caller closes them."""
        ...
