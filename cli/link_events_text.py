"""Of one host's page what became of interfaces while the aggregator was away."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from cli.facts import HostFacts
from cli.report import iso
from cli.terminal import Look, table

_EVENTS = 12


def link_events(facts: HostFacts, look: Look) -> list[str]:
    """The last changes of MTU and state, the latest first."""
    numbered = [(item.key.rpartition("/")[2], item.link_event) for item in facts.of("link_event")]
    events = [event for number, event in sorted(numbered, key=lambda each: -int(each[0]) if each[0].isdigit() else 0)]
    rows = [(iso(event.at_unix_ms // 1000), event.name, _change(event)) for event in events[:_EVENTS]]
    return table(("AT", "INTERFACE", "WHAT"), rows, look.width) if rows else []


def _change(event: pb.LinkEvent) -> str:
    changes = [f"MTU {event.mtu_before} to {event.mtu}"] if event.mtu != event.mtu_before else []
    before, after = _state(event.up_before, event.operstate_before), _state(event.up, event.operstate)
    changes += [f"{before} to {after}"] if before != after else []
    return ", ".join(changes)


def _state(up: bool, operstate: int) -> str:
    if not up:
        return "switched off"
    value = pb.OperState.DESCRIPTOR.values_by_number.get(operstate)
    return value.name.removeprefix("OPER_STATE_").lower().replace("_", " ") if value is not None else str(operstate)
