"""Findings in the three forms they travel in: objects, messages, and the JSON of docs/bundle.md.

The JSON has every key of that contract always, and a few more where the life of a finding is known. Times are ISO 8601
in UTC with a Z; numbers stay numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.findings import Record
from aggregator.model import Evidence, Finding, Gap, RuledOut, Severity, Stage
from aggregator.node_state import MAX_TIME_S, NodeState

_STATUS = {
    "missing": facts_pb2.COVERAGE_STATUS_MISSING,
    "degraded": facts_pb2.COVERAGE_STATUS_DEGRADED,
    "damaged": facts_pb2.COVERAGE_STATUS_DAMAGED,
}
_STATUS_WORDS: Mapping[int, str] = {
    **{number: word for word, number in _STATUS.items()},
    facts_pb2.COVERAGE_STATUS_DENIED: "missing",  # to a diagnosis it is; the reason says that it was denied
}
_EXACT = 1 << 53
"""Whole numbers below it are exact in a double."""

# -- JSON --------------------------------------------------------------------------------------------------------------


def iso_time(at: float) -> str:
    """Seconds since the epoch as "2026-11-22T10:01:00Z", with milliseconds where there are any."""
    moment = datetime.fromtimestamp(milliseconds(at) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def seconds(text: str) -> float:
    """The reverse of iso_time. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def fact_to_json(fact: Evidence) -> dict[str, Any]:
    """A piece of evidence."""
    return {
        "node": fact.node,
        "signal": fact.signal,
        "subject": fact.subject,
        "value": fact.value,
        "unit": fact.unit,
        "source": fact.source,
        "at": iso_time(fact.at),
    }


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding as the contract has it, and its clear condition."""
    return {
        "id": finding.id,
        "code": finding.code,
        "incident": finding.incident,
        "stage": finding.stage.value,
        "severity": finding.severity.word,
        "summary": finding.summary,
        "nodes": list(finding.nodes),
        "objects": list(finding.objects),
        "evidence": [fact_to_json(fact) for fact in finding.evidence],
        "ruled_out": [{"code": other.code, "because": other.because} for other in finding.ruled_out],
        "caused_by": list(finding.caused_by),
        "remediation": list(finding.remediation),
        "clears_when": finding.clears_when,
        **({"since": iso_time(finding.since)} if finding.since else {}),
    }


def finding_from_json(data: Mapping[str, Any]) -> Finding:
    """The reverse. Raises KeyError, TypeError or ValueError if it is none."""
    return Finding(
        id=data["id"],
        code=data["code"],
        incident=data["incident"],
        stage=Stage(data["stage"]),
        severity=Severity[data["severity"].upper()],
        summary=data["summary"],
        nodes=tuple(data["nodes"]),
        objects=tuple(data["objects"]),
        evidence=tuple(Evidence(**{**fact, "at": seconds(fact["at"])}) for fact in data["evidence"]),
        ruled_out=tuple(RuledOut(**other) for other in data["ruled_out"]),
        caused_by=tuple(data["caused_by"]),
        remediation=tuple(data["remediation"]),
        clears_when=data["clears_when"],
        since=seconds(data["since"]) if "since" in data else 0.0,
    )


def record_to_json(record: Record) -> dict[str, Any]:
    """A finding with its life: when it was first and last seen, and why it is not confirmed or over."""
    life: dict[str, Any] = {"first_seen": iso_time(record.first_seen), "last_seen": iso_time(record.last_seen)}
    if record.unconfirmed:
        life["unconfirmed"] = record.unconfirmed
    if record.resolved is not None:
        life |= {"resolved": iso_time(record.resolved), "resolved_because": record.because}
    return finding_to_json(record.finding) | life


def record_from_json(data: Mapping[str, Any], origin: str) -> Record:
    """The reverse. Raises KeyError, TypeError or ValueError if it is none."""
    return Record(
        finding=finding_from_json(data),
        origin=origin,
        first_seen=seconds(data["first_seen"]),
        last_seen=seconds(data["last_seen"]),
        unconfirmed=data.get("unconfirmed", ""),
        resolved=seconds(data["resolved"]) if "resolved" in data else None,
        because=data.get("resolved_because", ""),
    )


def gap_to_json(gap: Gap) -> dict[str, Any]:
    """A coverage entry; `remedy` is there where one is known."""
    entry = {"node": gap.node, "signal": gap.signal, "status": gap.status, "because": gap.because}
    return entry | {"remedy": gap.remedy} if gap.remedy else entry


# -- messages ----------------------------------------------------------------------------------------------------------


def record_to_message(record: Record) -> operator_pb2.Finding:
    """As operators' clients get it."""
    finding = record.finding
    return operator_pb2.Finding(
        id=finding.id,
        code=finding.code,
        incident=finding.incident,
        stage=finding.stage.value,
        severity=finding.severity.word,
        summary=finding.summary,
        nodes=finding.nodes,
        objects=finding.objects,
        evidence=[_evidence_to_message(fact) for fact in finding.evidence],
        ruled_out=[operator_pb2.RuledOut(code=other.code, because=other.because) for other in finding.ruled_out],
        caused_by=finding.caused_by,
        remediation=finding.remediation,
        clears_when=finding.clears_when,
        first_seen_unix_ms=milliseconds(record.first_seen),
        last_seen_unix_ms=milliseconds(record.last_seen),
        resolved_unix_ms=0 if record.resolved is None else milliseconds(record.resolved),
        unconfirmed=record.unconfirmed,
        resolved_because=record.because,
        since_unix_ms=milliseconds(finding.since),
    )


