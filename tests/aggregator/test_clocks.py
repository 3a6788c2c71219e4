"""Many clocks beside one: whose is wrong, and what happens while the aggregator's own is set."""

from __future__ import annotations

import pytest

from aggregator.clock_offset import WINDOW_S, ClockSample
from aggregator.clocks import EVERY_S, FIRST_S, SET_WAIT_S, Clocks, reference
from aggregator.node_state import NodeState

TOLERANCE_S = 5.0


class World:
    """An aggregator and hosts whose clocks the test sets."""

    def __init__(self, *offsets: float) -> None:
        self.mono, self.drift = 1000.0, 1.8e9
        self.offsets = list(offsets)
        """Each host's clock less the true time."""
        self.own = 0.0
        """The aggregator's clock less the true time."""
        self.clocks = Clocks(TOLERANCE_S, lambda: self.mono + self.drift + self.own, lambda: self.mono)
        self.hosts = {f"n{number}": NodeState(f"n{number}") for number in range(len(offsets))}
        self.api: float | None = None
        """The API server's clock less the true time; None: there is none."""

    def hear(self) -> None:
        for name, offset in zip(self.hosts, self.offsets, strict=True):
            self.clocks.add(name, ClockSample(self.mono, offset - self.own, 0.01))

    def settle(self) -> None:
        self.clocks.settle(self.hosts, None if self.api is None else self.api - self.own)

    def run(self, seconds: float) -> None:
        """Every agent is heard every 30 s."""
        for _ in range(round(seconds / EVERY_S)):
            if self.mono % 30 < EVERY_S:
                self.hear()
            self.settle()
            self.mono += EVERY_S

    def seen(self) -> list[float | None]:
        return [
            None if host.clock_offset is None else round(host.clock_offset.offset_s, 1) for host in self.hosts.values()
        ]


def test_offsets_are_told_from_soon_after_the_start() -> None:
    world = World(0.0, 12.0, -3.0)
    world.hear()
    world.settle()
    assert world.seen() == [None] * 3
    world.mono += FIRST_S
    world.settle()
    assert world.seen() == [0.0, 12.0, -3.0]
    offset = world.hosts["n1"].clock_offset
    assert offset is not None
    assert offset.at == pytest.approx(1000.0 + world.drift)
    assert offset.bound_s == pytest.approx(0.015)
    assert not offset.from_most
    assert not world.clocks.gaps()


def test_where_most_differ_alike_the_aggregator_is_wrong_and_the_odd_one_is_still_seen() -> None:
    world = World(0.0, 0.1, -0.1, 40.0)
    world.own = -30.0
    world.run(60)
    assert world.seen() == [0.0, 0.1, -0.1, 40.0]
    assert all(host.clock_offset is not None and host.clock_offset.from_most for host in world.hosts.values())
    (gap,) = world.clocks.gaps()
    assert "aggregator's own clock is 30.0 s slow" in gap.because
    assert "3 of 4 nodes differ from it alike" in gap.because
    world.own = 0.0
    world.run(120)
    assert not world.clocks.gaps()
    assert world.seen() == [0.0, 0.1, -0.1, 40.0]


def test_setting_the_aggregator_s_clock_is_nobody_s_skew_at_any_time() -> None:
    world = World(0.0, 0.0, 0.0, 20.0)
    world.run(120)
    assert world.seen() == [0.0, 0.0, 0.0, 20.0]
    world.own = 600.0
    for _ in range(40):
        world.run(EVERY_S)
        assert world.seen() == [0.0, 0.0, 0.0, 20.0]
    assert world.clocks.gaps()


def test_a_step_that_is_corrected_before_the_agents_are_heard_again_leaves_no_trace() -> None:
    world = World(0.0, 20.0)
    world.run(60)
    world.own = -100.0
    world.run(10)
    world.own = 0.0
    world.run(SET_WAIT_S + 40)
    assert world.seen() == [0.0, 20.0]
    assert not world.clocks.gaps()


def test_a_host_that_is_not_heard_any_more_is_told_for_some_minutes() -> None:
    world = World(0.0, 20.0)
    world.run(60)
    world.mono += WINDOW_S - 60
    world.settle()
    assert world.seen()[1] == 20.0
    world.mono += WINDOW_S
    world.settle()
    assert world.seen() == [None, None]


def test_only_what_is_off_or_was_counts_as_a_change_of_the_host() -> None:
    world = World(0.0, 20.0)
    world.run(60)
    right, wrong = world.hosts["n0"].revision, world.hosts["n1"].revision
    assert right == 0
    assert wrong > 0
    world.offsets[1] = 0.0
    world.run(35)
    settled = world.hosts["n1"].revision
    assert settled > wrong
    world.run(60)
    assert world.hosts["n1"].revision == settled
    assert world.hosts["n0"].revision == right


def test_a_node_that_is_forgotten_votes_no_more() -> None:
    world = World(30.0, 30.0, 30.0)
    world.run(30)
    assert world.clocks.gaps()
    for name in ("n0", "n1"):
        world.clocks.forget(name)
        del world.hosts[name]
    world.mono += EVERY_S
    world.settle()
    assert not world.clocks.gaps()


@pytest.mark.parametrize(
    ("offsets", "api", "expected", "because"),
    [
        ([], 30.0, 0.0, ""),
        ([0.1, 0.2, 30.0], None, 0.0, ""),
        ([30.0], None, 0.0, ""),
        ([30.0, 30.0], None, 0.0, ""),
        ([30.0, 30.1, 30.2], None, 30.1, "3 of 3 nodes differ from it alike"),
        ([30.0, 30.1, 0.0, 0.0], None, 0.0, ""),
        ([-9.0, -9.0, 60.0], None, -9.0, "2 of 3 nodes"),
        ([-9.0, 60.0, 400.0], None, 0.0, ""),
        ([30.0], 31.0, 30.0, "1 of 1 node differ from it alike, and so does the API server"),
        ([30.0, 30.0, 30.0], 0.0, 0.0, ""),
        ([30.0, 30.0, 30.0], -60.0, 30.0, "and the API server by another amount"),
        ([30.0, 30.0], -60.0, 0.0, ""),
        ([4.0, 4.0, 4.0], 4.0, 0.0, ""),
    ],
)
def test_whose_clock_is_wrong(offsets: list[float], api: float | None, expected: float, because: str) -> None:
    found = reference(offsets, api, TOLERANCE_S)
    assert found.offset_s == pytest.approx(expected)
    assert because in found.because
    assert bool(found.because) == (expected != 0.0)


def test_the_api_server_that_agrees_makes_a_small_cluster_s_aggregator_the_wrong_one() -> None:
    world = World(0.0)
    world.own, world.api = 45.0, 0.0
    world.run(60)
    assert world.seen() == [0.0]
    (gap,) = world.clocks.gaps()
    assert "45.0 s fast" in gap.because
