"""Which nodes were meant for a pod, and which of all reasons is named."""

from __future__ import annotations

from msgspec.structs import replace

from aggregator.cluster.objects import NOTHING, Amounts, PodSpec
from aggregator.scheduling.cause import FRAGMENTATION, cause, survey
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import (
    CORDONED,
    INSUFFICIENT,
    NODE_AFFINITY,
    TAINT,
    TOO_LARGE,
    TOO_MANY_PODS,
    UNBOUND_CLAIM,
    VOLUME_ZONE,
)
from tests.aggregator.scheduling.shapes import Small, bears

MASTER = "node-role.kubernetes.io/control-plane:NoSchedule"
LOST = ("node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute")


def workers(small: Small, count: int = 3, taken: int = 0, **more: object) -> None:
    for number in range(count):
        small.node(f"w{number}", **more)  # type: ignore[arg-type]
        if taken:
            small.pod(f"other-{number}", f"w{number}", cpu=taken)


def named(small: Small, cpu: int | None = None, memory: int | None = None, asks: Amounts = NOTHING) -> str:
    found = small.cause(small.pod("web", cpu=cpu, memory=memory, asks=asks))
    return found.code if found is not None else ""


def test_nothing_is_named_where_a_node_takes_it_or_there_is_none() -> None:
    small = Small()
    assert named(small, cpu=1) == ""
    workers(small)
    assert named(small, cpu=1) == ""


def test_short_fragmented_and_too_large_are_a_matter_of_sums() -> None:
    small = Small()
    workers(small, taken=7000)
    assert named(small, cpu=2000) == FRAGMENTATION
    assert named(small, cpu=3000) == FRAGMENTATION
    assert named(small, cpu=3001) == INSUFFICIENT
    assert named(small, cpu=8001) == TOO_LARGE


def test_every_amount_must_suffice_in_the_sum() -> None:
    small = Small()
    workers(small, taken=7000)
    assert named(small, cpu=2000, memory=32 << 30) == FRAGMENTATION
    small.pod("hog", "w0", memory=30 << 30)
    small.pod("hog-1", "w1", memory=30 << 30)
    small.pod("hog-2", "w2", memory=30 << 30)
    assert named(small, cpu=2000, memory=8 << 30) == INSUFFICIENT


def test_one_node_is_never_fragmented() -> None:
    small = Small()
    workers(small, 1, taken=7000)
    assert named(small, cpu=2000) == INSUFFICIENT


def test_what_cordoned_nodes_have_free_is_no_free_capacity() -> None:
    small = Small()
    workers(small, 3, taken=7000)
    small.node("drained", cordoned=True)
    assert named(small, cpu=4000) == INSUFFICIENT


def test_a_cordoned_node_could_still_hold_it() -> None:
    small = Small()
    workers(small, 3)
    small.node("drained", cpu=64000, cordoned=True)
    assert named(small, cpu=16000) == INSUFFICIENT


def test_the_control_plane_s_taints_explain_nothing() -> None:
    small = Small()
    for number in range(5):
        small.node(f"m{number}", taints=(MASTER,))
    workers(small, 2, taken=7800)
    found = small.cause(small.pod("web", cpu=1500))
    assert found is not None
    assert (found.code, found.about, found.nodes, found.others) == (INSUFFICIENT, "cpu", ("w0", "w1"), {})


def test_another_pool_explains_nothing_by_selector_or_taint() -> None:
    small = Small()
    for number in range(5):
        small.node(f"spot{number}", labels={"pool": "spot"}, taints=("spot=yes:NoSchedule",))
    workers(small, 2, taken=7800)
    assert named(small, cpu=1500) == INSUFFICIENT
    spec = PodSpec(requests={"cpu": 1500}, node_selector={"pool": "spot"}, tolerations=(bears("spot"),))
    assert small.cause(small.pod("spotty", spec=spec)) is None


def test_a_taint_on_the_only_nodes_that_it_selects_is_the_cause() -> None:
    small = Small()
    small.node("gpu", labels={"pool": "gpu"}, taints=("nvidia.com/gpu=present:NoSchedule",))
    workers(small, 4)
    found = small.cause(small.pod("train", spec=PodSpec(node_selector={"pool": "gpu"})))
    assert found is not None
    assert (found.code, found.about, found.nodes) == (TAINT, "nvidia.com/gpu", ("gpu",))


def test_nodes_without_the_device_were_not_meant() -> None:
    small = Small()
    small.node("gpu", taints=("nvidia.com/gpu:NoSchedule",), has={"nvidia.com/gpu": 4})
    workers(small, 4)
    assert named(small, asks={"nvidia.com/gpu": 1}) == TAINT
    small.node("gpu", has={"nvidia.com/gpu": 4})
    small.pod("busy", "gpu", asks={"nvidia.com/gpu": 4})
    found = small.cause(small.pod("train", asks={"nvidia.com/gpu": 1}))
    assert found is not None
    assert (found.code, found.about, found.nodes) == (INSUFFICIENT, "nvidia.com/gpu", ("gpu",))


