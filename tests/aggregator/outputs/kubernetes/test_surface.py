"""Events and conditions against an API server that takes writes: what comes, when, and what it may refuse."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.cluster.objects import Condition
from aggregator.metrics.declared import METRICS as DECLARED
from aggregator.model import Severity, Stage
from aggregator.outputs.kubernetes.events import MOST_WAITING
from aggregator.outputs.kubernetes.meters import METRICS
from aggregator.outputs.kubernetes.surface import ObjectsSurface
from aggregator.settings import AggregatorSettings, ObjectsSettings
from aggregator.surfaces import SurfaceError
from tests.aggregator.outputs.kubernetes.scene import Cluster, Scene, finding, play
from tests.api_writes import Fault
from tests.apiserver import Request, status

MTU = "NodetellMtuMismatch"


def notes(scene: Scene, action: str = "") -> list[str]:
    return [each["note"] for each in scene.server.events.values() if action in ("", each["action"])]


def refusing(code: int, message: str = "no", reason: str = "", **headers: str) -> Fault:
    return code, status(code, message, reason), headers


def test_a_finding_is_told_on_its_objects_and_nodes_and_clears_itself(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")
    lost = finding(objects=(cluster.pod("web-0"), cluster.claim("data-web-0"), "Path/n1/n2", "Pod/shop/gone"))

    async def acts(scene: Scene) -> None:
        cluster.happens(lost)
        await scene.time.until(59.0)
        assert not scene.server.calls  # the first minute
        await scene.time.until(70.0)
        (condition,) = scene.server.conditions["n1"].values()
        assert (condition["type"], condition["status"]) == (MTU, "True")
        assert condition["reason"] == "MtuOverlayExceedsUnderlay"
        assert condition["message"] == f"{lost.summary} [{lost.id}]"
        assert {each["regarding"]["name"] for each in scene.server.events.values()} == {"web-0", "data-web-0"}
        assert len(scene.server.calls) == 3
        cluster.ends(lost)
        await scene.time.until(80.0)
        assert scene.server.conditions["n1"] == {}
        assert notes(scene, "Resolved") == [f"Over (the condition is over): {lost.summary} [{lost.id}]"] * 2
        await scene.time.until(1_000.0)
        assert len(scene.server.calls) == 6
        assert not scene.surface.gaps()
        told = {each.metric.name: each.rows for each in scene.meters.told()}
        assert (("written",), 6) in told["nodetell_objects_writes_total"]
        assert told["nodetell_objects_waiting"] == [((), 0)]
        assert set(told) == {each.name for each in METRICS}
        assert set(METRICS) <= set(DECLARED)

    play(tmp_path, acts, cluster)


@pytest.mark.parametrize("confirmed_later", [True, False])
def test_nothing_is_written_of_what_is_not_confirmed(tmp_path: Path, confirmed_later: bool) -> None:
    cluster = Cluster()
    cluster.node("n1")
    lost = finding(objects=(cluster.pod("web-0"),))

    async def acts(scene: Scene) -> None:
        cluster.happens(lost, unconfirmed="n1: not heard since 10:00:00")
        await scene.time.until(300.0)
        assert not scene.server.calls
        if confirmed_later:
            cluster.happens(lost)
        await scene.time.until(400.0)
        assert len(scene.server.calls) == (2 if confirmed_later else 0)

    play(tmp_path, acts, cluster)


def test_the_condition_of_a_node_that_falls_silent_is_unknown_until_it_is_heard(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")

    async def acts(scene: Scene) -> None:
        cluster.happens(finding())
        await scene.time.until(70.0)
        assert scene.server.conditions["n1"][MTU]["status"] == "True"
        cluster.happens(finding(), unconfirmed="n1: not heard since 10:00:00")
        await scene.time.until(80.0)
        assert scene.server.conditions["n1"][MTU]["status"] == "Unknown"
        assert "not heard since 10:00:00" in scene.server.conditions["n1"][MTU]["message"]
        cluster.happens(finding())
        await scene.time.until(90.0)
        assert scene.server.conditions["n1"][MTU]["status"] == "True"

    play(tmp_path, acts, cluster, events=False)


def test_what_an_earlier_life_has_left_is_cleared_and_nobody_elses_conditions_are_touched(tmp_path: Path) -> None:
    cluster = Cluster()
    left = Condition("NodetellStorageGravity", "True", "StorageStaleAttachment", "it hangs [x]", 1.0)
    cluster.node("n1", left, Condition("Ready", "True"), Condition("DiskPressure", "False"))
    cluster.node("n2", left, heard=False)

    async def acts(scene: Scene) -> None:
        await scene.time.until(70.0)
        assert set(scene.server.conditions["n1"]) == {"Ready", "DiskPressure"}
        (unknown,) = scene.server.conditions["n2"].values()
        assert (unknown["status"], unknown["reason"]) == ("Unknown", "NotObserved")
        assert len(scene.server.calls) == 2
        cluster.node("n2", heard=True)  # its agent comes, and nothing is wrong there
        scene.shown("n2")
        await scene.time.until(140.0)
        assert scene.server.conditions["n2"] == {}

    play(tmp_path, acts, cluster)


def test_what_stood_before_is_not_told_again_but_its_end_is(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")
    old = finding(objects=(cluster.pod("web-0"),))
    cluster.now -= 1_000.0
    cluster.happens(old, unconfirmed="not heard since the start")
    cluster.now += 1_000.0

    async def acts(scene: Scene) -> None:
        cluster.happens(old)
        await scene.time.until(100.0)
        assert not scene.server.events
        cluster.ends(old)
        await scene.time.until(110.0)
        assert len(notes(scene, "Resolved")) == 1

    play(tmp_path, acts, cluster, node_conditions=False)


def test_a_finding_that_flaps_is_counted_and_its_stage_is_told_once(tmp_path: Path) -> None:
    cluster = Cluster()
    flapping = finding(objects=(cluster.pod("web-0"),), stage=Stage.RISK)

    async def acts(scene: Scene) -> None:
        for number in range(3):
            begun = 100.0 * (number + 1)
            await scene.time.until(begun)
            cluster.happens(flapping)
            await scene.time.until(begun + 10)
            for stage in (Stage.ACTIVE, Stage.RISK, Stage.ACTIVE):
                cluster.happens(replace(flapping, stage=stage))
                await scene.time.until(scene.time.now + 10)
            cluster.ends(flapping)
        await scene.time.until(500.0)
        counted = {each["action"]: each["series"]["count"] for each in scene.server.events.values()}
        assert counted == {"Appeared": 3, "StageChanged": 3, "Resolved": 3}
        assert len(scene.server.calls) == 9
        assert notes(scene, "StageChanged")[0].startswith("Now active: ")
        scene.server.events.clear()  # as the API server does after an hour
        cluster.happens(flapping)
        await scene.time.until(600.0)
        assert [each["action"] for each in scene.server.events.values()] == ["Appeared"]
        assert "series" not in next(iter(scene.server.events.values()))

    play(tmp_path, acts, cluster, node_conditions=False)


def test_what_is_over_before_its_turn_is_not_told_at_all(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")

    async def acts(scene: Scene) -> None:
        cluster.happens(finding(objects=(cluster.pod("web-0"),)))
        cluster.ends(finding())
        await scene.time.until(200.0)
        assert not scene.server.calls

    play(tmp_path, acts, cluster)


def test_the_same_event_of_an_earlier_life_is_counted(tmp_path: Path) -> None:
    cluster = Cluster()
    lost = finding(objects=(cluster.pod("web-0"),))
    written: list[dict[str, object]] = []

    async def first(scene: Scene) -> None:
        cluster.happens(lost)
        await scene.time.until(70.0)
        written.append(dict(scene.server.events))
        cluster.records.clear()

    async def second(scene: Scene) -> None:
        scene.server.events |= written[0]  # type: ignore[arg-type]  # what the first one wrote
        cluster.happens(lost)
        await scene.time.until(70.0)
        assert [each["series"]["count"] for each in scene.server.events.values()] == [2]
        assert [method for _, method, _ in scene.server.calls] == ["POST", "PATCH"]

    play(tmp_path, first, cluster, node_conditions=False)
    play(tmp_path, second, cluster, node_conditions=False)


# -- an incident of any size -------------------------------------------------------------------------------------------


def test_an_incident_of_5000_objects_is_at_most_one_write_a_second(tmp_path: Path) -> None:
    """And causes come before effects, critical before the rest, and what is too much is dropped and said."""
    cluster = Cluster()
    effects, everything = [], 5_000
    for number in range(everything):
        cluster.node(f"n{number}")
        pod = cluster.pod(f"web-{number}")
        severity = Severity.CRITICAL if number % 20 == 0 else Severity.WARNING
        effects.append(finding(str(number), nodes=(f"n{number}",), objects=(pod,), severity=severity, caused_by=("r",)))
    root = finding("root", nodes=("n7",), objects=(cluster.pod("root"),), incident="storage_gravity")

    async def acts(scene: Scene) -> None:
        for each in (*effects, root):
            cluster.happens(each)
        await scene.time.until(399.5)
        calls = scene.server.calls
        assert len(calls) == 340
        assert all(after - before >= 1.0 for (before, _, _), (after, _, _) in itertools.pairwise(calls))
        assert [path.rpartition("/")[2] for _, _, path in calls[:2]] == ["status", "events"]
        assert calls[0][2] == "/api/v1/nodes/n7/status"
        assert next(iter(scene.server.events.values()))["regarding"]["name"] == "root"
        first = [scene.server.conditions[f"n{number}"] for number in range(0, everything, 20)]
        assert all(first)
        assert sum(map(bool, scene.server.conditions.values())) == len(calls) - len(scene.server.events)
        (gap,) = scene.surface.gaps()
        dropped = everything + 1 - MOST_WAITING
        assert gap.because == f"{dropped:,} Events were not written, the least severe: more than 1,000 waited"
        for each in (*effects, root):
            cluster.ends(each)
        before = len(calls)
        await scene.time.until(1_100.0)
        assert not any(scene.server.conditions.values())
        assert len(calls) <= 2 * before  # what was never written needs no end
        assert all(after - before >= 1.0 for (before, _, _), (after, _, _) in itertools.pairwise(calls))

    play(tmp_path, acts, cluster)


# -- what the API server answers ---------------------------------------------------------------------------------------


def test_it_waits_as_long_as_it_is_asked_to(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")

    async def acts(scene: Scene) -> None:
        scene.server.fault = lambda _request: refusing(429, "too many requests", **{"Retry-After": "40"})
        cluster.happens(finding())
        await scene.time.until(150.0)
        times = [at for at, _, _ in scene.server.calls]
        assert all(after - before >= 40.0 for before, after in itertools.pairwise(times))
        assert len(times) >= 2
        (gap,) = scene.surface.gaps()
        assert gap.because == "nothing is written at present, and 1 wait: HTTP 429: too many requests"
        scene.server.fault = lambda _request: None
        await scene.time.until(300.0)
        assert MTU in scene.server.conditions["n1"]
        assert not scene.surface.gaps()

    play(tmp_path, acts, cluster, events=False)


def test_a_missing_right_is_told_with_its_role_and_holds_up_nothing_else(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")
    lost = finding(objects=(cluster.pod("web-0"),))

    def denied(request: Request) -> Fault | None:
        return refusing(403, "events is forbidden", "Forbidden") if request.path.startswith("/apis/") else None

    async def acts(scene: Scene) -> None:
        scene.server.fault = denied
        cluster.happens(lost)
        await scene.time.until(240.0)
        assert MTU in scene.server.conditions["n1"]
        (gap,) = scene.surface.gaps()
        assert gap.because == "Events may not be written: HTTP 403: events is forbidden"
        assert "the ClusterRole nodetell-objects" in gap.remedy
        assert 'apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"]' in gap.remedy
        assert len(scene.server.calls) == 1 + 3  # once a minute
        scene.server.fault = lambda _request: None
        await scene.time.until(320.0)
        assert len(scene.server.events) == 1
        assert not scene.surface.gaps()

    play(tmp_path, acts, cluster)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (refusing(404, "namespaces not found", "NotFound"), ""),
        (refusing(403, "unable to create new content in namespace shop because it is being terminated"), ""),
        (refusing(422, "note: too long", "Invalid"), "refused 1 times since the start: HTTP 422: note: too long"),
        (refusing(400, "no JSON", "BadRequest"), "refused 1 times since the start: HTTP 400: no JSON"),
    ],
)
def test_what_is_about_one_object_ends_there(tmp_path: Path, fault: Fault, said: str) -> None:
    cluster = Cluster()
    bad, good = cluster.pod("bad"), cluster.pod("good", namespace="other")

    async def acts(scene: Scene) -> None:
        scene.server.fault = lambda request: fault if "/shop/" in request.path else None
        cluster.happens(finding(objects=(bad, good)))
        await scene.time.until(120.0)
        assert [each["regarding"]["name"] for each in scene.server.events.values()] == ["good"]
        assert len(scene.server.calls) == 2
        assert [gap.because for gap in scene.surface.gaps() if "403" not in gap.because] == ([said] if said else [])

    play(tmp_path, acts, cluster, node_conditions=False)


def test_an_api_server_that_is_away_is_asked_less_and_less_and_told_when_it_is_back(tmp_path: Path) -> None:
    cluster = Cluster()
    lost = finding(objects=(cluster.pod("web-0"),))

    async def acts(scene: Scene) -> None:
        scene.server.fault = lambda _request: refusing(503, "etcd is not there", "ServiceUnavailable")
        cluster.happens(lost)
        await scene.time.until(360.0)
        times = [at for at, _, _ in scene.server.calls]
        assert times[-1] - times[-2] >= 10.0
        assert scene.surface.counters.failed == len(times) < 40
        scene.server.fault = lambda _request: None
        await scene.time.until(400.0)
        assert len(scene.server.events) == 1
        assert not scene.surface.gaps()

    play(tmp_path, acts, cluster)


def test_a_node_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.node("n1")

    async def acts(scene: Scene) -> None:
        del scene.server.conditions["n1"]
        cluster.happens(finding())
        await scene.time.until(150.0)
        assert len(scene.server.calls) == 1

    play(tmp_path, acts, cluster, events=False)


# -- what is switched on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("events", "node_conditions"), [(True, False), (False, True)])
def test_only_what_is_switched_on_is_written(tmp_path: Path, events: bool, node_conditions: bool) -> None:
    cluster = Cluster()
    cluster.node("n1")

    async def acts(scene: Scene) -> None:
        cluster.happens(finding(objects=(cluster.pod("web-0"),)))
        await scene.time.until(120.0)
        assert (bool(scene.server.events), MTU in scene.server.conditions["n1"]) == (events, node_conditions)

    play(tmp_path, acts, cluster, events=events, node_conditions=node_conditions)


def test_without_an_api_server_it_is_refused() -> None:
    from aggregator.surfaces import Made, surfaces

    settings = AggregatorSettings(objects=ObjectsSettings(events=True))
    made = Made(settings, None, None, None, None, lambda: 0.0)  # type: ignore[arg-type]  # it is not looked at
    with pytest.raises(SurfaceError, match="the API server"):
        surfaces(made)
    with pytest.raises(SurfaceError, match="the API server"):
        ObjectsSurface(made)
