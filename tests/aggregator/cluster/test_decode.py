"""Objects as the API server sends them, as odd as they may be, to what is kept of them."""

from __future__ import annotations

import copy
import gc
import json
import os
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster.decode import Decoded, DecodeError, Decoder, peek
from aggregator.cluster.objects import (
    AttachError,
    Attachment,
    Budget,
    Claim,
    CsiNode,
    Event,
    HostPort,
    Lease,
    NodeObject,
    NodeTerm,
    Owner,
    Pod,
    PodClaim,
    Quota,
    Requirement,
    Selector,
    StorageClass,
    Taint,
    Volume,
    Workload,
)
from aggregator.cluster.state import RESOURCES
from tests.aggregator.cluster.samples import (
    CREATED,
    CREATED_S,
    NEW_EVENT,
    OLD_EVENT,
    SAMPLES,
    container,
    pod,
    raw,
    sample,
    token_volume,
)


def decoded(resource: str, thing: dict[str, Any], decoder: Decoder | None = None) -> Any:
    """What is kept of it; nothing may be odd."""
    found = (decoder or Decoder()).decode(resource, raw(thing))
    assert found.odd == ""
    return found.thing


def decoded_pod(thing: dict[str, Any], decoder: Decoder | None = None) -> Pod:
    return cast("Pod", decoded("pods", thing, decoder))


# -- kinds ---------------------------------------------------------------------------------------------------------


def test_a_pod() -> None:
    found = decoded_pod(pod())
    assert (found.key, found.uid, found.version) == ("demo/web-6f64c76458-bgwkj", "uid-web-6f64c76458-bgwkj", "398")
    assert (found.created, found.deleted) == (CREATED_S, 0.0)
    assert found.owner == Owner("ReplicaSet", "web-6f64c76458", "uid-web-6f64c76458")
    assert (found.node, found.phase, found.ip) == ("node-c", "Running", "10.244.9.13")
    assert found.spec.requests == {"cpu": 500, "memory": 256 << 20}
    assert found.spec.references == ("ConfigMap/kube-root-ca.crt",)
    assert [(each.type, each.since) for each in found.conditions] == [("Ready", CREATED_S), ("PodScheduled", CREATED_S)]
    (status,) = found.containers
    assert (status.name, status.ready, status.restarts) == ("web", True, 2)
    assert status.state is not None
    assert (status.state.kind, status.state.started) == ("running", CREATED_S)
    assert status.last is not None
    assert (status.last.kind, status.last.reason, status.last.exit_code) == ("terminated", "OOMKilled", 137)
    assert found.spec.tolerations[0].seconds == 300


def test_a_node() -> None:
    found = cast("NodeObject", decoded("nodes", SAMPLES["nodes"]))
    assert found.taints == (
        Taint("dedicated", "db", "NoExecute"),
        Taint("node.kubernetes.io/unschedulable", "", "NoSchedule", CREATED_S),
    )
    assert found.addresses == {"InternalIP": "10.0.0.11", "Hostname": "node-a"}
    assert found.allocatable == {"cpu": 3800, "ephemeral-storage": 90 << 30, "memory": 15 << 30, "pods": 110}
    assert found.capacity["nvidia.com/gpu"] == 2
    assert (found.ready, found.unschedulable, found.kubelet_version) == ("True", True, "v1.36.0")
    assert found.volumes_attached == (("kubernetes.io/csi/ebs.csi.aws.com^vol-1", "/dev/xvdba"),)
    assert found.volumes_in_use == ("kubernetes.io/csi/ebs.csi.aws.com^vol-1",)
    old = sample("nodes")
    del old["spec"]["podCIDRs"]
    assert decoded("nodes", old).pod_cidrs == found.pod_cidrs == ("10.244.1.0/24",)


def test_a_claim() -> None:
    found = cast("Claim", decoded("persistentvolumeclaims", SAMPLES["persistentvolumeclaims"]))
    assert (found.key, found.phase, found.volume, found.storage_class) == ("demo/data-web-0", "Bound", "pvc-1", "gp3")
    assert (found.requested, found.capacity, found.resize_status) == (10 << 30, 8 << 30, "NodeResizePending")
    assert (found.selected_node, found.provisioner) == ("node-a", "ebs.csi.aws.com")
    given = sample("persistentvolumeclaims")
    given["spec"]["storageClassName"] = ""
    assert decoded("persistentvolumeclaims", given).storage_class == ""
    del given["spec"]["storageClassName"]
    assert decoded("persistentvolumeclaims", given).storage_class is None


