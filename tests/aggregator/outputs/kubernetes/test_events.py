"""Which objects a finding is told on, how an Event is said, and that none of it comes back as evidence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # has no types
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.state import ClusterState
from aggregator.findings import Kind, Transition
from aggregator.model import Severity, Stage
from aggregator.outputs.kubernetes.conditions import type_of
from aggregator.outputs.kubernetes.events import MOST_WAITING, Due, Events, Step, body, micro_time
from aggregator.outputs.kubernetes.regarding import MOST_OBJECTS, Regarding, chosen, resolve
from aggregator.outputs.kubernetes.words import MOST_BYTES, camel, cut, told
from aggregator.signatures.catalog import CODES
from cli.bundle_known import known_of
from tests.aggregator.outputs.kubernetes.scene import START, Cluster, finding, record

POD = Regarding("v1", "Pod", "web-0", "uid-web-0", "shop")


def test_each_kind_has_its_share_and_all_together_are_few() -> None:
    pods = tuple(f"Pod/shop/web-{number}" for number in range(100))
    claims = ("PersistentVolumeClaim/shop/a", "PersistentVolumeClaim/shop/b")
    found = chosen(finding(objects=(*pods, *claims, "Path/n1/n2", "Deployment/shop/web")))
    assert len(found) == MOST_OBJECTS
    assert found[:3] == ["Pod/shop/web-0", "PersistentVolumeClaim/shop/a", "Deployment/shop/web"]
    assert set(claims) < set(found)


def test_what_names_no_object_of_the_api_server_is_told_on_its_nodes() -> None:
    assert chosen(finding(objects=("Path/n1/n2", "Device/n1/8:0"), nodes=("n1", "n2"))) == ["Node/n1", "Node/n2"]
    assert not chosen(finding(objects=("ApiServer/test",), nodes=()))


def test_a_deployment_is_known_by_what_it_owns() -> None:
    cluster = Cluster()
    pod = cluster.pod("web-1-x", cluster.replica_set("web-1", "web"))
    named = (pod, "Deployment/shop/web")
    assert resolve(cluster.objects, pod, named) == Regarding("v1", "Pod", "web-1-x", "uid-web-1-x", "shop")
    expected = Regarding("apps/v1", "Deployment", "web", "uid-web", "shop")
    assert resolve(cluster.objects, "Deployment/shop/web", named) == expected
    assert resolve(cluster.objects, "Deployment/shop/web", ("ReplicaSet/shop/web-1",)) == expected
    assert resolve(cluster.objects, "Deployment/shop/other", named) is None
    assert resolve(cluster.objects, "Deployment/shop/web", ()) is None
    assert resolve(cluster.objects, "Whatever/shop/web", named) is None


def test_an_object_that_was_made_anew_under_its_name_is_another_one() -> None:
    cluster = Cluster()
    lost = finding(objects=(cluster.pod("web-0"),))
    events = Events((), START)
    events.take(Transition(Kind.APPEARED, record(lost), START))
    due = events.next(cluster.objects)
    assert due is not None
    events.written(due)
    held = cluster.objects.pods["shop/web-0"]
    cluster.objects.keep("pods", "shop/web-0", msgspec.structs.replace(held, uid="another"))
    events.take(Transition(Kind.RESOLVED, record(lost), START + 1))
    assert events.next(cluster.objects) is None
    assert events.waiting == 0


def test_what_is_over_while_it_is_written_is_told_to_be_over() -> None:
    cluster = Cluster()
    lost = finding(objects=(cluster.pod("web-0"),))
    events = Events((), START)
    events.take(Transition(Kind.APPEARED, record(lost), START))
    due = events.next(cluster.objects)
    assert due is not None
    events.take(Transition(Kind.RESOLVED, record(lost), START + 1))
    events.written(due)
    after = events.next(cluster.objects)
    assert after is not None
    assert after.step is Step.RESOLVED
    events.take(Transition(Kind.APPEARED, record(lost), START + 2))  # and is back while that is written
    events.written(after)
    again = events.next(cluster.objects)
    assert again is not None
    assert (again.step, again.name) == (Step.APPEARED, due.name)


def test_objects_that_are_not_listed_yet_are_waited_for() -> None:
    events, cluster = Events((), START), Cluster()
    events.take(Transition(Kind.APPEARED, record(finding(objects=("Pod/shop/web-0",))), START))
    assert events.next(cluster.objects) is None
    assert events.waiting == 1
    cluster.pod("web-0")
    assert events.next(cluster.objects) is not None


@pytest.mark.parametrize(
    "version", ["1.27", max(kubernetes_validate.utils.all_versions(), key=lambda v: [*map(int, v.split("."))])]
)
@pytest.mark.parametrize("step", Step)
def test_the_api_knows_every_field_of_an_event(version: str, step: Step) -> None:
    minor = ".".join(version.split(".")[:2])
    for about in (POD, Regarding("v1", "Node", "n1", "uid-n1")):
        event = body(Due(step, record(finding()), "Pod/shop/web-0", about, START), "aggregator-0")
        kubernetes_validate.validate(event, minor, strict=True)
        assert event["metadata"]["namespace"] == (about.namespace or "default")


@pytest.mark.parametrize(
    ("severity", "step", "type_"),
    [
        (Severity.CRITICAL, Step.APPEARED, "Warning"),
        (Severity.WARNING, Step.STAGE_CHANGED, "Warning"),
        (Severity.WARNING, Step.RESOLVED, "Normal"),
        (Severity.INFO, Step.APPEARED, "Normal"),
    ],
)
def test_its_type_says_whether_anything_is_wrong(severity: Severity, step: Step, type_: str) -> None:
    due = Due(step, record(finding(severity=severity, stage=Stage.RISK)), "Pod/shop/web-0", POD, START)
    assert body(due, "a")["type"] == type_


def test_every_code_makes_a_reason_and_every_incident_a_condition() -> None:
    for code in CODES.values():
        assert camel(code.code).isalnum()
        assert type_of(code.incident)[8:].isalnum()
    assert camel("mtu.overlay_exceeds_underlay") == "MtuOverlayExceedsUnderlay"
    assert type_of("mtu_mismatch") == "NodetellMtuMismatch"


@settings(max_examples=100)
@given(st.text(max_size=2_000), st.integers(min_value=3, max_value=1_100))
def test_what_is_cut_fits_and_is_text(text: str, most: int) -> None:
    found = cut(text, most)
    assert len(found.encode()) <= most
    assert found.removesuffix("...") == text[: len(found.removesuffix("..."))]


def test_a_summary_of_any_length_keeps_its_id() -> None:
    long = finding(summary="ä" * 5_000)
    note = told(long, "Over (it is): ")
    assert note.endswith(f"... [{long.id}]")
    assert len(note.encode()) <= MOST_BYTES


def test_times_have_six_digits() -> None:
    assert micro_time(START) == "2026-11-22T10:00:00.000000Z"
    assert micro_time(START + 0.25) == "2026-11-22T10:00:00.250000Z"


def test_what_an_aggregator_has_written_is_no_evidence() -> None:
    """Neither as it was sent nor in the form in which core/v1 shows the same Event."""
    sent = body(Due(Step.APPEARED, record(finding()), "Pod/shop/web-0", POD, START), "aggregator-0")
    as_core = {**sent, "apiVersion": "v1", "involvedObject": sent["regarding"], "message": sent["note"]}
    as_core |= {"reportingComponent": as_core.pop("reportingController")}
    for number, (each, is_kept) in enumerate(
        ((sent, False), (as_core, False), (as_core | {"reportingComponent": "kubelet"}, True))
    ):
        state = ClusterState()
        each["metadata"] = each["metadata"] | {"uid": f"uid-{number}", "resourceVersion": "1"}
        ClusterSink(state).put("events", msgspec.Raw(json.dumps(each).encode()))
        assert bool(state.events) is is_kept


def test_the_bound_holds_however_they_come() -> None:
    events, cluster = Events((), START), Cluster()
    for number in range(5 * MOST_WAITING):
        pod = cluster.pod(f"web-{number}")
        events.take(Transition(Kind.APPEARED, record(finding(str(number), objects=(pod,))), START))
        assert events.waiting < 2 * MOST_WAITING
    assert events.next(cluster.objects) is not None
    assert events.waiting == MOST_WAITING
    assert events.waiting + events.dropped == 5 * MOST_WAITING


def test_a_lost_nodes_story_is_told_from_its_root() -> None:
    """The scenario node-lost-zone-chain: what kubectl shows of it stands in docs/kubernetes-objects.md."""
    folder = Path(os.environ.get("NODETELL_SHARED", ""), "scenarios", "node-lost-zone-chain")
    if not folder.is_absolute() or not folder.is_dir():
        pytest.skip("NODETELL_SHARED names no directory with scenarios")
    known = known_of(str(folder))
    events = Events((), START)
    for each in known.standing():
        events.take(Transition(Kind.APPEARED, each, START))
    told: list[tuple[str, str]] = []
    while (due := events.next(known.view().objects)) is not None:
        told.append((camel(due.record.finding.code), due.object.kind))
        events.written(due)
    assert told[0] == ("NodeLost", "Node")
    assert {("StorageZoneMismatch", "Pod"), ("SchedVolumeZone", "StatefulSet")} < set(told)
    assert ("StorageStaleAttachment", "VolumeAttachment") in told
    assert events.waiting == 0