def test_a_device_that_no_node_has_is_too_large() -> None:
    small = Small()
    workers(small)
    assert named(small, asks={"nvidia.com/gpu": 1}) == TOO_LARGE


def test_a_taint_on_all_workers_is_the_cause() -> None:
    small = Small()
    small.node("m", taints=(MASTER,))
    workers(small, taints=("dedicated=batch:NoSchedule",))
    found = small.cause(small.pod("web"))
    assert found is not None
    assert (found.code, found.about, len(found.nodes)) == (TAINT, "dedicated", 3)


def test_the_control_plane_s_taint_is_the_cause_where_there_is_nothing_else() -> None:
    small = Small()
    small.node("m", taints=(MASTER,))
    found = small.cause(small.pod("web"))
    assert found is not None
    assert (found.code, found.about) == (TAINT, "node-role.kubernetes.io/control-plane")


def test_taints_on_single_nodes_of_the_pod_s_own_pool_count() -> None:
    small = Small()
    pool = {"eks.amazonaws.com/nodegroup": "main"}
    workers(small, 3, labels=pool, taints=("maintenance=yes:NoSchedule",))
    small.node("full", labels=pool)
    small.pod("other", "full", cpu=8000)
    found = small.cause(small.pod("web", cpu=1000))
    assert found is not None
    assert (found.code, found.others) == (TAINT, {INSUFFICIENT: 1})


def test_a_selector_that_no_node_meets() -> None:
    small = Small()
    workers(small)
    small.node("m", taints=(MASTER,))
    found = small.cause(small.pod("web", spec=PodSpec(node_selector={"disk": "nvme"})))
    assert found is not None
    assert (found.code, found.about) == (NODE_AFFINITY, "disk=nvme")


def test_a_lost_node_is_named_only_where_nothing_else_decides() -> None:
    small = Small()
    for name in ("a1", "a2", "a3"):
        small.node(name, labels={"zone": "a"}, taints=LOST)
    small.node("b1", labels={"zone": "b"})
    small.volume("data", zone="a")
    found = small.cause(small.pod("db", claims=("data",)))
    assert found is not None
    assert (found.code, found.nodes, found.others) == (VOLUME_ZONE, ("b1",), {TAINT: 3})
    small.state.keep("nodes", "b1", None)
    found = small.cause(small.pod("db", claims=("data",)))
    assert found is not None
    assert (found.code, found.about) == (TAINT, "node.kubernetes.io/unreachable")


def test_the_reason_that_stops_the_most_is_named() -> None:
    small = Small()
    workers(small, 2, cordoned=True)
    small.node("full")
    small.pod("other", "full", cpu=8000)
    found = small.cause(small.pod("web", cpu=1000))
    assert found is not None
    assert (found.code, found.others) == (CORDONED, {INSUFFICIENT: 1})


def test_too_many_pods_beside_a_shortage_on_one() -> None:
    small = Small()
    workers(small, 3, taken=1000, pods=1)
    small.pod("hog", "w0", cpu=7000)
    found = small.cause(small.pod("web", cpu=500))
    assert found is not None
    assert (found.code, found.about, len(found.nodes)) == (TOO_MANY_PODS, "pods", 3)


def test_what_stops_it_everywhere_comes_before_what_nodes_lack() -> None:
    small = Small()
    workers(small, 3, taken=8000)
    pod = small.pod("db", cpu=1000)
    found = small.cause(pod)
    assert found is not None
    assert found.code == INSUFFICIENT
    found = small.cause(small.pod("db", cpu=1000, claims=("data",)))
    assert found is not None
    assert (found.code, found.about) == (UNBOUND_CLAIM, "apps/data")


def test_amounts_explain_nothing_where_every_node_is_out_anyway() -> None:
    small = Small()
    workers(small, 3, taken=8000, labels={"zone": "b"})
    small.volume("data", zone="a")
    pod = small.pod("db", cpu=1000, claims=("data",))
    found = small.cause(pod)
    assert found is not None
    assert (found.code, found.others) == (VOLUME_ZONE, {})
    small.node("a1", labels={"zone": "a"}, cpu=500)
    found = small.cause(pod)
    assert found is not None
    assert (found.code, found.nodes) == (TOO_LARGE, ("a1",))
    small.node("a1", labels={"zone": "a"}, cpu=1500)
    small.pod("hog", "a1", cpu=1000)
    found = small.cause(pod)
    assert found is not None
    assert found.code == INSUFFICIENT


def test_a_daemon_s_node_that_is_not_there() -> None:
    small = Small()
    workers(small)
    pinned = replace(small.pod("agent"), pinned_node="gone")
    seen = survey(Fit(Cluster(small.state), pinned), [])
    found = cause(Cluster(small.state), seen)
    assert found is not None
    assert (found.code, found.about) == (NODE_AFFINITY, "metadata.name=gone")
