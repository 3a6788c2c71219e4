"""A recorded host that is only in memory, made of a case of several files; and what an aggregator makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from nodetell.v1 import agent_pb2

from agent.collectors.base import Collector
from agent.delta import DeltaEncoder
from agent.host import Failure, ReadError
from agent.hosts.bundle_host import BundleHost
from agent.hosts.files import components
from agent.hosts.folder import Folder
from agent.reading import Reading, merged
from aggregator.node_state import NodeState
from fuzz.captures import HOSTS

LINK = "-> "
"""What the path of a symbolic link begins with in a case; its contents are where it points to."""
NOW = 1_790_000_000.0


@dataclass(slots=True)
class MemoryFolder:
    """As agent.hosts.folder.Folder, over files in memory."""

    files: Mapping[str, bytes]
    place: str = ""
    json_bytes: int = 1 << 20
    path: Path = field(default_factory=Path)

    def read(self, path: str, limit: int) -> bytes:
        """Contents of a file. Raises ReadError."""
        components(path)
        contents = self.files.get(path)
        if contents is None:
            raise ReadError(Failure.ABSENT, path, "not in the bundle")
        if len(contents) > limit:
            raise ReadError(Failure.FAILED, path, f"more than {limit} bytes")
        return contents

    def entries(self, path: str = "") -> list[str]:
        """Sorted names. Raises ReadError."""
        components(path)
        prefix = f"{path}/"
        names = {each.removeprefix(LINK) for each in self.files}
        found = {each[len(prefix) :].partition("/")[0] for each in names if each.startswith(prefix)} - {""}
        if not found:
            raise ReadError(Failure.ABSENT, path, "not in the bundle")
        return sorted(found)

    def link_target(self, path: str) -> str:
        """What a symbolic link says. Raises ReadError."""
        components(path)
        target = self.files.get(LINK + path)
        if target is None:
            raise ReadError(Failure.ABSENT, path, "not in the bundle")
        return target.decode("utf-8", "surrogateescape")

    def json(self, path: str) -> object:
        """A parsed document. Raises ReadError."""
        return Folder.json(cast("Folder", self), path)


def host_of(files: Mapping[str, bytes]) -> BundleHost:
    """The host whose files these are, by path below its folder."""
    return BundleHost("node-1", cast("Folder", MemoryFolder(files)))


def collected(collectors: Iterable[Collector], *times: Mapping[str, bytes]) -> list[Reading]:
    """What collectors, run once for each of these states of a host, made of it; each has been told to an aggregator."""
    running, encoder, state = list(collectors), DeltaEncoder(), NodeState("node-1")
    readings = []
    for number, files in enumerate(times):
        host = host_of(files)
        reading = merged({each.name: each.collect(host, NOW + number) for each in running})
        for key, item in reading.items.items():
            assert key == item.key
        tell(reading, encoder, state, round((NOW + number) * 1000))
        readings.append(reading)
    return readings


def tell(reading: Reading, encoder: DeltaEncoder, state: NodeState, at_ms: int) -> None:
    """Send a reading as an agent does and take it in as an aggregator does: it then knows the same."""
    update = encoder.delta(reading, at_ms) if state.at else encoder.full(reading, at_ms)
    if update is not None:
        state.apply(agent_pb2.Update.FromString(update.SerializeToString()))
    assert state.items.keys() == reading.items.keys()
    assert {subject: tuple(each.values) for subject, each in state.counters.items()} == {
        subject: block.values for subject, block in reading.blocks.items()
    }


def recorded(*paths: str) -> Iterable[dict[str, bytes]]:
    """Of each recorded node among the fixtures those of its files whose paths begin with one of these."""
    for node in sorted(HOSTS.glob("*/t0/nodes/*")):
        found = {
            str(place.relative_to(node)): place.read_bytes()
            for place in sorted(node.rglob("*"))
            if place.is_file() and str(place.relative_to(node)).startswith(paths)
        }
        if found:
            yield found


LATER = "later/"
"""What the path of a file begins with that a case has for the second reading of the host."""


def times_of(files: Mapping[str, bytes]) -> list[Mapping[str, bytes]]:
    """The host's files at a first and, where the case has files for it, at a second reading."""
    later = {path[len(LATER) :]: each for path, each in files.items() if path.startswith(LATER)}
    if not later:
        return [files]
    first = {path: contents for path, contents in files.items() if not path.startswith(LATER)}
    return [first, first | later]
