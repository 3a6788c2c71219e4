"""What both roles share: how a node may be called, and how an event is logged."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.logs import configure, event
from nodetell.names import MAX_NODE_NAME, node_name_from, node_name_problem


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    logger = logging.getLogger("nodetell")
    before = (logger.handlers[:], logger.propagate, logger.level)
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def test_an_event_is_one_line_whatever_its_values_are(log: io.StringIO) -> None:
    logger = logging.getLogger("nodetell.agent")
    event(
        logger, logging.WARNING, "stream_ended", node="a-1", reason='two\nlines level=error "x"', retry_s=0.5, empty=""
    )
    event(logger, logging.DEBUG, "not_wanted")
    (line,) = log.getvalue().splitlines()
    at, rest = line.split(" ", 1)
    assert at.startswith("at=2")
    assert at.endswith("Z")
    assert rest == (
        'level=warning role=agent event=stream_ended node=a-1 reason="two\\nlines level=error \\"x\\"" retry_s=0.5'
    )


def test_a_long_value_is_cut(log: io.StringIO) -> None:
    event(logging.getLogger("nodetell.agent"), logging.INFO, "x", value="y" * 5000)
    assert 1_000 < len(log.getvalue()) < 1_100


def test_a_log_that_nobody_reads_does_not_hold_up_the_work(log: io.StringIO) -> None:
    assert not log.getvalue()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "w") as writer:
        configure("info", writer)
        logger = logging.getLogger("nodetell.agent")
        began = time.monotonic()
        for _ in range(300):
            event(logger, logging.INFO, "x", value="y" * 900)  # four times what a pipe holds
        assert time.monotonic() - began < 2
        held = reader.read(1 << 20).splitlines()
        event(logger, logging.INFO, "read_again")
        notice, last = reader.read(1 << 20).splitlines()
        assert notice.endswith(f"event=log_lines_dropped lines={300 - len(held)}".encode())
        assert last.endswith(b"event=read_again")
        assert 30 < len(held) < 100


@given(st.text(max_size=300))
def test_every_host_name_gives_a_node_name(hostname: str) -> None:
    assert node_name_problem(node_name_from(hostname)) == ""


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("node-1", "node-1"),
        ("IP-10-0-0-1.Ec2.internal", "ip-10-0-0-1.ec2.internal"),
        ("my_laptop", "my-laptop"),
        ("", "localhost"),
    ],
)
def test_node_names_of_hosts(hostname: str, expected: str) -> None:
    assert node_name_from(hostname) == expected


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a b", "a\n", "é", "a" * (MAX_NODE_NAME + 1)])
def test_what_is_no_node_name(name: str) -> None:
    assert node_name_problem(name)
