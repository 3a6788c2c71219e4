"""A message of a cluster as it comes, and what it says: a cause family, no fault, or nothing certain."""

from __future__ import annotations

from dataclasses import dataclass

NO_FAULT = "no fault"
"""Outcome of a message that looks like a fault and is none, or that reports normal work."""
UNKNOWN = "unknown"
"""Outcome of a message that does not tell its cause."""


@dataclass(frozen=True, slots=True)
class Message:
    """A status or event message, or a few lines of a log, and what is known of where it stood."""

    object: str = ""
    """Kind of the object it is about ("Pod", "PersistentVolumeClaim", "Node"), or of the log ("kernel-log")."""
    reason: str = ""
    """Reason of the event, the condition or the container's state, as in the API."""
    exit_code: int | None = None
    """Exit code of the container, where it ended."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Classification:
    """What a message says."""

    label: str
    """Code of the cause family (docs/messages.md); empty: no fault, or unknown."""
    also: tuple[str, ...] = ()
    """Codes that fit beside it."""
    phrase: str = ""
    """What decided, verbatim (white space as single spaces), cut if long."""
    no_fault: bool = False
    """It reports what is as it should be. With a label, that names the state: a claim that waits for its pod."""
    why: str = ""
    """Why it is what it is, or why nothing can be said."""

    @property
    def outcome(self) -> str:
        """The code, or "no fault", or "unknown"."""
        return self.label or (NO_FAULT if self.no_fault else UNKNOWN)


NOTHING = Classification("", why="no phrase in it tells a cause")
