"""The lock files: which distribution in which version each role is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
SHIPPED = ("agent", "aggregator", "image", "run")
"""Roles whose locks are installed where Nodetell runs; the others are those of developers."""

_PINNED = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?: ; ([^\\\n]+?))?\s*(?:\\|$)")


@dataclass(frozen=True, slots=True)
class Pinned:
    """A distribution as a lock has it. `marker` is empty where it is for every platform and Python."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def canonical(name: str) -> str:
    """Name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def roles(directory: Path = REQUIREMENTS) -> list[str]:
    """Names of the locks there are, those that are shipped first."""
    return sorted((path.stem for path in directory.glob("*.txt")), key=lambda role: (role not in SHIPPED, role))


def read(role: str, directory: Path = REQUIREMENTS) -> list[Pinned]:
    """Entries of the lock of that role.

    Raises:
        ValueError: an entry is not pinned, or has no hash; says which.
    """
    path = directory / f"{role}.txt"
    found = []
    for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
        match = _PINNED.match(entry)
        if not match:
            raise ValueError(f"{path.name}: not a pinned version: {entry.splitlines()[0]!r}")
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry))
        if not hashes:
            raise ValueError(f"{path.name}: {match[1]} has no hash")
        found.append(Pinned(canonical(match[1]), match[2], match[3] or "", hashes))
    return found
