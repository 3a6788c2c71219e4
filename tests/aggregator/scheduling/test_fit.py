"""Each filter of the scheduler, one pod against a few nodes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aggregator.cluster.objects import (
    Attachment,
    HostPort,
    NodeTerm,
    Pod,
    PodSpec,
    PodTerm,
    Requirement,
    Selector,
    Spread,
    Volume,
)
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import (
    CORDONED,
    HOST_PORT,
    INSUFFICIENT,
    NODE_AFFINITY,
    POD_AFFINITY,
    SPREAD,
    TAINT,
    TOO_LARGE,
    TOO_MANY_PODS,
    UNBOUND_CLAIM,
    VOLUME_IN_USE,
    VOLUME_LIMIT,
    VOLUME_ZONE,
)
from tests.aggregator.scheduling.shapes import EBS, GIB, Small, app, bears, together

# -- amounts -------------------------------------------------------------------------------------------------------


def test_what_is_left_on_a_node_is_what_counts() -> None:
    small = Small()
    small.node("full")
    small.node("free")
    small.pod("other", "full", cpu=6000)
    pod = small.pod("web", cpu=2500, memory=GIB)
    assert small.codes(pod) == {"full": [INSUFFICIENT], "free": []}
    (stop,) = small.survey(pod).stops["full"]
    assert (stop.about, stop.asked, stop.free, stop.lacks, stop.whole) == ("cpu", 2500, 2000, 500, 8000)


def test_exactly_enough_is_enough() -> None:
    small = Small()
    small.node("n1")
    small.pod("other", "n1", cpu=6000)
    assert small.codes(small.pod("web", cpu=2000)) == {"n1": []}
    assert small.codes(small.pod("web", cpu=2001)) == {"n1": [INSUFFICIENT]}


def test_what_an_empty_node_could_not_hold_is_too_large() -> None:
    small = Small()
    small.node("n1")
    assert small.codes(small.pod("web", cpu=9000, memory=GIB)) == {"n1": [TOO_LARGE]}


def test_a_device_that_the_node_has_not_is_zero() -> None:
    small = Small()
    small.node("plain")
    small.node("gpus", has={"nvidia.com/gpu": 2})
    assert small.codes(small.pod("train", asks={"nvidia.com/gpu": 1})) == {"plain": [TOO_LARGE], "gpus": []}


def test_an_amount_of_zero_is_not_asked_for_even_where_nothing_is_left() -> None:
    small = Small()
    small.node("n1")
    small.pod("other", "n1", cpu=9000)
    assert small.codes(small.pod("web", cpu=0)) == {"n1": []}


def test_the_number_of_pods_is_an_amount_and_ended_ones_are_none() -> None:
    small = Small()
    small.node("n1", pods=2)
    small.pod("a", "n1")
    ended = small.pod("b", "n1")
    assert small.codes(small.pod("web")) == {"n1": [TOO_MANY_PODS]}
    small.state.keep("pods", ended.key, _but(ended, phase="Succeeded"))
    assert small.codes(small.pod("web")) == {"n1": []}


def _but(pod: Pod, **fields: object) -> Pod:
    return replace(pod, **fields)


def test_room_for_a_nominated_pod_is_kept_from_lesser_ones() -> None:
    small = Small()
    small.node("n1")
    nominated = small.pod("first", spec=PodSpec(requests={"cpu": 7000}, priority=10))
    small.state.keep("pods", nominated.key, _but(nominated, nominated_node="n1"))
    assert small.codes(small.pod("lesser", cpu=2000)) == {"n1": [INSUFFICIENT]}
    assert small.codes(small.pod("more", spec=PodSpec(requests={"cpu": 2000}, priority=20))) == {"n1": []}


def test_addresses_that_are_short_are_too_many_pods() -> None:
    small = Small()
    small.node("win", has={"vpc.amazonaws.com/PrivateIPv4Address": 0})
    pod = small.pod("web", asks={"vpc.amazonaws.com/PrivateIPv4Address": 1})
    assert small.codes(pod) == {"win": [TOO_MANY_PODS]}


# -- what the node is ----------------------------------------------------------------------------------------------


def test_cordoned_tainted_and_not_selected_are_all_told() -> None:
    small = Small()
    small.node("n1", cordoned=True, taints=("node.kubernetes.io/unschedulable:NoSchedule", "spot=yes:NoSchedule"))
    pod = small.pod("web", spec=PodSpec(node_selector={"disk": "ssd"}))
    assert small.codes(pod) == {"n1": [CORDONED, TAINT, NODE_AFFINITY]}
    assert [stop.about for stop in small.survey(pod).stops["n1"]] == ["cordoned", "spot=yes:NoSchedule", "disk=ssd"]


def test_who_tolerates_the_cordon_s_taint_stays() -> None:
    small = Small()
    small.node("n1", cordoned=True, taints=("node.kubernetes.io/unschedulable:NoSchedule",))
    spec = PodSpec(tolerations=(bears("node.kubernetes.io/unschedulable"),))
    assert small.codes(small.pod("agent", spec=spec)) == {"n1": []}


def test_a_daemon_s_pod_is_for_one_node() -> None:
    small = Small()
    small.node("n1")
    small.node("n2")
    pod = small.pod("agent")
    pinned = _but(pod, pinned_node="n2")
    assert small.codes(pinned) == {"n1": [NODE_AFFINITY], "n2": []}


def test_required_affinity_to_nodes() -> None:
    small = Small()
    small.node("n1", labels={"zone": "a"})
    small.node("n2", labels={"zone": "b"})
    spec = PodSpec(node_terms=(NodeTerm((Requirement("zone", "NotIn", ("a",)),)),))
    assert small.codes(small.pod("web", spec=spec)) == {"n1": [NODE_AFFINITY], "n2": []}


# -- ports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "clashes"),
    [
        (HostPort(80), True),
        (HostPort(80, "TCP", "10.0.0.9"), True),
        (HostPort(80, "UDP"), False),
        (HostPort(81), False),
    ],
)
def test_ports_of_the_host(ours: HostPort, clashes: bool) -> None:
    small = Small()
    small.node("n1")
    small.pod("proxy", "n1", spec=PodSpec(host_ports=(HostPort(80),)))
    pod = small.pod("web", spec=PodSpec(host_ports=(ours,)))
    assert small.codes(pod) == {"n1": [HOST_PORT] if clashes else []}
    if clashes:
        assert small.survey(pod).stops["n1"][0].objects == ("Pod/apps/proxy",)


def test_two_addresses_share_a_port() -> None:
    small = Small()
    small.node("n1")
    small.pod("a", "n1", spec=PodSpec(host_ports=(HostPort(80, "TCP", "10.0.0.1"),)))
    assert small.codes(small.pod("b", spec=PodSpec(host_ports=(HostPort(80, "TCP", "10.0.0.2"),)))) == {"n1": []}


# -- neighbours ----------------------------------------------------------------------------------------------------


def test_anti_affinity_keeps_out_of_the_whole_domain() -> None:
    small = Small()
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b")):
        small.node(name, labels={"zone": zone})
    small.pod("web-0", "n1", labels={"app": "web"})
    pod = small.pod("web-1", spec=PodSpec(pod_anti_affinity=(together("web", "zone"),)), labels={"app": "web"})
    assert small.codes(pod) == {"n1": [POD_AFFINITY], "n2": [POD_AFFINITY], "n3": []}


def test_those_who_are_there_may_refuse_a_newcomer() -> None:
    small = Small()
    small.node("n1")
    small.node("n2")
    small.pod("lonely", "n1", spec=PodSpec(pod_anti_affinity=(together("web"),)), labels={"app": "db"})
    assert small.codes(small.pod("web-1", labels={"app": "web"})) == {"n1": [POD_AFFINITY], "n2": []}
    assert small.codes(small.pod("other", labels={"app": "other"})) == {"n1": [], "n2": []}


def test_a_refusal_ends_with_the_pod_that_refused() -> None:
    small = Small()
    small.node("n1")
    lonely = small.pod("lonely", "n1", spec=PodSpec(pod_anti_affinity=(together("web"),)))
    pod = small.pod("web-1", labels={"app": "web"})
    assert small.codes(pod) == {"n1": [POD_AFFINITY]}
    small.state.keep("pods", lonely.key, None)
    assert small.codes(pod) == {"n1": []}


def test_a_term_is_for_its_own_namespace_unless_it_says_others() -> None:
    small = Small()
    small.node("n1")
    small.pod("web-0", "n1", namespace="shop", labels={"app": "web"})

    def refused(namespaces: tuple[str, ...] = (), namespace_selector: Selector | None = None) -> bool:
        term = together("web", namespaces=namespaces, namespace_selector=namespace_selector)
        spec = PodSpec(pod_anti_affinity=(term,))
        return small.codes(small.pod("web-1", spec=spec)) == {"n1": [POD_AFFINITY]}

    assert not refused()
    assert refused(namespaces=("shop",))
    assert refused(namespace_selector=Selector())
    by_name = Requirement("kubernetes.io/metadata.name", "In", ("shop",))
    assert refused(namespace_selector=Selector((by_name,)))


def test_labels_of_namespaces_are_said_to_be_unknown() -> None:
    small = Small()
    small.node("n1")
    small.pod("web-0", "n1", namespace="shop", labels={"app": "web"})
    term = together("web", namespace_selector=Selector((Requirement("team", "Exists"),)))
    pod = small.pod("web-1", spec=PodSpec(pod_anti_affinity=(term,)))
    seen = small.survey(pod)
    assert seen.stops == {"n1": ()}
    assert seen.unknown == ("labels of namespaces, which a pod (anti-)affinity asks for, are not known",)


def test_affinity_goes_where_the_others_are_and_the_first_goes_anywhere() -> None:
    small = Small()
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b")):
        small.node(name, labels={"zone": zone})
    small.node("bare")
    spec = PodSpec(pod_affinity=(together("cache", "zone"),))
    assert small.codes(small.pod("web", spec=spec)) == {name: [POD_AFFINITY] for name in ("n1", "n2", "n3", "bare")}
    first = small.pod("cache-0", spec=spec, labels={"app": "cache"})
    assert small.codes(first) == {"n1": [], "n2": [], "n3": [], "bare": [POD_AFFINITY]}
    small.pod("cache-0", "n3", labels={"app": "cache"})
    assert small.codes(small.pod("web", spec=spec))["n1"] == [POD_AFFINITY]
    assert small.codes(small.pod("web", spec=spec))["n3"] == []


def test_one_pod_must_meet_all_terms_of_affinity() -> None:
    small = Small()
    small.node("n1")
    small.pod("a", "n1", labels={"app": "a"})
    small.pod("b", "n1", labels={"tier": "b"})
    tier = PodTerm(Selector((Requirement("tier", "In", ("b",)),)), "kubernetes.io/hostname")
    pod = small.pod("web", spec=PodSpec(pod_affinity=(together("a"), tier)))
    assert small.codes(pod) == {"n1": [POD_AFFINITY]}
    small.pod("both", "n1", labels={"app": "a", "tier": "b"})
    assert small.codes(pod) == {"n1": []}


# -- spread --------------------------------------------------------------------------------------------------------


def spread(**more: object) -> PodSpec:
    return PodSpec(spread=(Spread("zone", 1, app("web"), **more),))  # type: ignore[arg-type]


def three_zones() -> Small:
    small = Small()
    for zone in "abc":
        small.node(f"n-{zone}", labels={"zone": zone})
    return small


def test_spread_counts_domains_and_needs_the_label() -> None:
    small = three_zones()
    small.node("bare")
    small.pod("web-0", "n-a", labels={"app": "web"})
    small.pod("web-1", "n-b", labels={"app": "web"})
    pod = small.pod("web-2", spec=spread(), labels={"app": "web"})
    assert small.codes(pod) == {"n-a": [SPREAD], "n-b": [SPREAD], "n-c": [], "bare": [SPREAD]}


def test_a_pod_that_its_own_constraint_does_not_select_adds_nothing() -> None:
    small = three_zones()
    small.pod("web-0", "n-a", labels={"app": "web"})
    assert small.codes(small.pod("other", spec=spread())) == {"n-a": [], "n-b": [], "n-c": []}


def test_too_few_domains_count_as_an_empty_one() -> None:
    small = three_zones()
    for zone in "abc":
        small.pod(f"web-{zone}", f"n-{zone}", labels={"app": "web"})
    assert small.codes(small.pod("web-3", spec=spread(min_domains=3), labels={"app": "web"}))["n-a"] == []
    assert small.codes(small.pod("web-3", spec=spread(min_domains=4), labels={"app": "web"}))["n-a"] == [SPREAD]


def test_terminating_pods_do_not_count_for_spread() -> None:
    small = three_zones()
    old = small.pod("web-0", "n-a", labels={"app": "web"})
    pod = small.pod("web-1", spec=spread(), labels={"app": "web"})
    assert small.codes(pod)["n-a"] == [SPREAD]
    small.state.keep("pods", old.key, _but(old, deleted=5.0))
    assert small.codes(pod)["n-a"] == []


def test_which_nodes_spread_counts_is_a_matter_of_policy() -> None:
    small = three_zones()
    small.node("n-c", labels={"zone": "c"}, taints=("spot=yes:NoSchedule",))
    small.pod("web-0", "n-a", labels={"app": "web"})
    small.pod("web-1", "n-b", labels={"app": "web"})
    ignoring = small.pod("web-2", spec=spread(), labels={"app": "web"})
    assert small.codes(ignoring) == {"n-a": [SPREAD], "n-b": [SPREAD], "n-c": [TAINT]}
    honouring = small.pod("web-3", spec=spread(honor_taints=True), labels={"app": "web"})
    assert small.codes(honouring) == {"n-a": [], "n-b": [], "n-c": [TAINT]}


def test_nodes_that_the_pod_does_not_select_are_no_domains_unless_it_says_so() -> None:
    def codes(honor: bool) -> list[str]:
        small = three_zones()
        for zone in "ab":
            small.node(f"n-{zone}", labels={"zone": zone, "disk": "ssd"})
            small.pod(f"web-{zone}", f"n-{zone}", labels={"app": "web"})
        constraint = Spread("zone", 1, app("web"), honor_affinity=honor)
        spec = PodSpec(spread=(constraint,), node_selector={"disk": "ssd"})
        return small.codes(small.pod("web-2", spec=spec, labels={"app": "web"}))["n-a"]

    assert codes(honor=True) == []
    assert codes(honor=False) == [SPREAD]


# -- volumes -------------------------------------------------------------------------------------------------------


def test_a_volume_s_zone() -> None:
    small = three_zones()
    small.volume("data", zone="a")
    pod = small.pod("db", claims=("data",))
    assert small.codes(pod) == {"n-a": [], "n-b": [VOLUME_ZONE], "n-c": [VOLUME_ZONE]}
    stop = small.survey(pod).stops["n-b"][0]
    assert stop.objects == ("PersistentVolumeClaim/apps/data", "PersistentVolume/pv-data")
    assert "zone=a" in stop.detail


def test_a_claim_that_is_not_there_stops_everywhere() -> None:
    small = three_zones()
    seen = small.survey(small.pod("db", claims=("data",)))
    assert [(stop.code, stop.objects) for stop in seen.of_pod] == [
        (UNBOUND_CLAIM, ("PersistentVolumeClaim/apps/data",))
    ]


def test_claims_that_are_not_listed_are_unknown_rather_than_absent() -> None:
    small = three_zones()
    small.state.set_known("persistentvolumeclaims", False)
    seen = small.survey(small.pod("db", claims=("data",)))
    assert not seen.of_pod
    assert seen.unknown == ("persistentvolumeclaims are not known",)


def test_a_claim_waits_for_its_pod_only_where_its_class_says_so() -> None:
    small = three_zones()
    small.storage_class("gp3", waits=True)
    small.storage_class("old", waits=False)
    small.claim("waits")
    small.claim("at-once", class_="old")
    small.claim("no-class", class_="gone")
    assert small.codes(small.pod("a", claims=("waits",)))["n-a"] == []
    for claim, word in (("at-once", "binds at once"), ("no-class", "does not exist")):
        (stop,) = small.survey(small.pod("b", claims=(claim,))).of_pod
        assert stop.code == UNBOUND_CLAIM
        assert word in stop.detail


def test_where_a_class_may_make_volumes() -> None:
    small = three_zones()
    small.storage_class(zone="b")
    small.claim("data")
    assert small.codes(small.pod("db", claims=("data",))) == {
        "n-a": [VOLUME_ZONE],
        "n-b": [],
        "n-c": [VOLUME_ZONE],
    }


def test_a_volume_that_is_being_made_is_for_the_chosen_node() -> None:
    small = three_zones()
    small.storage_class()
    small.claim("data", selected="n-b")
    pod = small.pod("db", claims=("data",))
    assert small.codes(pod) == {"n-a": [UNBOUND_CLAIM], "n-b": [], "n-c": [UNBOUND_CLAIM]}
    assert small.survey(pod).underway == ("apps/data",)


def test_local_volumes_must_exist_and_be_free() -> None:
    small = three_zones()
    small.storage_class("local", provisioner="kubernetes.io/no-provisioner")
    small.claim("data", class_="local")
    pod = small.pod("db", claims=("data",))
    assert small.codes(pod) == {name: [UNBOUND_CLAIM] for name in ("n-a", "n-b", "n-c")}
    terms = (NodeTerm((Requirement("zone", "In", ("a",)),)),)
    disk = Volume(
        "disk-a",
        storage_class="local",
        phase="Available",
        capacity=2 * GIB,
        access_modes=("ReadWriteOnce",),
        node_terms=terms,
    )
    small.state.keep("persistentvolumes", "disk-a", disk)
    assert small.codes(pod) == {"n-a": [], "n-b": [UNBOUND_CLAIM], "n-c": [UNBOUND_CLAIM]}


def test_one_pod_at_a_time_where_the_claim_says_so() -> None:
    small = three_zones()
    small.volume("data", modes=("ReadWriteOncePod",))
    pod = small.pod("db-1", claims=("data",))
    assert "" not in small.codes(pod)
    small.pod("db-0", "n-a", claims=("data",))
    assert small.codes(pod)[""] == [VOLUME_IN_USE]


def test_the_volume_limit_counts_claims_and_attachments_once() -> None:
    small = Small()
    small.node("n1")
    small.limit("n1", 2)
    for claim in ("a", "b", "c"):
        small.volume(claim)
    small.pod("one", "n1", claims=("a",))
    small.state.keep("volumeattachments", "va-a", Attachment("va-a", node="n1", volume="pv-a", attacher=EBS))
    pod = small.pod("two", claims=("b",))
    assert small.codes(pod) == {"n1": []}
    small.state.keep("volumeattachments", "va-c", Attachment("va-c", node="n1", volume="pv-c", attacher=EBS))
    assert small.codes(pod) == {"n1": [VOLUME_LIMIT]}
    assert small.codes(small.pod("again", claims=("a",))) == {"n1": []}


# -- what if -------------------------------------------------------------------------------------------------------


def test_without_a_node_and_without_a_pod() -> None:
    small = Small()
    small.node("n1")
    small.node("n2")
    moving = small.pod("moving", "n1", cpu=5000)
    small.pod("other", "n2", cpu=4000)
    without_itself = Cluster(small.state, without_pods={moving.key})
    assert [node.name for node in Fit(without_itself, moving).nodes_that_fit()] == ["n1"]
    lost = Cluster(small.state, without_nodes={"n1"}, without_pods={moving.key, "apps/other"})
    assert [node.name for node in Fit(lost, moving).nodes_that_fit()] == ["n2"]
    assert list(Fit(Cluster(small.state, without_nodes={"n1"}), moving).nodes_that_fit()) == []


def test_neighbours_on_nodes_that_are_gone_count_no_more() -> None:
    small = Small()
    small.node("n1", labels={"zone": "a"})
    small.node("n2", labels={"zone": "a"})
    small.pod("web-0", "n1", labels={"app": "web"})
    pod = small.pod("web-1", spec=PodSpec(pod_anti_affinity=(together("web", "zone"),)))
    assert list(Fit(Cluster(small.state), pod).nodes_that_fit()) == []
    assert [node.name for node in Fit(Cluster(small.state, {"n1"}), pod).nodes_that_fit()] == ["n2"]


def test_devices_by_claims_are_said_to_be_unknown() -> None:
    small = Small()
    small.node("n1")
    fit = Fit(Cluster(small.state), small.pod("train", spec=PodSpec(resource_claims=("gpu",))))
    assert fit.unknown == ("devices of resource claims (gpu) are not followed",)
