"""Which conditions a Node should have, by the findings that stand, and what has to be patched for it to have these.

One for each incident that a finding names the node in. What is compared is the Node as the API server has it, so what
an earlier life has left is cleared, too. Pure, no clock, no input or output.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aggregator.cluster.objects import Condition, NodeObject
from aggregator.convert import iso_time
from aggregator.findings import Record
from aggregator.outputs.kubernetes.words import MOST_BYTES, camel, cut, is_warning, marked, rank, told

PREFIX = "Nodetell"
"""All our types begin with it, and nobody else's."""
NOT_OBSERVED = "NotObserved"
_NOBODY_S = 3_600.0
"""What an earlier life has left on a node that is not observed is taken away after so long."""
_LAST = (True, 1)
"""What is only cleared comes after all else."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A condition that a node should have."""

    status: str
    """"True"; "Unknown" where the facts can't confirm the finding at present."""
    reason: str
    message: str
    mark: str
    """How the message ends, by which it is told whether it is of the same finding."""
    rank: tuple[bool, int] = _LAST


@dataclass(slots=True)
class Patch:
    """What is to be changed on a Node, all in one."""

    node: str
    version: str
    """Of the Node that it was compared with."""
    set: dict[str, Wanted] = field(default_factory=dict)
    """By type."""
    clear: list[str] = field(default_factory=list)
    """Types."""
    rank: tuple[bool, int] = _LAST
    """Of the most urgent of it."""


def type_of(incident: str) -> str:
    """ "mtu_mismatch" as a condition: "NodetellMtuMismatch"."""
    return PREFIX + camel(incident)


def wanted(records: Iterable[Record]) -> dict[str, Wanted]:
    """What a node should have of which these findings stand, by type. Those that are no more than a remark make none,
    and of several of one incident the most urgent that is confirmed is told."""
    found: dict[str, Wanted] = {}
    for record in sorted(records, key=lambda each: (bool(each.unconfirmed), rank(each), each.finding.id)):
        if is_warning(record.finding):
            found.setdefault(type_of(record.finding.incident), _of(record))
    return found


def _of(record: Record) -> Wanted:
    finding = record.finding
    before = f"Not confirmed at present ({record.unconfirmed}): " if record.unconfirmed else ""
    status = "Unknown" if record.unconfirmed else "True"
    return Wanted(status, camel(finding.code), told(finding, before), marked(finding), rank(record))


def patch_of(
    node: NodeObject, want: Mapping[str, Wanted], held: Container[str], *, observed: bool, now: float
) -> Patch | None:
    """What has to be changed; None: nothing. `held`: types that were wanted in this life; `observed`: anything is known
    of the host; `now`: seconds since the epoch by the API server's clock."""
    patch = Patch(node.name, node.version)
    patch.set = {type_: each for type_, each in want.items() if _differs(each, node.condition(type_))}
    for has in node.conditions:
        if not has.type.startswith(PREFIX) or has.type in want:
            continue
        is_nobodys = has.status == "Unknown" and has.reason == NOT_OBSERVED
        if has.type in held or observed or (is_nobodys and now - has.since > _NOBODY_S):
            patch.clear.append(has.type)
        elif not is_nobodys:
            message = cut(f"No agent of the node is heard: {has.message}", MOST_BYTES)
            patch.set[has.type] = Wanted("Unknown", NOT_OBSERVED, message, "")
    patch.rank = min((each.rank for each in patch.set.values()), default=_LAST)
    return patch if patch.set or patch.clear else None


def _differs(want: Wanted, has: Condition | None) -> bool:
    """Numbers in a message move by themselves: one of the same finding is left as it is."""
    if has is None:
        return want.status == "True"  # what is not confirmed is not said for the first time
    return (has.status, has.reason) != (want.status, want.reason) or not has.message.endswith(want.mark)


def body(patch: Patch, node: NodeObject, now: float) -> dict[str, Any]:
    """A strategic merge patch of the Node's status: conditions are merged by type. `now`: seconds since the epoch."""
    at = iso_time(int(now))
    conditions: list[dict[str, Any]] = []
    for type_, each in patch.set.items():
        has = node.condition(type_)
        since = iso_time(int(has.since)) if has is not None and has.status == each.status and has.since else at
        conditions.append(
            {
                "type": type_,
                "status": each.status,
                "reason": each.reason,
                "message": each.message,
                "lastHeartbeatTime": at,
                "lastTransitionTime": since,
            }
        )
    conditions += [{"$patch": "delete", "type": type_} for type_ in patch.clear]
    return {"status": {"conditions": conditions}}
