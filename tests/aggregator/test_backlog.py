"""What was kept of an absence takes its place in the windows: no burst that was none, nothing there was forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nodetell.v1 import agent_pb2

from agent import ledger as ledger_module
from agent.ledger import Ledger
from agent.reading import Block, Reading
from aggregator.node_items import UpdateError
from aggregator.node_state import Delta, NodeState

EPOCH = 1_760_000_000
NAMES = ("rx_packets", "tx_dropped")
Rise = Callable[[float], tuple[int, int]]
"""(rx_packets, tx_dropped) at a moment."""


@pytest.fixture(autouse=True)
def _told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PART_GAP_S", 5.0)


def reading(values: tuple[int, int]) -> Reading:
    return Reading({}, {"link/1": Block(NAMES, values), "link/2": Block(NAMES, (7, 7))})


class Wire:
    """An agent and what the aggregator has of it."""

    def __init__(self, rise: Rise) -> None:
        self.rise = rise
        self.ledger, self.node = Ledger(), NodeState("node")
        self.at = 0.0

    def send(self, at: float) -> agent_pb2.Update | None:
        """An update at that moment; the aggregator is there."""
        self.at = at
        made = self.ledger.next(reading(self.rise(at)), round(1000 * (EPOCH + at)), at)
        if made is None:
            self.node.touch(EPOCH + at)
            return None
        self.node.apply(made[1])
        self.ledger.acknowledged()
        return made[1]

    def stand(self, seconds: float) -> None:
        """Updates every 5 s."""
        for _ in range(round(seconds / 5)):
            self.send(self.at + 5)

    def part(self, seconds: float, *, forgotten: bool = False) -> None:
        """The aggregator is away for so long; `forgotten`: another one is there afterwards."""
        until = self.at + seconds
        while self.at + 5 < until:
            self.at += 5
            self.ledger.away(reading(self.rise(self.at)), self.at)
        if forgotten:
            self.node = NodeState("node")
            self.ledger.tell_all()
        self.send(until)

    def dropped(self, window_s: float) -> Delta:
        delta = self.node.delta("link/1", "tx_dropped", window_s)
        assert delta is not None
        return delta


def steadily(at: float) -> tuple[int, int]:
    return round(100 * at), round(at)


def test_an_hour_s_rise_is_no_burst_before_it_is_known_when_it_came() -> None:
    wire = Wire(steadily)
    wire.send(0)
    wire.stand(60)
    wire.part(3_600)
    assert wire.dropped(60) == Delta(60, 60.0)
    assert wire.dropped(900) == Delta(900, 900.0)
    assert wire.node.increments("link/1", 60) == {"rx_packets": Delta(6_000, 60.0), "tx_dropped": Delta(60, 60.0)}
    plain = wire.node.rises("link/1", 60)
    assert plain is not None
    assert (list(plain[0]), plain[1]) == ([6_000, 60], 60.0)
    assert wire.node.level("link/1", "tx_dropped") == 3_660
    wire.node.touch(EPOCH + wire.at + 30)
    assert wire.dropped(60).increment in (30, 31)


def test_a_full_update_after_a_silence_is_no_burst_either() -> None:
    wire = Wire(steadily)
    wire.send(0)
    wire.stand(60)
    wire.ledger.tell_all()
    wire.send(3_660)  # nothing was kept: the stream had stalled, say
    assert wire.dropped(60) == Delta(60, 60.0)


def burst(at: float) -> tuple[int, int]:
    """Drops from the 1,800th to the 1,830th second, and nothing else."""
    return 5, round(30 * min(max(at - 1_800, 0), 30))


@pytest.mark.parametrize("forgotten", [False, True])
def test_when_it_is_told_a_burst_in_the_absence_is_where_it_was(forgotten: bool) -> None:
    wire = Wire(burst)
    wire.send(0)
    wire.stand(1_500)
    wire.part(600, forgotten=forgotten)  # until 2,100
    wire.stand(60)
    assert len(wire.ledger.backlog) == 0
    assert wire.dropped(60).increment == 0
    assert wire.dropped(240).increment == 0
    assert wire.dropped(330 + 60).increment == 900
    assert wire.dropped(330 + 60).seconds <= 450
    assert ("link/1", "tx_dropped") in set(wire.node.faults(400))
    assert wire.node.level("link/1", "tx_dropped") == 900
    assert not wire.node.increments("link/2", 900)


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("absence", [30, 120, 840, 3_600])
def test_windows_after_it_are_those_of_a_node_that_was_heard_all_along(absence: float, forgotten: bool) -> None:
    def uneven(at: float) -> tuple[int, int]:
        return round(50 * at + 3 * (at % 300)), round(at // 60 + (at / 40) ** 1.5)

    wire, heard = Wire(uneven), Wire(uneven)
    for each in (wire, heard):
        each.send(0)
        each.stand(300)
    wire.part(absence, forgotten=forgotten)
    wire.stand(120)
    heard.stand(absence + 120)
    assert wire.node.level("link/1", "tx_dropped") == heard.node.level("link/1", "tx_dropped")
    for window in (10.0, 60.0, 100.0, 140.0, 300.0, 600.0):
        if forgotten and window > absence:
            continue
        mine, whole = wire.dropped(window), heard.dropped(window)
        # Both have the true rise since the moment they name, and the two moments are no further apart than roll-ups.
        assert abs(mine.seconds - whole.seconds) <= 65
        assert mine.increment == uneven(wire.at)[1] - uneven(wire.at - mine.seconds)[1]


def test_a_new_aggregator_has_windows_at_once() -> None:
    wire = Wire(steadily)
    wire.send(0)
    wire.part(600, forgotten=True)
    assert wire.node.delta("link/1", "tx_dropped", 300) is None
    wire.stand(30)
    assert wire.dropped(300).increment == pytest.approx(300, abs=62)
    assert wire.node.has_rates()


def good() -> agent_pb2.Update:
    update = agent_pb2.Update(at_unix_ms=(EPOCH + 100) * 1000)
    update.backlog.schemas.add(id=1, names=NAMES)
    update.backlog.blocks.add(first_slot=1, schema=1, subject="link/1", values=[90, 90])
    update.backlog.samples.add(at_offset_ms=-20_000, span_ms=5_000, slot_gaps=[1, 1], increments=[3, 4])
    update.backlog.samples.add(at_offset_ms=-10_000, span_ms=10_000, slot_gaps=[2], increments=[4])
    return update


def clash(update: agent_pb2.Update) -> None:
    update.backlog.blocks.add(first_slot=2, schema=1, subject="link/2", values=[1, 1])


def many(update: agent_pb2.Update) -> None:
    for _ in range(1_001):
        update.backlog.samples.add(span_ms=1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda update: update.backlog.blocks[0].values.append(1),
        lambda update: setattr(update.backlog.blocks[0], "schema", 9),
        lambda update: setattr(update.backlog.blocks[0], "subject", ""),
        lambda update: setattr(update.backlog.blocks[0], "subject", "x" * 2_000),
        clash,
        many,
        lambda update: setattr(update.backlog.samples[0], "span_ms", 0),
        lambda update: setattr(update.backlog.samples[0], "at_offset_ms", -15_000),  # they overlap
        lambda update: setattr(update.backlog.samples[1], "at_offset_ms", 60_000),
        lambda update: update.backlog.samples[0].slot_gaps.append(1),
        lambda update: update.backlog.samples[0].slot_gaps.__setitem__(1, 7),
        lambda update: update.backlog.samples[0].increments.__setitem__(0, 91),
    ],
)
def test_what_is_not_sane_is_refused_whole(spoil: Callable[[agent_pb2.Update], None]) -> None:
    wire = Wire(steadily)
    wire.send(0)
    wire.stand(50)
    wire.node.apply(good())
    bad = good()
    spoil(bad)
    before = wire.node.revision, wire.node.at
    with pytest.raises(UpdateError, match=r"^[^\n]+$"):
        wire.node.apply(bad)
    assert (wire.node.revision, wire.node.at) == before
