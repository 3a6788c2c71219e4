"""What it means that the API server does not give what was asked for: one reading of its refusals, for all readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

_MAX_MESSAGE = 200


class Cause(StrEnum):
    """Why there was no answer, or not the one that was wanted."""

    CREDENTIALS = "credentials"
    """Ours cannot be used: nothing was sent."""
    UNREACHABLE = "unreachable"
    """No connection, or none any more."""
    UNAUTHORIZED = "unauthorized"
    """401: it does not know who we are."""
    DENIED = "denied"
    """403: RBAC."""
    ABSENT = "absent"
    """404: it has no such list."""
    EXPIRED = "expired"
    """410: the version or the continue token is too old."""
    INVALID = "invalid"
    """400: the version or the continue token is not one of this server's."""
    AHEAD = "ahead"
    """504: the version is from its future, as after a restore of etcd."""
    BUSY = "busy"
    """429: not now."""
    FAILED = "failed"
    """Any other status."""
    ODD = "odd"
    """An answer that is not what it should be."""


class ApiError(Exception):
    """A request did not succeed: the reason, one line."""

    def __init__(
        self,
        cause: Cause,
        reason: str,
        *,
        retry_after_s: float | None = None,
        token: str = "",
        silent: bool = False,
        code: int = 0,
    ) -> None:
        super().__init__(" ".join(reason.split()))  # the server's words may be in it
        self.cause = cause
        self.code = code
        """HTTP status; 0: there was none, or it is not what this is about."""
        self.silent = silent
        """Nothing came, and nobody hung up: it may have been gone for as long as nothing came."""
        self.retry_after_s = retry_after_s
        """Not before so many seconds."""
        self.token = token
        """Of an expired list: where it may be continued."""


class _Detail(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct):
    causes: list[_Detail] | None = None
    retry_after_s: float = msgspec.field(name="retryAfterSeconds", default=0.0)


class _Metadata(msgspec.Struct):
    token: str = msgspec.field(name="continue", default="")


class Status(msgspec.Struct):
    """A v1 Status, as far as it is used."""

    code: int = 0
    message: str = ""
    reason: str = ""
    metadata: _Metadata | None = None
    details: _Details | None = None


_status = msgspec.json.Decoder(Status)
_BY_CODE = {
    400: Cause.INVALID,
    401: Cause.UNAUTHORIZED,
    403: Cause.DENIED,
    404: Cause.ABSENT,
    410: Cause.EXPIRED,
    429: Cause.BUSY,
}
_TOO_LARGE = "ResourceVersionTooLarge"


def refusal(code: int, headers: Mapping[str, str], body: bytes, now: float) -> ApiError:
    """What an answer other than 200 means; `now` is seconds since the epoch."""
    try:
        status = _status.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        status = Status(message=body[: _MAX_MESSAGE * 4].decode(errors="replace"))
    status.code = code
    return _error(status, retry_after(headers.get("retry-after", ""), now))


def error_event(status: bytes | msgspec.Raw) -> ApiError:
    """What the ERROR event of a watch means, whose object is a Status."""
    try:
        error = _error(_status.decode(status), None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ApiError(Cause.ODD, "an ERROR event without a status")
    if error.cause is Cause.FAILED:  # the server is there, it is this watch that it cannot go on with
        return ApiError(Cause.ODD, str(error), retry_after_s=error.retry_after_s)
    return error


def retry_after(value: str, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date; None: it asks for nothing that can be read."""
    value = value.strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _error(status: Status, after: float | None) -> ApiError:
    details = status.details or _Details()
    message = shown(status.message) or shown(status.reason) or "no reason given"
    cause = _BY_CODE.get(status.code, Cause.FAILED)
    if status.code == 504 and (
        any(each.reason == _TOO_LARGE for each in details.causes or []) or "Too large resource version" in message
    ):
        cause = Cause.AHEAD
    if after is None and details.retry_after_s > 0:
        after = details.retry_after_s
    token = status.metadata.token if status.metadata is not None else ""
    return ApiError(cause, f"HTTP {status.code}: {message}", retry_after_s=after, token=token, code=status.code)


def shown(text: str) -> str:
    """What a server said, in one line that is not too long."""
    return " ".join(text.split())[:_MAX_MESSAGE]
