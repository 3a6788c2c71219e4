"""Containers that end or do not start, in the words of other runtimes, clouds and versions: judged before it was run.

See test_red_scenarios.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.lab.cluster import Lab
from tests.lab.scenario import Scenario, Want, judge, of_module, scenario
from tests.lab.shapes import stamp
from tests.signatures.crash_worlds import End, crashes

MINUTE = 60.0
NO_INFO = ("sched.headroom_low", "storage.stranded_on_loss")


def cluster(nodes: int = 3, **node: Any) -> Lab:
    lab = Lab("crash")
    for number in range(nodes):
        lab.node(f"n{number}", **node)
    return lab


def pulls(lab: Lab, key: str, why: str, *, image: str, minutes: float = 25, node: str = "n0", event: str = "") -> str:
    """A pod whose image does not come; `event`: the cause is there only, as kubelets before 1.32 have it."""
    told = f'Back-off pulling image "{image}"' + ("" if event else f": ErrImagePull: {why}")
    owner = ("ReplicaSet", key.partition("/")[2].rpartition("-")[0])
    lab.pod(
        key, node=node, owner=owner, pending_since=-minutes * MINUTE, waiting=("ImagePullBackOff", told), image=image
    )
    if event:
        said = {"count": 6, "first": -minutes * MINUTE, "last": -minutes * MINUTE / 3}
        lab.event("Pod", key, "Failed", f'Failed to pull image "{image}": {why}', **said)
        lab.event("Pod", key, "Failed", "Error: ErrImagePull", **said)
        lab.event(
            "Pod", key, "BackOff", (f'Back-off pulling image "{image}"'), type="Normal", count=80, first=-1400, last=-15
        )
    return f"Pod/{key}"


def ended(
    lab: Lab,
    key: str,
    code: int,
    *,
    reason: str = "Error",
    message: str = "",
    node: str = "n0",
    restarts: int = 6,
    alive: float = 5.0,
    ago: float = 90.0,
    **fields: Any,
) -> str:
    """A pod whose container ended so again and again."""
    fields.setdefault("owner", ("ReplicaSet", key.partition("/")[2].rpartition("-")[0]))
    crashes(lab, End(code, message, reason, alive, ago, restarts), key, node, **fields)
    return f"Pod/{key}"


# -- images ---------------------------------------------------------------------------------------------------------


@scenario
def image_unauthorized__positive_ecr_after_twelve_hours() -> Scenario:
    lab = cluster()
    image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop:4"
    why = (
        f'rpc error: code = Unknown desc = failed to pull and unpack image "{image}": failed to resolve reference '
        f'"{image}": pulling from host 111122223333.dkr.ecr.eu-west-1.amazonaws.com failed with status code '
        f"[manifests 4]: 403 Forbidden"
    )
    pods = [pulls(lab, f"shop/web-5d-{n}", why, image=image, event="old", node=f"n{n % 3}") for n in range(20)]
    return Scenario(
        lab,
        why="403 of the registry: the token of the pull secret is out of date",
        expect=[Want("image.unauthorized", objects=pods, count=1)],
    )


@scenario
def image_unauthorized__positive_docker_of_1_20() -> Scenario:
    lab = cluster()
    why = (
        "rpc error: code = Unknown desc = Error response from daemon: Get https://reg.acme.io/v2/shop/manifests/4: no "
        "basic auth credentials"
    )
    pod = pulls(lab, "shop/web-5d-0", why, image="reg.acme.io/shop:4", event="old")
    return Scenario(lab, why="no secret was given", expect=[Want("image.unauthorized", objects=[pod])])


@scenario
def image_not_found__positive_a_tag_that_was_never_pushed_to_gcr() -> Scenario:
    lab = cluster()
    image = "europe-docker.pkg.dev/acme/prod/web:v1.2.33"
    why = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
    pod = pulls(lab, "shop/web-5d-0", f"rpc error: code = NotFound desc = {why}", image=image)
    return Scenario(lab, why="not found is what it says", expect=[Want("image.not_found", objects=[pod])])


@scenario
def image_registry_unreachable__positive_by_dns_on_two_nodes() -> Scenario:
    lab = cluster()
    why = (
        'rpc error: code = Unknown desc = failed to pull and unpack image "harbor.corp/x:1": failed to resolve '
        "reference "
        '"harbor.corp/x:1": failed to do request: Head "https://harbor.corp/v2/x/manifests/1": dial tcp: lookup '
        "harbor.corp on 10.0.0.2:53: no such host"
    )
    pods = [pulls(lab, f"shop/x-5d-{n}", why, image="harbor.corp/x:1", node=f"n{n}") for n in range(2)]
    return Scenario(
        lab, why=("the name does not resolve"), expect=[Want("image.registry_unreachable", objects=pods, count=1)]
    )


@scenario
def image_registry_unreachable__positive_an_authority_that_nobody_trusts() -> Scenario:
    lab = cluster()
    why = (
        'failed to do request: Head "https://harbor.corp/v2/x/manifests/1": tls: failed to verify certificate: x509: '
        "certificate signed by unknown authority"
    )
    pod = pulls(lab, "shop/x-5d-0", why, image="harbor.corp/x:1")
    return Scenario(
        lab,
        why="trust, not credentials",
        expect=[Want("image.registry_unreachable", objects=[pod])],
        forbid=["image.unauthorized"],
    )


@scenario
def image_rate_limited__positive_docker_hub() -> Scenario:
    lab = cluster()
    why = (
        "failed to copy: httpReadSeeker: failed open: unexpected status code "
        "https://registry-1.docker.io/v2/library/redis/manifests/sha256:0f: "
        "429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull "
        "rate limit. "
        "https://www.docker.com/increase-rate-limit"
    )
    pods = [pulls(lab, f"cache/redis-6f-{n}", why, image="redis:7", node=f"n{n}") for n in range(3)]
    return Scenario(lab, why="Docker Hub counts by address", expect=[Want("image.rate_limited", objects=pods, count=1)])


@scenario
def image_disk_or_snapshotter__positive_a_full_node() -> Scenario:
    lab = cluster()
    why = (
        'failed to pull and unpack image "big:1": failed to extract layer sha256:0f: write '
        "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/9/fs/x: no space left on device: unknown"
    )
    pod = pulls(lab, "shop/big-5d-0", why, image="big:1")
    return Scenario(lab, why="the node's disk", expect=[Want("image.disk_or_snapshotter", objects=[pod])])


@scenario
def image_invalid_name__positive_a_template_that_was_not_filled_in() -> Scenario:
    lab = cluster()
    message = (
        'Failed to apply default image tag "reg.acme.io/web:${TAG}": couldn\'t parse image name '
        '"reg.acme.io/web:${TAG}": invalid reference format'
    )
    lab.pod(
        "shop/web-5d-0",
        node="n0",
        owner=("ReplicaSet", "web-5d"),
        pending_since=-900,
        waiting=("InvalidImageName", message),
    )
    return Scenario(lab, why="${TAG} is no tag", expect=[Want("image.invalid_name", objects=["Pod/shop/web-5d-0"])])


@scenario
def image_not_found__near_miss_a_first_pull_that_failed_and_then_came() -> Scenario:
    lab = cluster()
    lab.pod("shop/web-5d-0", node="n0", owner=("ReplicaSet", "web-5d"), created=-800)
    lab.event(
        "Pod",
        "shop/web-5d-0",
        "Failed",
        ('Failed to pull image "web:1": rpc error: code = Unknown desc = net/http: TLS handshake timeout'),
        last=-780,
    )
    lab.event("Pod", "shop/web-5d-0", "Pulled", 'Successfully pulled image "web:1" in 4.2s', type="Normal", last=-740)
    return Scenario(lab, why="it runs")


# -- configuration --------------------------------------------------------------------------------------------------


@scenario
def crash_config_missing__positive_a_key_of_a_secret() -> Scenario:
    lab = cluster()
    for number in range(3):
        lab.pod(
            f"shop/api-7c-{number}",
            node=f"n{number}",
            owner=("ReplicaSet", "api-7c"),
            pending_since=-700,
            waiting=("CreateContainerConfigError", ("couldn't find key DB_PASSWORD in Secret shop/db")),
        )
    pods = [f"Pod/shop/api-7c-{n}" for n in range(3)]
    return Scenario(
        lab, why=("the secret is there, its key is not"), expect=[Want("crash.config_missing", objects=pods, count=1)]
    )


@scenario
def crash_config_missing__positive_a_config_map_that_is_mounted() -> Scenario:
    lab = cluster()
    lab.pod("shop/api-7c-0", node="n0", owner=("ReplicaSet", "api-7c"), pending_since=-700, waiting="ContainerCreating")
    lab.event(
        "Pod",
        "shop/api-7c-0",
        "FailedMount",
        ('MountVolume.SetUp failed for volume "cfg" : configmap "api-config" not found'),
        count=12,
        first=-700,
        last=-30,
    )
    lab.event(
        "Pod",
        "shop/api-7c-0",
        "FailedMount",
        (
            "Unable to attach or mount volumes: unmounted volumes=[cfg], unattached volumes=[cfg kube-api-access-1]: "
            "timed out waiting for the condition"
        ),
        count=4,
        first=-600,
        last=-60,
    )
    return Scenario(
        lab,
        why=("it is a missing object, not storage"),
        expect=[Want("crash.config_missing", objects=["Pod/shop/api-7c-0"])],
        forbid=["storage.attach_timeout", "storage.mount_failed_fs"],
    )


# -- how it ends ----------------------------------------------------------------------------------------------------


@scenario
def crash_oom__positive_of_a_java_init_container_on_1_22() -> Scenario:
    lab = cluster()
    key = "shop/mig-5d-0"
    status = {
        "name": "migrate",
        "image": "mig:1",
        "imageID": "",
        "ready": False,
        "restartCount": 9,
        "state": {
            "waiting": {
                "reason": "CrashLoopBackOff",
                "message": ("back-off 5m0s restarting failed container=migrate pod=mig-5d-0"),
            }
        },
        "lastState": {
            "terminated": {
                "exitCode": 137,
                "reason": "OOMKilled",
                "startedAt": stamp(lab.now - 140),
                "finishedAt": stamp(lab.now - 100),
            }
        },
    }
    waiting = {
        "name": "app",
        "image": "app:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "PodInitializing"}},
        "lastState": {},
    }
    patch = {
        "spec": {
            "initContainers": [{"name": "migrate", "image": "mig:1", "resources": {"limits": {"memory": "256Mi"}}}]
        },
        "status": {"initContainerStatuses": [status], "containerStatuses": [waiting]},
    }
    lab.pod(key, node="n0", owner=("ReplicaSet", "mig-5d"), pending_since=-2400, waiting="PodInitializing", patch=patch)
    return Scenario(lab, why="the init container is over its limit", expect=[Want("crash.oom", objects=[f"Pod/{key}"])])


@scenario
def crash_oom__positive_of_a_sidecar_and_another_fault_beside_it() -> Scenario:
    lab = cluster()
    one = ended(lab, "shop/web-5d-0", 137, reason="OOMKilled", alive=400, ago=120)
    two = ended(
        lab,
        "pay/api-6c-0",
        127,
        reason="StartError",
        message=(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            'failed: unable to start container process: exec: "/srv/run": stat /srv/run: no such file or directory: '
            "unknown"
        ),
        node="n1",
    )
    return Scenario(
        lab,
        why="two faults that have nothing to do with each other",
        expect=[Want("crash.oom", objects=[one], count=1), Want("crash.command_not_found", objects=[two], count=1)],
        forbid=["crash.identity", "crash.app_error"],
    )


@scenario
def crash_liveness_probe__positive_a_graceful_end_with_143() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/web-5d-0", 143, alive=65, ago=20, restarts=11, backing_off=False)
    lab.event(
        "Pod",
        "shop/web-5d-0",
        "Unhealthy",
        (
            'Liveness probe failed: Get "http://10.1.1.1:8080/healthz": context deadline exceeded (Client.Timeout '
            "exceeded while awaiting headers)"
        ),
        count=40,
        first=-2000,
        last=-50,
    )
    lab.event(
        "Pod",
        "shop/web-5d-0",
        "Killing",
        ("Container app failed liveness probe, will be restarted"),
        type="Normal",
        count=11,
        first=-1900,
        last=-50,
    )
    return Scenario(lab, why="the kubelet ended it", expect=[Want("crash.liveness_probe", objects=[pod])])


@scenario
def crash_segfault__positive_by_its_code() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/native-5d-0", 139)
    return Scenario(lab, why="128 + SIGSEGV", expect=[Want("crash.segfault", objects=[pod])])


@scenario
def crash_exit_zero__positive_a_batch_command_in_a_deployment() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/once-5d-0", 0, reason="Completed", alive=2)
    return Scenario(lab, why="done, and started again", expect=[Want("crash.exit_zero", objects=[pod])])


@scenario
def crash_dependency_unreachable__positive_a_database_that_refuses() -> Scenario:
    lab = cluster()
    message = (
        'psycopg2.OperationalError: connection to server at "db.shop.svc" (10.96.4.4), port 5432 failed: Connection '
        "refused\n\tIs the server running on that host and accepting TCP/IP connections?"
    )
    pods = [ended(lab, f"shop/api-5d-{n}", 1, message=message, node=f"n{n}") for n in range(2)]
    return Scenario(
        lab,
        why="nobody listens there",
        expect=[Want("crash.dependency_unreachable", objects=pods)],
        forbid=["crash.identity"],
    )


@scenario
def crash_identity__positive_azure_workload_identity_of_two_workloads() -> Scenario:
    lab = cluster()
    message = (
        "AADSTS70021: No matching federated identity record found for presented assertion. Assertion Issuer: "
        "'https://oidc.prod-aks.azure.com/x/'."
    )
    one = ended(lab, "pay/up-5d-0", 1, message=message, service_account="vault-sync")
    two = ended(lab, "pay/down-6f-0", 1, message=message, service_account="vault-sync", node="n1")
    return Scenario(
        lab,
        why=("phrase and shared account"),
        expect=[Want("crash.identity", objects=[one, two], severity="critical", count=1)],
    )


@scenario
def crash_identity__positive_a_password_in_a_failure_to_connect() -> Scenario:
    lab = cluster()
    message = (
        "failed to connect to `host=db user=app database=shop`: failed SASL auth (FATAL: password authentication "
        'failed for user "app" (SQLSTATE 28P01))'
    )
    pod = ended(lab, "shop/api-5d-0", 1, message=message)
    return Scenario(
        lab,
        why=("identity wins over the connection"),
        expect=[Want("crash.identity", objects=[pod])],
        forbid=["crash.dependency_unreachable"],
    )


@scenario
def crash_permission_fs__positive_a_volume_of_another_user() -> Scenario:
    lab = cluster()
    pod = ended(
        lab,
        "db/pg-0",
        1,
        message=(
            'initdb: error: could not change permissions of directory "/var/lib/postgresql/data": Operation not '
            "permitted"
        ),
        owner=("StatefulSet", "pg"),
    )
    return Scenario(lab, why="fsGroup", expect=[Want("crash.permission_fs", objects=[pod])])


@scenario
def crash_app_error__positive_a_stack_trace() -> Scenario:
    lab = cluster()
    pod = ended(
        lab,
        "shop/api-5d-0",
        1,
        message=(
            "Traceback (most recent call last):\n  File \"/app/main.py\", line 3, in <module>\nKeyError: 'REGION'"
        ),
    )
    return Scenario(lab, why="its own", expect=[Want("crash.app_error", objects=[pod])], forbid=["crash.identity"])


@scenario
def crash_app_error__positive_a_hundred_pods_of_one_bad_release() -> Scenario:
    lab = cluster(10)
    pods = [ended(lab, f"shop/api-5d-{n:03}", 2, node=f"n{n % 10}") for n in range(100)]
    return Scenario(
        lab, why="one release, one finding", expect=[Want("crash.app_error", objects=pods, count=1)], allow=NO_INFO
    )


# -- words that mean two things -------------------------------------------------------------------------------------


@scenario
def crash_identity__positive_vault_says_permission_denied() -> Scenario:
    lab = cluster()
    message = (
        "Error authenticating: error logging in: Error making API request.\n\nURL: PUT "
        "https://vault.sec:8200/v1/auth/kubernetes/login\nCode: 403. Errors:\n\n* permission denied"
    )
    pod = ended(lab, "shop/api-5d-0", 1, message=message)
    return Scenario(
        lab, why="not of a file system", expect=[Want("crash.identity", objects=[pod])], forbid=["crash.permission_fs"]
    )


@scenario
def crash_permission_fs__positive_of_node_js() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/api-5d-0", 1, message="Error: EACCES: permission denied, open '/data/cache/index.db'")
    return Scenario(lab, why="a file", expect=[Want("crash.permission_fs", objects=[pod])], forbid=["crash.identity"])


@scenario
def crash_permission_fs__positive_a_read_only_root_file_system() -> Scenario:
    lab = cluster()
    pod = ended(
        lab,
        "shop/ng-5d-0",
        1,
        message='nginx: [emerg] mkdir() "/var/cache/nginx/client_temp" failed (30: Read-only file system)',
    )
    return Scenario(
        lab,
        why="readOnlyRootFilesystem, no disk fault",
        expect=[Want("crash.permission_fs", objects=[pod])],
        forbid=["storage.io_error_readonly"],
    )


@scenario
def crash_identity__positive_s3_refuses() -> Scenario:
    lab = cluster()
    message = (
        "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the ListObjectsV2 "
        "operation: User: arn:aws:sts::111122223333:assumed-role/app/x is not authorized to perform: s3:ListBucket"
    )
    pod = ended(lab, "shop/api-5d-0", 1, message=message)
    return Scenario(lab, why="the role may not", expect=[Want("crash.identity", objects=[pod])])


@scenario
def crash_identity__positive_a_secret_that_was_rotated_a_minute_before() -> Scenario:
    lab = cluster()
    pods = []
    for number in range(2):
        env = [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "pw"}}}]
        pods.append(
            ended(
                lab,
                f"shop/api-5d-{number}",
                1,
                message='pq: password authentication failed for user "shop"',
                restarts=4,
                alive=3,
                node=f"n{number}",
                created=-86400,
            )
        )
        spec = lab.store.get("Pod", f"shop/api-5d-{number}")["spec"]["containers"]
        lab.change(pods[-1], {"spec": {"containers": [{**spec[0], "env": env}]}})
    secret = {
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "uid": "0f",
            "resourceVersion": "7",
            "creationTimestamp": stamp(lab.now - 90 * 86400),
            "managedFields": [{"manager": "external-secrets", "operation": "Update", "time": stamp(lab.now - 420)}],
        }
    }
    listed = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": [secret]}
    lab.files["kube/secret-metadata.json"] = json.dumps(listed).encode()
    return Scenario(
        lab, why="the password was changed on one side", expect=[Want("crash.identity", objects=pods, count=1)]
    )


@scenario
def crash_dependency_unreachable__positive_dns_for_a_service_that_is_not_there() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/api-5d-0", 1, message="Error: getaddrinfo ENOTFOUND redis-master.cache.svc.cluster.local")
    return Scenario(lab, why="the name of its dependency", expect=[Want("crash.dependency_unreachable", objects=[pod])])


@scenario
def crash_liveness_probe__positive_a_startup_probe_with_137() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/jvm-5d-0", 137, alive=300, ago=40, restarts=8)
    lab.event(
        "Pod",
        "shop/jvm-5d-0",
        "Unhealthy",
        "Startup probe failed: dial tcp 10.1.1.1:8080: connect: connection refused",
        count=90,
        first=-2900,
        last=-45,
    )
    lab.event(
        "Pod",
        "shop/jvm-5d-0",
        "Killing",
        "Container app failed startup probe, will be restarted",
        type="Normal",
        count=8,
        first=-2600,
        last=-45,
    )
    return Scenario(
        lab,
        why="it is not given the time to start",
        expect=[Want("crash.liveness_probe", objects=[pod])],
        forbid=["crash.oom", "crash.dependency_unreachable"],
    )


@scenario
def crash_app_error__positive_killed_by_nobody_knows_whom() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/api-5d-0", 137, alive=30)
    return Scenario(
        lab,
        why="137 alone proves nothing",
        expect=[Want("crash.app_error", objects=[pod])],
        forbid=["crash.oom", "crash.liveness_probe"],
    )


@scenario
def crash_oom__positive_on_cgroup_v1() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/api-5d-0", 137, alive=30)
    uid = lab.store.uid("Pod", "shop/api-5d-0")
    group = f"/kubepods/burstable/pod{uid}/0f1e2d"
    lab.host("n0").kernel(
        (
            f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=0f1e2d,mems_allowed=0,oom_memcg={group},ta"
            f"sk_memcg={group},task=java,pid=71,uid=1000"
        ),
        at=-91.5,
        level=6,
    )
    lab.host("n0").kernel(
        (
            "Memory cgroup out of memory: Killed process 71 (java) total-vm:4194304kB, anon-rss:524288kB, "
            "file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:1400kB oom_score_adj:985"
        ),
        at=-91,
    )
    return Scenario(lab, why="the kernel names the pod", expect=[Want("crash.oom", objects=[pod])])


@scenario
def crash_app_error__near_miss_the_memory_of_another_pod() -> Scenario:
    lab = cluster()
    pod = ended(lab, "shop/api-5d-0", 137, alive=30)
    lab.pod("x/y-5d-0", node="n0", owner=("ReplicaSet", "y-5d"))
    uid = lab.store.uid("Pod", "x/y-5d-0").replace("-", "_")
    group = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-0f.scope"
    lab.host("n0").kernel(
        (
            f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={group},task_me"
            f"mcg={group},task=py,pid=71,uid=0"
        ),
        at=-91.5,
        level=6,
    )
    lab.host("n0").kernel("Memory cgroup out of memory: Killed process 71 (py) total-vm:4096kB", at=-91)
    return Scenario(
        lab,
        why="the kernel killed something of another pod",
        expect=[Want("crash.app_error", objects=[pod])],
        forbid=["crash.oom"],
    )


@scenario
def crash_command_not_found__positive_a_script_without_its_x() -> Scenario:
    lab = cluster()
    one = ended(lab, "shop/a-5d-0", 126, message="sh: /entrypoint.sh: Permission denied")
    two = ended(
        lab,
        "shop/b-5d-0",
        128,
        reason="StartError",
        message=(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            'failed: unable to start container process: exec: "/app": permission denied: unknown'
        ),
        node="n1",
    )
    return Scenario(
        lab,
        why="126 and a start error",
        expect=[Want("crash.command_not_found", objects=[one]), Want("crash.command_not_found", objects=[two])],
        forbid=["crash.permission_fs", "crash.identity"],
    )


@scenario
def crash_app_error__positive_exit_codes_of_windows() -> Scenario:
    lab = cluster()
    lab.node("win", labels={"kubernetes.io/os": "windows"}, taints=["os=windows:NoSchedule"])
    one = ended(lab, "shop/iis-5d-0", 3221225786, node="win")
    two = ended(lab, "shop/net-5d-0", -532462766, node="win")
    return Scenario(
        lab,
        why="large and negative numbers",
        expect=[Want("crash.app_error", objects=[one]), Want("crash.app_error", objects=[two])],
    )


@scenario
def crash_identity__positive_a_clock_that_is_behind_and_a_token_that_is_not_yet_valid() -> Scenario:
    lab = cluster()
    message = "oidc: id token issued in the future: token used before issued (nbf)"
    pod = ended(lab, "shop/gw-5d-0", 1, message=message)
    lab.pod("shop/gw-5d-1", node="n1", owner=("ReplicaSet", "gw-5d"))
    lab.pod("shop/gw-5d-2", node="n2", owner=("ReplicaSet", "gw-5d"))
    for number in range(3):
        lab.host(f"n{number}")
    lab.host("n0").file("clock.json", '{"synchronized": false, "offset_seconds": -31.4}')
    lab.tick(60)
    return Scenario(
        lab,
        why="only where the clock is behind",
        expect=[
            Want("node.clock_skew", nodes=["n0"], stage="risk|active"),
            Want("crash.identity", objects=[pod], caused_by="node.clock_skew"),
        ],
    )


# -- nothing is wrong -----------------------------------------------------------------------------------------------


@scenario
def crash_app_error__near_miss_restarts_of_long_ago_jobs_and_reboots() -> Scenario:
    lab = cluster()
    for number in range(6):
        lab.pod(
            f"shop/w-5d-{number}",
            node="n0",
            owner=("ReplicaSet", "w-5d"),
            restarts=14,
            last_exit=("Error", 1),
            created=-30 * 86400,
        )
        lab.change(f"Pod/shop/w-5d-{number}", _ran_since(lab, -5 * 86400))
    lab.pod(
        "shop/boot-5d-0",
        node="n1",
        owner=("ReplicaSet", "boot-5d"),
        restarts=1,
        last_exit=("Unknown", 255),
        created=-86400,
    )
    for number in range(4):
        lab.pod(f"cron/backup-{number}", node="n1", owner=("Job", f"backup-{number}"), phase="Failed")
        lab.pod(f"cron/ok-{number}", node="n1", owner=("Job", f"ok-{number}"), phase="Succeeded")
    lab.tick(60)
    return Scenario(lab, why="what is over is over")


def _ran_since(lab: Lab, at: float) -> Mapping[str, Any]:
    key = next(iter(lab.store.objects["Pod"].values()))
    status = dict(key["status"]["containerStatuses"][0])
    status["state"] = {"running": {"startedAt": stamp(lab.now + at)}}
    status["lastState"] = {
        "terminated": {
            "exitCode": 1,
            "reason": "Error",
            "startedAt": stamp(lab.now + at - 100),
            "finishedAt": stamp(lab.now + at - 5),
        }
    }
    return {"status": {"containerStatuses": [status]}}


@scenario
def crash_liveness_probe__near_miss_a_readiness_probe_that_flaps() -> Scenario:
    lab = cluster()
    lab.pod("shop/w-5d-0", node="n0", owner=("ReplicaSet", "w-5d"), ready=False)
    lab.event(
        "Pod",
        "shop/w-5d-0",
        "Unhealthy",
        ("Readiness probe failed: HTTP probe failed with statuscode: 503"),
        count=200,
        first=-4000,
        last=-5,
    )
    return Scenario(lab, why="nothing ends: it is not ready, and says so itself")


@scenario
def crash_exit_zero__near_miss_a_job_and_an_init_container_that_end() -> Scenario:
    lab = cluster()
    lab.workload("Job", "batch/load", replicas=1)
    lab.pod("batch/load-x", node="n0", owner=("Job", "load"), restarts=1, last_exit=("Error", 1))
    lab.pod("batch/done-x", node="n0", owner=("Job", "done"), phase="Succeeded")
    return Scenario(lab, why="a job that failed once runs again")


@pytest.mark.parametrize("name", of_module(__name__))
def test_scenario(name: str) -> None:
    judge(of_module(__name__)[name]())
