"""One line per event on standard error, "key=value" throughout (logfmt), the same for both roles.

Values are quoted where they need it, so that nothing a host or a peer says can break a line or forge another; what
libraries have to say becomes a line of the same form, and not too many of them. On request each line is a JSON object
with the same keys instead.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import select
import sys
import time
from collections.abc import Callable
from typing import TextIO

from nodetell.bucket import Bucket

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+,\[\]-]+")
_MAX_VALUE = 1_000
OTHERS_PER_S, OTHERS_AT_ONCE = 0.2, 100.0
"""Lines of libraries, in the long run and at once."""


_form: Callable[[], logging.Formatter]


def use_json() -> None:
    """From the next `configure` on, lines are JSON objects."""
    global _form  # noqa: PLW0603  # the form of a process's log is one for all of it
    _form = _JsonFormatter


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send this software's events of at least `level` ("debug", "info", "warning", "error") to `stream` (stderr)."""
    os.environ.setdefault(
        "GRPC_VERBOSITY", "ERROR"
    )  # gRPC's own lines would stand between ours; it looks when it starts
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_form())
    logger = logging.getLogger("nodetell")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _Handler)]
    others = _Handler(stream or sys.stderr)
    others.setFormatter(_form())
    others.addFilter(_Others())
    root.addHandler(others)


def event(logger: logging.Logger, level: int, what: str, **fields: object) -> None:
    """Log that `what` happened, with its particulars; fields that are None or empty are left out."""
    if logger.isEnabledFor(level):
        pairs = [f"{key}={_value(value)}" for key, value in fields.items() if value is not None and value != ""]
        logger.log(level, "%s", " ".join([f"event={_value(what)}", *pairs]), extra={"keys": {"event": what} | fields})


def _value(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) > _MAX_VALUE:
        text = text[: _MAX_VALUE - 3] + "..."
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines, and rather drops one than wait for whoever reads them: a host whose disk hangs, and with it the
    container runtime that stores our log, must not keep facts from being sent."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        if _would_block(self.stream):
            self._dropped += 1
            return
        if self._dropped:
            keys = {"event": "log_lines_dropped", "lines": self._dropped}
            notice = logging.makeLogRecord(
                record.__dict__ | {"msg": f"event=log_lines_dropped lines={self._dropped}", "args": (), "keys": keys}
            )
            self._dropped = 0
            super().emit(notice)
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  # logging's name; there is nobody to tell
        self._dropped += 1


class _Others(logging.Filter):
    """What libraries log, warnings and worse, at a pace: a peer may be what makes them."""

    def __init__(self) -> None:
        super().__init__()
        self._bucket = Bucket(OTHERS_PER_S, OTHERS_AT_ONCE)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return False  # gRPC logs a traceback for each call whose client has gone
        return record.levelno >= logging.WARNING and self._bucket.take(time.monotonic())


def _would_block(stream: TextIO) -> bool:
    """A pipe or terminal behind the stream is full."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return not poll.poll(0)
    except (AttributeError, OSError, ValueError):  # not a file: a buffer in memory
        return False


def _is_own(record: logging.LogRecord) -> bool:
    return record.name.startswith("nodetell")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        role = record.name.removeprefix("nodetell.")
        said = record.getMessage() if _is_own(record) else f"event=library message={_value(record.getMessage())}"
        line = f"at={_at(record)} level={record.levelname.lower()} role={_value(role)} {said}"
        if record.exc_info:
            line += f" exception={_value(self.formatException(record.exc_info))}"
        return line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        role = record.name.removeprefix("nodetell.")
        line: dict[str, object] = {"at": _at(record), "level": record.levelname.lower(), "role": role}
        otherwise = (
            {"event": record.getMessage()} if _is_own(record) else {"event": "library", "message": record.getMessage()}
        )
        keys: dict[str, object] = getattr(record, "keys", otherwise)
        line |= {key: value for key, value in keys.items() if value is not None and value != ""}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _at(record: logging.LogRecord) -> str:
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{at}.{int(record.msecs):03d}Z"


_form = _Formatter
