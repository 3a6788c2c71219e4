"""A bounded map whose keys are let go when nothing happens to them any more, so that pods that went make room."""

from __future__ import annotations

from agent.bpf.maps import BpfMap

FORGET_S = 3600.0
"""A key that did not change for so long is let go."""


class Table:
    """Reads a map."""

    def __init__(self, source: BpfMap, forget_s: float = FORGET_S) -> None:
        self.source = source
        self._forget_s = forget_s
        self._seen: dict[bytes, tuple[int, float]] = {}
        """By key: hash of the value, and when that was new."""

    def items(self, now: float) -> list[tuple[bytes, bytes]]:
        """What is in it at `now`, monotonic seconds; what stood still for too long is removed. Raises BpfError."""
        entries, seen = [], {}
        for key, value in self.source.items():
            mark, since = self._seen.get(key, (None, now))
            if mark != hash(value):
                mark, since = hash(value), now
            if now - since > self._forget_s:
                self.source.delete(key)
                continue
            seen[key] = (mark, since)
            entries.append((key, value))
        self._seen = seen
        return entries