def test_a_volume() -> None:
    found = cast("Volume", decoded("persistentvolumes", SAMPLES["persistentvolumes"]))
    assert (found.source, found.driver, found.handle) == ("csi", "ebs.csi.aws.com", "vol-1")
    assert (found.claim, found.claim_uid, found.capacity) == ("demo/data-web-0", "uid-data-web-0", 10 << 30)
    assert found.node_terms == (NodeTerm((Requirement("topology.ebs.csi.aws.com/zone", "In", ("a",)),)),)


@pytest.mark.parametrize(
    ("source", "given", "driver", "handle"),
    [
        ("awsElasticBlockStore", {"volumeID": "aws://eu-central-1a/vol-0a"}, "ebs.csi.aws.com", "vol-0a"),
        ("awsElasticBlockStore", {"volumeID": "vol-0a"}, "ebs.csi.aws.com", "vol-0a"),
        ("gcePersistentDisk", {"pdName": "disk-1"}, "pd.csi.storage.gke.io", "disk-1"),
        (
            "azureDisk",
            {"diskURI": "/subscriptions/x/disks/d", "diskName": "d"},
            "disk.csi.azure.com",
            "/subscriptions/x/disks/d",
        ),
        ("vsphereVolume", {"volumePath": "[ds] v/x.vmdk"}, "csi.vsphere.vmware.com", "[ds] v/x.vmdk"),
        ("cinder", {"volumeID": "c-1"}, "cinder.csi.openstack.org", "c-1"),
        ("portworxVolume", {"volumeID": "p-1"}, "pxd.portworx.com", "p-1"),
        ("nfs", {"server": "filer", "path": "/x"}, "", "filer:/x"),
        ("local", {"path": "/mnt/ssd"}, "", "/mnt/ssd"),
        ("hostPath", {"path": "/data", "type": ""}, "", "/data"),
    ],
)
def test_where_a_volume_comes_from(source: str, given: dict[str, str], driver: str, handle: str) -> None:
    volume = sample("persistentvolumes")
    del volume["spec"]["csi"]
    volume["spec"][source] = given
    found = decoded("persistentvolumes", volume)
    assert (found.source, found.driver, found.handle) == (source, driver, handle)


def test_zone_labels_of_a_volume_bind_it() -> None:
    volume = sample("persistentvolumes")
    zone = Requirement("topology.kubernetes.io/zone", "In", ("a", "b"))
    volume["metadata"]["labels"] = {"failure-domain.beta.kubernetes.io/zone": "a__b", "other": "x"}
    (term,) = decoded("persistentvolumes", volume).node_terms
    assert term.labels == (Requirement("topology.ebs.csi.aws.com/zone", "In", ("a",)), zone)
    del volume["spec"]["nodeAffinity"]
    assert decoded("persistentvolumes", volume).node_terms == (NodeTerm((zone,)),)
    volume["metadata"]["labels"] = {"other": "x"}
    assert decoded("persistentvolumes", volume).node_terms is None


def test_a_storage_class() -> None:
    found = cast("StorageClass", decoded("storageclasses", SAMPLES["storageclasses"]))
    assert (found.waits_for_consumer, found.expandable, found.default) == (True, True, True)
    assert found.topologies == (NodeTerm((Requirement("topology.kubernetes.io/zone", "In", ("a", "b")),)),)


def test_an_attachment() -> None:
    found = cast("Attachment", decoded("volumeattachments", SAMPLES["volumeattachments"]))
    assert (found.node, found.volume, found.attached, found.deleted) == ("node-a", "pvc-1", True, CREATED_S)
    assert found.detach_error == AttachError("rpc error: code = DeadlineExceeded", CREATED_S)
    assert found.attach_error is None


def test_a_csi_node() -> None:
    found = cast("CsiNode", decoded("csinodes", SAMPLES["csinodes"]))
    assert [(each.name, each.limit, each.topology_keys) for each in found.drivers] == [
        ("ebs.csi.aws.com", 25, ("zone",)),
        ("efs.csi.aws.com", None, ()),
    ]


