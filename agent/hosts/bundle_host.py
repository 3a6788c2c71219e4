"""A host as one snapshot of an evidence bundle has recorded it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from agent.host import ClockState, Failure, Network, ReadError
from agent.hosts.folder import Folder


class BundleHost:
    """agent.host.Host, read from a node's folder of one snapshot."""

    def __init__(self, name: str, folder: Folder) -> None:
        self._name = name
        self._folder = folder

    @property
    def name(self) -> str:
        """Name of the node's folder."""
        return self._name

    @property
    def live(self) -> bool:
        """Never."""
        return False

    @property
    def proc(self) -> str:
        """The folder that holds copies of /proc files."""
        return str(self._folder.path / "proc")

    @cached_property
    def network(self) -> Network:
        """From ip-link.json, ip-addr.json and ip-route.json."""
        from agent.network.ipjson import IpJsonNetwork  # noqa: PLC0415  # only hosts of bundles need it

        network: Network = IpJsonNetwork(lambda name: self._folder.read(name, self._folder.json_bytes))
        return network

    def read(self, path: str, limit: int = 8 << 20) -> bytes:
        """Contents of a file, at most `limit` bytes. Raises ReadError."""
        return self._folder.read(path, limit)

    def entries(self, path: str) -> Sequence[str]:
        """Sorted names in a directory. Raises ReadError."""
        return self._folder.entries(path)

    def link_target(self, path: str) -> str:
        """What a symbolic link says. Raises ReadError."""
        return self._folder.link_target(path)

    def descriptor(self, path: str) -> int:
        """Raises ReadError: nothing happens in a bundle."""
        raise ReadError(Failure.ABSENT, path, "a recorded host tells of no changes")

    def document(self, name: str) -> object | None:
        """A JSON document of the node's folder; None: there is none. Raises ReadError if it is damaged."""
        try:
            return self._folder.json(name)
        except ReadError as error:
            if error.failure is Failure.ABSENT:
                return None
            raise

    def clock(self) -> ClockState:
        """From clock.json: synchronized, offset_seconds, and (written by us) max_error_us. Raises ReadError."""
        place = f"{self._folder.place}clock.json"
        state = self._folder.json("clock.json")
        if not isinstance(state, dict) or not isinstance(state.get("synchronized"), bool):
            raise ReadError(Failure.DAMAGED, place, '"synchronized" is not true or false')
        offset, error = state.get("offset_seconds"), state.get("max_error_us")
        if offset is not None and (
            isinstance(offset, bool) or not isinstance(offset, int | float) or abs(offset) > 1e12
        ):
            raise ReadError(Failure.DAMAGED, place, '"offset_seconds" is no number of seconds')
        if error is not None and (isinstance(error, bool) or not isinstance(error, int) or not 0 <= error < 1 << 63):
            raise ReadError(Failure.DAMAGED, place, '"max_error_us" is no number of microseconds')
        return ClockState(state["synchronized"], None if offset is None else round(offset * 1e6), error)