def record_from_message(message: operator_pb2.Finding) -> Record:
    """The reverse. A stage or severity of a newer aggregator that is not known here is taken as the one to act on."""
    stages, severities = {stage.value: stage for stage in Stage}, {severity.word: severity for severity in Severity}
    finding = Finding(
        id=message.id,
        code=message.code,
        incident=message.incident,
        stage=stages.get(message.stage, Stage.ACTIVE),
        severity=severities.get(message.severity, Severity.WARNING),
        summary=message.summary,
        nodes=tuple(message.nodes),
        objects=tuple(message.objects),
        evidence=tuple(_evidence_from_message(fact) for fact in message.evidence),
        ruled_out=tuple(RuledOut(other.code, other.because) for other in message.ruled_out),
        caused_by=tuple(message.caused_by),
        remediation=tuple(message.remediation),
        clears_when=message.clears_when,
        since=message.since_unix_ms / 1000,
    )
    return Record(
        finding=finding,
        origin="",
        first_seen=message.first_seen_unix_ms / 1000,
        last_seen=message.last_seen_unix_ms / 1000,
        unconfirmed=message.unconfirmed,
        resolved=message.resolved_unix_ms / 1000 if message.resolved_unix_ms else None,
        because=message.resolved_because,
    )


def _evidence_to_message(fact: Evidence) -> operator_pb2.Evidence:
    message = operator_pb2.Evidence(
        node=fact.node,
        signal=fact.signal,
        subject=fact.subject,
        unit=fact.unit,
        source=fact.source,
        at_unix_ms=milliseconds(fact.at),
    )
    if isinstance(fact.value, bool):
        message.flag = fact.value
    elif isinstance(fact.value, str):
        message.text = fact.value
    else:
        message.number = fact.value
    return message


def _evidence_from_message(message: operator_pb2.Evidence) -> Evidence:
    value: float | int | str | bool
    if message.WhichOneof("value") == "flag":
        value = message.flag
    elif message.WhichOneof("value") == "number":
        number = message.number
        value = int(number) if number.is_integer() and abs(number) < _EXACT else number
    else:
        value = message.text
    at = message.at_unix_ms / 1000
    return Evidence(message.node, message.signal, message.subject, value, message.unit, message.source, at)


def gap_to_message(gap: Gap) -> operator_pb2.NodeCoverage:
    """A coverage entry with its node."""
    message = operator_pb2.NodeCoverage(node=gap.node)
    message.coverage.signal, message.coverage.because, message.coverage.remedy = gap.signal, gap.because, gap.remedy
    message.coverage.status = _STATUS.get(gap.status, facts_pb2.COVERAGE_STATUS_UNSPECIFIED)
    return message


def gap_from_message(message: operator_pb2.NodeCoverage) -> Gap:
    """The reverse."""
    return gap_from_coverage(message.node, message.coverage)


def gap_from_coverage(node: str, coverage: facts_pb2.Coverage) -> Gap:
    """What an agent could not read, as a limit of the diagnosis."""
    status = _STATUS_WORDS.get(coverage.status, "degraded")
    return Gap(node, coverage.signal, status, coverage.because, coverage.remedy)


def node_facts(state: NodeState, limited: Iterable[facts_pb2.Item] = ()) -> facts_pb2.NodeFacts:
    """A host whole, as it is known now. `limited`: coverage entries for what of it is not."""
    items = (*state.items.values(), *limited)
    facts = facts_pb2.NodeFacts(node=state.name, at_unix_ms=milliseconds(state.at), items=items)
    schemas: dict[tuple[str, ...], int] = {}
    for counters in state.counters.values():
        schema = schemas.setdefault(counters.names, len(schemas) + 1)
        facts.blocks.add(
            first_slot=counters.first_slot, schema=schema, subject=counters.subject, values=counters.values
        )
    for names, number in schemas.items():
        facts.schemas.add(id=number, names=names)
    return facts


def changes(state: NodeState) -> Sequence[operator_pb2.CounterChange]:
    """By how much counters rose since they were first read."""
    return [
        operator_pb2.CounterChange(
            subject=block.subject, name=block.names[index], increment=increment, over_ms=milliseconds(over)
        )
        for block, index, increment, over in state.risen()
    ]


def milliseconds(at: float) -> int:
    """Seconds in whole milliseconds. An agent may call anything a time: what is none is the nearest that is one."""
    return round(min(max(0.0, at), float(MAX_TIME_S)) * 1000)
