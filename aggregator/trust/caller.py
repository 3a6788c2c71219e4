"""What is known of whoever makes a call, and the refusal of one of whom too little is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import grpc


class Role(enum.Enum):
    """What somebody may do here."""

    AGENT = "agent"
    """Report for one node, and hear what concerns that."""
    OPERATOR = "operator"
    """Read everything."""
    ANYBODY = "anybody"
    """Both, for any node: nobody is asked (insecure = true)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call."""

    role: Role
    name: str
    """For the log: a node's name, an operator's, a service account's."""
    node: str = ""
    """The one node that an agent may speak for."""
    until: float | None = None
    """When that has to be proved anew, seconds of the monotonic clock; None: it holds for the call."""
    by: str = ""
    """How it was proved: "certificate", "token"."""


class RefusedError(Exception):
    """The call ends with this status: why, one line."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def unproved(reason: str) -> RefusedError:
    """Who this is could not be proved."""
    return RefusedError(grpc.StatusCode.UNAUTHENTICATED, reason)


def somebody_else(reason: str) -> RefusedError:
    """Who this is was proved, and it may not do this."""
    return RefusedError(grpc.StatusCode.PERMISSION_DENIED, reason)


def not_now(reason: str) -> RefusedError:
    """Who this is can't be found out at present: come again."""
    return RefusedError(grpc.StatusCode.UNAVAILABLE, reason)
