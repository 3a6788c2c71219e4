"""One rule set that tells the cause family of a status, event or log message. See docs/messages.md."""

from __future__ import annotations

from aggregator.messages.classify import classify
from aggregator.messages.model import NO_FAULT, UNKNOWN, Classification, Message

__all__ = ["NO_FAULT", "UNKNOWN", "Classification", "Message", "classify"]
