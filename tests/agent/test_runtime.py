"""Lanes: each collector at its own pace, and none that fails, hangs or costs too much harms another."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.base import NETWORK_LANE, Collector, Opened
from agent.host import Failure, Host, ReadError
from agent.reading import Block, Reading
from agent.runtime import Runtime, rounded, time_out
from agent.settings import CollectorSettings

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class FakeNetwork:
    """A network that says when something happens."""

    happened: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    closed: bool = False

    def wait(self, timeout_s: float) -> bool:
        if self.broken and not self.closed:
            raise OSError("the socket is gone")
        if self.happened.wait(timeout_s) and not self.closed:
            self.happened.clear()
            return True
        return False

    def close(self) -> None:
        self.closed = True
        self.happened.set()


@dataclass
class FakeHost:
    network: FakeNetwork = field(default_factory=FakeNetwork)
    name: str = "node-1"


@dataclass
class Fake:
    """A collector that does what the test says."""

    name: str
    interval_s: float = 0.05
    lane: str = ""
    work: Callable[[], Reading] = Reading
    runs: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lane = self.lane or self.name

    def collect(self, _host: Host, _now: float) -> Reading:
        self.runs.append(time.monotonic())
        return self.work()


def reading(prefix: str, mtu: int = 1500, *counters: int) -> Reading:
    made = Reading()
    made.add(pb.Item(key=f"{prefix}/1", link=pb.Link(ifindex=1, mtu=mtu)))
    if counters:
        names = ("rx_packets", "rx_dropped")
        made.blocks[f"{prefix}/1"] = Block(names, counters)
    return made


@contextlib.contextmanager
def running(
    *collectors: Fake, settings: CollectorSettings | None = None, host: FakeHost | None = None, **more: Any
) -> Iterator[tuple[Runtime, threading.Event]]:
    """A runtime at work, and the event that says there is news."""
    news = threading.Event()
    runtime = Runtime(
        cast(Host, host or FakeHost()),
        cast("list[Collector]", list(collectors)),
        settings or CollectorSettings(),
        news.set,
        **more,
    )
    runtime.start()
    try:
        yield runtime, news
    finally:
        began = time.monotonic()
        runtime.stop()
        assert time.monotonic() - began < 1


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"nothing came of it within {timeout_s} s"
        time.sleep(0.005)


def quiet(news: threading.Event, collector: Fake, runs: int = 3) -> bool:
    """No news while the collector runs some times."""
    news.clear()
    begun = len(collector.runs)
    until(lambda: len(collector.runs) >= begun + runs)
    return not news.is_set()


def coverage(runtime: Runtime, key: str) -> pb.Coverage | None:
    item = runtime.reading().items.get(f"coverage/{key}")
    return None if item is None else item.coverage


# -- what is handed over -------------------------------------------------------------------------------------------


def test_readings_are_merged_with_what_each_collector_costs() -> None:
    a, b = Fake("a", work=lambda: reading("link", 1500, 1, 0)), Fake("b", interval_s=9, work=lambda: reading("disk"))
    with running(a, b) as (runtime, _):
        until(lambda: runtime.complete)
        whole = runtime.reading()
        assert {"link/1", "disk/1", "collector/a", "collector/b", "agent"} == set(whole.items)
        assert whole.blocks["link/1"].values == (1, 0)
        status = whole.items["collector/b"].collector
        assert (status.ok, status.hung, status.error, status.interval_ms) == (True, False, "", 9000)
        whole.items.clear()
        assert runtime.reading().items  # it was the caller's own


def test_a_steady_collector_has_a_steady_status() -> None:
    a = Fake("a", work=lambda: reading("link"))
    with running(a) as (runtime, _):
        until(lambda: len(a.runs) > 2)
        told = set()
        for _ in range(30):
            told.add(runtime.reading().items["collector/a"].SerializeToString())
            time.sleep(0.01)
        assert len(told) <= 3  # of 30 readings; a scheduler's hiccup of twice the usual is told


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (7, 7), (99, 99), (104, 100), (105, 110), (12_345, 12_000), (99_600, 100_000)]
)
def test_costs_are_rounded_to_two_digits(value: int, expected: int) -> None:
    assert rounded(value) == expected


def test_what_does_not_wait() -> None:
    now = {"reading": reading("link", 1500, 10, 0)}
    a = Fake("a", work=lambda: now["reading"])
    with running(a) as (runtime, news):
        until(news.is_set)
        assert quiet(news, a)
        now["reading"] = reading("link", 1500, 99, 0)  # a packet counter
        assert quiet(news, a)
        now["reading"] = reading("link", 1400, 99, 0)  # the MTU
        until(news.is_set)
        assert quiet(news, a)
        now["reading"] = reading("link", 1400, 99, 1)  # a drop
        until(news.is_set)
        assert quiet(news, a)
        now["reading"] = reading("link", 1400, 99, 2)  # the next drop: that they drop is known
        assert quiet(news, a)
        now["reading"] = Reading()  # gone
        until(news.is_set)
        assert "link/1" not in runtime.reading().items


def test_a_network_event_runs_the_network_lane_at_once_and_only_it() -> None:
    host = FakeHost()
    links, disks = Fake("links", 60, NETWORK_LANE), Fake("disks", 60)
    with running(links, disks, host=host) as (runtime, _):
        until(lambda: runtime.complete)
        for _ in range(3):
            begun = len(links.runs)
            host.network.happened.set()
            until(lambda begun=begun: len(links.runs) == begun + 1, 1)  # type: ignore[misc]
        host.network.happened.set()
        for _ in range(50):
            host.network.happened.set()
            time.sleep(0.01)
        assert len(links.runs) <= 9  # a storm is met every 200 ms
        assert len(disks.runs) == 1


def test_without_network_events_the_lane_polls() -> None:
    links = Fake("links", 0.05, NETWORK_LANE)
    with running(links, host=FakeHost(FakeNetwork(broken=True))):
        until(lambda: len(links.runs) >= 3)


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_collector_that_hangs_in_a_read_delays_only_its_lane(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    good, hangs = Fake("good", work=lambda: reading("disk")), Fake("hangs", work=Reading)
    behind = Fake("behind", lane="hangs", work=lambda: reading("mount"))
    with running(hangs, behind, good, time_out=lambda _: 0.3) as (runtime, news):
        until(lambda: runtime.complete)
        hangs.work = lambda: (fifo.read_bytes(), reading("link"))[1]
        until(lambda: coverage(runtime, "hangs/collector"))
        assert news.is_set()
        gap = coverage(runtime, "hangs/collector")
        assert gap is not None
        assert gap.status == pb.COVERAGE_STATUS_DEGRADED
        assert gap.because.startswith(
            "collector hangs: its run has not returned: it hangs in a read; what is shown was "
        )
        waits = coverage(runtime, "behind/collector")
        assert waits is not None
        assert "the collector hangs hangs before it" in waits.because
        assert "mount/1" in runtime.reading().items  # kept, and said to be old
        status = runtime.reading().items["collector/hangs"].collector
        assert (status.ok, status.hung) == (False, True)
        begun = len(good.runs)
        until(lambda: len(good.runs) >= begun + 5)
        assert coverage(runtime, "good/collector") is None
        fifo.write_bytes(b"at last")  # the read returns
        hangs.work = lambda: reading("link")
        until(lambda: coverage(runtime, "hangs/collector") is None)
        status = runtime.reading().items["collector/hangs"].collector
        assert (status.ok, status.hung) == (True, False)
        assert status.overruns >= 4
        assert coverage(runtime, "behind/collector") is None


def test_a_process_with_a_thread_in_a_hung_read_ends_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = """
import asyncio, sys, tests.agent.test_runtime as t
from pathlib import Path
from agent.main import run_host
from agent.settings import AgentSettings
from nodetell.logs import configure
configure("info")
async def main():
    stop = asyncio.Event()
    hangs = t.Fake("hangs", work=lambda: Path(sys.argv[1]).read_bytes())
    asyncio.get_running_loop().call_later(0.5, stop.set)
    return await run_host(AgentSettings(aggregator="127.0.0.1:1"), t.FakeHost(), [hangs], stop)
