"""Parts of the decision about containers that do not start, each by itself."""

from __future__ import annotations

import pytest

from aggregator.cluster.objects import Container, ContainerState, ContainerStatus, Event, Owner, Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.messages.classify import classify
from aggregator.messages.model import Message
from aggregator.signatures.crash.cadence import UNTOLD, Loop, loop_of
from aggregator.signatures.crash.decide import cause_of_end
from aggregator.signatures.crash.ending import end_of
from aggregator.signatures.crash.jobs import loops_of_jobs
from aggregator.signatures.crash.pulls import image_of, repository_of
from aggregator.signatures.crash.troubled import troubled
from aggregator.signatures.crash.waiting import cause_of_mounts, cause_of_waiting, named_missing
from aggregator.signatures.thresholds import Thresholds

RUNC = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process"
NO_COMMAND = f'{RUNC}: exec: "/entry": stat /entry: no such file or directory: unknown'
NOT_EXECUTABLE = f'{RUNC}: exec: "/entry": permission denied: unknown'
NOT_THERE = 'secret "db" not found'


def waiting(reason: str, message: str = "", kind: str = "waiting") -> ContainerStatus:
    return ContainerStatus("app", state=ContainerState(kind, reason, message))


@pytest.mark.parametrize("reason", ["CreateContainerError", "RunContainerError", "PostStartHookError", "StartError"])
def test_what_the_runtime_says_decides_why_it_cannot_be_started(reason: str) -> None:
    cause = cause_of_waiting(waiting(reason, NO_COMMAND), ())
    assert cause is not None
    assert (cause.code, cause.said_by) == ("crash.command_not_found", "status")
    assert cause.statement.startswith('cannot be started: "')
    assert "no such file" in cause.statement
    assert cause.phrase
    assert cause.phrase in NO_COMMAND


def test_a_command_that_is_not_executable() -> None:
    cause = cause_of_waiting(waiting("RunContainerError", NOT_EXECUTABLE), ())
    assert cause is not None
    assert cause.code == "crash.command_not_found"


def test_a_secret_that_is_not_there_is_named() -> None:
    for reason in ("CreateContainerError", "CreateContainerConfigError"):
        cause = cause_of_waiting(waiting(reason, NOT_THERE), ())
        assert cause is not None
        assert cause.code == "crash.config_missing"
        assert cause.missing == ("Secret/db",)


def test_a_start_that_fails_for_nothing_known_is_an_error_of_its_own_in_its_words() -> None:
    cause = cause_of_waiting(waiting("CreateContainerError", "the gremlins have it"), ())
    assert cause is not None
    assert (cause.code, cause.phrase, cause.said_by) == ("crash.app_error", "", "status")
    assert cause.statement == 'cannot be started: "the gremlins have it"'
    silent = cause_of_waiting(waiting("RunContainerError"), ())
    assert silent is not None
    assert silent.statement == "cannot be started (RunContainerError)"


@pytest.mark.parametrize(
    "message",
    [
        'Multi-Attach error for volume "pv-1" Volume is already used by pod(s) pg-0',
        'MountVolume.SetUp failed for volume "pv-1" : mount failed: exit status 32',
        'Failed to create pod sandbox: plugin type="calico" failed (add): connection is unauthorized',
    ],
)
def test_volumes_and_networks_are_told_by_whoever_looks_at_them(message: str) -> None:
    assert cause_of_waiting(waiting("CreateContainerError", message), ()) is None


def test_who_does_not_wait_or_waits_as_it_should_has_no_cause() -> None:
    assert cause_of_waiting(ContainerStatus("app"), ()) is None
    assert cause_of_waiting(waiting("ContainerCreating"), ()) is None
    assert cause_of_waiting(waiting("CrashLoopBackOff", "back-off 5m0s"), ()) is None
    assert cause_of_waiting(waiting("StartError", NO_COMMAND, kind="terminated"), ()) is None


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ('configmap "settings" not found', ("ConfigMap/settings",)),
        ("couldn't find key password in Secret shop/db", ("Secret/db",)),
        (
            'MountVolume.SetUp failed for volume "x" : secrets "a" not found, configmap "b" not found',
            ("Secret/a", "ConfigMap/b"),
        ),
        ("all is well", ()),
    ],
)
def test_what_is_missing_is_named(message: str, missing: tuple[str, ...]) -> None:
    assert named_missing(message) == missing


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("nginx", "nginx"),
        ("nginx:1.27", "nginx"),
        ("registry.example.com:5000/team/app:1@sha256:0f", "registry.example.com:5000/team/app"),
        ("registry.example.com:5000/app", "registry.example.com:5000/app"),
        ("team/app@sha256:0f", "team/app"),
        ("", ""),
    ],
)
def test_the_repository_is_the_image_without_tag_and_digest(image: str, repository: str) -> None:
    assert repository_of(image) == repository


