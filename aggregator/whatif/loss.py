"""What a loss would mean, as data. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WhatIfError(Exception):
    """The question cannot be answered: why, one line."""


class WhatIfUnknownError(WhatIfError):
    """What the answer rests on is not known."""


class Cause(StrEnum):
    """Why pods could not come back."""

    VOLUME = "volume"
    """Their volume cannot be used where nodes are left that would take them."""
    ROOM = "room"
    """Nodes are left that they may use, and none has room, or another rule keeps them off."""
    SHARED_ROOM = "shared room"
    """There is room for one of them, and others of the lost pods need it as well."""
    NOT_MADE_AGAIN = "not made again"
    """They have no controller: nobody makes them again."""


@dataclass(frozen=True, slots=True)
class Stranded:
    """Pods of one workload that could not come back, for one reason."""

    workload: str
    """"Kind/namespace/name"."""
    cause: Cause
    because: str
    """A clause with the numbers in it."""
    needs: tuple[str, ...]
    """What would make them come back: any of these."""
    pods: tuple[str, ...]
    """"namespace/name"."""
    claims: tuple[str, ...] = ()
    """Of the volumes that hold them, "namespace/name"."""


@dataclass(frozen=True, slots=True)
class Returning:
    """Pods of one workload that would come back, and where they may."""

    workload: str
    pods: tuple[str, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """What would follow."""

    nodes: tuple[str, ...]
    """Lost."""
    stranded: tuple[Stranded, ...] = ()
    returning: tuple[Returning, ...] = ()
    going_with_it: int = 0
    """Pods of DaemonSets and static ones: they belong to their node."""
    unknown: tuple[str, ...] = ()
    """What could not be taken into account, one clause each."""

    @property
    def moving(self) -> int:
        """Pods that would have to come back elsewhere."""
        groups: tuple[Stranded | Returning, ...] = (*self.stranded, *self.returning)
        return sum(len(each.pods) for each in groups)
