"""Whether a file is another than before, without reading it: a renewal replaces it, writes to it, or turns a link."""

from __future__ import annotations

import os

Fingerprint = tuple[int, ...]


def fingerprint(path: str | os.PathLike[str]) -> Fingerprint:
    """Of the file there, links followed; empty: there is none that can be looked at."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
