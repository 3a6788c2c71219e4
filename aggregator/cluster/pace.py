"""How long everything towards the API server takes at most, and how long is waited before it is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations in seconds and sizes in bytes."""

    connect_s: float = 10.0
    """For a TCP and TLS connection to be made."""
    answer_s: float = 60.0
    """For an answer to begin, and between two pieces of a list: as long as an API server works on a request at most."""
    watch_s: tuple[float, float] = (300.0, 600.0)
    """A watch is asked to end after a time between these, so that API servers behind a balancer share the watches, and
    that all do not end at once. As client-go has it."""
    silent_s: float = 150.0
    """A watch on which nothing comes for so long is taken up anew from where it was. Bookmarks come every minute."""
    silent_unmarked_s: float = 330.0
    """... the same where no bookmark was ever seen: events have none, and silence may be all there is to say."""
    first_retry_s: float = 0.5
    """Before the first retry. Doubled with each further one."""
    last_retry_s: float = 20.0
    """Before each further retry at most. Whatever comes back first calls all others, and there are more than a dozen
    that try independently: an API server that was away for long is seen within a few seconds of its return, and is
    asked about once a second till then."""
    longest_retry_after_s: float = 120.0
    """A server that wants to be left alone for longer is asked after this nevertheless."""
    recall_s: float = 1.0
    """Within this time, spread evenly, all are back when one is."""
    denied_s: float = 60.0
    """Between two looks whether a right was granted meanwhile."""
    denied_check_s: float = 2.0
    """An API server that has just started may deny what it will allow: what was allowed before is asked again after
    this time before it is forgotten."""
    absent_s: float = 600.0
    """Between two looks whether a list that the server did not have is there."""
    stagger_s: float = 0.1
    """Between the starts of two resources."""
    settled_s: float = 1.0
    """A watch that was taken up again counts as current after this time: at once it may only say that it can't."""
    grace_s: float = 5.0
    """A view that is behind by less is current: watches end and are taken up again all the time."""
    look_s: float = 1.0
    """Between two looks whether the log has to tell that the view is current again, or no longer."""
    line_bytes: int = 8 * _MIB
    """An event at most. An object in etcd is below 1.5 MiB."""
    page_bytes: int = 32 * _MIB
    """A page of a list at most; where it would be more, pages of fewer objects are asked for."""
    hold_s: float = 0.01
    """The event loop is held for about so long at a stretch at most."""


class Backoff:
    """Waiting times that double up to a ceiling, each drawn from its upper half so that nobody retries in step."""

    def __init__(self, pace: Pace, chance: random.Random) -> None:
        self._pace = pace
        self._chance = chance
        self._failures = 0

    def reset(self) -> None:
        """It worked."""
        self._failures = 0

    def next(self, after_s: float | None = None) -> float:
        """Seconds to wait after one more failure, and not less than the server asked for."""
        step = min(self._pace.last_retry_s, self._pace.first_retry_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        drawn = step * self._chance.uniform(0.5, 1.0)
        if after_s is None:
            return drawn
        # Never earlier than it said, and not all in the same moment.
        asked = min(after_s, self._pace.longest_retry_after_s)
        return max(drawn, asked + self._chance.uniform(0.0, 1.0) * min(asked, self._pace.last_retry_s) / 4)
