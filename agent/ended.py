"""Why a stream is over, and whether to come again at once would end the same way."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from nodetell.handshake import Shown, why_unavailable
from nodetell.limits import RETRY_AFTER

_REFUSALS = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.ABORTED,
    }
)
"""Answers that will be the same if asked again at once."""
_WHO_WE_ARE = {
    grpc.StatusCode.UNAUTHENTICATED: "the aggregator does not know who this is",
    grpc.StatusCode.PERMISSION_DENIED: "the aggregator says that this may not report here",
}


class StreamEndedError(Exception):
    """This connection is over; the message says why. `refused`: the next one would end the same way for now."""

    def __init__(
        self, reason: str, *, refused: bool = False, stalled: bool = False, later_s: float | None = None
    ) -> None:
        super().__init__(reason)
        self.refused = refused
        self.stalled = stalled
        self.later_s = later_s
        """The aggregator is busy: come again in so many seconds; 0: it does not say when. None: it is not."""


def no_acknowledgement(timeout_s: float) -> StreamEndedError:
    """Something was sent, and nothing came back."""
    return StreamEndedError(
        f"no acknowledgement within {timeout_s:g} s: the connection is dead or stalled", stalled=True
    )


def ended_by(
    code: grpc.StatusCode,
    details: str | None,
    shown: Shown = Shown.NOTHING,
    trailers: Iterable[tuple[str, str | bytes]] | None = None,
) -> StreamEndedError:
    """What the status of a call that has ended means. `shown`: what we had shown. `trailers`: what came beside it."""
    reason = " ".join((details or "").split())
    if code is grpc.StatusCode.OK:
        return StreamEndedError("the aggregator ended the stream")
    if code is grpc.StatusCode.UNAVAILABLE:
        reason = why_unavailable(reason, shown)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return StreamEndedError(f"the aggregator is busy: {reason[:300]}", later_s=_later_s(trailers or ()))
    meaning = _WHO_WE_ARE.get(code, code.name)
    return StreamEndedError(f"{meaning}: {reason[:300]}" if reason else meaning, refused=code in _REFUSALS)


def _later_s(trailers: Iterable[tuple[str, str | bytes]]) -> float:
    """When to come again, as the aggregator says; 0: it does not."""
    told = next((value for key, value in trailers if key == RETRY_AFTER), "")
    digits = told if isinstance(told, str) else ""
    return int(digits) / 1000 if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0.0