NOW = 1_790_000_000.0
POD = Pod("shop", "web", PodSpec(), uid="u1")
MOUNT = 'MountVolume.SetUp failed for volume "x" : secret "db" not found'


def mount(message: str = MOUNT, *, ago: float = 10.0, uid: str = "u1", reason: str = "FailedMount") -> Event:
    return Event("shop", "e", "Pod", "shop/web", reason, message, object_uid=uid, last=NOW - ago)


def test_a_volume_of_a_secret_that_is_not_there_keeps_the_pod_from_starting() -> None:
    cause = cause_of_mounts(POD, [mount()], NOW)
    assert cause is not None
    assert cause.statement == f'is not started: "{MOUNT}"'
    assert (cause.code, cause.said_by, cause.missing) == ("crash.config_missing", "event", ("Secret/db",))
    assert cause.phrase in MOUNT


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (mount(ago=299.0), True),
        (mount(ago=300.0), False),
        (mount(uid=""), True),
        (mount(uid="another"), False),
        (mount(reason="FailedAttachVolume"), False),
        (mount('MountVolume.SetUp failed for volume "x" : mount failed: exit status 32'), False),
    ],
)
def test_what_was_said_of_late_of_this_very_pod_counts(event: Event, counts: bool) -> None:
    assert (cause_of_mounts(POD, [event], NOW) is not None) is counts


def test_the_newest_that_tells_is_what_is_told() -> None:
    older, newer = mount(MOUNT.replace("db", "old"), ago=20), mount(ago=10)
    other = mount('MountVolume.SetUp failed for volume "y" : mount failed: exit status 32', ago=5)
    cause = cause_of_mounts(POD, [older, newer, other], NOW)
    assert cause is not None
    assert cause.missing == ("Secret/db",)


# -- ends ------------------------------------------------------------------------------------------------------------


def ended(code: int = 1, reason: str = "Error", message: str = "", finished: float = 1000.0) -> ContainerState:
    return ContainerState("terminated", reason, message, code, started=finished - 9, finished=finished)


def test_a_signal_is_told_of_by_its_code_where_there_is_one() -> None:
    pod = Pod("shop", "web", PodSpec())
    of = {each: end_of(Loop(ContainerStatus("app"), each, backing_off=True), pod, (), None) for each in (ended(139),)}
    (end,) = of.values()
    assert end.said == classify(Message("Container", "Error", 139, ""))
    untold = end_of(Loop(ContainerStatus("app"), UNTOLD, backing_off=True), pod, (), None)
    assert untold.said == classify(Message("Container", "", None, ""))
    assert untold.how == "ended, and its status does not say how"


@pytest.mark.parametrize("code", [126, 127])
def test_a_shell_that_finds_no_command(code: int) -> None:
    for message in ("", "the gremlins have it"):
        loop = Loop(ContainerStatus("app"), ended(code, message=message), backing_off=True)
        assert cause_of_end(end_of(loop, Pod("shop", "web", PodSpec()), (), None)).code == "crash.command_not_found"


def test_words_and_what_else_they_may_mean_go_with_the_cause() -> None:
    message = "denied: requested access to the resource is denied"
    container = waiting("ErrImagePull", message)
    cause = cause_of_waiting(container, ())
    assert cause is not None
    assert (cause.code, cause.said_by) == ("image.unauthorized", "status")
    assert cause.also == ("image.not_found",)
    assert cause.phrase in message


