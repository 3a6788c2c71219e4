"""Latency of other processes' fsync: the chosen method at work, all the time or for a share of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.bpf.memory import COMM_BYTES
from agent.bpf.syscalls import BpfError
from agent.sensor.chain import Choice, choose
from agent.sensor.fsync_methods import Method, MethodError
from agent.sensor.fsync_programs import KEY, VALUE, FileClass
from agent.sensor.losses import NOT_COUNTED, UNMATCHED, loss
from agent.sensor.table import Table

_DRAIN_S = 5.0
"""How long calls that began while the method was on are waited for when it goes off."""
_DRAIN_STEP_S = 0.05


@dataclass(slots=True)
class Latency:
    """Calls of one process on one device."""

    process: str
    device: tuple[int, int]
    """Major and minor number."""
    file_class: FileClass
    cgroup_id: int
    counts: list[int]
    sum_ns: int
    max_ns: int


class FsyncSensor:
    """start(), then latencies() at any time, then close()."""

    def __init__(
        self,
        methods: Sequence[Method],
        self_test: Callable[[Method], str],
        duty_percent: float = 10.0,
        period_s: float = 10.0,
    ) -> None:
        """`duty_percent` of each `period_s` a taxing method is on."""
        self.choice = Choice()
        self._methods = methods
        self._self_test = self_test
        self._on_s = period_s * duty_percent / 100
        self._off_s = period_s - self._on_s
        self._table: Table | None = None
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._on_since = 0.0
        """When the method went on; 0: it is off."""
        self._observed_s = 0.0

    def start(self) -> bool:
        """Choose a method and begin. False: none works here; `choice` tells why."""
        self.choice = choose(self._methods, self._self_test)
        method = self.choice.method
        if method is None:
            return False
        self._table = Table(method.maps.histograms)
        self._began = self._on_since = time.monotonic()
        if method.taxing and self._off_s > 0:
            self._thread = threading.Thread(target=self._alternate, args=(method,), name="fsync-duty", daemon=True)
            self._thread.start()
        return True

    @property
    def observed_permille(self) -> int:
        """Share of the time since start() in which calls were seen, thousandths."""
        with self._busy:
            now = time.monotonic()
            observed = self._observed_s + (now - self._on_since if self._on_since else 0.0)
        return min(1000, round(1000 * observed / (now - self._began))) if now > self._began else 1000

    def latencies(self, now: float) -> list[Latency]:
        """What was counted so far, at `now` (monotonic seconds). Raises BpfError."""
        if self._table is None:
            return []
        merged: dict[tuple[str, int, int, int], Latency] = {}
        for key, value in self._table.items(now):
            name, device, file_class, group = KEY.unpack(key)
            total, longest, *counts = VALUE.unpack(value)
            process = process_of(name)
            known = merged.get((process, device, file_class, group))
            if known is None:
                place = (device >> 20, device & 0xFFFFF)
                latency = Latency(process, place, FileClass(file_class), group, counts, total, longest)
                merged[process, device, file_class, group] = latency
                continue
            known.counts = [mine + more for mine, more in zip(known.counts, counts, strict=True)]
            known.sum_ns += total
            known.max_ns = max(known.max_ns, longest)
        return list(merged.values())

    def lost(self) -> tuple[int, int]:
        """Calls without a known beginning, and calls for which there was no room. Raises BpfError."""
        if self.choice.method is None:
            return 0, 0
        losses = self.choice.method.maps.losses
        return loss(losses, UNMATCHED), loss(losses, NOT_COUNTED)

    def close(self) -> None:
        """Detach and free everything."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._table = None
        if self.choice.method is not None:
            self.choice.method.close()
            self.choice.method = None

    def _alternate(self, method: Method) -> None:
        try:
            while not self._stop.wait(self._on_s):
                self._switch_off(method)
                if self._stop.wait(self._off_s):
                    return
                method.attach()
                with self._busy:
                    self._on_since = time.monotonic()
        except (MethodError, BpfError) as error:
            self.choice.refused[method.name] = f"it went off and could not go on again: {error}"

    def _switch_off(self, method: Method) -> None:
        method.hold()
        with self._busy:
            self._observed_s += time.monotonic() - self._on_since
            self._on_since = 0.0
        # Else the longest calls, which matter most, would be the ones that are never seen to end.
        until = time.monotonic() + min(_DRAIN_S, self._off_s)
        while method.maps.calls.items() and time.monotonic() < until and not self._stop.wait(_DRAIN_STEP_S):
            pass
        method.detach()


def process_of(name: bytes) -> str:
    """A process's name as the kernel keeps it; workers of the kernel under one name, without their numbers."""
    text = name[:COMM_BYTES].split(b"\0")[0].decode("utf-8", "replace")
    return "kworker" if text.startswith("kworker/") else text
