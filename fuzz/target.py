"""What a fuzz target is. Adding one: a module in fuzz/targets, a row in its table, a run of a million cases.

A target needs no fuzzing engine: the tests replay its corpus, and check it on cases of hypothesis, without any.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from zlib import crc32

MutateBytes = Callable[[bytes, int], bytes]
"""The engine's own mutation of bytes, to at most so many."""
Mutate = Callable[[bytes, int, random.Random, MutateBytes], bytes]
"""A mutation that knows the format: case, most bytes, source of chance, the engine's own mutation."""


def sometimes(case: bytes, one_in: int) -> bool:
    """Whether a case is one of those that the dearer part of a property is checked on: by its own bytes, so that it is
    or is not whenever it comes. Within `whole_property` all are."""
    return _whole.get() or crc32(case) % one_in == 0


_whole = ContextVar("whole", default=False)


@contextmanager
def whole_property() -> Iterator[None]:
    """Every case is checked for all of a target's property."""
    before = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(before)


@dataclass(frozen=True, slots=True)
class Target:
    """One family of parsers, and what must hold of it for any bytes."""

    check: Callable[[bytes], None]
    """Raises if the property does not hold: AssertionError, or what the parser should not have raised."""
    seeds: Callable[[], Iterable[bytes]]
    """Cases to begin with, made of what real kernels and servers said."""
    words: tuple[bytes, ...] = ()
    """Words of the format that the engine puts in."""
    mutate: Mutate | None = None
    """None: the engine's own."""
    max_bytes: int = 2_048
    """Of a case."""
    slow_s: float = 2.0
    """CPU time that no case may take, seconds, under instrumentation and on a slow machine."""
