"""Runs the collectors, each lane in a thread of its own, and holds what they read.

A read can hang for ever (a dead NFS server, a device that does not answer), and a thread in it cannot be stopped. So
lanes are daemon threads that share nothing but what they hand over, a lane that hangs delays only itself, and nobody
ever waits for one. What was read last stays, and the coverage says how old it is and why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from nodetell.logs import event
from nodetell.redact import without_secrets
from nodetell.v1 import facts_pb2 as pb

from agent.budget import DEFAULT_PERCENT, WINDOW_S, Budget, Pace
from agent.collectors.base import NETWORK_LANE, Collector, Woken
from agent.events.waiter import Waiter
from agent.host import Host, ReadError
from agent.hosts.own import rss_bytes
from agent.reading import Reading, merged, source_item
from agent.settings import CollectorSettings
from agent.urgency import items_changed, urgent_moves

_log = logging.getLogger("nodetell.agent")

URGENT_QUIET_S = 10.0
"""An urgent counter that moved within this time is known to move; its next increments wait for the batch."""
_EVENT_SETTLE_S = 0.05
"""The kernel tells of one change in several messages; they are waited for."""
_EVENT_GAP_S = 0.2
"""Time between two runs that network events cause."""
_MIN_TIMEOUT_S = 5.0
_RSS_STEP = 1 << 20
_BUDGET_REMEDY = "raise cpu_percent in [budget], or find out what makes it dear on this host"
_COST_S = 60.0
_STATUS_FLOOR_US = 500
"""Below this, how long a run took says more about the scheduler than about the collector."""


def time_out(interval_s: float) -> float:
    """Seconds after which a run counts as hung."""
    return max(_MIN_TIMEOUT_S, 3 * interval_s)


def rounded(value: float) -> int:
    """To two significant digits."""
    number = max(0, int(value))
    scale: int = 10 ** max(0, len(str(number)) - 2)
    return (number + scale // 2) // scale * scale


def rounded_down(number: int) -> int:
    """To two significant digits, so that a count goes up and is told seldom."""
    scale: int = 10 ** max(0, len(str(number)) - 2)
    return number // scale * scale


@dataclass(slots=True)
class _Cost:
    """What runs of a collector take: the first, then means over a minute. Single runs say more about the scheduler."""

    duration_us: float = 0.0
    cpu_us: float = 0.0
    since: float = 0.0
    runs: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, now: float, duration_s: float, cpu_s: float) -> None:
        """Book a run that ended at `now`, monotonic."""
        self.runs += 1
        self.duration_s += duration_s
        self.cpu_s += cpu_s
        if not self.since or now - self.since >= _COST_S:
            self.duration_us, self.cpu_us = 1e6 * self.duration_s / self.runs, 1e6 * self.cpu_s / self.runs
            self.since, self.runs, self.duration_s, self.cpu_s = now, 0, 0.0, 0.0


@dataclass(slots=True)
class _Run:
    """One collector and what has become of it. Its lane's thread writes; all reads and writes are under the lock."""

    collector: Collector
    pace: Pace
    """Its interval, and how much of its time it takes."""
    poll_interval_s: float
    """What it is where the kernel does not tell of changes; a run should take no longer even where it does."""
    due: float
    woken: bool
    """Its collector says what wakes it. Asked once: it is no cheap question of a Protocol."""
    reading: Reading | None = None
    """The last good one."""
    read_at: float = 0.0
    """When it was read, seconds since the epoch."""
    started: float | None = None
    """Monotonic time at which the run under way began."""
    finished: bool = False
    """At least one run has ended, well or not."""
    error: str = ""
    error_kind: str = ""
    hung: bool = False
    waits_for: str = ""
    """Collector of the same lane that hangs."""
    overruns: int = 0
    cost: _Cost = field(default_factory=_Cost)
    status: pb.Item = field(default_factory=pb.Item)
    """As told last."""
    by_event: bool = False
    """The next run is because the kernel told of a change."""
    runs_by_event: int = 0
    runs_by_timer: int = 0
    deaf: str = ""
    """Why the kernel does not tell, where it could; it is then polled. Empty: it does, or there is nothing to tell."""
    deaf_remedy: str = ""

    @property
    def name(self) -> str:
        return self.collector.name

    @property
    def interval_s(self) -> float:
        return self.pace.interval_s


