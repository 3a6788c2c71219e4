"""Waiting for the kernel: for any of several descriptors, without turning in circles, until somebody says to stop."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from agent.events.waiter import PAUSE_S, Waiter


class Pipe:
    """A source that is ready while something is in a pipe, and says what the test wants."""

    mask = select.POLLIN

    def __init__(self, *, concerns: bool = True, empties: bool = True, fails: bool = False) -> None:
        self.reading, self.writing = os.pipe()
        self.concerns, self.empties, self.fails = concerns, empties, fails
        self.taken = 0
        self.closed = False

    def fileno(self) -> int:
        return self.reading

    def happen(self) -> None:
        os.write(self.writing, b"x")

    def take(self) -> bool:
        self.taken += 1
        if self.fails:
            raise OSError("gone")
        if self.empties:
            os.read(self.reading, 100)
        return self.concerns

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.reading)
            os.close(self.writing)


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    made = Waiter()
    with contextlib.closing(made):
        yield made


def test_any_source_wakes_and_all_that_are_ready_are_asked(waiter: Waiter) -> None:
    first, second = Pipe(), Pipe()
    waiter.add(first)
    waiter.add(second)
    assert not waiter.wait(0)
    first.happen()
    second.happen()
    assert waiter.wait(5)
    assert (first.taken, second.taken) == (1, 1)
    assert not waiter.wait(0)


def test_the_time_is_kept(waiter: Waiter) -> None:
    began = time.monotonic()
    assert not waiter.wait(0.05)
    assert 0.04 < time.monotonic() - began < 1


def test_much_that_does_not_concern_us_does_not_turn_in_circles(waiter: Waiter) -> None:
    noise = Pipe(concerns=False, empties=False)
    noise.happen()
    waiter.add(noise)
    cpu, began = time.thread_time(), time.monotonic()
    assert not waiter.wait(5 * PAUSE_S)
    assert time.monotonic() - began < 4
    assert 1 < noise.taken <= 7
    assert time.thread_time() - cpu < 0.1


def test_wake_ends_the_wait_also_in_the_middle_of_noise_and_before_it_begins(waiter: Waiter) -> None:
    noise = Pipe(concerns=False, empties=False)
    noise.happen()
    waiter.add(noise)
    threading.Timer(0.05, waiter.wake).start()
    began = time.monotonic()
    assert not waiter.wait(30)
    assert not waiter.wait(30)
    assert time.monotonic() - began < 5


def test_a_source_that_fails_is_told_once_and_the_others_go_on(waiter: Waiter) -> None:
    bad, good = Pipe(fails=True), Pipe()
    waiter.add(bad)
    waiter.add(good)
    bad.happen()
    with pytest.raises(OSError, match="gone"):
        waiter.wait(5)
    assert bad.closed
    good.happen()
    assert waiter.wait(5)


def test_a_descriptor_that_somebody_closed_is_a_source_that_failed(waiter: Waiter) -> None:
    pipe = Pipe()
    waiter.add(pipe)
    pipe.close()
    with pytest.raises(OSError, match="closed"):
        waiter.wait(5)
    assert not waiter.wait(0)


def test_closing_closes_the_sources_and_a_late_wake_harms_nobody() -> None:
    waiter, pipe = Waiter(), Pipe()
    waiter.add(pipe)
    waiter.close()
    assert pipe.closed
    waiter.wake()
    waiter.close()
