"""The corpus kept in git: one file for each target, a case in each line, as base64."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent / "corpus"
MOST_BYTES = 120_000
"""Of one target's file: what is kept of a corpus, the cases that add most first."""


def load(target: str, directory: Path = DIRECTORY) -> list[bytes]:
    """Cases of a target; none where there is no file."""
    place = directory / f"{target}.txt"
    if not place.exists():
        return []
    return [base64.b64decode(line) for line in place.read_text("ascii").split()]


def save(target: str, cases: Iterable[bytes], directory: Path = DIRECTORY) -> int:
    """Keep the first of these cases that fit into MOST_BYTES; how many."""
    lines: list[str] = []
    left = MOST_BYTES
    for case in filter(None, cases):  # nothing at all would be an empty line
        line = base64.b64encode(case).decode("ascii")
        if len(line) < left:
            lines.append(line)
            left -= len(line) + 1
    (directory / f"{target}.txt").write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda x: (len(x), x))))
    return len(lines)
