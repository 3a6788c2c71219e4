"""What a search believes of what comes back: answers to its own probes, and ICMP about them, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.pathmtu import datagram
from agent.pathmtu.datagram import Key
from agent.pathmtu.prober import Numbers, Outcome, Run
from agent.pathmtu.search import Search
from agent.pathmtu.way import TooLarge, TooLargeHereError, Way

KEY, OTHER = Key(b"i" * 8, b"k" * 16), Key(b"j" * 8, b"l" * 16)


@dataclass
class FakeWay:
    """A way whose other end the test is."""

    limit: int = 1500
    """What the path passes."""
    here: int = 65_535
    """What the interface takes."""
    ipv6: bool = False
    tells: bool = False
    forge: list[bytes] = field(default_factory=list)
    """Comes back before every answer."""
    sent: list[bytes] = field(default_factory=list)
    _in: list[bytes] = field(default_factory=list)
    _icmp: list[TooLarge] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mine, self.theirs = socket.socketpair()
        self.mine.setblocking(False)

    def fileno(self) -> int:
        return self.mine.fileno()

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()

    def send(self, probe: bytes) -> bool:
        size = len(probe) + datagram.overhead(self.ipv6)
        if size > self.here:
            raise TooLargeHereError(self.here)
        self.sent.append(probe)
        found = datagram.read_probe(probe, KEY, ipv6=self.ipv6)
        assert found is not None
        self._in += self.forge
        if size <= self.limit:
            self._in.append(datagram.answer(KEY, *found))
        elif self.tells:
            self._icmp.append(TooLarge(probe[:500], self.limit))
        with contextlib.suppress(BlockingIOError):
            self.theirs.send(b"!")
        return True

    def received(self) -> list[bytes]:
        with contextlib.suppress(BlockingIOError):
            self.mine.recv(1000)
        found, self._in = self._in, []
        return found

    def too_large(self) -> list[TooLarge]:
        found, self._icmp = self._icmp, []
        return found


def run_of(way: FakeWay, top: int = 1500) -> Run:
    search = Search(top, datagram.smallest(way.ipv6))
    return Run(search, cast(Way, way), KEY, Numbers(0), contextlib.nullcontext)


def go(way: FakeWay, top: int = 1500) -> Outcome:
    async def scenario() -> Outcome:
        with contextlib.closing(way):
            return await run_of(way, top).go()

    return asyncio.run(scenario())


@pytest.mark.parametrize("ipv6", [False, True])
def test_a_clean_path(ipv6: bool) -> None:
    outcome = go(FakeWay(ipv6=ipv6))
    assert (outcome.verdict.size, outcome.verdict.certain) == (1500, True)
    assert (outcome.sent, outcome.answers, outcome.sent_bytes) == (2, 2, 1500 + datagram.smallest(ipv6))
    assert 0 < outcome.rtt_s < 1


@pytest.mark.parametrize("tells", [False, True])
def test_a_smaller_path(tells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.pathmtu.prober.LEAST_TIMEOUT_S", 0.02)
    outcome = go(FakeWay(limit=1413, tells=tells))
    assert (outcome.verdict.size, outcome.verdict.certain, outcome.verdict.told) == (1413, True, tells)


def test_the_interface_takes_less() -> None:
    outcome = go(FakeWay(here=1400))
    assert (outcome.verdict.size, outcome.verdict.top, outcome.sent) == (1400, 1400, 2)


@given(st.lists(st.binary(max_size=64) | st.just(datagram.answer(OTHER, 2, 1500)), max_size=5), st.data())
def test_forged_answers_pass_nothing(forged: list[bytes], data: st.DataObject) -> None:
    number, size = data.draw(st.integers(1, 10)), data.draw(st.integers(1401, 1500))
    wrong = bytearray(datagram.answer(KEY, number, size))
    wrong[-1] ^= 1
    way = FakeWay()
    run = run_of(way)
    for received in (*forged, bytes(wrong), datagram.answer(KEY, 1, 1500)):  # the last: number 1 was not sent as 1500
        run._send(60) if not run._tries else None
        run._take_answer(received)
    assert run.search.verdict().size is None
    way.close()


def too_large_case(quote: bytes, limit: int) -> tuple[bool, int | None]:
    """Whether an ICMP message is believed while probes 1 (60 bytes) and 2 (1500) are under way."""
    way = FakeWay(limit=0)
    run = run_of(way)
    run._send(60)
    run._send(1500)
    with contextlib.closing(way):
        run._take_too_large(TooLarge(quote or way.sent[1][:0], limit))
        run._take_answer(datagram.answer(KEY, 2, 1500))  # proof all the same, should it come after all
        return run.search.verdict().told, run.search.verdict().size


def quote_of(number: int, size: int, key: Key = KEY) -> bytes:
    return datagram.probe(key, number, size, bytes(1500), ipv6=False)[:500]


@pytest.mark.parametrize(
    ("quote", "limit", "believed"),
    [
        (quote_of(2, 1500), 1400, True),
        (quote_of(2, 1500), 0, True),  # it names no size
        (quote_of(2, 1500), 1500, False),  # its limit was kept to
        (quote_of(9, 1500), 1400, False),  # never sent
        (quote_of(2, 1500, OTHER), 1400, False),
        (b"x" * 500, 1400, False),
        (b"", 1400, True),  # a router that quotes the headers only; the kernel has matched its ports
        (b"", 0, False),
        (b"", 1500, False),
    ],
)
def test_which_icmp_is_believed(quote: bytes, limit: int, believed: bool) -> None:
    assert too_large_case(quote, limit) == (believed, 1500)


def test_numbers_rise_from_one_process_to_the_next() -> None:
    earlier, later = Numbers(), Numbers()
    assert later.next() > earlier.next()
    counted = Numbers(5)
    assert [counted.next(), counted.next()] == [6, 7]
