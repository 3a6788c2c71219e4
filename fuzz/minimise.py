"""Which cases of a corpus to keep: the smallest that, one after another, reach a line or a jump not reached yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from fuzz.captures import TOP
from fuzz.target import whole_property

_OURS = tuple(f"{TOP}{os.sep}{package}{os.sep}" for package in ("agent", "aggregator", "proto"))

Jump = tuple[str, int, int]
"""File, and from which line to which."""


def jumps_of(check: Callable[[bytes], None], case: bytes) -> set[Jump]:
    """All jumps within our modules that a case takes. What the check raises is nobody's concern here."""
    found: set[Jump] = set()

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_OURS):
            return None
        before = frame.f_lineno

        def step(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal before
            if event == "line":
                found.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step if event == "call" else None

    sys.settrace(trace)
    try:
        check(case)
    except Exception:  # noqa: BLE001, S110  # a run has told of it
        pass
    finally:
        sys.settrace(None)
    return found


def minimised(check: Callable[[bytes], None], cases: Iterable[bytes]) -> list[bytes]:
    """The cases to keep, those that add most first."""
    reached: set[Jump] = set()
    kept: list[tuple[int, bytes]] = []
    with whole_property():
        for case in sorted(set(cases), key=lambda case: (len(case), case)):
            new = jumps_of(check, case) - reached
            if new:
                reached |= new
                kept.append((len(new), case))
    return [case for _, case in sorted(kept, key=lambda each: -each[0])]
