"""The agent's budget, by a clock and costs that the test makes up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agent.budget import LONGEST_S, ROOM, Budget, Pace


@dataclass
class World:
    """Collectors that cost so much a run, in an agent that takes so much besides."""

    costs: dict[str, tuple[float, float]]
    """Interval in seconds and CPU seconds a run, by name."""
    percent: float = 0.5
    besides: float = 0.0
    """Percent of a core."""
    now: float = 1000.0
    spent: float = 5.0
    paces: list[Pace] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paces = [Pace(name, interval) for name, (interval, _) in self.costs.items()]
        self.budget = Budget(self.percent, 60, self.now, self.spent)
        self.minute()  # the start is not judged

    def minute(self) -> list[str]:
        """A window passes; names of those whose pace changed."""
        self.now += 60
        self.spent += 60 * self.besides / 100
        for pace in self.paces:
            pace.cpu_s = 60 / pace.interval_s * self.costs[pace.name][1]
            self.spent += pace.cpu_s
        return [pace.name for pace in self.budget.judge(self.now, self.spent, self.paces)]

    @property
    def slowdowns(self) -> list[int]:
        """In order."""
        return [pace.slowdown for pace in self.paces]


def test_within_the_budget_nothing_is_touched() -> None:
    world = World({"links": (1, 0.001), "disks": (5, 0.001)}, besides=0.3)
    assert [world.minute() for _ in range(5)] == [[]] * 5
    assert world.budget.share_percent == pytest.approx(0.42)
    assert not world.budget.exceeded


def test_the_dearest_pays_and_no_more_than_is_needed() -> None:
    world = World({"cheap": (1, 0.0005), "dear": (1, 0.008), "rare": (300, 0.02)}, besides=0.1)
    assert world.minute() == ["dear"]
    assert world.slowdowns == [1, 4, 1]
    assert world.minute() == []
    assert world.budget.share_percent is not None
    assert world.budget.share_percent < 0.5
    told = world.paces[1].told
    assert told == (
        "the agent took 0.96 % of a core, over its budget of 0.5 %, this collector 0.80 %: "
        "it runs every 4 s instead of 1 s"
    )


@pytest.mark.parametrize(("interval", "longest"), [(0.5, 4), (1, 8), (5, 40), (10, 40), (30, 60), (60, 60), (300, 300)])
def test_no_interval_is_stretched_beyond_what_findings_need(interval: float, longest: float) -> None:
    world = World({"one": (interval, 10.0)})
    world.minute()
    assert world.paces[0].interval_s == longest <= max(interval, LONGEST_S)
    world.minute()
    assert world.paces[0].interval_s == longest
    assert world.budget.exceeded


def test_what_costs_little_is_not_slowed_down_for_what_others_take() -> None:
    world = World({"clock": (1, 0.00001)}, besides=2.0)
    assert world.minute() == []
    assert world.budget.exceeded
    world.besides = 0.1
    world.minute()
    assert not world.budget.exceeded


def test_it_recovers_by_steps_and_only_where_there_is_room() -> None:
    world = World({"dear": (1, 0.018)})
    world.minute()
    assert world.slowdowns == [4]
    assert [world.minute() for _ in range(10)] == [[]] * 10  # at 0.45 there is no room for the double
    world.costs["dear"] = (1, 0.0005)
    assert [world.minute() for _ in range(3)] == [["dear"], ["dear"], []]
    assert world.slowdowns == [1]
    assert world.paces[0].told == ""


def test_at_the_edge_it_does_not_swing() -> None:
    """What is let go must fit with room to spare, so that a steady load leads to a steady pace."""
    for cost in range(1, 200):
        world = World({"a": (1, cost / 10_000), "b": (5, 0.004)}, besides=0.2)
        for _ in range(6):
            world.minute()
        assert [world.minute() for _ in range(6)] == [[]] * 6, cost
    assert ROOM < 1


def test_letting_go_that_was_wrong_is_tried_more_seldom() -> None:
    """A collector that is dear only when it runs often, which nobody can foresee."""
    world = World({"odd": (1, 0.008)})
    changes = []
    for _ in range(120):
        world.costs["odd"] = (1, 0.008 if world.slowdowns == [1] else 0.0001)
        changes += world.minute()
    assert len(changes) < 24