def test_an_event_with_the_new_fields() -> None:
    found = cast("Event", decoded("events", SAMPLES["events"]))
    assert (found.kind, found.object, found.reason) == ("Pod", "demo/bad-taint", "FailedScheduling")
    assert (found.component, found.host, found.count) == ("default-scheduler", "", 4)
    assert (found.first, found.last) == (CREATED_S + 0.765514, CREATED_S + 60.5)


def test_both_shapes_of_an_event_are_one() -> None:
    found = cast("Event", decoded("events", OLD_EVENT))
    assert found == decoded("events", NEW_EVENT)
    assert (found.component, found.host, found.count, found.field) == ("kubelet", "node-a", 41, "spec.containers{app}")
    assert (found.first, found.last) == (CREATED_S + 1, CREATED_S + 601)


def test_an_event_about_what_has_no_namespace() -> None:
    event = copy.deepcopy(OLD_EVENT)
    event["involvedObject"] = {"kind": "Node", "name": "node-a", "uid": "node-a"}
    assert (decoded("events", event).kind, decoded("events", event).object) == ("Node", "node-a")


def test_a_lease_a_budget_a_quota_a_workload() -> None:
    lease = cast("Lease", decoded("leases", SAMPLES["leases"]))
    assert (lease.holder, lease.renewed, lease.duration_s, lease.transitions) == ("node-a", CREATED_S + 0.709478, 40, 3)
    budget = cast("Budget", decoded("poddisruptionbudgets", SAMPLES["poddisruptionbudgets"]))
    assert (budget.max_unavailable, budget.min_available, budget.observed) == ("0", "50%", True)
    assert budget.selector == Selector((Requirement("app", "In", ("web",)),))
    assert (budget.allowed, budget.healthy, budget.desired, budget.expected) == (0, 1, 2, 3)
    quota = cast("Quota", decoded("resourcequotas", SAMPLES["resourcequotas"]))
    assert (quota.hard, quota.used) == ({"requests.cpu": 4000, "pods": 10}, {"requests.cpu": 3500, "pods": 7})
    assert quota.scoped
    replicas = cast("Workload", decoded("replicasets", SAMPLES["replicasets"]))
    assert (replicas.kind, replicas.wanted, replicas.existing, replicas.ready) == ("ReplicaSet", 4, 3, 2)
    assert not replicas.observed
    assert decoded("statefulsets", SAMPLES["statefulsets"]).parallel


def test_a_selector_that_is_not_there_is_not_the_empty_one() -> None:
    budget = sample("poddisruptionbudgets")
    budget["spec"]["selector"] = {}
    assert decoded("poddisruptionbudgets", budget).selector == Selector()
    budget["spec"]["selector"] = None
    assert decoded("poddisruptionbudgets", budget).selector is None


# -- what the scheduler counts -------------------------------------------------------------------------------------


def requests(**spec: Any) -> dict[str, int]:
    return dict(decoded_pod(pod(**spec)).spec.requests)


def sidecar(cpu: str) -> dict[str, Any]:
    return container(f"sidecar-{cpu}", {"cpu": cpu}, restartPolicy="Always")


@pytest.mark.parametrize(
    ("init", "main", "cpu"),
    [
        ([], ["100m", "200m"], 300),
        ([container("a", {"cpu": "1"})], ["100m", "200m"], 1000),
        ([container("a", {"cpu": "250m"})], ["100m", "200m"], 300),
        ([sidecar("50m")], ["100m"], 150),
        # A plain one after a sidecar runs beside it; one before does not.
        ([sidecar("50m"), container("a", {"cpu": "120m"})], ["100m"], 170),
        ([container("a", {"cpu": "120m"}), sidecar("50m")], ["100m"], 150),
        ([container("a", {"cpu": "180m"}), sidecar("50m")], ["100m"], 180),
        ([sidecar("50m"), sidecar("60m"), container("a", {"cpu": "1"})], ["100m"], 1110),
    ],
)
def test_init_containers_and_sidecars(init: list[dict[str, Any]], main: list[str], cpu: int) -> None:
    containers = [container(f"c{number}", {"cpu": each}) for number, each in enumerate(main)]
    assert requests(containers=containers, initContainers=init) == {"cpu": cpu}


