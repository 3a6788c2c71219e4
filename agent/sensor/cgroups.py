"""Paths of control groups by their id, which in the unified hierarchy is the inode number of their directory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable

_MOST_DIRECTORIES = 50_000
_PAUSE_S = 10.0
_GONE_S = 600.0
"""A group that a walk did not find is gone, most likely; it is looked for again after so long."""
_ROOTS = ("fs/cgroup", "fs/cgroup/unified")
"""Below /sys: a unified hierarchy, or one beside those of version 1."""


class Cgroups:
    """Knows the paths of ids that were asked for."""

    def __init__(self, sys: str) -> None:
        self._roots = [f"{sys}/{root}" for root in _ROOTS]
        self._paths: dict[int, str] = {}
        self._walked_at = -_PAUSE_S
        self._missed_at: dict[int, float] = {}

    def paths(self, ids: Iterable[int], now: float) -> dict[int, str]:
        """Path below the hierarchy's root ("/kubepods.slice/...", the root itself "/") of each id that is found.

        The tree is walked when an unknown id turns up, once in ten seconds at most, since each walk is a read of every
        directory; for an id that was not found, not again for ten minutes. A group that is gone keeps its path as long
        as it is asked for.
        """
        wanted = set(ids)
        unknown = {
            number for number in wanted - self._paths.keys() if now - self._missed_at.get(number, -_GONE_S) >= _GONE_S
        }
        if unknown and now - self._walked_at >= _PAUSE_S:
            self._walked_at = now
            self._paths = {number: path for number, path in self._paths.items() if number in wanted}
            self._walk(wanted)
            self._missed_at = {
                number: self._missed_at.get(number, now) if number not in unknown else now
                for number in wanted - self._paths.keys()
            }
        return {number: self._paths[number] for number in wanted if number in self._paths}

    def _walk(self, wanted: set[int]) -> None:
        for root in self._roots:
            if not os.path.exists(f"{root}/cgroup.controllers"):
                continue
            waiting = deque([""])
            if (number := os.stat(root).st_ino) in wanted:
                self._paths[number] = "/"
            for _ in range(_MOST_DIRECTORIES):
                if not waiting:
                    break
                self._look_into(root, waiting.popleft(), waiting, wanted)
            return

    def _look_into(self, root: str, path: str, waiting: deque[str], wanted: set[int]) -> None:
        try:
            with os.scandir(root + path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below = f"{path}/{entry.name}"
                        waiting.append(below)
                        if entry.inode() in wanted:
                            self._paths[entry.inode()] = below
        except OSError:
            return  # it went meanwhile
