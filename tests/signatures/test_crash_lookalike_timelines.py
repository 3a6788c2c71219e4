"""What looks like a crash loop and is none, and what looks like one cause and is another: in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.model import Finding
from tests.lab.cluster import Lab
from tests.lab.pods import ContainerFields
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp
from tests.signatures.crash_worlds import (
    OWNER,
    POD,
    End,
    cluster,
    crashes,
    failed_pods,
    probe_kills,
    pull,
    pulled,
    runs,
    secrets,
    waits,
    with_secret,
    workload,
)

QUIET = ["crash.app_error", "crash.exit_zero", "crash.identity", "crash.oom", "crash.liveness_probe"]
DB = "dial tcp 10.0.0.9:5432: connect: connection refused"


def init_status(lab: Lab, name: str = "wait", *, code: int = 0, restarts: int = 5) -> dict[str, Any]:
    """An init container that has ended for good."""
    ended = {
        "exitCode": code,
        "reason": "Completed",
        "startedAt": stamp(lab.now - 70),
        "finishedAt": stamp(lab.now - 60),
    }
    last = ended | {"exitCode": 1, "reason": "Error"}
    return {
        "name": name,
        "image": "x",
        "imageID": "",
        "ready": True,
        "started": False,
        "restartCount": restarts,
        "state": {"terminated": ended},
        "lastState": {"terminated": last},
    }


# -- what is a loop --------------------------------------------------------------------------------------------------


@scenario
def crash_app_error__positive_an_init_container() -> Scenario:
    lab = cluster()
    crashes(lab, End(1, "panic: no migrations"), name="migrate", init_containers=[ContainerFields(name="migrate")])
    want = Want("crash.app_error", objects=[f"Pod/{POD}"], says=["init container migrate", "started 8 times"])
    return Scenario(lab, why="the pod never gets to its own containers", expect=[want])


@scenario
def crash_app_error__positive_a_sidecar() -> Scenario:
    lab = cluster()
    proxy = [ContainerFields(name="proxy", restartable=True)]
    crashes(lab, End(1, "panic: oops"), name="proxy", init_containers=proxy, backing_off=False)
    return Scenario(lab, why="a restartable init container is started for ever", expect=[Want("crash.app_error")])


@scenario
def crash_exit_zero__near_miss_an_init_container_that_is_done() -> Scenario:
    lab = cluster()
    patch = {"status": {"initContainerStatuses": [init_status(lab)]}}
    lab.pod(POD, node="n1", owner=OWNER, created=-400, init_containers=[ContainerFields(name="wait")], patch=patch)
    return Scenario(lab, why="it had to try five times, and then it was done", forbid=QUIET)


@scenario
def crash_app_error__near_miss_the_node_was_rebooted() -> Scenario:
    lab = cluster()
    lab.host("n1").booted = lab.now - 200
    crashes(lab, End(143, alive=400, ago=230, restarts=4), backing_off=False)
    crashes(lab, End(255, reason="Unknown", alive=400, ago=230, restarts=9), "shop/x", owner=None, backing_off=False)
    return Scenario(lab, why="what ran before the boot did not end by itself", forbid=QUIET)


@scenario
def crash_app_error__near_miss_rolled_out_just_now() -> Scenario:
    lab = cluster()
    crashes(lab, End(1, DB, restarts=2, ago=10), created=-60)
    forbid = [*QUIET, "crash.dependency_unreachable"]
    return Scenario(lab, why="its database is not up yet: two ends in the first minute are none", forbid=forbid)


@scenario
def crash_app_error__near_miss_evicted() -> Scenario:
    lab = cluster()
    for number in range(5):
        key = f"shop/web-5d4f7c9b8-{number}vict"
        lab.pod(key, node="n1", phase="Failed", reason="Evicted", owner=OWNER, restarts=4, last_exit=("Error", 137))
    return Scenario(lab, why="the kubelet took them away", forbid=QUIET)


@scenario
def crash_app_error__near_miss_it_is_being_deleted() -> Scenario:
    lab = cluster()
    crashes(lab, End(1), deleted=20)
    return Scenario(lab, why="nobody waits for it any more", forbid=QUIET)


@scenario
def crash_app_error__near_miss_its_node_is_lost() -> Scenario:
    lab = cluster()
    crashes(lab, End(1, ago=400))
    lab.lose_node("n1", since=-300)
    return Scenario(lab, why="its status is of the past", expect=[Want("node.lost")], forbid=QUIET)


@scenario
def crash_app_error__positive_a_static_pod() -> Scenario:
    lab = cluster()
    crashes(lab, End(1, "panic: flag provided but not defined"), "kube-system/proxy-n1", owner=("Node", "n1"))
    want = Want("crash.app_error", objects=["Pod/kube-system/proxy-n1"])
    return Scenario(lab, why="its kubelet is its controller", expect=[want])


@scenario
def crash_app_error__positive_a_job_that_never_restarts_its_pods() -> Scenario:
    lab = cluster()
    keys = failed_pods(lab, [(-500, -490), (-470, -460), (-430, -420), (-350, -340)])
    want = Want("crash.app_error", objects=[f"Pod/{keys[-1]}", "Job/shop/import"], says=["started 4 times"], count=1)
    return Scenario(lab, why="each try is a pod of its own, and none has a restart", expect=[want])


@scenario
def crash_app_error__near_miss_three_of_a_parallel_job() -> Scenario:
    lab = cluster()
    failed_pods(lab, [(-500, -490), (-500, -485), (-499, -480)])
    return Scenario(lab, why="they failed beside each other: that was one try", forbid=QUIET)


@scenario
def crash_app_error__recovery_a_job_gets_on() -> Scenario:
    lab = cluster()
    failed_pods(lab, [(-500, -490), (-470, -460), (-430, -420)])
    lab.tick(60)
    lab.pod("shop/import-zzzzz", node="n1", phase="Succeeded", owner=("Job", "import"), created=-50)
    return Scenario(lab, why="the fourth try went well", at_each=[["crash.app_error"], []])


# -- memory, probes, signals -----------------------------------------------------------------------------------------


@scenario
def crash_oom__positive_its_limit_is_told() -> Scenario:
    lab = cluster()
    crashes(lab, End(137, reason="OOMKilled"), limits={"memory": "256Mi"})
    return Scenario(lab, why="whose memory ran out", expect=[Want("crash.oom", says=["its limit is 256 MiB"])])


@scenario
def crash_oom__positive_the_node_ran_out() -> Scenario:
    lab = cluster()
    crashes(lab, End(137, reason="OOMKilled"), limits={"memory": "256Mi"})
    lab.event("Node", "n1", "SystemOOM", "System OOM encountered, victim process: app, pid: 4711", last=-62)
    other = workload(lab, "batch", End(137, reason="OOMKilled"))
    want = Want("crash.oom", nodes=["n1"], objects=[f"Pod/{other}"], says=["n1 itself", "SystemOOM"], count=1)
    return Scenario(lab, why="no limit was reached: one node, two victims", expect=[want])


@scenario
def crash_oom__positive_even_to_start() -> Scenario:
    lab = cluster()
    message = (
        "failed to create shim task: OCI runtime create failed: container init was OOM-killed (memory limit too low?)"
    )
    crashes(lab, End(128, message, "StartError"), limits={"memory": "4Mi"})
    return Scenario(lab, why="no command is missing", expect=[Want("crash.oom")], forbid=["crash.command_not_found"])


@scenario
def crash_oom__near_miss_the_kernel_killed_its_neighbour_long_ago() -> Scenario:
    lab = cluster()
    crashes(lab, End(137))
    uid = lab.store.uid("Pod", POD).replace("-", "_")
    scope = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-0f.scope"
    told = f"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg={scope},task_memcg={scope},task=app,pid=4711,uid=0"
    lab.host("n1").kernel(told, at=-900)
    lab.host("n1").kernel("Memory cgroup out of memory: Killed process 4711 (app) total-vm:4096kB", at=-900)
    want = Want("crash.app_error")
    return Scenario(lab, why="that was another end of it: this one is not told of", expect=[want], forbid=["crash.oom"])


@scenario
def crash_liveness_probe__positive_it_handles_the_signal() -> Scenario:
    lab = cluster()
    probe_kills(lab, End(2))
    return Scenario(lab, why="asked to end, it ends with a code of its own", expect=[Want("crash.liveness_probe")])


@scenario
def crash_liveness_probe__positive_a_startup_probe() -> Scenario:
    lab = cluster()
    crashes(lab, End(137, alive=60))
    failed = "Startup probe failed: dial tcp 10.244.0.7:8080: connect: connection refused"
    lab.event("Pod", POD, "Unhealthy", failed, first=-1100, last=-65, count=40)
    want = Want("crash.liveness_probe", says=["Startup probe failed"])
    return Scenario(lab, why="it is slow to start", expect=[want], forbid=["crash.dependency_unreachable"])


@scenario
def crash_liveness_probe__near_miss_it_ends_with_zero() -> Scenario:
    lab = cluster()
    probe_kills(lab, End(0, reason="Completed"))
    want = Want("crash.exit_zero", says=["Liveness probe failed"])
    return Scenario(lab, why="it ends by itself; that its probe fails is told", expect=[want])


@scenario
def crash_liveness_probe__near_miss_a_readiness_probe() -> Scenario:
    lab = cluster()
    crashes(lab, End(137))
    lab.event("Pod", POD, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", last=-62)
    return Scenario(lab, why="it kills nothing", expect=[Want("crash.app_error")], forbid=["crash.liveness_probe"])


@scenario
def crash_segfault__positive_behind_a_wrapper() -> Scenario:
    lab = cluster()
    crashes(lab, End(1), image="registry.example.com/media/transcoder:7")
    lab.host("n1").kernel(
        "transcoder[4711]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in transcoder[55d0+1000]", -61
    )
    want = Want("crash.segfault", objects=[f"Pod/{POD}"], says=["transcoder"])
    return Scenario(lab, why="its shell ends with 1; the kernel tells why", expect=[want])


@scenario
def crash_segfault__near_miss_another_program_of_the_node() -> Scenario:
    lab = cluster()
    crashes(lab, End(1))
    lab.host("n1").kernel("chrome[99]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in chrome[55d0+1000]", -61)
    return Scenario(lab, why="it is nobody of this pod", expect=[Want("crash.app_error")], forbid=["crash.segfault"])


# -- configuration and images ----------------------------------------------------------------------------------------


@scenario
def crash_config_missing__positive_a_volume_of_a_secret() -> Scenario:
    lab = cluster()
    lab.pod(POD, node="n1", owner=OWNER, pending_since=-900, waiting="ContainerCreating")
    failed = 'MountVolume.SetUp failed for volume "creds" : secret "db-credentials" not found'
    lab.event("Pod", POD, "FailedMount", failed, first=-880, last=-30, count=14)
    want = Want("crash.config_missing", objects=[f"Pod/{POD}", "Secret/shop/db-credentials"], count=1)
    return Scenario(lab, why="ContainerCreating says nothing; the event does", expect=[want])


@scenario
def crash_config_missing__positive_one_secret_for_many() -> Scenario:
    lab = cluster()
    for name in ("api", "worker", "cron"):
        waits(
            lab,
            "CreateContainerConfigError",
            "couldn't find key password in Secret shop/db-credentials",
            key=f"shop/{name}-0",
            owner=("StatefulSet", name),
        )
    objects = ["Secret/shop/db-credentials", *(f"Pod/shop/{name}-0" for name in ("api", "worker", "cron"))]
    want = Want("crash.config_missing", objects=objects, count=1, severity="critical")
    return Scenario(lab, why="one cause, three workloads", expect=[want])


@scenario
def crash_config_missing__near_miss_the_kubelet_has_no_answer() -> Scenario:
    lab = cluster()
    waits(lab, "CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition")
    return Scenario(lab, why="whether it is there, nobody has said", forbid=["crash.config_missing"])


@scenario
def image_registry_unreachable__positive_from_one_node_alone() -> Scenario:
    lab = cluster(3)
    waits(lab, "ImagePullBackOff", pull("dial tcp 10.9.9.9:443: connect: no route to host"))
    pulled(lab, "shop/other", "n2", "registry.example.com/other:3", last=-100)
    want = Want("image.registry_unreachable", nodes=["n1"], says=["n2 has pulled from there since"])
    return Scenario(lab, why="the registry is well: it is the node", expect=[want])


@scenario
def image_registry_unreachable__positive_a_registry_that_nobody_reaches() -> Scenario:
    lab = cluster(3)
    for name in ("api", "worker"):
        waits(
            lab,
            "ImagePullBackOff",
            pull("dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host"),
            key=f"shop/{name}-0",
            owner=("StatefulSet", name),
            image=f"registry.example.com/{name}:1",
        )
    pulled(lab, "shop/other", "n2", "quay.io/other:3", last=-100)
    want = Want("image.registry_unreachable", severity="critical", count=1)
    return Scenario(lab, why="two images, one registry", expect=[want])


@scenario
def image_unauthorized__positive_one_pull_secret_for_several_images() -> Scenario:
    lab = cluster()
    secrets(lab, ("regcred", -9_000_000, -1500), ("other", -9_000_000, -60))
    for name in ("api", "worker"):
        waits(
            lab,
            "ImagePullBackOff",
            pull("unexpected status from HEAD request to https://registry.example.com/v2/: 403 Forbidden"),
            key=f"shop/{name}-0",
            owner=("StatefulSet", name),
            image=f"registry.example.com/{name}:1",
            patch={"spec": {"imagePullSecrets": [{"name": "regcred"}]}},
        )
        lab.event("Pod", f"shop/{name}-0", "Failed", "Error: ErrImagePull", first=-890, last=-30, count=9)
    says = ["Secret shop/regcred was changed 10 min before"]
    want = Want("image.unauthorized", objects=["Secret/shop/regcred"], says=says, severity="critical", count=1)
    return Scenario(lab, why="one set of credentials is refused", expect=[want])


@scenario
def image_unauthorized__near_miss_a_library_image_with_a_typo() -> Scenario:
    lab = cluster()
    why = (
        'failed to resolve reference "docker.io/library/ngnix:1": pull access denied, repository does not exist or may '
        "require authorization: server message: insufficient_scope: authorization failed"
    )
    waits(lab, "ImagePullBackOff", f'Back-off pulling image "ngnix:1": ErrImagePull: {why}', image="ngnix:1")
    want = Want("image.not_found")
    return Scenario(lab, why="Docker Hub's library is public", expect=[want], forbid=["image.unauthorized"])


@scenario
def image_disk_or_snapshotter__positive_one_full_node() -> Scenario:
    lab = cluster()
    for name in ("api", "worker"):
        waits(
            lab,
            "ErrImagePull",
            pull("failed to extract layer sha256:1: write /var/lib/containerd: no space left on device"),
            key=f"shop/{name}-0",
            owner=("StatefulSet", name),
            image=f"registry.example.com/{name}:1",
        )
    want = Want("image.disk_or_snapshotter", nodes=["n1"], count=1)
    return Scenario(lab, why="two images, one node without space", expect=[want])


@scenario
def image_unauthorized__positive_denied_or_not_there() -> Scenario:
    lab = cluster()
    why = "denied: requested access to the resource is denied: repository does not exist or may require 'docker login'"
    waits(lab, "ImagePullBackOff", pull(f"pull access denied for acme/app, {why}"), image="acme/app:1")
    want = Want("image.unauthorized", says=["does not tell a private image from a missing one"])
    return Scenario(lab, why="the registry leaves both open, and so does the finding", expect=[want])


@scenario
def crash_config_missing__near_miss_it_is_there_by_now() -> Scenario:
    lab = cluster()
    lab.pod(POD, node="n1", owner=OWNER, pending_since=-1900, waiting="ContainerCreating")
    failed = 'MountVolume.SetUp failed for volume "creds" : secret "db-credentials" not found'
    lab.event("Pod", POD, "FailedMount", failed, first=-1880, last=-1500, count=4)
    return Scenario(
        lab, why="it was missing at first, and has not been said to be since", forbid=["crash.config_missing"]
    )


# -- identity --------------------------------------------------------------------------------------------------------


@scenario
def crash_identity__positive_its_secret_was_changed() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -1500), ("other", -9_000_000, -1300))
    crashes(lab, End(1), patch=with_secret("db-credentials"))
    objects = [f"Pod/{POD}", "Secret/shop/db-credentials"]
    want = Want("crash.identity", objects=objects, says=["changed 5 min before it began to fail"])
    return Scenario(lab, why="nothing is said, and what it logs in with was changed", expect=[want])


@scenario
def crash_identity__positive_changed_and_refused() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -1500))
    refused = 'FATAL: password authentication failed for user "app"'
    crashes(lab, End(1, refused), patch=with_secret("db-credentials"))
    return Scenario(lab, why="two pieces of evidence", expect=[Want("crash.identity", severity="critical")])


@scenario
def crash_identity__near_miss_its_secret_was_changed_long_before() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -90_000))
    crashes(lab, End(1), patch=with_secret("db-credentials"))
    return Scenario(lab, why="it ran for a day since", expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__near_miss_its_secret_was_changed_after_it_began() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -300))
    crashes(lab, End(1), patch=with_secret("db-credentials"))
    why = "somebody tried to mend it"
    return Scenario(lab, why=why, expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__near_miss_all_of_it_was_installed_just_now() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -1300, -1300))
    lab.replicaset("shop/web-5d4f7c9b8", owner=("Deployment", "web"), created=-1290)
    crashes(lab, End(1), patch=with_secret("db-credentials"), created=-1280)
    why = "the Secret is as new as the workload: nothing was changed"
    return Scenario(lab, why=why, expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__near_miss_a_panic_of_its_own() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -1500))
    crashes(lab, End(1, "panic: runtime error: index out of range [5]"), patch=with_secret("db-credentials"))
    why = "its own words tell of something else"
    return Scenario(lab, why=why, expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__near_miss_others_run_with_the_same_account() -> Scenario:
    lab = cluster()
    for name in ("uploader", "scaler"):
        workload(lab, name, End(1), service_account="cloud-access")
        twin = f"shop/{name}-6f6f6f6f6-twin"
        lab.pod(
            twin, node="n2", owner=("ReplicaSet", f"{name}-6f6f6f6f6"), created=-300, service_account="cloud-access"
        )
    why = "started since, with the same account, its twins run well: the account is not refused"
    return Scenario(lab, why=why, expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__near_miss_its_connections_hang() -> Scenario:
    lab = cluster()
    keys = [workload(lab, name, End(1), service_account="cloud-access") for name in ("uploader", "scaler")]
    stuck = [
        f'{{"pod_uid": "{lab.store.uid("Pod", key)}", "peer": "10.9.9.9", "large": 31, "small": 0, '
        '"consecutive_timeouts": 6}'
        for key in keys
    ]
    lab.host("n1").file("retransmits.json", f"[{', '.join(stuck)}]")
    return Scenario(
        lab,
        why="large segments time out: nobody has refused anybody",
        expect=[Want("crash.app_error")],
        forbid=["crash.identity"],
        allow=["mtu.path_black_hole"],
    )


@scenario
def crash_identity__near_miss_no_clock_is_disciplined_anywhere() -> Scenario:
    lab = cluster(2)
    for number in (1, 2):
        lab.host(f"n{number}").file("clock.json", '{"synchronized": false, "offset_seconds": 0.0}')
    crashes(lab, End(1))
    lab.pod("shop/web-5d4f7c9b8-good2", node="n2", owner=OWNER)
    why = "where it runs well, the clock is no better"
    return Scenario(lab, why=why, expect=[Want("crash.app_error")], forbid=["crash.identity"])


@scenario
def crash_identity__recovery_the_secret_is_put_right() -> Scenario:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -1500))
    crashes(lab, End(1), patch=with_secret("db-credentials"))
    lab.tick(60)
    secrets(lab, ("db-credentials", -9_000_000, -30))
    runs(lab)
    return Scenario(lab, why="it runs again", at_each=[["crash.identity"], []])


# -- dependencies and files ------------------------------------------------------------------------------------------


@scenario
def crash_dependency_unreachable__positive_one_database_for_many() -> Scenario:
    lab = cluster()
    keys = [workload(lab, name, End(1, f"cannot connect: {DB}")) for name in ("api", "worker")]
    objects = [f"Pod/{key}" for key in keys]
    want = Want("crash.dependency_unreachable", objects=objects, count=1)
    return Scenario(lab, why="one database does not answer", expect=[want], forbid=["crash.identity"])


@scenario
def crash_permission_fs__positive_a_root_that_is_read_only() -> Scenario:
    lab = cluster()
    crashes(lab, End(1, "open /tmp/cache: read-only file system"))
    return Scenario(
        lab,
        why="no volume of its own: its root is read-only on purpose",
        expect=[Want("crash.permission_fs")],
        forbid=["storage.io_error_readonly"],
    )


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def excluded(lab: Lab, code: str) -> dict[str, str]:
    found: Finding = lab.codes()[code]
    return {each.code: each.because for each in found.ruled_out}


def test_a_kill_that_nobody_explains_says_what_it_is_not() -> None:
    lab = cluster()
    lab.host("n1").kernel("eth0: link up")
    crashes(lab, End(137))
    told = excluded(lab, "crash.app_error")
    assert "the kernel of n1 tells of no kill" in told["crash.oom"]
    assert "no event tells of a liveness or startup probe" in told["crash.liveness_probe"]
    assert "crash.segfault" in told


def test_what_the_kernel_tells_of_an_end_is_evidence() -> None:
    lab = cluster()
    crashes(lab, End(139))
    lab.host("n1").kernel("app[4711]: segfault at 0 ip 000055d0 sp 00007ffd error 4 in app[55d0+1000]", -61)
    told = {(each.signal, each.node, each.subject): each.source for each in lab.codes()["crash.segfault"].evidence}
    assert told["counter.kernel_segfault", "n1", "app"] == "kmsg"


def test_where_nobody_looked_nothing_is_ruled_out() -> None:
    lab = Lab("blind")
    lab.node("n1")
    crashes(lab, End(1), owner=None)
    lab.unlisted.add("events")
    assert excluded(lab, "crash.app_error").keys() == {"crash.oom", "crash.command_not_found"}


def test_identity_is_told_from_a_dependency_by_what_was_said() -> None:
    lab = cluster()
    crashes(lab, End(1, f'failed to connect: {DB}: password authentication failed for user "app"'))
    assert "password authentication failed" in excluded(lab, "crash.identity")["crash.dependency_unreachable"]
    lab = cluster()
    crashes(lab, End(1, f"cannot connect: {DB}"))
    assert "nobody refused it" in excluded(lab, "crash.dependency_unreachable")["crash.identity"]


def test_a_pull_tells_what_the_registry_said() -> None:
    lab = cluster()
    waits(lab, "ErrImagePull", pull("manifest unknown: manifest unknown"))
    told = excluded(lab, "image.not_found")
    assert {"image.unauthorized", "image.registry_unreachable", "image.rate_limited"} <= told.keys()
    assert "the registry answered" in told["image.registry_unreachable"]
