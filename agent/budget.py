"""Keeps the agent to its share of one core, by reading less often what is read by the clock: the dearest first.

What the kernel wakes the agent for is never put off. No clock and no threads here: whoever runs the collectors says
what time it is and what was spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_PERCENT = 0.5
"""Of one core."""
WINDOW_S = 60.0
"""What was spent is judged this often. Of the first window only the beginning of the next is kept: starting costs."""
STRETCH = 10
LONGEST_S = 60.0
"""No interval becomes longer than this, nor than STRETCH times what it was: findings look at the last minute, and a
drop has to be seen while it is one."""
ROOM = 0.85
"""A collector is let go only if the agent is then expected to take no more of its budget than this."""
WORTH = 0.02
"""A collector that takes no more of the budget than this is left alone: slowing it down would bring nothing."""
MAX_PATIENCE = 16


@dataclass(slots=True)
class Pace:
    """How often one collector runs, and what running by the clock takes."""

    name: str
    base_s: float
    """Seconds between its runs if nothing slows it down."""
    slowdown: int = 1
    """Times the interval, a power of two."""
    cpu_s: float = 0.0
    """CPU time of the runs by the clock in this window."""
    share_percent: float = 0.0
    """The same in the last full window, percent of a core."""
    told: str = ""
    """Why it is slowed down, with the figures of that time; empty: it is not."""

    @property
    def interval_s(self) -> float:
        """Seconds between its runs now."""
        return self.base_s * self.slowdown

    @property
    def room(self) -> int:
        """By how much the interval may still grow: a power of two."""
        longest = max(self.base_s, min(STRETCH * self.base_s, LONGEST_S))
        factor = 1
        while self.interval_s * factor * 2 <= longest:
            factor *= 2
        return factor


class Budget:
    """What the process may take, what it took, and what follows for the pace of its collectors."""

    def __init__(self, percent: float, window_s: float, now: float, process_cpu_s: float) -> None:
        """`percent` of one core; `process_cpu_s` of all threads so far."""
        self.percent = percent
        self.share_percent: float | None = None
        """What the whole process took in the last window; None: there was none yet."""
        self.exceeded = False
        """It takes more, and nothing is left to slow down."""
        self._window_s = window_s
        self._began = now
        self._cpu_began = process_cpu_s
        self._warm = False
        self._patience = 1
        """Windows within the budget before anything is let go: more after letting go was wrong."""
        self._calm = 0
        self._let_go = False

    def judge(self, now: float, process_cpu_s: float, paces: Sequence[Pace]) -> list[Pace]:
        """At the end of a window, change paces; those that were changed."""
        elapsed = now - self._began
        if elapsed < self._window_s:
            return []
        share = 100 * (process_cpu_s - self._cpu_began) / elapsed
        self._began, self._cpu_began = now, process_cpu_s
        for pace in paces:
            pace.share_percent, pace.cpu_s = 100 * pace.cpu_s / elapsed, 0.0
        if not self._warm:
            self._warm = True
            return []
        self.share_percent = share
        if share > self.percent:
            return self._slow_down(share, paces)
        self.exceeded = False
        return self._release(share, paces)

    def _slow_down(self, share: float, paces: Sequence[Pace]) -> list[Pace]:
        if self._let_go:
            self._patience = min(MAX_PATIENCE, 2 * self._patience)
        self._calm, self._let_go = 0, False
        excess = share - self.percent
        changed = []
        for pace in sorted(paces, key=lambda each: -each.share_percent):
            if excess <= 0 or pace.share_percent <= WORTH * self.percent:
                break
            factor, room = 1, pace.room
            while factor < room and pace.share_percent * (1 - 1 / factor) < excess:
                factor *= 2
            if factor > 1:
                pace.slowdown *= factor
                excess -= pace.share_percent * (1 - 1 / factor)
                changed.append(pace)
                pace.told = (
                    f"the agent took {share:.2f} % of a core, over its budget of {self.percent:g} %, this collector "
                    f"{pace.share_percent:.2f} %: it runs every {pace.interval_s:g} s instead of {pace.base_s:g} s"
                )
        self.exceeded = not changed
        return changed

    def _release(self, share: float, paces: Sequence[Pace]) -> list[Pace]:
        if self._let_go:  # and it was right
            self._patience = max(1, self._patience // 2)
        self._let_go = False
        self._calm += 1
        if self._calm < self._patience:
            return []
        changed = []
        for pace in sorted(paces, key=lambda each: each.share_percent):
            if pace.slowdown > 1 and share + pace.share_percent <= ROOM * self.percent:
                share += pace.share_percent  # twice as often, twice as dear
                pace.slowdown //= 2
                changed.append(pace)
                pace.told = (
                    f"the agent keeps to {self.percent:g} % of a core: this collector runs every {pace.interval_s:g} s "
                    f"instead of {pace.base_s:g} s"
                    if pace.slowdown > 1
                    else ""
                )
        self._calm, self._let_go = (0, True) if changed else (self._calm, False)
        return changed