def test_overhead_is_added_and_pod_level_requests_stand_in_the_containers_stead() -> None:
    one = [container("a", {"cpu": "100m", "memory": "1Gi", "nvidia.com/gpu": "1"})]
    overhead = {"cpu": "250m", "memory": "64Mi"}
    assert requests(containers=one, overhead=overhead) == {"cpu": 350, "memory": 1088 << 20, "nvidia.com/gpu": 1}
    level = {"requests": {"cpu": "2", "hugepages-2Mi": "4Mi", "nvidia.com/gpu": "7"}}
    assert requests(containers=one, overhead=overhead, resources=level) == {
        "cpu": 2250,
        "memory": 1088 << 20,
        "hugepages-2Mi": 4 << 20,
        "nvidia.com/gpu": 1,
    }


@pytest.mark.parametrize(
    ("wanted", "in_force", "allocated", "infeasible", "cpu"),
    [
        ("500m", "500m", "500m", False, 500),
        ("800m", "500m", "500m", False, 800),
        ("200m", "500m", "500m", False, 500),
        ("200m", "300m", "500m", False, 500),
        ("800m", "500m", "500m", True, 500),
    ],
)
def test_a_pod_that_is_resized_counts_for_the_largest(
    wanted: str, in_force: str, allocated: str, *, infeasible: bool, cpu: int
) -> None:
    given = pod(containers=[container("web", {"cpu": wanted})])
    given["status"]["containerStatuses"][0] |= {
        "resources": {"requests": {"cpu": in_force}},
        "allocatedResources": {"cpu": allocated},
    }
    if infeasible:
        given["status"]["conditions"].append({"type": "PodResizePending", "status": "True", "reason": "Infeasible"})
    assert decoded_pod(given).spec.requests == {"cpu": cpu}


# -- templates -----------------------------------------------------------------------------------------------------


def test_pods_of_a_template_share_it_whatever_their_volumes_are_called() -> None:
    decoder = Decoder()
    one = decoded_pod(pod("a", nodeName="n1", volumes=[token_volume("aaaaa")]), decoder)
    two = decoded_pod(pod("b", nodeName="n2", volumes=[token_volume("bbbbb")]), decoder)
    assert one.spec is two.spec
    assert one.labels is two.labels
    assert one.owner is two.owner
    assert decoded_pod(pod("c", volumes=[token_volume("aaaaa")], priority=7), decoder).spec is not one.spec


def test_claims_are_the_pod_s_own() -> None:
    decoder = Decoder()

    def of(number: int) -> Pod:
        data = {"name": "data", "persistentVolumeClaim": {"claimName": f"data-db-{number}", "readOnly": True}}
        scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
        return decoded_pod(pod(f"db-{number}", volumes=[data, scratch, token_volume(f"{number}")]), decoder)

    assert of(0).claims == (
        PodClaim("data", "data-db-0", read_only=True),
        PodClaim("scratch", "db-0-scratch", ephemeral=True),
    )
    assert of(0).spec is of(1).spec


def node_affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def on(node: str, operator: str = "In") -> dict[str, Any]:
    return {"key": "metadata.name", "operator": operator, "values": [node]}


def test_pods_of_a_daemon_set_share_their_template() -> None:
    decoder = Decoder()
    linux = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}

    def of(node: str, *labels: dict[str, Any]) -> Pod:
        term = {"matchFields": [on(node)]} | ({"matchExpressions": list(labels)} if labels else {})
        return decoded_pod(pod(f"ds-{node}", affinity=node_affinity(term)), decoder)

    assert (of("n1").pinned_node, of("n2").pinned_node) == ("n1", "n2")
    assert of("n1").spec is of("n2").spec
    assert of("n1").spec.node_terms is None
    assert of("n1", linux).spec is of("n2", linux).spec
    assert of("n1", linux).spec.node_terms == (NodeTerm((Requirement("kubernetes.io/os", "In", ("linux",)),)),)


@pytest.mark.parametrize(
    "terms",
    [
        [{"matchFields": [on("n1", "NotIn")]}],
        [{"matchFields": [on("n1")]}, {"matchFields": [on("n2")]}],
        [{"matchFields": [on("n1")]}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]}],
    ],
)
def test_other_fields_stay_as_they_are(terms: list[dict[str, Any]]) -> None:
    found = decoded_pod(pod(affinity=node_affinity(*terms)))
    assert found.pinned_node == ""
    assert found.spec.node_terms is not None
    assert len(found.spec.node_terms) == len(terms)


