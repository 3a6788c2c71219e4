"""Crash loops and images that do not come: positive, near miss and recovery of each cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from aggregator.signatures.crash.codes import CODES
from tests.lab.cluster import Lab
from tests.lab.scenario import Make, Scenario, Want, judge, lacking, of_module, prefix_of, scenario
from tests.signatures.crash_worlds import OWNER, POD, End, cluster, crashes, probe_kills, pull, runs, waits

REFUSED_PULL = (
    "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to "
    "https://ghcr.io/token?scope=repository%3Aacme%2Fapp%3Apull: 401 Unauthorized"
)
REFUSED = "dial tcp 10.0.0.9:5432: connect: connection refused"
STS = "InvalidIdentityToken: No OpenIDConnect provider found in your account"


@dataclass(frozen=True)
class Row:
    """A cause, and what looks like it and is something else."""

    code: str
    fault: Callable[[Lab], object]
    look_alike: Callable[[Lab], object]
    found_instead: str = ""
    """Code of the look-alike; empty: nothing is found."""


ROWS = (
    Row(
        "image.unauthorized",
        lambda lab: waits(lab, "ImagePullBackOff", pull(REFUSED_PULL)),
        lambda lab: waits(lab, "ImagePullBackOff", pull("toomanyrequests: You have reached your pull rate limit")),
        "image.rate_limited",
    ),
    Row(
        "image.not_found",
        lambda lab: waits(lab, "ImagePullBackOff", pull("docker.io/library/nginx:1.29.9-alpin: not found")),
        lambda lab: waits(lab, "ErrImagePull", pull("manifest unknown: manifest unknown"), since=-20),
    ),
    Row(
        "image.registry_unreachable",
        lambda lab: waits(lab, "ErrImagePull", pull("dial tcp: lookup registry.example.com: no such host")),
        lambda lab: waits(lab, "ContainerCreating"),
    ),
    Row(
        "image.rate_limited",
        lambda lab: waits(lab, "ErrImagePull", pull("429 Too Many Requests - toomanyrequests: pull rate limit")),
        lambda lab: waits(lab, "ErrImagePull", pull("manifest unknown")),
        "image.not_found",
    ),
    Row(
        "image.invalid_name",
        lambda lab: waits(lab, "InvalidImageName", 'couldn\'t parse image name "App:1": invalid reference format'),
        lambda lab: waits(lab, "PodInitializing"),
    ),
    Row(
        "image.disk_or_snapshotter",
        lambda lab: waits(lab, "ErrImagePull", pull("failed to extract layer: write: no space left on device")),
        lambda lab: waits(lab, "ErrImagePull", pull("dial tcp 10.1.1.1:443: i/o timeout")),
        "image.registry_unreachable",
    ),
    Row(
        "image.unknown",
        lambda lab: waits(lab, "ImagePullBackOff", 'Back-off pulling image "registry.example.com/app:1"'),
        lambda lab: waits(lab, "ImagePullBackOff", 'Back-off pulling image "registry.example.com/app:1"', since=-30),
    ),
    Row(
        "crash.config_missing",
        lambda lab: waits(lab, "CreateContainerConfigError", 'secret "db-credentials" not found'),
        lambda lab: waits(lab, "CreateContainerConfigError", 'secret "db-credentials" not found', since=-15),
    ),
    Row(
        "crash.oom",
        lambda lab: crashes(lab, End(137, reason="OOMKilled")),
        lambda lab: probe_kills(lab, End(137)),
        "crash.liveness_probe",
    ),
    Row(
        "crash.liveness_probe",
        lambda lab: probe_kills(lab, End(143)),
        lambda lab: probe_kills(lab, End(137, reason="OOMKilled")),
        "crash.oom",
    ),
    Row(
        "crash.command_not_found",
        lambda lab: crashes(lab, End(128, 'exec: "/srv/app": no such file or directory: unknown', "StartError")),
        lambda lab: crashes(lab, End(1, "open /etc/app.yaml: no such file or directory")),
        "crash.app_error",
    ),
    Row(
        "crash.segfault",
        lambda lab: crashes(lab, End(139)),
        lambda lab: crashes(lab, End(134, "terminate called after throwing an instance of 'std::logic_error'")),
        "crash.app_error",
    ),
    Row(
        "crash.exit_zero",
        lambda lab: crashes(lab, End(0, reason="Completed")),
        lambda lab: crashes(lab, End(0, reason="Completed", alive=7200), backing_off=False),
    ),
    Row(
        "crash.identity",
        lambda lab: crashes(lab, End(1, f"operation error STS: AssumeRoleWithWebIdentity: {STS}")),
        lambda lab: crashes(lab, End(1, f"cannot reach the token issuer: {REFUSED}")),
        "crash.dependency_unreachable",
    ),
    Row(
        "crash.dependency_unreachable",
        lambda lab: crashes(lab, End(1, f"FATAL: cannot connect to the database: {REFUSED}")),
        lambda lab: crashes(
            lab, End(1, f'failed to connect: {REFUSED}: password authentication failed for user "app"')
        ),
        "crash.identity",
    ),
    Row(
        "crash.permission_fs",
        lambda lab: crashes(lab, End(1, "open /data/app.db: permission denied")),
        lambda lab: crashes(lab, End(1, 'pods is forbidden: User "system:serviceaccount:shop:web" cannot list')),
        "crash.identity",
    ),
    Row(
        "crash.app_error",
        lambda lab: crashes(lab, End(1, "panic: runtime error: index out of range [5] with length 3")),
        lambda lab: crashes(lab, End(255, reason="Unknown", alive=900_000, restarts=1), backing_off=False),
    ),
)


def positive(row: Row) -> Scenario:
    lab = cluster()
    row.fault(lab)
    return Scenario(lab, why="the cause itself", expect=[Want(row.code, objects=[f"Pod/{POD}", "Deployment/shop/web"])])


def near_miss(row: Row) -> Scenario:
    lab = cluster()
    row.look_alike(lab)
    instead = [Want(row.found_instead, objects=[f"Pod/{POD}"])] if row.found_instead else []
    return Scenario(lab, why="looks like it", expect=instead, forbid=[row.code])


def recovery(row: Row) -> Scenario:
    lab = cluster()
    row.fault(lab)
    lab.tick(60)
    runs(lab)
    return Scenario(lab, why="it has been mended", at_each=[[row.code], []], watched=[row.code])


def of_row(row: Row, make: Callable[[Row], Scenario]) -> Make:
    def made() -> Scenario:
        return make(row)

    made.__name__ = f"{prefix_of(row.code)}__{make.__name__}"
    made.__module__ = __name__
    return made


for each in ROWS:
    for kind in (positive, near_miss, recovery):
        scenario(of_row(each, kind))


@scenario
def crash_identity__positive_two_workloads_share_a_service_account() -> Scenario:
    lab = cluster()
    for name in ("uploader", "scaler"):
        lab.deployment(f"shop/{name}")
        lab.replicaset(f"shop/{name}-6f6f6f6f6", owner=("Deployment", name))
        owner = ("ReplicaSet", f"{name}-6f6f6f6f6")
        end = End(1, f"failed to refresh cached credentials: {STS}")
        crashes(lab, end, f"shop/{name}-6f6f6f6f6-aaaaa", service_account="cloud-access", owner=owner)
    objects = [f"Pod/shop/{name}-6f6f6f6f6-aaaaa" for name in ("uploader", "scaler")]
    return Scenario(
        lab,
        why="the phrase, and two unrelated workloads of one ServiceAccount at once: two pieces of evidence",
        expect=[Want("crash.identity", objects=objects, severity="critical", count=1)],
    )


@scenario
def crash_identity__positive_shared_and_no_words() -> Scenario:
    lab = cluster()
    for name in ("uploader", "scaler"):
        owner = ("StatefulSet", name)
        crashes(lab, End(1), f"shop/{name}-0", service_account="cloud-access", owner=owner)
    return Scenario(
        lab,
        why="nothing is said, and both began together",
        expect=[Want("crash.identity", severity="warning", count=1)],
    )


@scenario
def crash_identity__near_miss_the_default_account_is_everybodys() -> Scenario:
    lab = cluster()
    for name in ("uploader", "scaler"):
        crashes(lab, End(1, "panic: oops"), f"shop/{name}-0", owner=("StatefulSet", name))
    return Scenario(
        lab, why="to share it means nothing", expect=[Want("crash.app_error", count=2)], forbid=["crash.identity"]
    )


@scenario
def crash_identity__positive_the_clock_of_the_node() -> Scenario:
    lab = cluster(3)
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": -47.9}')
    for number in (2, 3):
        lab.host(f"n{number}").file("clock.json", '{"synchronized": true, "offset_seconds": 0.001}')
        lab.pod(f"shop/web-5d4f7c9b8-good{number}", node=f"n{number}", owner=OWNER)
    crashes(lab, End(1, "oidc: verify token: token used before issued"))
    return Scenario(
        lab,
        why="the same workload runs where the clock is right",
        expect=[
            Want("crash.identity", nodes=["n1"], caused_by="node.clock_skew"),
            Want("node.clock_skew", nodes=["n1"], stage="active"),
        ],
    )


@scenario
def crash_identity__near_miss_it_lives_too_long_for_a_refusal() -> Scenario:
    lab = cluster()
    for name in ("uploader", "scaler"):
        end = End(1, alive=500, restarts=5)
        crashes(lab, end, f"shop/{name}-0", service_account="cloud-access", owner=("StatefulSet", name))
    return Scenario(
        lab,
        why="refused credentials end a start, not a run",
        expect=[Want("crash.app_error")],
        forbid=["crash.identity"],
    )


@scenario
def crash_oom__positive_by_the_kernels_log() -> Scenario:
    lab = cluster()
    crashes(lab, End(137))
    uid = lab.store.uid("Pod", POD).replace("-", "_")
    scope = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-0f.scope"
    lab.host("n1").kernel(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
        f"oom_memcg={scope},task_memcg={scope},task=app,pid=4711,uid=0",
        at=-61,
    )
    lab.host("n1").kernel("Memory cgroup out of memory: Killed process 4711 (app) total-vm:4096kB", at=-60.5)
    return Scenario(
        lab, why="137 alone says nothing; the kernel does", expect=[Want("crash.oom", objects=[f"Pod/{POD}"])]
    )


@scenario
def image_unauthorized__positive_only_an_event_tells() -> Scenario:
    lab = cluster()
    waits(lab, "ImagePullBackOff", 'Back-off pulling image "registry.example.com/app:1"')
    lab.event(
        "Pod", POD, "Failed", f'Failed to pull image "registry.example.com/app:1": {REFUSED_PULL}', last=-60, count=4
    )
    return Scenario(lab, why="as kubelets before 1.32 have it", expect=[Want("image.unauthorized")])


SCENARIOS = of_module(__name__)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    judge(SCENARIOS[name](), by_word=True)


def test_each_code_has_all_three() -> None:
    assert not lacking(CODES, SCENARIOS)
