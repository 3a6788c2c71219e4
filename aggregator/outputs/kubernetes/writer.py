"""Writes what is due, one request at a time and never faster than it is allowed to, whatever the API server answers.

What is due is asked for when its turn has come: the newest state is written, and what is over by then is not. Refusals
that are about one object end it; all others hold everything, or what the right is missing for, and are coverage.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aggregator.cluster.answers import ApiError, Cause
from aggregator.cluster.pace import Backoff, Pace
from aggregator.cluster.sender import JSON, Sender
from aggregator.model import Gap
from aggregator.outputs.kubernetes.meters import Counters
from aggregator.outputs.kubernetes.rights import ROLE, Right

SIGNAL = "output/objects"
MERGE = "application/strategic-merge-patch+json"
_BRIEF = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
"""Of the object that was written, its metadata: a Node is some 20 kB."""
_ENDING = "being terminated"
"""What a 403 says of a namespace that is being deleted."""


@dataclass(frozen=True, slots=True)
class Write:
    """One request."""

    right: Right
    method: str
    path: str
    content: Mapping[str, Any]
    content_type: str = JSON


@dataclass(slots=True)
class Writer:
    """Sends writes. Time is passed in: seconds of a monotonic clock."""

    sender: Sender
    interval_s: float
    """Between the beginnings of two requests."""
    monotonic: Callable[[], float]
    counters: Counters = field(default_factory=Counters)
    problem: str = ""
    """Why nothing can be written at present; empty: it can."""
    unfit: str = ""
    """What was said of the last thing that was refused for good."""
    _pace: Pace = field(default_factory=Pace)
    _backoff: Backoff = field(init=False)
    _not_before: float = float("-inf")
    _denied: dict[Right, tuple[float, str]] = field(default_factory=dict)
    """Until when a right is not tried again, and what was said."""

    def __post_init__(self) -> None:
        self._backoff = Backoff(self._pace, random.Random())  # noqa: S311  # when to try again is no secret

    def wait_s(self) -> float:
        """Seconds until anything may be sent."""
        return max(0.0, self._not_before - self.monotonic())

    def may(self, right: Right) -> bool:
        """Nothing says that it is not allowed, or long enough ago."""
        return right not in self._denied or self._denied[right][0] <= self.monotonic()

    async def send(self, write: Write) -> ApiError | None:
        """Send it now; None: it is done. The error says why not; `is_final` whether it ever will be."""
        self._not_before = self.monotonic() + self.interval_s
        content = json.dumps(write.content, separators=(",", ":")).encode()
        try:
            await self.sender.send(write.method, write.path, content, content_type=write.content_type, accept=_BRIEF)
        except ApiError as error:
            self._failed(write, error)
            return error
        self.counters.written += 1
        self.problem = ""
        self._denied.pop(write.right, None)
        self._backoff.reset()
        return None

    def _failed(self, write: Write, error: ApiError) -> None:
        now = self.monotonic()
        if is_final(error):
            self.problem = ""
            self._backoff.reset()
            if error.code not in (404, 409):
                self.counters.refused += 1
                self.unfit = str(error)
            return
        if error.cause is Cause.DENIED:
            self.counters.denied += 1
            self.problem = ""
            self._denied[write.right] = now + self._pace.denied_s, str(error)
            return
        self.counters.failed += 1
        self.problem = str(error)
        self._not_before = max(self._not_before, now + self._backoff.next(error.retry_after_s))

    def gaps(self, waiting: int) -> list[Gap]:
        """What cannot be written, and why. `waiting`: how much of it there is."""
        found = [
            Gap(
                "",
                SIGNAL,
                "missing",
                f"{right.what} may not be written: {said}",
                f"allow it: {right.rule} (the ClusterRole {ROLE})",
            )
            for right, (_, said) in self._denied.items()
        ]
        if self.problem:
            found.append(
                Gap("", SIGNAL, "degraded", f"nothing is written at present, and {waiting:,} wait: {self.problem}")
            )
        if self.unfit:
            found.append(
                Gap("", SIGNAL, "damaged", f"refused {self.counters.refused:,} times since the start: {self.unfit}")
            )
        return found


def is_final(error: ApiError) -> bool:
    """It is about this one object: the same would be said again."""
    if error.cause is Cause.DENIED:
        return _ENDING in str(error)
    return error.code in (400, 404, 409, 410, 413, 422)
