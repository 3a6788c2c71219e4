"""A receiver that does not take what it is sent: since when, why, and when it is tried again."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from nodetell.logs import event
from nodetell.paced_log import PacedLog

from aggregator.convert import iso_time
from aggregator.outputs.receiver import Answer, Receiver

_log = logging.getLogger("nodetell.aggregator")

FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0
"""After a post that was not taken; it doubles, and is made shorter by up to a half at random."""


class Trouble:
    """Of one receiver."""

    def __init__(self, name: str, receiver: Receiver, clock: Callable[[], float]) -> None:
        """`name`: of the surface."""
        self.not_before = 0.0
        """It is not tried again before, by the monotonic clock."""
        self.taken, self.refused = 0, 0
        """Posts since the start."""
        self._name, self._origin, self._clock = name, receiver.origin, clock
        self._failures = 0
        self._since, self._why = 0.0, ""
        self._log = PacedLog(_log)

    def failed(self, answer: Answer) -> None:
        """A post was not taken. Said once for each reason."""
        self.refused += 1
        if self._why != answer.reason:
            self.log("output_refused", logging.WARNING, reason=answer.reason)
        if not self._why:
            self._since = self._clock()
        self._why = answer.reason
        pause = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self._failures, 30)) * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        self._failures += 1
        self.not_before = time.monotonic() + max(pause, answer.retry_after_s)

    def over(self, *, taken: bool = True) -> bool:
        """A post was taken, or is not tried again. True: the one before it was not taken."""
        self.taken += taken
        self.refused += not taken
        was = bool(self._why)
        if was:
            event(_log, logging.WARNING, "output_works_again", name=self._name, receiver=self._origin)
        self._why, self._failures = "", 0
        return was

    def said(self, meanwhile: str) -> list[str]:
        """For the coverage: nothing, or what is wrong and what waits `meanwhile`."""
        if not self._why:
            return []
        return [f"{self._origin}: {self._why}, since {iso_time(self._since)}; {meanwhile}"]

    def log(self, what: str, level: int = logging.ERROR, **facts: object) -> None:
        """Something else about the receiver, at a pace."""
        self._log.event(level, what, self._origin, name=self._name, receiver=self._origin, **facts)
