"""Events that a peer can cause at will, logged at a pace: whoever makes them by the million fills no disk with them.

The first ones of each subject (a node, an address, a finding) are logged at once, later ones now and then, and all of a
kind together are bounded, for a subject's name may be the peer's to choose. How many lines were left out stands in the
next one of the kind.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from nodetell.bucket import Bucket
from nodetell.logs import event

OF_ONE_PER_S, OF_ONE_AT_ONCE = 1 / 60, 20.0
"""Lines of one kind about one subject, in the long run and at once."""
OF_ALL_PER_S, OF_ALL_AT_ONCE = 5.0, 3_000.0
"""Lines of one kind about all subjects: some 100 MB a day at worst, and what 2,000 agents cause that come at once."""
_REMEMBERED = 10_000


class PacedLog:
    """A logger for what peers cause."""

    def __init__(self, logger: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._logger, self._monotonic = logger, monotonic
        self._of_one: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._of_all: dict[str, Bucket] = {}
        self._left_out: Counter[str] = Counter()

    def event(self, level: int, what: str, subject: str, **fields: object) -> None:
        """Log that `what` happened, unless it has happened to `subject`, or to all, too often of late."""
        now = self._monotonic()
        if not (self._bucket(what, subject).take(now) and self._all(what).take(now)):
            self._left_out[what] += 1
            return
        event(self._logger, level, what, **fields, lines_left_out=self._left_out.pop(what, None))

    def _bucket(self, what: str, subject: str) -> Bucket:
        key = what, subject
        bucket = self._of_one.get(key)
        if bucket is None:
            bucket = self._of_one[key] = Bucket(OF_ONE_PER_S, OF_ONE_AT_ONCE)
            if len(self._of_one) > _REMEMBERED:
                self._of_one.popitem(last=False)
        else:
            self._of_one.move_to_end(key)
        return bucket

    def _all(self, what: str) -> Bucket:
        return self._of_all.setdefault(what, Bucket(OF_ALL_PER_S, OF_ALL_AT_ONCE))
