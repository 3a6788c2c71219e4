"""What the sensor costs others: an fsync and any other system call, for each method, and a flood of dropped packets.

    python -m bench.fsync_cost            # root

Each figure is taken with and without in one run, alternating, so that both see the same machine; ratios say more than
nanoseconds, which are this machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.bpf import programs
from agent.bpf.syscalls import BpfError
from agent.sensor import drops, retransmits
from agent.sensor.fsync_methods import Method, MethodError, methods
from agent.sensor.kernel import Kernel
from agent.sensor.tap import Tap
from bench.measure import Spread


@dataclass(frozen=True, slots=True)
class Cost:
    """One operation with and without a method, nanoseconds."""

    what: str
    without: Spread
    on: Spread

    @property
    def added(self) -> float:
        """By the least of each, which other load disturbs least."""
        return self.on.least - self.without.least

    @property
    def ratio(self) -> float:
        """With / without."""
        return self.on.least / self.without.least


def timed(operation: Callable[[], object], times: int) -> float:
    """Nanoseconds of one of so many."""
    repeated = range(times)
    start = time.perf_counter_ns()
    for _ in repeated:
        operation()
    return (time.perf_counter_ns() - start) / times


@dataclass(frozen=True, slots=True)
class Operation:
    """What is timed, and how often in a round."""

    what: str
    run: Callable[[], object]
    times: int


def compared(operation: Operation, rounds: int, on: Callable[[], None], off: Callable[[], None]) -> Cost:
    """Cost of an operation with and without something, in turns. Off at the end."""
    with_it, without = [], []
    for _ in range(rounds):
        without.append(timed(operation.run, operation.times))
        on()
        try:
            with_it.append(timed(operation.run, operation.times))
        finally:
            off()
    return Cost(operation.what, Spread.of(without), Spread.of(with_it))


@contextlib.contextmanager
def workload(directory: Path) -> Iterator[list[Operation]]:
    """Operations by name, and how often to repeat each in a round."""
    memory = os.memfd_create("nodetell-bench")
    clean = os.open(directory / "clean", os.O_RDWR | os.O_CREAT)
    dirty = os.open(directory / "dirty", os.O_RDWR | os.O_CREAT)

    def write_and_sync() -> None:
        os.pwrite(dirty, b"x" * 300, 0)
        os.fdatasync(dirty)

    try:
        yield [
            Operation("getppid", os.getppid, 20_000),
            Operation("fdatasync in memory", lambda: os.fdatasync(memory), 20_000),
            Operation("fdatasync that only flushes", lambda: os.fdatasync(clean), 2_000),
            Operation("300 bytes and fdatasync", write_and_sync, 30),
        ]
    finally:
        for descriptor in (memory, clean, dirty):
            os.close(descriptor)


def of_method(method: Method, directory: Path, rounds: int) -> list[Cost]:
    """All operations with and without a method that is loaded."""
    with workload(directory) as operations:
        return [compared(operation, rounds, method.attach, method.detach) for operation in operations]


def per_run(descriptors: list[int], operation: Callable[[], object]) -> list[str]:
    """Nanoseconds that each program takes by the kernel's own count; empty where that is not allowed."""
    try:
        statistics = programs.enable_statistics()
    except BpfError:
        return []
    try:
        for _ in range(3000):
            operation()
        costs = [programs.cost(descriptor) for descriptor in descriptors]
    finally:
        os.close(statistics)
    return [f"{cost.run_time_ns / cost.runs:.0f}" if cost.runs else "-" for cost in costs]


def of_tap(make: Callable[[], Tap], operation: Operation, rounds: int) -> tuple[Cost, list[str]]:
    """An operation with and without a tap."""
    held: list[Tap] = []

    def on() -> None:
        held.append(make())
        held[-1].start()

    cost = compared(operation, rounds, on, lambda: held.pop().close())
    on()
    try:
        return cost, per_run([held[-1].program_descriptor], operation.run)
    finally:
        held.pop().close()


def show(name: str, costs: list[Cost], runs: list[str]) -> None:
    """One method, for people."""
    print(f"{name}   (ns a run by the kernel's count, end then begin: {', '.join(runs)})" if runs else name)
    for cost in costs:
        print(
            f"  {cost.what:<33} {cost.without.least:>10,.0f} ns without  {cost.on.least:>10,.0f} ns with"
            f"  {cost.added:>+8,.0f} ns  x{cost.ratio:.3f}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the sensor costs fsync, other system calls and dropped packets.")
    parser.add_argument("--rounds", type=int, default=10, help="with and without so many times (default: 10)")
    parser.add_argument("--directory", default="/var/tmp", help="a directory on ext4 (default: /var/tmp)")  # noqa: S108
    parser.add_argument("--tracefs", default="/sys/kernel/tracing", help="where tracefs is mounted")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("bench: needs root, to attach programs to the kernel", file=sys.stderr)
        return 1
    kernel = Kernel("/proc", "/sys", options.tracefs)
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for method in methods(kernel):
            try:
                method.load()
                method.attach()
                with open(f"{directory}/runs", "wb") as file:
                    runs = per_run(method.program_descriptors, lambda file=file: os.fdatasync(file.fileno()))  # type: ignore[misc]
                method.detach()
                costs = of_method(method, Path(directory), options.rounds)
                show(method.name, costs, runs)
                results[method.name] = [asdict(cost) for cost in costs]
            except MethodError as error:
                print(f"{method.name}: not on this machine: {error}")
            finally:
                method.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))

        def dropped() -> None:
            with contextlib.suppress(OSError):
                sender.sendto(b"x", ("127.0.0.1", 9))

        flood = Operation("a packet to a closed port", dropped, 20_000)
        for name, make in (("drops", drops.tap), ("retransmits", retransmits.tap)):
            cost, runs = of_tap(lambda make=make: make(kernel), flood, options.rounds)  # type: ignore[misc]
            show(name, [cost], runs)
            results[name] = [asdict(cost)]
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
