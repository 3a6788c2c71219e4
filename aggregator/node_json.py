"""A node as JSON, in the list of nodes and whole: for the command and for the HTTP API alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import Message
from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.convert import iso_time

Json = dict[str, Any]


def summary_json(summary: operator_pb2.NodeSummary) -> Json:
    """A node in the list of nodes."""
    document = plain(summary)
    document["facts_at"] = _iso(document.pop("facts_at_unix_ms"))
    document["heard_at"] = _iso(document.pop("heard_at_unix_ms"))
    for name in [name for name in document if name.startswith("clock_")]:
        del document[name]
    document["clock"] = offset_json(summary)
    return document


def offset_json(summary: operator_pb2.NodeSummary) -> Json | None:
    """What was measured of its clock; None: it was not."""
    if not summary.HasField("clock_offset_us"):
        return None
    return {
        "offset_s": summary.clock_offset_us / 1e6,
        "bound_s": summary.clock_bound_us / 1e6,
        "beside": "most nodes" if summary.clock_from_most else "aggregator",
        "measured_at": _iso(summary.clock_measured_unix_ms) or "",
    }


def item_json(item: facts_pb2.Item) -> Json | None:
    """A fact under its key; None: of a kind that is not known here."""
    kind = item.WhichOneof("fact")
    return None if kind is None else {"key": item.key, "fact": kind} | plain(getattr(item, kind))


def counters_json(facts: facts_pb2.NodeFacts) -> Iterator[tuple[str, dict[str, int]]]:
    """Counters by name, of each subject."""
    names = {schema.id: tuple(schema.names) for schema in facts.schemas}
    for block in facts.blocks:
        yield block.subject, dict(zip(names.get(block.schema, ()), block.values, strict=False))


def changes_json(changes: Iterable[operator_pb2.CounterChange]) -> dict[str, dict[str, Json]]:
    """By how much counters rose, over how many seconds, by subject and name."""
    found: dict[str, dict[str, Json]] = {}
    for change in changes:
        told = {"increment": change.increment, "over_s": change.over_ms / 1000}
        found.setdefault(change.subject, {})[change.name] = told
    return found


def plain(message: Message) -> Json:
    """A message as JSON: enums as words, 64-bit integers as numbers, what is unset left out."""
    document: Json = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            document[field.name] = [_plain_value(field, each) for each in value]
        elif not field.has_presence or message.HasField(field.name):
            document[field.name] = _plain_value(field, value)
    return document


def _plain_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    if field.enum_type is not None:
        number = field.enum_type.values_by_number.get(value)
        prefix = screaming(field.enum_type.name)
        return number.name.removeprefix(prefix).lower() if number else value
    return value


def screaming(name: str) -> str:
    """ "OperState" as "OPER_STATE_"."""
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in name).lstrip("_") + "_"


def _iso(unix_ms: int) -> str | None:
    return iso_time(unix_ms / 1000) if unix_ms else None
