"""What a receiver is to be told of a finding, by what it was told before."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.findings import Record
from aggregator.model import Evidence, Severity, Stage
from aggregator.outputs import rows as module
from aggregator.outputs.rows import Row, Rows, news, take
from tests.outputs import AT, finding


class Plain:
    """Sends the id, the severity and the stage; another severity is another thing."""

    def key(self, payload: Mapping[str, Any]) -> str:
        return f"{payload['id']}/{payload['severity']}"

    def payload(self, record: Record, standing: Mapping[str, Record], before: Row | None) -> dict[str, Any]:
        del standing, before
        found = record.finding
        return {"id": found.id, "severity": found.severity.word, "stage": found.stage.value, "over": record.resolved}


FORM = Plain()


def record(**fields: Any) -> Record:
    return Record(finding(**fields), "test", AT, AT)


def tell(rows: Rows, each: Record, least: int = 0) -> dict[str, Row | None]:
    return take(rows, each, FORM, {}, least=least, number=1)[0]


def delivered(rows: Rows) -> None:
    for key, row in list(rows.by_key.items()):
        rows.put(key, replace(row, due=False, told=True) if row.over is None else None)


def test_what_stands_is_told_once_and_what_is_over_once() -> None:
    rows = Rows()
    assert list(tell(rows, record())) == ["mtu-1/warning"]
    delivered(rows)
    assert tell(rows, record()) == {}
    over = tell(rows, replace(record(), resolved=AT + 9))
    assert [(row.over, row.due) for row in over.values() if row] == [(AT + 9, True)]
    delivered(rows)
    assert tell(rows, replace(record(), resolved=AT + 9)) == {}
    assert rows.by_key == {}


def test_what_came_and_went_before_anybody_was_told_is_not_told() -> None:
    rows = Rows()
    tell(rows, record())
    assert tell(rows, replace(record(), resolved=AT)) == {"mtu-1/warning": None}
    assert rows.findings() == []


def test_what_may_have_arrived_is_told_to_be_over() -> None:
    rows = Rows()
    tell(rows, record())
    row = rows.by_key["mtu-1/warning"]
    rows.put(row.key, replace(row, told=True))  # it was sent, and no answer came
    assert [row.over for row in tell(rows, replace(record(), resolved=AT)).values() if row] == [AT]


def test_the_newest_state_wins() -> None:
    rows = Rows()
    tell(rows, record())
    tell(rows, record(stage=Stage.ACTIVE))
    assert [row.payload["stage"] for row in rows.by_key.values()] == ["active"]


def test_what_moves_by_itself_is_no_news_and_levels_are() -> None:
    moving = (Evidence("a", "counter.drops", "x", 5, "packets", "", AT),)
    more = (Evidence("a", "counter.drops", "x", 500, "packets", "", AT + 60),)
    assert news(record(evidence=moving)) == news(record(evidence=more, summary="500 drops"))
    assert news(record()) != news(record(evidence=(replace(finding().evidence[0], value=1400),)))
    assert news(record()) != news(replace(record(), unconfirmed="a: not heard"))
    assert news(record(nodes=("a", "b"))) == news(record(nodes=("b", "a")))


def test_another_severity_is_another_thing_and_the_old_one_is_over() -> None:
    rows = Rows()
    tell(rows, record())
    delivered(rows)
    changed = tell(rows, record(severity=Severity.CRITICAL))
    assert {key: (row.over is not None, row.due) for key, row in changed.items() if row} == {
        "mtu-1/critical": (False, True),
        "mtu-1/warning": (True, True),
    }
    back = tell(rows, record())
    assert {key: row and row.over for key, row in back.items()} == {"mtu-1/warning": None, "mtu-1/critical": None}
    assert rows.by_key["mtu-1/warning"].over is None


def test_a_severity_too_small_is_not_told_unless_it_was_worse() -> None:
    rows = Rows()
    assert tell(rows, record(severity=Severity.INFO), least=Severity.WARNING) == {}
    tell(rows, record(), least=Severity.WARNING)
    delivered(rows)
    assert "mtu-1/info" in tell(rows, record(severity=Severity.INFO), least=Severity.WARNING)


def test_there_is_room_for_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    rows = Rows()
    room = [take(rows, record(key=f"x-{each}"), FORM, {}, least=0, number=each)[1] for each in range(3)]
    assert room == [True, True, False]
    assert take(rows, record(key="x-0", stage=Stage.ACTIVE), FORM, {}, least=0, number=9)[1]
    assert rows.by_key["x-0/warning"].payload["stage"] == "active"


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, 1, 2]), st.booleans()), max_size=30))
def test_whatever_happens_a_receiver_that_gets_all_ends_with_what_is_so(steps: list[Any]) -> None:
    """A receiver keeps what it is told by key; some of it is delivered between the steps, some late."""
    rows, believes, stands = Rows(), dict[str, str](), dict[str, Record]()
    order = random.Random(len(steps))  # noqa: S311  # which is delivered

    def deliver(everything: bool) -> None:
        for row in sorted(rows.by_key.values(), key=lambda row: row.number):
            if row.due and (everything or order.random() < 0.5):
                if row.over is None:
                    believes[row.key] = row.payload["severity"]
                else:
                    believes.pop(row.key, None)
                rows.put(row.key, replace(row, due=False, told=True) if row.over is None else None)

    for number, (key, severity, some) in enumerate(steps):
        before = stands.get(key)
        if severity is not None:
            stands[key] = record(key=key, severity=Severity(severity))
            take(rows, stands[key], FORM, stands, least=0, number=number)
        elif before is not None:
            del stands[key]
            take(rows, replace(before, resolved=AT), FORM, stands, least=0, number=number)
        if some:
            deliver(everything=False)
    deliver(everything=True)
    assert believes == {
        f"{key}/{each.finding.severity.word}": each.finding.severity.word for key, each in stands.items()
    }
