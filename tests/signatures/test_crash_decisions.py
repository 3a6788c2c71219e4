"""Decisions about crashes that only an odd neighbourhood tells apart."""

from __future__ import annotations

import pytest

from aggregator.cluster.objects import ContainerState, ContainerStatus, Credential, Event, Owner, Pod, PodSpec, Workload
from aggregator.cluster.state import ClusterState
from aggregator.node_state import NodeState
from aggregator.signatures.crash.cadence import Loop
from aggregator.signatures.crash.changed import Changed, changed_before
from aggregator.signatures.crash.decide import cause_of_end
from aggregator.signatures.crash.ending import end_of
from aggregator.signatures.thresholds import Thresholds
from tests.lab.cluster import NOW, Lab
from tests.lab.shapes import Json
from tests.signatures.crash_worlds import OWNER, POD, End, cluster, crashes, pull, secrets, waits

UID = "0a0b0c0d-0000-4000-8000-000000000001"
FINISHED = NOW - 60
REFUSED = pull("failed to authorize: 401 Unauthorized")


# -- what was changed --------------------------------------------------------------------------------------------------


def counts(*, secret: float, pod: float, workload: float | None) -> bool:
    """A Secret that was made at this time is held to be a change, by a pod and its ReplicaSet of those times."""
    state = ClusterState()
    state.keep("secrets", "shop/db", Credential("Secret", "shop", "db", created=secret, changed=secret))
    owner = Owner("ReplicaSet", "web-5d", "u")
    if workload is not None:
        state.keep("replicasets", "shop/web-5d", Workload("ReplicaSet", "shop", "web-5d", "u", created=workload))
    of = Pod("shop", "web-5d-a", PodSpec(), created=pod, owner=owner)
    found = changed_before(of, ["Secret/shop/db"], 10_000.0, state, Thresholds())
    assert found in ((), (Changed("Secret/shop/db", secret),))
    return bool(found)


def test_a_secret_that_was_made_anew_for_a_workload_that_was_there_is_a_change() -> None:
    assert counts(secret=9000, pod=9100, workload=1000), "its pods are replaced all the time"
    assert not counts(secret=9000, pod=9100, workload=None), "nobody knows how old its workload is"


@pytest.mark.parametrize(
    ("workload", "change"), [(8401, False), (8400, True), (8900, False), (9000, False), (9700, False)]
)
def test_one_that_is_as_new_as_its_workload_is_an_installation(workload: float, change: bool) -> None:
    assert counts(secret=9000, pod=9800, workload=workload) is change


# -- how it ended ------------------------------------------------------------------------------------------------------


def kernel_of(*lines: str, before: float = 0.0) -> NodeState:
    """A node whose kernel said so as the container ended, or so many seconds before."""
    lab = Lab("crash")
    lab.node("n1")
    for number, line in enumerate(lines):
        lab.host("n1").kernel(line, at=-61 + 0.5 * number - before)
    return lab.view().hosts["n1"]


def oom_kill(before: float = 0.0) -> NodeState:
    pods = "/kubepods.slice/kubepods-burstable.slice"
    scope = f"{pods}/kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-0f.scope"
    where = f"oom_memcg={scope},task_memcg={scope},task=app,pid=4711,uid=0"
    return kernel_of(
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,{where}",
        "Memory cgroup out of memory: Killed process 4711 (app) total-vm:4096kB",
        before=before,
    )


def code_of(exit_code: int, host: NodeState, *others: ContainerStatus, probed: bool = False) -> str:
    """Of a container "app" that ended with this code, beside others."""
    ended = ContainerState("terminated", "Error", "", exit_code, started=FINISHED - 9, finished=FINISHED)
    mine = ContainerStatus("app", restarts=5, last=ended)
    pod = Pod("shop", "web", PodSpec(), uid=UID, containers=(mine, *others), node="n1")
    killing = Event(
        "shop", "e", "Pod", "shop/web", "Killing", "Container app failed liveness probe, will be restarted",
        last=FINISHED, field="spec.containers{app}",
    )  # fmt: skip
    events = (killing,) if probed else ()
    return cause_of_end(end_of(Loop(mine, ended, backing_off=True), pod, events, host)).code


def proxy(reason: str) -> ContainerStatus:
    return ContainerStatus("proxy", last=ContainerState("terminated", reason, exit_code=137))


