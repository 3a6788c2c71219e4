"""Lines of the log: one for an event, whatever a peer says, and not too many of what a peer can cause."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from nodetell import logs
from nodetell.paced_log import OF_ALL_AT_ONCE, OF_ONE_AT_ONCE, PacedLog

FORGED = 'x"\nat=2026-01-01T00:00:00.000Z level=error event=finding_appeared\r\x1b[2J\x1b]0;title\x07\u202e\u2028'
_log = logging.getLogger("nodetell.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("debug", stream)
    yield stream
    logging.getLogger("nodetell").handlers.clear()
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each).__module__ != "nodetell.logs"]


def _raise(error: BaseException) -> None:
    raise error


def harmless(text: str) -> bool:
    return text.isascii() and all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("form", [logs._Formatter, logs._JsonFormatter])
@pytest.mark.parametrize("who", ["nodetell.test", "grpc._cython.cygrpc", "asyncio", "some\nlibrary"])
def test_nothing_that_a_peer_says_makes_a_line_of_its_own_or_steers_a_terminal(
    lines: io.StringIO, form: type[logging.Formatter], who: str
) -> None:
    for logger in (logging.getLogger("nodetell"), logging.getLogger()):
        for handler in logger.handlers:
            if type(handler).__module__ == "nodetell.logs":
                handler.setFormatter(form())
    if who == "nodetell.test":
        logs.event(_log, logging.WARNING, "stream_refused", peer=FORGED, reason=FORGED)
    else:
        try:
            _raise(ValueError(FORGED))
        except ValueError:
            logging.getLogger(who).exception("from %s", FORGED)
    text = lines.getvalue()
    assert text.count("\n") == 1
    assert harmless(text)
    assert "finding_appeared" not in re.sub(r'"(\\.|[^"\\])*"', "", text)  # within quotes it is what somebody said
    if form is logs._JsonFormatter:
        assert json.loads(text)["event"] in ("stream_refused", "library")


def test_what_a_peer_causes_again_and_again_is_said_a_few_times_and_how_often_it_was_left_out(
    lines: io.StringIO,
) -> None:
    now = [0.0]
    paced = PacedLog(_log, lambda: now[0])
    for _ in range(10_000):
        paced.event(logging.WARNING, "stream_refused", "10.0.0.5", peer="10.0.0.5")
    assert lines.getvalue().count("\n") == OF_ONE_AT_ONCE
    paced.event(logging.WARNING, "stream_refused", "10.0.0.6", peer="10.0.0.6")
    assert f"lines_left_out={10_000 - OF_ONE_AT_ONCE:.0f}" in lines.getvalue().splitlines()[-1]
    now[0] = 3_600.0
    paced.event(logging.WARNING, "stream_refused", "10.0.0.5", peer="10.0.0.5")
    assert "peer=10.0.0.5" in lines.getvalue().splitlines()[-1]


def test_who_makes_up_a_new_name_each_time_fills_no_disk_either(lines: io.StringIO) -> None:
    paced = PacedLog(_log, lambda: 0.0)
    for number in range(20_000):
        paced.event(logging.WARNING, "stream_refused", f"name-{number}", node=f"name-{number}")
    assert lines.getvalue().count("\n") == OF_ALL_AT_ONCE


def test_libraries_are_heard_at_a_pace_and_a_call_that_was_cancelled_is_no_news(lines: io.StringIO) -> None:
    library = logging.getLogger("grpc._cython.cygrpc")
    try:
        _raise(asyncio.CancelledError())
    except asyncio.CancelledError:
        library.error("Exception not handled", exc_info=sys.exc_info())
    assert lines.getvalue() == ""
    for _ in range(5_000):
        library.error("again")
    assert lines.getvalue().count("\n") == logs.OTHERS_AT_ONCE
