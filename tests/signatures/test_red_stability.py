"""What a finding is called does not change with time, with its size, or with the order in which objects are listed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aggregator.model import Finding
from cli.diagnose import of_path
from tests.lab.cluster import Lab
from tests.lab.scenario import SCENARIOS
from tests.signatures import test_red_crash as crash
from tests.signatures import test_red_mixed as mixed
from tests.signatures import test_red_scenarios as scheduler
from tests.signatures import test_red_storage as storage

SHUFFLED = (
    "sched_taint__positive_beside_an_independent_shortage",
    "sched_insufficient_resources__positive_the_windows_pool_is_full",
    "sched_insufficient_resources__positive_a_daemon_has_no_room_on_full_nodes",
    "sched_topology_spread__positive_a_zone_whose_nodes_are_cordoned",
    "storage_multi_attach__positive_two_replicas_of_one_deployment_share_a_claim",
    "storage_detach_stuck__positive_and_its_new_pod_on_a_mixed_cluster",
    "crash_identity__positive_azure_workload_identity_of_two_workloads",
)


def short_of_cpu(lab: Lab, number: int) -> None:
    if number == 0:
        lab.node("n1")
        lab.pod("web/busy", node="n1", requests={"cpu": "3900m"})
    owner = ("ReplicaSet", f"web-{number % 3}")
    told = "0/1 nodes are available: 1 Insufficient cpu."
    lab.pod(f"web/w-{number}", pending_since=-400, scheduler_says=told, owner=owner, requests={"cpu": "2"})


def refused_by_nfs(lab: Lab, number: int) -> None:
    if number == 0:
        for node in range(3):
            lab.node(f"n{node}")
        source = {"nfs": {"server": "10.9.0.4", "path": "/srv"}}
        lab.disk("web/share", "pv-share", source=source, modes=["ReadWriteMany"], storage_class="")
    pod = storage.waits(lab, f"n{number % 3}", key=f"web/w-{number}", claims={"data": "share"})
    message = 'MountVolume.SetUp failed for volume "pv-share" : mount failed: mount.nfs: access denied by server'
    storage.says(lab, pod, "FailedMount", message)


def class_is_missing(lab: Lab, number: int) -> None:
    if number == 0:
        lab.node("n1")
    lab.claim(f"t-{number % 2}/data-{number}", storage_class="fast", created=-1000)
    told = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    claims = {"d": f"data-{number}"}
    lab.pod(f"t-{number % 2}/p-{number}", pending_since=-1000, scheduler_says=told, claims=claims)


def bad_release(lab: Lab, number: int) -> None:
    if number == 0:
        for node in range(3):
            lab.node(f"n{node}")
    crash.ended(lab, f"shop/api-5d-{number:03}", 2, node=f"n{number % 3}", restarts=4 + number % 5)


def nobody_attaches(lab: Lab, number: int) -> None:
    if number == 0:
        for node in range(3):
            lab.node(f"n{node}")
    lab.disk(f"db/data-{number}", f"pvc-{number}")
    lab.attachment(f"pvc-{number}", f"n{number % 3}", attached=False, created=-500)
    storage.waits(lab, f"n{number % 3}", number)


def image_is_missing(lab: Lab, number: int) -> None:
    if number == 0:
        for node in range(3):
            lab.node(f"n{node}")
    why = 'failed to resolve reference "reg.acme.io/web:9": reg.acme.io/web:9: not found'
    crash.pulls(lab, f"shop/web-5d-{number}", why, image="reg.acme.io/web:9", node=f"n{number % 3}")


FAULTS: tuple[Callable[[Lab, int], None], ...] = (
    short_of_cpu,
    refused_by_nfs,
    class_is_missing,
    bad_release,
    nobody_attaches,
    image_is_missing,
)


def ids(lab: Lab) -> dict[str, list[str]]:
    """Of findings by code."""
    found: dict[str, list[str]] = {}
    for finding in lab.findings():
        found.setdefault(finding.code, []).append(finding.id)
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_that_grows_from_one_pod_to_fifty_is_the_same(fault: Callable[[Lab, int], None]) -> None:
    lab = Lab("growing")
    fault(lab, 0)
    before = ids(lab)
    assert before
    lab.tick(60)
    later = ids(lab)
    for number in range(1, 50):
        fault(lab, number)
    grown = ids(lab)
    for code, names in before.items():
        assert later[code] == names
        assert grown[code] == names
    assert {code for code in grown if not code.startswith("sched.headroom")} <= set(before)


def findings(path: Path) -> list[Finding]:
    return [record.finding for record in of_path(str(path)).records]


def shuffled(value: Any, chance: random.Random) -> Any:
    """Keys of all mappings in another order; lists as they are."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda _: chance.random())
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SHUFFLED)
def test_the_order_of_lists_and_keys_does_not_matter(name: str, tmp_path: Path) -> None:
    assert {storage.__name__, scheduler.__name__, crash.__name__, mixed.__name__} >= {SCENARIOS[name].__module__}
    SCENARIOS[name]().lab.write(tmp_path)
    told = findings(tmp_path)
    assert told
    chance = random.Random(name)  # noqa: S311  # an order, no secret
    for file in tmp_path.glob("*/kube/*.json"):
        listed = json.loads(file.read_text())
        chance.shuffle(listed["items"])
        file.write_text(json.dumps(shuffled(listed, chance)))
    assert findings(tmp_path) == told


def test_the_clock_of_the_machine_that_diagnoses_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SCENARIOS[SHUFFLED[0]]().lab.write(tmp_path)
    told = findings(tmp_path)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert findings(tmp_path) == told
