"""The agent over days: its own collectors, runtime and ledger on a host that changes all the time.

Time is passed in. Lanes are no threads here but take their turns, so that a day is as long as its work: the runtime
asks a clock of ours what time it is.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from agent import runtime as agent_runtime
from agent.collectors.registry import collectors
from agent.ledger import Ledger
from agent.pieces import pieces
from agent.runtime import Runtime
from agent.settings import CollectorSettings
from bench.soak.fake_host import START, STEP_S, STEPS_AN_HOUR, FakeHost
from bench.soak.meter import Sample, sample


@dataclass(slots=True)
class Clock:
    """As much of the module `time` as the runtime uses. `now`: seconds since the soak began."""

    now: float = 0.0

    def time(self) -> float:
        """Seconds since the epoch."""
        return START + self.now

    def monotonic(self) -> float:
        """Seconds since some time."""
        return 1_000.0 + self.now

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


class Life:
    """One agent, step by step."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.host = FakeHost()
        self.ledger = Ledger()
        self.updates = self.bytes = 0
        with mock.patch.object(agent_runtime, "time", self.clock):
            settings = CollectorSettings(sensor_socket="")
            self.runtime = Runtime(self.host, collectors(settings), settings, lambda: None)

    def step(self, number: int) -> None:
        """STEP_S pass: what is due is read, and told if a stream stands."""
        self.clock.now = number * STEP_S
        self.host.step(number)
        with mock.patch.object(agent_runtime, "time", self.clock):
            for run in self.runtime._runs:
                if run.due <= self.clock.monotonic():
                    self.runtime._run_once(run)
            reading = self.runtime.reading()
        at, ledger = self.clock.monotonic(), self.ledger
        in_hour = number % STEPS_AN_HOUR
        if 100 <= in_hour < 130:  # the aggregator is away
            if ledger.under_way:
                ledger.lost()
            ledger.away(reading, at)
        elif in_hour % 17 == 0 and ledger.under_way:
            ledger.missed(reading, at)
        else:
            if ledger.under_way:
                ledger.acknowledged()
            if in_hour == 131:  # it has come back, and knows nothing
                ledger.tell_all()
            made = ledger.next(reading, round(1000 * self.clock.time()), at)
            if made is not None:
                self.updates += 1
                self.bytes += sum(len(piece.data) for piece in pieces(*made))
            if in_hour == 200 and ledger.under_way:
                ledger.lost()


def soak(hours: int, *, traced: bool = False) -> Iterator[Sample]:
    """A sample at the end of each hour."""
    if traced:
        tracemalloc.start()
    life = Life()
    for hour in range(hours):
        for number in range(hour * STEPS_AN_HOUR, (hour + 1) * STEPS_AN_HOUR):
            life.step(number + 1)
        yield sample(hour + 1)