def test_of_terms_that_all_pin_one_node_the_widest_counts() -> None:
    label = {"matchExpressions": [{"key": "a", "operator": "Exists"}], "matchFields": [on("n1")]}
    found = decoded_pod(pod(affinity=node_affinity(label, {"matchFields": [on("n1")]})))
    assert (found.pinned_node, found.spec.node_terms) == ("n1", None)


def test_affinity_spread_ports_and_references() -> None:
    affinity = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "web"}},
                    "topologyKey": "kubernetes.io/hostname",
                    "namespaceSelector": {},
                }
            ],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {}}],
        }
    }
    spread = {"maxSkew": 2, "topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["pod-template-hash", "none"]}
    env = [
        {"name": "A", "value": "secret value"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "p", "optional": True}}},
    ]
    volumes = [
        {"name": "s", "secret": {"secretName": "tls", "optional": False}},
        {"name": "c", "configMap": {"name": "conf"}},
        {
            "name": "p",
            "projected": {"sources": [{"secret": {"name": "in-p"}}, {"configMap": {"name": "no", "optional": True}}]},
        },
    ]
    ports = [{"containerPort": 80}, {"containerPort": 443, "hostPort": 443, "protocol": "UDP", "hostIP": "10.0.0.1"}]
    main = container("a", {}, env=env, envFrom=[{"configMapRef": {"name": "all"}}], ports=ports)
    found = decoded_pod(
        pod(
            containers=[main],
            volumes=volumes,
            affinity=affinity,
            topologySpreadConstraints=[
                spread | {"whenUnsatisfiable": "DoNotSchedule"},
                spread | {"whenUnsatisfiable": "ScheduleAnyway"},
            ],
            imagePullSecrets=[{"name": "registry"}],
            resourceClaims=[
                {"name": "gpu", "resourceClaimTemplateName": "one-gpu"},
                {"name": "x", "source": {"resourceClaimName": "c"}},
            ],
            schedulingGates=[{"name": "example.com/wait"}],
        )
    )
    (term,) = found.spec.pod_anti_affinity
    assert (term.selector, term.namespace_selector) == (Selector((Requirement("app", "In", ("web",)),)), Selector())
    (constraint,) = found.spec.spread
    assert constraint.selector == Selector((Requirement("pod-template-hash", "In", ("6f64c76458",)),))
    assert (constraint.max_skew, constraint.honor_affinity, constraint.honor_taints) == (2, True, False)
    assert found.spec.references == ("ConfigMap/all", "ConfigMap/conf", "Secret/db", "Secret/in-p", "Secret/tls")
    assert found.spec.host_ports == (HostPort(443, "UDP", "10.0.0.1"),)
    assert found.spec.pull_secrets == ("registry",)
    assert found.spec.resource_claims == ("one-gpu", "c")
    assert found.gates == ("example.com/wait",)
    assert "secret value" not in repr(found)


def test_what_nobody_uses_any_more_is_not_kept() -> None:
    decoder = Decoder()

    def of(number: int) -> Pod:
        given = pod(f"p{number}", containers=[container("c", {"cpu": f"{number}m"}, image=f"image-{number}")])
        given["metadata"]["labels"] = {"job": f"job-{number}"}
        return decoded_pod(given, decoder)

    kept = [of(number) for number in range(10)]
    decoder.sharing.sweep()
    few = len(decoder.sharing)
    for number in range(6_000):
        of(number)
    assert len(decoder.sharing.templates) < 5_000  # it is swept as it grows
    gc.collect()
    decoder.sharing.sweep()
    assert len(decoder.sharing) == few
    assert of(3).spec is kept[3].spec
    assert of(3).labels is kept[3].labels


# -- odd objects ---------------------------------------------------------------------------------------------------


