"""Bytes from a server, cut and damaged anyhow: nothing worse comes of them than a line that says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster.answers import ApiError, refusal, retry_after
from aggregator.cluster.lines import LineSplitter, LineTooLongError
from aggregator.cluster.watch_event import WatchEvent, order, parse

EVENT = b'{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"7"},"spec":{}}}'


@given(st.lists(st.binary(max_size=30)), st.binary(max_size=10), st.data())
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], rest: bytes, data: st.DataObject) -> None:
    lines, rest = [line.replace(b"\n", b"") for line in lines], rest.replace(b"\n", b"")
    text = b"".join(line + b"\n" for line in lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    splitter = LineSplitter(1_000)
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += splitter.feed(text[start:end])
    assert got == [line for line in lines if line.strip()]


@given(st.integers(1, 40), st.integers(1, 7))
def test_no_more_is_held_than_a_line_may_be(limit: int, step: int) -> None:
    splitter = LineSplitter(limit)
    for _ in range(limit // step):
        assert splitter.feed(b"x" * step) == []
    with pytest.raises(LineTooLongError):
        splitter.feed(b"x" * step)


@given(st.data())
def test_a_damaged_event_is_told(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(EVENT) - 1))
    damaged = EVENT[:at] + data.draw(st.binary(max_size=3)) + EVENT[at + data.draw(st.integers(1, 5)) :]
    told = ""
    try:
        event = parse(damaged)
    except ApiError as error:
        told = str(error)
    else:
        assert isinstance(event, WatchEvent)
    assert "\n" not in told


@given(st.integers(0, 999), st.dictionaries(st.just("retry-after"), st.text(max_size=20)), st.binary(max_size=200))
def test_a_refusal_of_any_bytes_is_one_line(code: int, headers: dict[str, str], body: bytes) -> None:
    error = refusal(code, headers, body, 0.0)
    assert str(error).startswith(f"HTTP {code}: ")
    assert "\n" not in str(error)
    assert error.retry_after_s is None or error.retry_after_s >= 0


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_or_none(value: str) -> None:
    seconds = retry_after(value, 1e9)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("version", "other", "expected"),
    [
        ("7", "7", 0),
        ("10", "9", 1),
        ("9", "10", -1),
        ("", "9", 1),
        ("9", "", 1),
        ("a7", "9", 1),
        ("9" * 5000, "9", 1),
        ("-1", "9", 1),
        ("\u0663", "9", 1),
    ],
)
def test_versions_are_ordered_as_numbers_where_they_are(version: str, other: str, expected: int) -> None:
    assert order(version, other) == expected
