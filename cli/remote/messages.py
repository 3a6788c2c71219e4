"""What the HTTP API answers, as the messages that gRPC would have brought: so all that is shown is shown by one code.

The reverse of aggregator.node_json, aggregator.convert and aggregator.whatif.document. What is not known here (a newer
aggregator's) is left out; what is of another kind than it should be makes the answer one that cannot be understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.convert import gap_to_message, milliseconds, record_from_json, record_to_message, seconds
from aggregator.model import Gap
from aggregator.node_json import screaming

Json = Mapping[str, Any]
M = TypeVar("M", bound=Message)
FACTS = frozenset(field.name for field in facts_pb2.Item.DESCRIPTOR.oneofs_by_name["fact"].fields)
"""Kinds of facts that are known here."""


class NotUnderstoodError(Exception):
    """It is not what it should be; one line."""


def filled(message: M, document: Json) -> M:
    """The message with what a document has of its fields. Raises TypeError, ValueError, AttributeError."""
    for field in message.DESCRIPTOR.fields:
        value = document.get(field.name)
        if value is None:
            continue
        if field.is_repeated:
            into = getattr(message, field.name)
            for each in value:
                if field.message_type is not None:
                    filled(into.add(), each)
                else:
                    into.append(_scalar(field, each))
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            filled(inner, value)
        else:
            setattr(message, field.name, _scalar(field, value))
    return message


def _scalar(field: Any, value: Any) -> Any:
    if field.enum_type is None:
        return value
    if isinstance(value, int):  # a number that has no name where the answer was made
        return value
    found = field.enum_type.values_by_name.get(f"{screaming(field.enum_type.name)}{value.upper()}")
    return found.number if found is not None else 0


def nodes(parts: Sequence[Json], cluster: Json) -> operator_pb2.ListNodesResponse:
    """The list of nodes, of the list and the overview. Raises NotUnderstoodError."""
    try:
        told = {"aggregator_version": cluster["version"], "at_unix_ms": milliseconds(seconds(cluster["at"]))}
        answer = filled(operator_pb2.ListNodesResponse(), told)
        answer.nodes.extend(_summary(each) for each in parts)
    except _WRONG as error:
        raise _not_understood("nodes", error) from error
    return answer


def _summary(document: Json) -> operator_pb2.NodeSummary:
    summary = filled(operator_pb2.NodeSummary(), document)
    summary.facts_at_unix_ms, summary.heard_at_unix_ms = _ms(document, "facts_at"), _ms(document, "heard_at")
    if clock := document.get("clock"):
        summary.clock_offset_us, summary.clock_bound_us = round(clock["offset_s"] * 1e6), round(clock["bound_s"] * 1e6)
        summary.clock_from_most = clock["beside"] == "most nodes"
        summary.clock_measured_unix_ms = _ms(clock, "measured_at")
    return summary


def node(document: Json) -> operator_pb2.GetNodeResponse:
    """A node whole. Raises NotUnderstoodError."""
    try:
        answer = operator_pb2.GetNodeResponse(summary=_summary(document), api_unknown=document.get("api_unknown", ()))
        answer.facts.node, answer.facts.at_unix_ms = document["node"], answer.summary.facts_at_unix_ms
        for each in document["items"]:
            _add_item(answer.facts, each)
        _add_counters(answer.facts, document["counters"])
        for subject, risen in document["changes"].items():
            for name, change in risen.items():
                over_ms = milliseconds(change["over_s"])
                answer.changes.add(subject=subject, name=name, increment=change["increment"], over_ms=over_ms)
        for row in document["volume_rows"]:
            filled(answer.volumes.add(), row)
    except _WRONG as error:
        raise _not_understood("the node", error) from error
    return answer


def _add_item(facts: facts_pb2.NodeFacts, document: Json) -> None:
    kind = document["fact"]
    if kind not in FACTS:
        return
    item = facts.items.add(key=document["key"])
    fact = getattr(item, kind)
    fact.SetInParent()
    filled(fact, document)


def _add_counters(facts: facts_pb2.NodeFacts, counters: Json) -> None:
    schemas: dict[tuple[str, ...], int] = {}
    for subject, values in counters.items():
        schema = schemas.setdefault(tuple(values), len(schemas) + 1)
        facts.blocks.add(schema=schema, subject=subject, values=values.values())
    for names, number in schemas.items():
        facts.schemas.add(id=number, names=names)


def findings(parts: Sequence[Json], coverage: Sequence[Json]) -> operator_pb2.ListFindingsResponse:
    """Findings, and what limits them. Raises NotUnderstoodError."""
    try:
        return operator_pb2.ListFindingsResponse(
            findings=[record_to_message(record_from_json(each, "")) for each in parts],
            coverage=[gap_to_message(gap(each)) for each in coverage],
        )
    except _WRONG as error:
        raise _not_understood("findings", error) from error


def gap(document: Json) -> Gap:
    """A coverage entry. Raises KeyError."""
    node, signal, status, because = (document[key] for key in ("node", "signal", "status", "because"))
    return Gap(node, signal, status, because, document.get("remedy", ""))


def event(kind: operator_pb2.FindingEvent.Kind, document: Json) -> operator_pb2.FindingEvent:
    """What became of a finding. Raises NotUnderstoodError."""
    try:
        told = operator_pb2.FindingEvent(kind=kind, at_unix_ms=milliseconds(seconds(document["at"])))
        if finding := document.get("finding"):
            told.finding.CopyFrom(record_to_message(record_from_json(finding, "")))
    except _WRONG as error:
        raise _not_understood("an event", error) from error
    return told


def what_if(document: Json) -> operator_pb2.WhatIfResponse:
    """What would follow from a loss. Raises NotUnderstoodError."""
    try:
        answer = filled(operator_pb2.WhatIfResponse(), document)
        answer.nodes.extend(document["lost"]["nodes"])
        answer.at_unix_ms = milliseconds(seconds(document["at"]))
    except _WRONG as error:
        raise _not_understood("the answer to what if", error) from error
    return answer


_WRONG = (AttributeError, KeyError, TypeError, ValueError)


def _ms(document: Json, key: str) -> int:
    return milliseconds(seconds(document[key])) if document.get(key) else 0


def _not_understood(what: str, error: Exception) -> NotUnderstoodError:
    why = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:120]
    return NotUnderstoodError(f"{what}: {why}")