def test_times() -> None:
    node = sample("nodes")
    for text, at in (
        ("2026-11-22T10:58:30.709478Z", CREATED_S + 0.709478),
        ("2026-11-22T10:58:30.709478123Z", CREATED_S + 0.709478),
        ("2026-11-22T11:58:30+01:00", CREATED_S),
        (None, 0.0),
        ("0001-01-01T00:00:00Z", 0.0),
    ):
        node["metadata"]["creationTimestamp"] = text
        assert decoded("nodes", node).created == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize("resource", RESOURCES)
def test_null_is_as_good_as_nothing(resource: str) -> None:
    """Go writes null for what is empty: in turn in the place of each field."""
    decoder = Decoder()

    def nulled(thing: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        entries = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
        return [each for name, value in entries for each in ((*path, name), *nulled(value, (*path, name)))]

    for path in nulled(SAMPLES[resource]):
        if path in {("metadata",), ("metadata", "name"), ("metadata", "namespace")}:
            continue
        thing = sample(resource)
        place: Any = thing
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = None
        assert decoder.decode(resource, raw(thing)).odd == "", path


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_bare_name_is_an_object(resource: str) -> None:
    metadata = {"name": "x", "namespace": "y"}
    empty: list[dict[str, Any]] = [{}, {"spec": {}, "status": {}}, {"spec": None, "status": None}]
    for rest in empty:
        assert Decoder().decode(resource, raw({"metadata": metadata, **rest})).odd == ""


def odd(resource: str, thing: dict[str, Any]) -> Decoded:
    return Decoder().decode(resource, raw(thing))


def test_one_odd_field_does_not_lose_the_object() -> None:
    given = pod()
    given["metadata"]["creationTimestamp"] = "yesterday"
    given["metadata"]["labels"]["number"] = 7
    given["spec"]["tolerations"].append("odd")
    found = odd("pods", given)
    assert found.odd.startswith("Pod demo/web-6f64c76458-bgwkj: ")
    assert isinstance(found.thing, Pod)
    assert (found.thing.created, found.thing.node) == (0.0, "node-c")
    assert found.thing.labels == pod()["metadata"]["labels"]
    assert len(found.thing.spec.tolerations) == 1


def test_numbers_as_text_are_numbers() -> None:
    event = copy.deepcopy(OLD_EVENT)
    event["count"] = "41"
    found = odd("events", event)
    assert found.odd == ""
    assert cast("Event", found.thing).count == 41


def test_a_bad_quantity_is_named_with_its_place() -> None:
    found = odd("pods", pod(containers=[container("a", {"cpu": "100m", "memory": "lots"})]))
    assert found.odd == (
        "Pod demo/web-6f64c76458-bgwkj: spec.containers[0].resources.requests.memory: 'lots' is no quantity"
    )
    assert cast("Pod", found.thing).spec.requests == {"cpu": 100}


def test_what_is_odd_at_the_top_is_no_worse() -> None:
    found = odd("events", OLD_EVENT | {"count": "many", "firstTimestamp": []})
    assert "Event demo/web.18ea58ddb869cd8e: " in found.odd
    assert isinstance(found.thing, Event)
    assert (found.thing.count, found.thing.reason, found.thing.last) == (1, "BackOff", CREATED_S + 601)


def test_what_no_reader_takes_is_named_with_its_place() -> None:
    huge = raw(pod(containers=[container("a", {"cpu": "HUGE"})])).replace(b'"HUGE"', b"1e400")
    with pytest.raises(DecodeError, match=r"requests\[\.\.\.\]: Number out of range"):
        Decoder().decode("pods", huge)
    both = raw(pod(containers=[container("a", {"cpu": "x"})], extra="HUGE")).replace(b'"HUGE"', b"1e400")
    with pytest.raises(DecodeError, match=r"requests\.cpu: 'x' is no quantity"):
        Decoder().decode("pods", both)


@pytest.mark.parametrize(
    ("resource", "path", "value", "place"),
    [
        ("pods", ("spec", "nodeName"), 7, "spec.nodeName"),
        ("pods", ("status",), [], "status"),
        ("nodes", ("status", "allocatable", "cpu"), "many", "status.allocatable.cpu"),
        ("persistentvolumes", ("spec", "claimRef"), "x", "spec.claimRef"),
        ("volumeattachments", ("status", "attached"), "perhaps", "status.attached"),
        ("leases", ("spec", "renewTime"), "now", "spec.renewTime"),
    ],
)
def test_what_conclusions_rest_on_must_be_right(
    resource: str, path: tuple[str, ...], value: object, place: str
) -> None:
    thing = sample(resource)
    where: Any = thing
    for step in path[:-1]:
        where = where[step]
    where[path[-1]] = value
    with pytest.raises(DecodeError, match=f"{thing['metadata']['name']}: {place}: ") as caught:
        odd(resource, thing)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.key.endswith(thing["metadata"]["name"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"metadata": {"name": "\xff"}}', "utf-8"),
        (b'{"metadata": {}}', "metadata.name: missing"),
        (b'{"metadata": {"name": ""}}', "metadata.name: missing"),
        (b'{"metadata": {"name": "x"}}', "Pod x: metadata.namespace: missing"),
        (b'{"kind": "Service", "metadata": {"name": "x", "namespace": "y"}}', "kind: it is a Service"),
        (b'{"x":' + b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_object_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        Decoder().decode("pods", data)
    assert len(str(caught.value).splitlines()) == 1


def test_a_peek_tells_the_state_of_an_object() -> None:
    assert peek("pods", raw(pod("a"))) == ("demo/a", "uid-a", "398")
    assert peek("nodes", raw(SAMPLES["nodes"])) == ("node-a", "uid-node-a", "398")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8) | st.just(CREATED),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data(), resource=st.sampled_from(RESOURCES), times=st.integers(1, 4))
def test_whatever_is_changed_in_an_object_it_is_read_or_named(data: st.DataObject, resource: str, times: int) -> None:
    thing: Any = sample(resource)
    for _ in range(times):
        place = thing
        while True:
            names = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not names:
                break
            name = data.draw(st.sampled_from(names))
            if not isinstance(place[name], dict | list) or not data.draw(st.integers(0, 3)):
                if data.draw(st.booleans()):
                    place[name] = data.draw(JSON)
                else:
                    del place[name]
                break
            place = place[name]
    try:
        found = Decoder().decode(resource, raw(thing).replace(b"NaN", b"null").replace(b"Infinity", b"1"))
    except DecodeError as error:
        lines = str(error)
    else:
        lines = found.odd or "good"
        msgspec.json.encode(found.thing)  # nothing in it is of a type of its own
    assert len(lines.splitlines()) == 1
    assert len(lines) < 800


@given(data=st.data(), resource=st.sampled_from(RESOURCES))
def test_bytes_that_are_damaged_are_read_or_named(data: st.DataObject, resource: str) -> None:
    text = bytearray(raw(SAMPLES[resource]))
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del text[data.draw(st.integers(0, len(text) - 1)) :]
    try:
        Decoder().decode(resource, bytes(text))
    except DecodeError as error:
        assert str(error).isprintable()  # noqa: PT017  # it need not be raised


# -- a real API server's objects -----------------------------------------------------------------------------------

SHARED = os.environ.get("NODETELL_SHARED", "")
FILES = {
    "pvs": "persistentvolumes",
    "pvcs": "persistentvolumeclaims",
    "events-core-v1": "events",
    "events-events.k8s.io-v1": "events",
    "pods-limit-3": "pods",
    **{resource: resource for resource in RESOURCES},
}
RECORDED = sorted(path for path in Path(SHARED, "recordings").rglob("*.json") if path.stem in FILES) if SHARED else []


@pytest.mark.skipif(not RECORDED, reason="NODETELL_SHARED names no directory with recordings of an API server")
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_recorded_object_is_read(path: Path) -> None:
    decoder = Decoder()
    resource = FILES[path.stem]
    items = json.loads(path.read_bytes())["items"]
    assert items
    for item in items:
        found = decoder.decode(resource, raw(item))
        assert found.odd == ""
        assert found.key.endswith(item["metadata"]["name"])


@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, 10**40])
def test_a_number_that_no_field_holds_costs_no_pod(number: int) -> None:
    tolerations = [{"key": "k", "operator": "Exists", "tolerationSeconds": number}]
    pods = [
        {
            "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": "1"},
            "spec": {"containers": [{"name": "c"}], "tolerations": tolerations, "priority": number},
        }
        for name in ("a", "b")
    ]
    decoder = Decoder()
    assert [decoder.decode("pods", json.dumps(pod).encode()).key for pod in pods] == ["n/a", "n/b"]