raise SystemExit(asyncio.run(main()))
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(fifo)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "event=agent_stop" in done.stderr
    assert time.monotonic() - began < 0.5 + 2 + 2  # told after 0.5 s, 2 s to stop, and Python's own start


def test_a_collector_that_raises_is_named_once_and_its_last_reading_kept() -> None:
    failing = {"error": None}

    def work() -> Reading:
        if failing["error"] is not None:
            raise ValueError(f"cannot parse\nline {len(a.runs)}")
        return reading("link")

    a, good = Fake("a", work=work), Fake("good")
    with running(a, good) as (runtime, news):
        until(lambda: runtime.complete)
        failing["error"] = True  # type: ignore[assignment]
        until(lambda: coverage(runtime, "a/collector"))
        gap = coverage(runtime, "a/collector")
        assert gap is not None
        assert gap.status == pb.COVERAGE_STATUS_DEGRADED
        assert "collector a: it failed: ValueError: cannot parse line " in gap.because
        assert "what is shown was read at 2" in gap.because
        assert quiet(news, a)  # the text changes with each run, and is told once
        assert coverage(runtime, "a/collector") == gap
        status = runtime.reading().items["collector/a"].collector
        assert not status.ok
        assert status.error.startswith("ValueError: cannot parse line")
        assert "link/1" in runtime.reading().items
        failing["error"] = None
        until(news.is_set)
        assert coverage(runtime, "a/collector") is None


