"""What was read of an installation, and what a check says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cli.doctor.calls import Call

Object = dict[str, Any]

AGENT, AGGREGATOR = "agent", "aggregator"
NAME_LABEL, PART_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/component"


class State(StrEnum):
    """What came out."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be checked."""
    WRONG = "wrong"
    """It works, but not all of it."""
    BROKEN = "broken"
    """It keeps the installation from working."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """"pods", "rights": several may have the same."""
    state: State
    what: str
    why: str = ""
    do: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read."""

    why: str
    right: str = ""
    """The RBAC rule that allows it; empty: it is not a matter of rights."""

    def check(self, name: str, what: str) -> Check:
        """A check that could not be made."""
        return Check(name, State.UNKNOWN, what, self.why, f"allow it: {self.right}" if self.right else "")


NOT_ASKED = Unread("the API server was not asked")
AGGREGATOR_NOT_ASKED = Unread("the aggregator was not asked")
Objects = tuple[Object, ...] | Unread


@dataclass(frozen=True, slots=True)
class Known:
    """A node as the aggregator knows it."""

    name: str
    connected: bool = True
    version: str = ""
    heard_at: float = 0.0
    """Seconds since the epoch by the aggregator's clock; 0: never."""
    offset_s: float | None = None
    """By how much its clock is ahead; None: not measured."""
    bound_s: float = 0.0
    gaps: int = 0
    """Signals that are missing, degraded or damaged."""


@dataclass(frozen=True, slots=True)
class Aggregator:
    """What the aggregator says."""

    version: str
    nodes: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """All that was read. What was not, is an Unread in its place."""

    namespace: str
    now: float
    """Seconds since the epoch, by this host's clock."""
    version: str
    """Of this command."""
    lists: Mapping[str, Objects] = field(default_factory=dict)
    """By plural, and "/namespace" for one that is not the installation's: "rolebindings/kube-system"."""
    rights: Mapping[Call, bool] | Unread = NOT_ASKED
    """What the aggregator's account may do, in the API server's own words."""
    server_ahead: tuple[float, float] | None = None
    """By how much the API server's clock is ahead of ours, seconds, and how wrong that may be; None: not known."""
    aggregator: Aggregator | Unread = AGGREGATOR_NOT_ASKED
    certificate: bytes | Unread = AGGREGATOR_NOT_ASKED
    """The one that the aggregator shows, DER; empty: it speaks without TLS."""
    api_unread: Unread | None = None
    """Why nothing at all could be read of the API server."""

    def objects(self, plural: str) -> Objects:
        """Those of a kind."""
        return self.lists.get(plural, Unread("it was not read"))

    def of(self, plural: str) -> tuple[Object, ...]:
        """Those of a kind, or none where they could not be read."""
        found = self.objects(plural)
        return () if isinstance(found, Unread) else found

    @property
    def right_now(self) -> float:
        """The time that certificates are judged by: the API server's clock where it is known."""
        return self.now + (self.server_ahead[0] if self.server_ahead else 0.0)


def at(value: Any, *path: str | int) -> Any:
    """What is there in an object; None where any step of the way is not."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def entries(value: Any, *path: str | int) -> list[Object]:
    """The objects of a list in an object; none where there is no list."""
    found = at(value, *path)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(value: Any, *path: str | int) -> str:
    """A text in an object; empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def name_of(item: Object) -> str:
    """Its name."""
    return text(item, "metadata", "name")


def part_of(item: Object) -> str:
    """Which part of the installation it is, by label."""
    return text(item, "metadata", "labels", PART_LABEL)


def parts(items: Iterable[Object], part: str) -> list[Object]:
    """Those of a part."""
    return [item for item in items if part_of(item) == part]


def pod_spec(workload: Object) -> Object:
    """Of a workload's template."""
    found = at(workload, "spec", "template", "spec")
    return found if isinstance(found, dict) else {}


def variable(workload: Object, name: str) -> str:
    """What an environment variable of its containers is set to; empty: it is not."""
    return next(
        (
            text(each, "value")
            for container in entries(pod_spec(workload), "containers")
            for each in entries(container, "env")
            if each.get("name") == name
        ),
        "",
    )


def count(number: int, thing: str) -> str:
    """ "1 node", "2 nodes"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