def test_an_event_of_another_container_says_nothing_of_this_one() -> None:
    failed = "Failed to pull image: 401 Unauthorized"
    mine, other, odd = (
        Event("shop", "e", "Pod", "shop/web", reason, failed, last=5.0, field=f"spec.containers{{{name}}}")
        for reason, name in (("Failed", "app"), ("Failed", "proxy"), ("Scheduled", "app"))
    )
    silent = waiting("ImagePullBackOff", 'Back-off pulling image "a"')
    codes = [getattr(cause_of_waiting(silent, (event,)), "code", "") for event in (mine, other, odd)]
    assert codes == ["image.unauthorized", "image.unknown", "image.unknown"]


def test_a_container_that_does_not_back_off_says_so() -> None:
    container = ContainerStatus("app", restarts=5, state=ContainerState("running", started=1001.0), last=ended())
    found = loop_of(container, Pod("shop", "web", PodSpec()), 1010.0, Thresholds())
    assert found is not None
    assert found.backing_off is False


def test_init_containers_are_not_the_others_of_their_name() -> None:
    spec = PodSpec((Container("app", "init:1", init=True), Container("app", "main:1"), Container("b", "b:1")))
    pod = Pod("shop", "web", spec)
    images = [
        image_of(pod, ContainerStatus(name, init=init)) for name, init in (("app", False), ("app", True), ("b", False))
    ]
    assert images == ["main:1", "init:1", "b:1"]
    assert image_of(pod, ContainerStatus("c")) == ""


# -- jobs ------------------------------------------------------------------------------------------------------------


def job(state: ClusterState, name: str, ends: list[float], alive: float = 9.0) -> None:
    """Pods of a Job that failed at these times, each made as the one before had failed."""
    for number, finished in enumerate(ends):
        end = ContainerState("terminated", "Error", "", 1, started=finished - alive, finished=finished)
        status = ContainerStatus("app", state=end)
        key, owner = f"shop/{name}-{number}", Owner("Job", name, f"uid-{name}")
        spec = PodSpec(restart_policy="Never")
        born = finished - alive
        pod = Pod("shop", f"{name}-{number}", spec, created=born, owner=owner, phase="Failed", containers=(status,))
        state.keep("pods", key, pod)


@pytest.mark.parametrize(("since", "found"), [(600.0, ["a"]), (600.5, [])])
def test_a_job_is_in_a_loop_for_as_long_as_a_window(since: float, found: list[str]) -> None:
    state = ClusterState()
    job(state, "a", [1000.0, 1030.0, 1060.0])
    told = loops_of_jobs(troubled(state), state, 1060.0 + since, Thresholds())
    assert [pod.name.partition("-")[0] for pod, _ in told] == found


def test_a_job_that_is_none_hides_no_other() -> None:
    state = ClusterState()
    job(state, "few", [1000.0])
    job(state, "old", [10.0, 20.0, 30.0])
    job(state, "together", [1000.0, 1000.0, 1001.0], alive=300.0)
    job(state, "slow", [1000.0, 2000.0, 3000.0], alive=900.0)
    job(state, "loop", [3000.0, 3030.0, 3060.0])
    told = [(pod.name, loop.tries) for pod, loop in loops_of_jobs(troubled(state), state, 3070.0, Thresholds())]
    assert told == [("loop-2", 3)]


# -- what waits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (NOT_THERE, "crash.config_missing"),
        ("the gremlins have it", "crash.config_missing"),
        ("failed to sync secret cache: timed out waiting for the condition", None),
    ],
)
def test_a_configuration_that_nobody_answered_for_is_not_missing(message: str, code: str | None) -> None:
    cause = cause_of_waiting(waiting("CreateContainerConfigError", message), ())
    assert (cause.code if cause is not None else None) == code
    if cause is not None:
        said = classify(Message("Pod", "CreateContainerConfigError", None, message))
        assert cause.also == said.also
        assert cause.also is not None


def test_what_is_in_trouble_is_kept_and_begun_anew_where_changes_are_too_many() -> None:
    state = ClusterState()
    pod = Pod("shop", "web", PodSpec(), containers=(waiting("ErrImagePull", "x"),))
    state.keep("pods", "shop/web", pod)
    kept = troubled(state)
    assert kept.pods == {"shop/web": pod}
    state.keep("pods", "shop/web", None)
    assert troubled(state) is kept
    assert kept.pods == {}
    state.keep("pods", "shop/web", pod)
    state.clear("pods")
    anew = troubled(state)
    assert anew is not kept
    assert anew.pods == {}