def test_a_collector_that_never_worked_is_damaged() -> None:
    def work() -> Reading:
        raise KeyError("x")

    with running(Fake("a", work=work)) as (runtime, _):
        until(lambda: runtime.complete)
        gap = coverage(runtime, "a/collector")
        assert gap is not None
        assert gap.status == pb.COVERAGE_STATUS_DAMAGED
        assert gap.because == "collector a: it failed: KeyError: 'x'; nothing was read yet"


# -- what it may cost, and settings --------------------------------------------------------------------------------


def test_over_its_budget_the_agent_reads_the_dearest_less_often_and_later_lets_go() -> None:
    burn = {"s": 0.02}

    def work() -> Reading:
        end = time.thread_time() + burn["s"]
        while time.thread_time() < end:
            pass
        return Reading()

    dear, cheap = Fake("dear", 0.05, work=work), Fake("cheap", 0.05)
    with running(dear, cheap, budget_percent=15, budget_window_s=0.5) as (runtime, _):
        until(lambda: runtime.reading().items["agent"].agent.stretched, 10)
        item = runtime.reading().items["agent"].agent
        assert item.stretched == ["dear"]
        assert item.cpu_mpercent > item.cpu_budget_mpercent == 15_000
        assert item.rss_bytes > 1 << 20
        gap = coverage(runtime, "dear/pace")
        assert gap is not None
        assert gap.status == pb.COVERAGE_STATUS_DEGRADED
        assert re.match(
            r"the agent took \d+\.\d\d % of a core, over its budget of 15 %, this collector \d+\.\d\d %: "
            r"it runs every 0\.\d s instead of 0\.05 s$",
            gap.because,
        )
        assert "cpu_percent in [budget]" in gap.remedy
        assert runtime.reading().items["collector/dear"].collector.interval_ms > 50
        assert coverage(runtime, "cheap/pace") is None
        time.sleep(1.2)
        assert _own_share(0.5) < 25  # of the 40 that it was
        burn["s"] = 0
        until(lambda: coverage(runtime, "dear/pace") is None, 20)
        assert runtime.reading().items["collector/dear"].collector.interval_ms == 50


def _own_share(seconds: float) -> float:
    """Percent of a core that this process takes, without this thread."""
    began = time.process_time() - time.thread_time()
    time.sleep(seconds)
    return 100 * (time.process_time() - time.thread_time() - began) / seconds


def test_what_the_kernel_tells_is_not_put_off() -> None:
    host = FakeHost()
    links = Fake("links", 1, NETWORK_LANE, work=lambda: reading("link"))
    spent = iter(range(1_000_000))
    with running(links, host=host, budget_window_s=0.01, process_time=lambda: float(next(spent))) as (runtime, _):
        until(lambda: runtime.complete)
        until(lambda: "agent/budget" in str(runtime.reading().items.keys()))
        for _ in range(3):
            begun = len(links.runs)
            host.network.happened.set()
            until(lambda begun=begun: len(links.runs) > begun, 0.6)  # type: ignore[misc]