def test_a_kill_for_want_of_memory_is_the_other_containers_where_that_says_so_and_a_probe_killed_this_one() -> None:
    host = oom_kill()
    assert code_of(137, host) == "crash.oom"
    assert code_of(137, host, probed=True) == "crash.oom"
    assert code_of(137, host, proxy("OOMKilled")) == "crash.oom"
    assert code_of(137, host, proxy("Error"), ContainerStatus("init"), probed=True) == "crash.oom"
    assert code_of(137, host, proxy("OOMKilled"), probed=True) == "crash.liveness_probe"


def test_a_kill_of_some_time_ago_is_of_another_end() -> None:
    assert code_of(137, oom_kill(before=50)) == "crash.oom"
    assert code_of(137, oom_kill(before=600)) == "crash.app_error"


def test_an_other_that_has_not_been_started_again_counts_as_it_is() -> None:
    now = ContainerStatus("proxy", state=ContainerState("terminated", "OOMKilled", exit_code=137))
    assert code_of(137, oom_kill(), now, probed=True) == "crash.liveness_probe"


def test_who_ends_well_was_not_ended_by_a_segmentation_fault_of_its_name() -> None:
    host = kernel_of("app[4711]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in app[55d0+1000]")
    assert code_of(1, host) == "crash.segfault"
    assert code_of(0, host) == "crash.exit_zero"


# -- what one finding is about -----------------------------------------------------------------------------------------


def with_logins(*names: str) -> Json:
    return {"spec": {"imagePullSecrets": [{"name": each} for each in names]}}


def test_each_pull_secret_that_was_changed_is_named() -> None:
    lab = cluster()
    secrets(lab, ("one", -9e6, -1200), ("two", -9e6, -1100))
    waits(lab, "ImagePullBackOff", REFUSED, patch=with_logins("one", "two"))
    lab.event("Pod", POD, "Failed", REFUSED, first=-900, last=-60)
    said = lab.codes()["image.unauthorized"].summary
    assert said.endswith("; Secret shop/one was changed 5 min before; Secret shop/two was changed 3 min before.")


def test_pods_of_a_workload_that_cannot_be_started_for_one_reason_are_one_finding() -> None:
    lab = cluster()
    for name in ("a", "b"):
        key = f"shop/web-5d4f7c9b8-{name}"
        waits(
            lab, "CreateContainerError", 'exec: "/entry": stat /entry: no such file or directory', key=key, owner=OWNER
        )
    (finding,) = lab.findings()
    assert finding.code == "crash.command_not_found"
    assert "(and 1 more for the same cause)" in finding.summary


@pytest.mark.parametrize(("host", "findings"), [("db.example.com", 1), ("10.9.9.9", 1), ("db", 2)])
def test_who_is_outside_is_the_same_for_all_namespaces(host: str, findings: int) -> None:
    lab = cluster()
    for namespace in ("shop", "blog"):
        end = End(1, f"dial tcp {host}:5432: connect: connection refused")
        crashes(lab, end, f"{namespace}/web-0", owner=("StatefulSet", "web"))
    found = [each for each in lab.findings() if each.code == "crash.dependency_unreachable"]
    assert len(found) == findings


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True])
def test_clocks_of_other_nodes_are_right_only_where_something_is_known_of_them(elsewhere: bool) -> None:
    lab = cluster(2)
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": -47.9}')
    if elsewhere:
        lab.host("n2").file("clock.json", '{"synchronized": true, "offset_seconds": 0.001}')
        lab.pod("shop/web-5d4f7c9b8-good2", node="n2", owner=OWNER)
    crashes(lab, End(1, "oidc: verify token: token used before issued"))
    said = lab.codes()["crash.identity"].summary
    assert ("those where it runs well are right" in said) is elsewhere


# -- read-only file systems --------------------------------------------------------------------------------------------


def test_volumes_that_can_be_written_to_are_named() -> None:
    lab = cluster()
    lab.disk("shop/data", "pv-1", zone="eu-1a", attached_to="n1")
    crashes(lab, End(1, "open /data/x: permission denied"), claims={"data": "data"})
    lab.host("n1").mount_csi(POD, "pv-1")
    ruled_out = {each.code: each.because for each in lab.codes()["crash.permission_fs"].ruled_out}
    assert ruled_out["storage.io_error_readonly"] == "on n1, pv-1 can be written to and counts no errors"
