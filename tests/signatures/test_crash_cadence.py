"""When a container is in a loop, and when it is done: each boundary by itself."""

from __future__ import annotations

import pytest

from aggregator.cluster.objects import Container, ContainerState, ContainerStatus, Pod, PodSpec
from aggregator.signatures.crash.cadence import UNTOLD, Loop, is_done, loop_of
from aggregator.signatures.thresholds import Thresholds

NOW = 1_790_000_000.0
LIMITS = Thresholds()
WINDOW_S = LIMITS.crash_window_s
BACK_OFF = ContainerState("waiting", "CrashLoopBackOff")
RUNNING = ContainerState("running", started=NOW - 20)


def ended(code: int = 1, *, ago: float = 60.0, alive: float = 9.0, reason: str = "Error") -> ContainerState:
    return ContainerState("terminated", reason, exit_code=code, started=NOW - ago - alive, finished=NOW - ago)


def pod(policy: str = "Always", *, age: float = 3600.0, sidecar: str = "", init: bool = False) -> Pod:
    containers = (
        Container("side", init=True, restartable=sidecar == "side"),
        Container("app", init=init),
    )
    return Pod("shop", "web", PodSpec(containers, restart_policy=policy), created=NOW - age)


def status(
    state: ContainerState | None = BACK_OFF,
    last: ContainerState | None = None,
    *,
    restarts: int = 5,
    name: str = "app",
    init: bool = False,
    ready: bool = False,
) -> ContainerStatus:
    return ContainerStatus(name, init=init, ready=ready, restarts=restarts, state=state, last=last)


@pytest.mark.parametrize(
    ("container", "owner", "done"),
    [
        (status(ended(0)), pod("Always"), False),
        (status(ended(0)), pod("OnFailure"), True),
        (status(ended(1)), pod("OnFailure"), False),
        (status(ended(1)), pod("Never"), True),
        (status(RUNNING), pod("Never"), False),
        (status(ContainerState("waiting")), pod("OnFailure"), False),
        (status(None), pod("Never"), False),
        (status(ended(0), name="side", init=True), pod("Always"), True),
        (status(ended(1), name="side", init=True), pod("Always"), False),
        (status(RUNNING, name="side", init=True), pod("Always"), False),
        (status(None, name="side", init=True), pod("Never"), False),
        (status(RUNNING, name="side", init=True, ready=True), pod("Always"), True),
        (status(ended(0), name="side", init=True, ready=True), pod("Always", sidecar="side"), False),
        (status(ended(0), name="side", init=True), pod("OnFailure", sidecar="side"), False),
        (status(ended(0), name="app", init=True), pod("Always", sidecar="side", init=True), True),
    ],
)
def test_who_is_done(container: ContainerStatus, owner: Pod, done: bool) -> None:
    assert is_done(container, owner) is done


def test_a_back_off_is_a_loop_after_three_restarts_or_two_of_a_pod_that_has_settled() -> None:
    least = LIMITS.crash_restarts_min
    end = ended()
    found = loop_of(status(BACK_OFF, end, restarts=least), pod(age=10), NOW, LIMITS)
    assert found is not None
    assert (found.end, found.backing_off, found.starts, found.alive_s) == (end, True, least + 1, 9.0)
    assert loop_of(status(BACK_OFF, end, restarts=2), pod(age=299), NOW, LIMITS) is None
    assert loop_of(status(BACK_OFF, end, restarts=2), pod(age=300), NOW, LIMITS) is not None
    assert loop_of(status(BACK_OFF, end, restarts=1), pod(age=3000), NOW, LIMITS) is None


def test_an_end_of_which_nothing_is_said_is_one_all_the_same() -> None:
    for last in (None, RUNNING):
        found = loop_of(status(BACK_OFF, last), pod(), NOW, LIMITS)
        assert found is not None
        assert found.end is UNTOLD
        assert found.alive_s is None


def test_without_a_back_off_it_takes_several_restarts_the_last_of_them_of_late_and_a_short_life() -> None:
    least = LIMITS.crash_restarts_min

    def loop(last: ContainerState | None, restarts: int = least, *, booted: float = 0.0) -> Loop | None:
        return loop_of(status(RUNNING, last, restarts=restarts), pod(), NOW, LIMITS, booted)

    found = loop(ended())
    assert found is not None
    assert not found.backing_off
    assert loop(ended(), least - 1) is None
    assert loop(None) is None
    assert loop(RUNNING) is None
    assert loop(ended(ago=WINDOW_S)) is not None
    assert loop(ended(ago=WINDOW_S + 1)) is None
    assert loop(ended(alive=WINDOW_S - 1)) is not None
    assert loop(ended(alive=WINDOW_S)) is None
    assert loop(ContainerState("terminated", "Error", exit_code=1, finished=NOW - 5)) is None
    assert loop(ended(reason="ContainerStatusUnknown")) is None
    assert loop(ended(reason="Unknown")) is None
    assert loop(ended(ago=60, alive=9), booted=NOW - 69) is not None
    assert loop(ended(ago=60, alive=9), booted=NOW - 68) is None


def test_how_it_ends_now_counts_before_how_it_ended_before() -> None:
    now, before = ended(2, ago=1), ended(3)
    found = loop_of(status(now, before), pod(), NOW, LIMITS)
    assert found is not None
    assert found.end is now
    assert loop_of(status(ended(0), before), pod("OnFailure"), NOW, LIMITS) is None


def test_a_clock_that_went_back_makes_no_negative_life() -> None:
    end = ContainerState("terminated", "Error", exit_code=1, started=NOW - 5, finished=NOW - 60)
    found = loop_of(status(BACK_OFF, end), pod(), NOW, LIMITS)
    assert found is not None
    assert found.alive_s == 0.0
