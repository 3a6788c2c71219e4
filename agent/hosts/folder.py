"""A directory of an evidence bundle, of which nothing is read that lies outside the bundle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from agent.host import Failure, ReadError
from agent.hosts.archive import within
from agent.hosts.files import components, printable, read_bounded, read_error


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of a bundle; reads never leave the bundle's root."""

    root: str
    """Real path of the bundle."""
    path: Path
    place: str
    """How messages name it: its path within the bundle, with a "/" at the end; empty for the bundle itself."""
    json_bytes: int

    def below(self, name: str) -> Folder:
        """A directory in this one."""
        return Folder(self.root, self.path / name, f"{self.place}{printable(name)}/", self.json_bytes)

    def read(self, path: str, limit: int) -> bytes:
        """Contents of a file; a .json file has a limit of its own. Raises ReadError."""
        place = self.place + printable(path)
        limit = self.json_bytes if path.endswith(".json") else limit
        try:
            return read_bounded(self._real(path, place), limit)
        except OSError as error:
            raise _absent(error, place) from error

    def entries(self, path: str = "") -> list[str]:
        """Sorted names. Raises ReadError."""
        place = self.place + printable(path)
        try:
            return sorted(os.listdir(self._real(path, place)))
        except OSError as error:
            raise _absent(error, place or "the bundle") from error

    def link_target(self, path: str) -> str:
        """What a symbolic link says. Raises ReadError."""
        place = self.place + printable(path)
        directory, _, name = path.rpartition("/")
        try:
            return os.readlink(os.path.join(self._real(directory, place), name))
        except OSError as error:
            raise _absent(error, place) from error

    def has_folder(self, name: str) -> bool:
        """Whether there is a directory of that name, and in the bundle."""
        return within(self.root, self.path / name) and (self.path / name).is_dir()

    def json(self, path: str) -> object:
        """A parsed document. Raises ReadError, DAMAGED with line and column if it is no JSON."""
        place = self.place + printable(path)
        raw = self.read(path, self.json_bytes)
        try:
            return json.loads(raw, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise ReadError(Failure.DAMAGED, place, f"no JSON: {error}") from error

    def _real(self, path: str, place: str) -> str:
        target = self.path.joinpath(*components(path)) if path else self.path
        if not within(self.root, target):
            raise ReadError(Failure.DAMAGED, place, "a link that leaves the bundle: refused")
        return str(target)


def _absent(error: OSError, place: str) -> ReadError:
    found = read_error(error, place)
    return ReadError(Failure.ABSENT, place, "not in the bundle") if found.failure is Failure.ABSENT else found


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON number")
