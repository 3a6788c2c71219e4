"""A measured clock in words and as JSON."""

from __future__ import annotations

import pytest
from nodetell.v1 import operator_pb2

from aggregator.node_json import offset_json, summary_json
from cli.clock_text import duration, offset_sentence, offset_words

AT = 1_800_000_000


def measured(offset_us: int, bound_us: int, *, from_most: bool = False) -> operator_pb2.NodeSummary:
    return operator_pb2.NodeSummary(
        node="n",
        clock_offset_us=offset_us,
        clock_bound_us=bound_us,
        clock_measured_unix_ms=AT * 1000,
        clock_from_most=from_most,
    )


@pytest.mark.parametrize(
    ("offset_us", "bound_us", "words"),
    [
        (0, 400, "within 0.4 ms"),
        (-300, 400, "within 0.7 ms"),
        (400, 400, "within 0.8 ms"),
        (401, 400, "0.401 ms fast"),
        (-47_900_000, 1200, "47.9 s slow"),
        (86_400_000_000, 1200, "86,400 s fast"),
    ],
)
def test_what_is_certain_is_told(offset_us: int, bound_us: int, words: str) -> None:
    assert offset_words(measured(offset_us, bound_us)) == words


def test_it_says_beside_what_how_sure_and_when() -> None:
    text = offset_sentence(measured(12_500_000, 400_000, from_most=True))
    assert text == "12.5 s fast beside what most nodes show (give or take 400 ms, measured 2027-01-15T08:00:00Z)"
    assert "beside the aggregator's (" in offset_sentence(measured(1, 2))


def test_a_clock_that_nobody_measured() -> None:
    summary = operator_pb2.NodeSummary(node="n")
    assert offset_words(summary) == offset_sentence(summary) == ""
    assert offset_json(summary) is None
    assert summary_json(summary)["clock"] is None


def test_as_json() -> None:
    document = summary_json(measured(-1_500_000, 400))
    assert document["clock"] == {
        "offset_s": -1.5,
        "bound_s": 0.0004,
        "beside": "aggregator",
        "measured_at": "2027-01-15T08:00:00Z",
    }
    assert not [name for name in document if name.startswith("clock_")]
    assert (offset_json(measured(0, 1, from_most=True)) or {})["beside"] == "most nodes"


def test_durations() -> None:
    assert [duration(each) for each in (0, 1, 999_499, 999_500)] == ["0 ms", "0.001 ms", "999 ms", "1 s"]
