"""A finding survives the way through JSON and through the wire, and its JSON is what docs/bundle.md promises."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2, operator_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.convert import (
    changes,
    finding_from_json,
    finding_to_json,
    gap_from_message,
    gap_to_json,
    gap_to_message,
    iso_time,
    node_facts,
    record_from_json,
    record_from_message,
    record_to_json,
    record_to_message,
    seconds,
)
from aggregator.findings import Record
from aggregator.model import Evidence, Finding, Gap, RuledOut, Severity, Stage
from aggregator.node_state import NodeState

CONTRACT = {
    "id": str,
    "code": str,
    "incident": str,
    "stage": str,
    "severity": str,
    "summary": str,
    "nodes": list,
    "objects": list,
    "evidence": list,
    "ruled_out": list,
    "caused_by": list,
    "remediation": list,
}

text = st.text(max_size=12).filter(lambda word: not any("\ud800" <= letter <= "\udfff" for letter in word))
words = st.lists(text, max_size=2).map(tuple)
moments = st.integers(1, 4_000_000_000_000).map(lambda ms: ms / 1000)
values = st.booleans() | text | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
findings = st.builds(
    Finding,
    id=text,
    code=text,
    incident=text,
    stage=st.sampled_from(Stage),
    severity=st.sampled_from(Severity),
    summary=text,
    nodes=words,
    evidence=st.lists(st.builds(Evidence, text, text, text, values, text, text, moments), max_size=3).map(tuple),
    clears_when=text,
    objects=words,
    ruled_out=st.lists(st.builds(RuledOut, text, text), max_size=2).map(tuple),
    caused_by=words,
    remediation=words,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    resolved = draw(st.none() | moments)
    because = draw(text) if resolved is not None else ""
    return Record(draw(findings), "mtu", draw(moments), draw(moments), draw(text), resolved, because)


@given(records())
def test_a_record_survives_json(record: Record) -> None:
    assert record_from_json(json.loads(json.dumps(record_to_json(record))), "mtu") == record
    assert finding_from_json(finding_to_json(record.finding)) == record.finding


@given(records())
def test_a_record_survives_the_wire(record: Record) -> None:
    message = operator_pb2.Finding.FromString(record_to_message(record).SerializeToString())
    back = record_from_message(message)
    assert record_to_json(back) == record_to_json(record)
    assert back.resolved == record.resolved
    for before, after in zip(record.finding.evidence, back.finding.evidence, strict=True):
        assert isinstance(after.value, bool) == isinstance(before.value, bool)


@given(findings)
def test_the_contract_s_keys_are_always_there(finding: Finding) -> None:
    data = finding_to_json(finding)
    assert {key: type(value) for key, value in data.items() if key in CONTRACT} == CONTRACT
    assert set(data) - set(CONTRACT) == {"clears_when"}
    for fact in data["evidence"]:
        assert list(fact) == ["node", "signal", "subject", "value", "unit", "source", "at"]


def test_times_are_iso_8601_in_utc() -> None:
    assert iso_time(1_795_341_660) == "2026-11-22T10:01:00Z"
    assert iso_time(1_795_341_660.25) == "2026-11-22T10:01:00.250Z"
    assert seconds("2026-11-22T10:01:00Z") == 1_795_341_660


@given(st.floats(allow_nan=False, allow_infinity=True))
def test_what_an_agent_calls_a_time_can_always_be_stored(since: float) -> None:
    """One that could not would keep the findings of all nodes from being stored."""
    finding = Finding("i", "a.b", "a", Stage.ACTIVE, Severity.INFO, "x", (), (), "y", since=since)
    record = Record(finding, "x", since, since)
    assert record_from_json(record_to_json(record), "x").finding.code == "a.b"
    assert record_to_message(record).since_unix_ms >= 0


def test_words_of_a_newer_aggregator_are_not_taken_lightly() -> None:
    record = record_from_message(operator_pb2.Finding(stage="smouldering", severity="catastrophic"))
    assert (record.finding.stage, record.finding.severity) == (Stage.ACTIVE, Severity.WARNING)


def test_gaps_survive_the_wire() -> None:
    gap = Gap("a", "fsync", "degraded", "no BPF", "CAP_BPF")
    assert gap_from_message(gap_to_message(gap)) == gap
    assert gap_to_json(gap)["remedy"] == "CAP_BPF"
    assert list(gap_to_json(Gap("a", "fsync", "missing", "off"))) == ["node", "signal", "status", "because"]


def test_node_facts_are_the_whole_host() -> None:
    state = NodeState("a")
    update = agent_pb2.Update(at_unix_ms=5_000, full=True)
    update.items.append(pb.Item(key="link/1", link=pb.Link(ifindex=1, name="lo")))
    update.schemas.add(id=4, names=["x", "y"])
    update.blocks.add(first_slot=10, schema=4, subject="link/1", values=[1, 2])
    update.blocks.add(first_slot=20, schema=4, subject="link/2", values=[3, 2**64 - 1])
    state.apply(update)
    later = agent_pb2.Update(at_unix_ms=7_000)
    later.samples.add(slot_gaps=[11], increments=[5])
    state.apply(later)
    facts = node_facts(state)
    assert (facts.node, facts.at_unix_ms, len(facts.items), len(facts.schemas)) == ("a", 7_000, 1, 1)
    names = {schema.id: list(schema.names) for schema in facts.schemas}
    assert [(block.subject, names[block.schema], list(block.values)) for block in facts.blocks] == [
        ("link/1", ["x", "y"], [1, 7]),
        ("link/2", ["x", "y"], [3, 2**64 - 1]),
    ]
    assert [(c.subject, c.name, c.increment, c.over_ms) for c in changes(state)] == [("link/1", "y", 5, 2_000)]