class Runtime:
    """The collectors of one host at work.

    `changed` is called from a lane's thread, with no lock held, when something was read that should not wait.
    """

    def __init__(
        self,
        host: Host,
        collectors: Sequence[Collector],
        settings: CollectorSettings,
        changed: Callable[[], None],
        *,
        budget_percent: float = DEFAULT_PERCENT,
        budget_window_s: float = WINDOW_S,
        process_time: Callable[[], float] = time.process_time,
        rss: Callable[[], int] = rss_bytes,
        grants: Sequence[str] = (),
        limits: Reading | None = None,
        time_out: Callable[[float], float] = time_out,
    ) -> None:
        """`grants`: what the process was given of the host. `limits`: coverage entries that hold as long as it runs.

        Raises ValueError, one line, if the settings name a collector that does not exist.
        """
        overrides = settings.interval_overrides()
        unknown = sorted({*settings.disabled, *overrides} - {each.name for each in collectors})
        if unknown:
            known = ", ".join(each.name for each in collectors)
            raise ValueError(f"collectors: there is none named {', '.join(unknown)}; there are {known}")
        self._host = host
        self._changed = changed
        self._process_time = process_time
        self._rss = rss
        self._grants = sorted(grants)
        self._limits = limits or Reading()
        self._status = pb.Item(key="agent")
        """As told last."""
        self._time_out = time_out
        self._disabled = [each.name for each in collectors if each.name in settings.disabled]
        now = time.monotonic()
        self._budget = Budget(budget_percent, budget_window_s, now, process_time())
        self._runs = [
            _Run(each, Pace(each.name, interval_s), interval_s, now, isinstance(each, Woken))
            for each in collectors
            if each.name not in settings.disabled
            for interval_s in [overrides.get(each.name, each.interval_s)]
        ]
        self._last_urgent: dict[str, float] = {}
        """When an urgent counter of a subject moved last, monotonic."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._waiters: list[Waiter] = []
        self._pinned = overrides.keys()
        """Collectors whose interval an operator has set."""

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the lanes."""
        lanes: dict[str, list[_Run]] = {}
        for run in self._runs:
            lanes.setdefault(run.collector.lane, []).append(run)
        for lane, runs in lanes.items():
            work = partial(self._lane, runs, self._wait_for_network if lane == NETWORK_LANE else self._wait)
            if lane != NETWORK_LANE and any(run.woken for run in runs):
                self._waiters.append(Waiter())
                work = partial(self._woken_lane, runs, self._waiters[-1])
            thread = threading.Thread(target=work, name=f"lane-{lane}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, patience_s: float = 0.5) -> None:
        """Stop the lanes, waiting for all of them `patience_s` at most; one that hangs is left behind."""
        self._stop.set()
        self._host.network.close()
        for waiter in self._waiters:
            waiter.wake()
        until = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def complete(self) -> bool:
        """Every collector has ended its first run, or will not soon."""
        with self._lock:
            self._find_hung(time.monotonic())
            return all(run.finished or run.hung or run.waits_for for run in self._runs)

    def reading(self) -> Reading:
        """All that is known now, as a Reading of the caller's own. Never waits for a collector."""
        with self._lock:
            now = time.monotonic()
            self._find_hung(now)
            self._judge(now)
            whole = merged({run.name: run.reading for run in self._runs if run.reading is not None})
            for run in self._runs:
                if run.finished or run.hung:
                    run.status = _status(run)
                    whole.add(run.status)
                _tell_state(run, whole)
            for name in self._disabled:
                because = f"the collector {name} is switched off by collectors.disabled"
                whole.gap(name, because, detail="disabled", remedy=f"take {name} out of collectors.disabled")
            whole.items.update(self._limits.items)
            self._own_status(whole)
            for signal, source in whole.sources.items():
                whole.add(source_item(signal, source))
            return whole

    # -- lanes -----------------------------------------------------------------------------------------------------

    def _lane(self, runs: list[_Run], wait: Callable[[float], bool]) -> None:
        last_event = 0.0
        while not self._stop.is_set():
            for run in runs:
                if run.due <= time.monotonic() and not self._stop.is_set():
                    self._run_once(run)
            happened = wait(max(0.0, min(run.due for run in runs) - time.monotonic()))
            if happened and not self._stop.is_set():
                gap = last_event + _EVENT_GAP_S - time.monotonic()
                self._stop.wait(max(_EVENT_SETTLE_S, gap))
                last_event = time.monotonic()
                for run in runs:
                    run.due, run.by_event = last_event, True

    def _woken_lane(self, runs: list[_Run], waiter: Waiter) -> None:
        """A lane whose collectors the kernel wakes."""
        try:
            for run in runs:
                self._listen(run, waiter)
            self._lane(runs, lambda timeout_s: self._wait_for_kernel(runs, waiter, timeout_s))
        finally:
            waiter.close()

    def _listen(self, run: _Run, waiter: Waiter) -> None:
        """Open what wakes a collector. What cannot be opened leaves it polling, and the coverage says so."""
        if not isinstance(run.collector, Woken):
            return
        problem: Exception | None
        try:
            opened = run.collector.sources(self._host)
            for source in opened.sources:
                waiter.add(source)
            problem = next(iter(opened.problems), None)
        except Exception as error:  # noqa: BLE001  # a defect there must not cost what can be polled
            problem = error
        if problem is not None:
            self._deafen(run, problem)
        elif run.name not in self._pinned:
            run.pace.base_s = run.collector.safety_interval_s

    def _deafen(self, run: _Run, problem: Exception) -> None:
        """Poll from now on. It is told with the next run."""
        reason = str(problem) if isinstance(problem, ReadError) else _one_line(problem)
        event(_log, logging.WARNING, "events_unavailable", collector=run.name, reason=reason)
        if run.name not in self._pinned:
            run.pace.base_s = run.poll_interval_s
        with self._lock:
            run.deaf = reason
            run.deaf_remedy = problem.remedy if isinstance(problem, ReadError) else ""

    def _wait_for_kernel(self, runs: list[_Run], waiter: Waiter, timeout_s: float) -> bool:
        try:
            return waiter.wait(timeout_s)
        except OSError as error:
            for run in runs:
                if isinstance(run.collector, Woken):
                    self._deafen(run, error)
            return True

    def _wait(self, timeout_s: float) -> bool:
        self._stop.wait(timeout_s)
        return False

    def _wait_for_network(self, timeout_s: float) -> bool:
        try:
            return self._host.network.wait(timeout_s)
        except Exception as error:  # noqa: BLE001  # whatever it is, polling goes on and the collectors tell why
            if not self._stop.is_set():
                event(_log, logging.WARNING, "network_events_failed", error=_one_line(error))
            return self._wait(max(timeout_s, _EVENT_GAP_S))

    def _run_once(self, run: _Run) -> None:
        began = time.monotonic()
        with self._lock:
            run.started = began
            run.runs_by_event += run.by_event
            run.runs_by_timer += not run.by_event
            by_event, run.by_event = run.by_event, False
        cpu_began = time.thread_time()
        at = time.time()
        reading, error = None, None
        try:
            reading = run.collector.collect(self._host, at)
        except Exception as caught:  # noqa: BLE001  # a defect of one collector must not take the others along
            error = caught
        cpu_s = time.thread_time() - cpu_began
        if self._stop.is_set():
            return
        with self._lock:
            tell = self._finish(run, began, cpu_s, by_event=by_event)
            tell |= self._take(run, reading, at) if reading is not None else self._take_error(run, error)
            tell |= self._find_hung(time.monotonic())
        if tell:
            self._changed()

    def _finish(self, run: _Run, began: float, cpu_s: float, *, by_event: bool) -> bool:
        """Book a run that ended. True: that should be told."""
        now = time.monotonic()
        came_back = run.hung
        run.started, run.finished, run.hung = None, True, False
        run.cost.add(now, now - began, cpu_s)
        due = run.due + run.interval_s
        if due <= now:
            run.overruns += int((now - due) / run.interval_s)
            due = now + run.interval_s if now - began > run.interval_s else now
        run.due = due
        if came_back:
            event(_log, logging.INFO, "collector_came_back", collector=run.name, after_s=round(now - began, 1))
        if not by_event:
            run.pace.cpu_s += cpu_s
        return self._judge(now) or came_back

    def _judge(self, now: float) -> bool:
        """Keep to the budget, if it is time to look. True: some pace changed."""
        changed = self._budget.judge(now, self._process_time(), [run.pace for run in self._runs])
        for run in self._runs:
            if run.pace in changed:
                run.due = run.due if run.pace.slowdown == 1 else max(run.due, now + run.interval_s)
                event(
                    _log,
                    logging.WARNING,
                    "collector_pace",
                    collector=run.name,
                    cpu_percent=round(run.pace.share_percent, 3),
                    agent_cpu_percent=round(self._budget.share_percent or 0.0, 3),
                    budget_percent=self._budget.percent,
                    interval_s=run.interval_s,
                )
        return bool(changed)

    def _own_status(self, whole: Reading) -> None:
        """Add what the agent itself takes: as told last, unless it differs by more than a quarter."""
        told = self._status.agent
        status = pb.AgentStatus(
            cpu_budget_mpercent=round(1000 * self._budget.percent),
            rss_bytes=_near(told.rss_bytes, self._rss(), _RSS_STEP),
            stretched=[run.name for run in self._runs if run.pace.slowdown > 1],
            grants=self._grants,
        )
        if self._budget.share_percent is not None:
            status.cpu_mpercent = _near(told.cpu_mpercent, round(1000 * self._budget.share_percent), 1)
        if status != told:
            self._status = pb.Item(key="agent", agent=status)
        whole.add(self._status)
        if self._budget.exceeded:
            because = (
                f"the agent takes {status.cpu_mpercent / 1000:.2f} % of a core, over its budget of "
                f"{self._budget.percent:g} %, and what may be read less often is"
            )
            whole.gap("agent", because, detail="budget", status=pb.COVERAGE_STATUS_DEGRADED, remedy=_BUDGET_REMEDY)

    def _take(self, run: _Run, reading: Reading, at: float) -> bool:
        """Keep what was read. True: something in it should not wait."""
        before, recovered = run.reading, bool(run.error)
        run.reading, run.read_at, run.error, run.error_kind = reading, at, "", ""
        if recovered:
            event(_log, logging.INFO, "collector_works_again", collector=run.name)
        if before is None:
            return True
        now = time.monotonic()
        moved = [subject for subject in urgent_moves(before, reading) if self._was_quiet(subject, now)]
        for subject in before.blocks.keys() - reading.blocks.keys():
            self._last_urgent.pop(subject, None)
        return bool(moved) or recovered or items_changed(before, reading)

    def _was_quiet(self, subject: str, now: float) -> bool:
        last = self._last_urgent.get(subject)
        self._last_urgent[subject] = now
        return last is None or now - last > URGENT_QUIET_S

    def _take_error(self, run: _Run, error: Exception | None) -> bool:
        """Note that a run failed. True: that is news. A failure that goes on keeps its first text: it is told once."""
        kind = type(error).__name__
        if run.error_kind == kind:
            return False
        run.error_kind, run.error = kind, _one_line(error)
        event(_log, logging.ERROR, "collector_failed", collector=run.name, error=run.error)
        _log.debug("event=traceback collector=%s", run.name, exc_info=error)
        return True

    def _find_hung(self, now: float) -> bool:
        """Mark what hangs, and what waits for it. True: something newly hangs."""
        news = False
        hanging: dict[str, str] = {}
        for run in self._runs:
            if run.started is not None and now - run.started > self._time_out(run.poll_interval_s * run.pace.slowdown):
                hanging[run.collector.lane] = run.name
                if not run.hung:
                    run.hung = news = True
                    event(
                        _log,
                        logging.WARNING,
                        "collector_hangs",
                        collector=run.name,
                        after_s=round(now - run.started, 1),
                    )
        for run in self._runs:
            culprit = hanging.get(run.collector.lane, "")
            run.waits_for = culprit if culprit != run.name else ""
        return news


def _one_line(error: BaseException | None) -> str:
    text = without_secrets(" ".join(str(error).split())[:2_000])
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def _status(run: _Run) -> pb.Item:
    """The collector's status: the one told last unless something in it matters."""
    told = run.status.collector
    status = pb.CollectorStatus(
        name=run.name,
        ok=run.finished and not run.error and not run.hung,
        error=run.error,
        duration_us=_steady(told.duration_us, run.cost.duration_us),
        cpu_us=_steady(told.cpu_us, run.cost.cpu_us),
        overruns=run.overruns,
        hung=run.hung,
        interval_ms=round(run.interval_s * 1000),
        runs_by_event=rounded_down(run.runs_by_event),
        runs_by_timer=_runs_by_timer(run),
    )
    key = f"collector/{run.name}"
    return run.status if run.status.key == key and status == told else pb.Item(key=key, collector=status)


def _steady(told_us: int, now_us: float) -> int:
    """What was told, unless it is wrong by more than a factor of two."""
    a, b = max(told_us, _STATUS_FLOOR_US), max(now_us, _STATUS_FLOOR_US)
    return told_us if told_us and a <= 2 * b and b <= 2 * a else rounded(now_us)


def _runs_by_timer(run: _Run) -> int:
    """How often it polled. Where that is its way to work it goes up all the time, and is told when it has doubled."""
    if run.woken and run.interval_s >= _COST_S:
        return rounded_down(run.runs_by_timer)
    told: int = run.status.collector.runs_by_timer
    return told if told and run.runs_by_timer < 2 * told else run.runs_by_timer


def _near(told: int, now: int, step: int) -> int:
    """What was told, unless it is wrong by more than a quarter; else what is, in whole steps."""
    return told if 4 * abs(now - told) <= told else round(now / step) * step


def _tell_state(run: _Run, whole: Reading) -> None:
    """Add to the coverage why what `run` read is not fresh."""
    because = ""
    if run.hung:
        because = "its run has not returned: it hangs in a read"
    elif run.waits_for:
        because = f"its turn does not come: the collector {run.waits_for} hangs before it"
    elif run.error:
        because = f"it failed: {run.error}"
    if because:
        status = pb.COVERAGE_STATUS_DAMAGED if run.error else pb.COVERAGE_STATUS_MISSING
        if run.reading is None:
            because = f"collector {run.name}: {because}; nothing was read yet"
        else:
            status = pb.COVERAGE_STATUS_DEGRADED
            because = f"collector {run.name}: {because}; what is shown was read at {_utc(run.read_at)}"
        whole.gap(run.name, because, detail="collector", status=status)
    if run.deaf:
        lost = f"the kernel does not tell of all changes, so they are looked for every {run.interval_s:g} s"
        because = f"{run.deaf}; {lost}"
        whole.gap(run.name, because, detail="events", status=pb.COVERAGE_STATUS_DEGRADED, remedy=run.deaf_remedy)
    if run.pace.slowdown > 1:
        status = pb.COVERAGE_STATUS_DEGRADED
        whole.gap(run.name, run.pace.told, detail="pace", status=status, remedy=_BUDGET_REMEDY)


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
