"""One line per event on standard error, "key=value" throughout (logfmt), the same for both roles.

Values are quoted where they need it, so that nothing a host or a peer says can break a line or forge another.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import TextIO

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+,\[\]-]+")
_MAX_VALUE = 1_000


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send this software's events of at least `level` ("debug", "info", "warning", "error") to `stream` (stderr)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("nodetell")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())


def event(logger: logging.Logger, level: int, what: str, **fields: object) -> None:
    """Log that `what` happened, with its particulars; fields that are None or empty are left out."""
    if logger.isEnabledFor(level):
        pairs = [f"{key}={_value(value)}" for key, value in fields.items() if value is not None and value != ""]
        logger.log(level, "%s", " ".join([f"event={_value(what)}", *pairs]))


def _value(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) > _MAX_VALUE:
        text = text[: _MAX_VALUE - 3] + "..."
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        role = record.name.removeprefix("nodetell.")
        line = f"at={at}.{int(record.msecs):03d}Z level={record.levelname.lower()} role={role} {record.getMessage()}"
        if record.exc_info:
            line += f" exception={_value(self.formatException(record.exc_info))}"
        return line
