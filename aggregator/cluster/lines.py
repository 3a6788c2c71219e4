"""A watch's bytes cut into its events, one a line, without ever holding more than a line may be long."""

from __future__ import annotations


class LineTooLongError(Exception):
    """A line is longer than any event."""


class LineSplitter:
    """Takes chunks cut anywhere, gives whole lines. What follows the last line end is never given: it is half."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends and without empty ones. Raises LineTooLongError."""
        *complete, rest = chunk.split(b"\n")
        lines = []
        for line in complete:
            self._keep(line)
            whole = b"".join(self._begun)
            self._begun, self._size = [], 0
            if whole and not whole.isspace():
                lines.append(whole)
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise LineTooLongError(f"a line of more than {self._limit:,} bytes")
        if part:
            self._begun.append(part)