def test_disabled_collectors_and_intervals() -> None:
    a, b = Fake("a", 60), Fake("b")
    settings = CollectorSettings(disabled=("b",), intervals=("a=0.1",))
    with running(a, b, settings=settings) as (runtime, _):
        until(lambda: len(a.runs) >= 3)
        assert not b.runs
        gap = coverage(runtime, "b/disabled")
        assert gap is not None
        assert gap.status == pb.COVERAGE_STATUS_MISSING
        assert gap.remedy == "take b out of collectors.disabled"
        assert "collector/b" not in runtime.reading().items


def test_settings_that_name_no_collector_are_refused() -> None:
    settings = CollectorSettings(disabled=("x",), intervals=("y=1",))
    with pytest.raises(ValueError, match="there is none named x, y; there are a, b"):
        Runtime(cast(Host, FakeHost()), cast("list[Collector]", [Fake("a"), Fake("b")]), settings, lambda: None)


def test_time_outs() -> None:
    assert [time_out(interval) for interval in (0.1, 1, 2, 60)] == [5, 5, 6, 180]


@dataclass
class Told(Fake):
    """A collector that the kernel wakes, and that tries to listen to other things too."""

    safety_interval_s: float = 60.0
    problems: tuple[ReadError, ...] = ()
    fails: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reading, self.writing = os.pipe()

    mask = select.POLLIN

    def sources(self, _host: Host) -> Opened:
        return Opened([self], self.problems)

    def fileno(self) -> int:
        return self.reading

    def happen(self) -> None:
        os.write(self.writing, b"x")

    def take(self) -> bool:
        os.read(self.reading, 10)
        if self.fails:
            raise OSError("it is over")
        return True

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def status_of(runtime: Runtime, name: str) -> pb.CollectorStatus:
    return runtime.reading().items[f"collector/{name}"].collector


def test_what_the_kernel_tells_of_is_read_at_once_and_not_polled() -> None:
    told, polled = Told("told", interval_s=0.05), Fake("polled")
    with running(told, polled) as (runtime, _):
        until(lambda: len(told.runs) == 1)
        until(lambda: len(polled.runs) > 6)
        assert len(told.runs) == 1
        for count in (1, 2):
            began = time.monotonic()
            told.happen()
            until(lambda count=count: len(told.runs) == count + 1)  # type: ignore[misc]
            assert time.monotonic() - began < 1
        until(lambda: status_of(runtime, "told").runs_by_event == 2)
        status = status_of(runtime, "told")
        assert (status.runs_by_timer, status.interval_ms) == (1, 60_000)
        assert status_of(runtime, "polled").runs_by_event == 0
        assert status_of(runtime, "polled").runs_by_timer >= 4
        assert coverage(runtime, "told/events") is None


def test_what_cannot_be_listened_to_is_polled_and_the_coverage_says_so() -> None:
    told = Told("told", interval_s=0.05, problems=(ReadError(Failure.DENIED, "/dev/kmsg", "no", "give it"),))
    with running(told) as (runtime, _):
        until(lambda: len(told.runs) > 3)
        gap = coverage(runtime, "told/events")
        assert gap is not None
        assert gap.because.startswith("/dev/kmsg: no; the kernel does not tell of all changes")
        assert "every 0.05 s" in gap.because
        assert (gap.remedy, gap.status) == ("give it", pb.COVERAGE_STATUS_DEGRADED)


def test_a_source_that_fails_later_leaves_polling() -> None:
    told = Told("told", interval_s=0.05, fails=True)
    with running(told) as (runtime, _):
        until(lambda: len(told.runs) == 1)
        told.happen()
        until(lambda: len(told.runs) > 3)
        assert "OSError: it is over" in (coverage(runtime, "told/events") or pb.Coverage()).because


def test_an_interval_that_an_operator_has_set_holds_with_events_too() -> None:
    told = Told("told", interval_s=9)
    with running(told, settings=CollectorSettings(intervals=("told=0.1",))) as (_, _):
        until(lambda: len(told.runs) > 2)
