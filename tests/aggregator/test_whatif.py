"""What a loss would mean: which pods come back, which cannot, why not, and that no two count on the same room."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from nodetell.v1 import operator_pb2

from agent.hosts.bundle import open_bundle
from aggregator.query import OperatorService
from aggregator.view import ClusterView
from aggregator.whatif import Cause, Loss, WhatIfError, WhatIfUnknownError, lose, nodes_of
from aggregator.whatif.messages import loss_from_message, loss_to_message
from cli.diagnose import join
from tests.lab.cluster import Lab

NFS = {"nfs": {"server": "10.0.0.5", "path": "/export"}}


def view_of(lab: Lab) -> ClusterView:
    """The lab's objects, as signatures see them."""
    with tempfile.TemporaryDirectory() as folder:
        lab.write(Path(folder), readable=False)
        with open_bundle(Path(folder)) as bundle:
            return join(bundle, list).view


def loss(lab: Lab, *nodes: str, zones: tuple[str, ...] = ()) -> Loss:
    """What would follow if these were lost."""
    view = view_of(lab)
    return lose(view, nodes_of(view, zones, nodes))


def cluster(*zones: str, **fields: Any) -> Lab:
    """Nodes n1, n2, ... in these zones."""
    lab = Lab("whatif")
    for number, zone in enumerate(zones, 1):
        lab.node(f"n{number}", zone=zone, **fields)
    return lab


def stateful(lab: Lab, name: str, node: str, **fields: Any) -> None:
    """db/NAME-0 of StatefulSet db/NAME with a volume of the node's zone."""
    labels = lab.store.get("Node", node)["metadata"]["labels"]
    disk = fields.pop("disk", {"zone": labels["topology.kubernetes.io/zone"]})
    lab.disk(f"db/data-{name}-0", f"pv-{name}", **disk)
    lab.statefulset(f"db/{name}")
    lab.pod(f"db/{name}-0", node=node, owner=("StatefulSet", name), claims={"data": f"data-{name}-0"}, **fields)


def web(lab: Lab, name: str, node: str, cpu: str = "100m", **fields: Any) -> None:
    """shop/NAME of a ReplicaSet."""
    lab.pod(f"shop/{name}", node=node, owner=("ReplicaSet", "web-7d"), requests={"cpu": cpu}, **fields)


def test_a_volume_that_cannot_leave_its_zone_strands_its_pod_with_it() -> None:
    lab = cluster("a", "b", "b")
    stateful(lab, "pg", "n1")
    web(lab, "w1", "n1")
    found = loss(lab, zones=("a",))
    assert found.nodes == ("n1",)
    (stranded,) = found.stranded
    assert (stranded.workload, stranded.cause, stranded.pods) == ("StatefulSet/db/pg", Cause.VOLUME, ("db/pg-0",))
    assert stranded.claims == ("db/data-pg-0",)
    assert "zone a only, and no node is left there" in stranded.because
    assert stranded.needs[0] == "a node in zone a with 100m CPU, 128 MiB memory free"
    (returning,) = found.returning
    assert (returning.workload, returning.pods) == ("ReplicaSet/shop/web-7d", ("shop/w1",))
    assert returning.nodes[0] in ("n2", "n3")
    assert found.moving == 2


def test_another_node_of_the_zone_takes_it_if_it_has_room() -> None:
    lab = cluster("a", "a", "b")
    stateful(lab, "pg", "n1", requests={"cpu": "3"})
    assert loss(lab, "n1").returning[0].nodes == ("n2",)
    lab.pod("shop/big", node="n2", owner=("ReplicaSet", "big-1"), requests={"cpu": "2"})
    (stranded,) = loss(lab, "n1").stranded
    assert stranded.cause is Cause.VOLUME, "n3 would take it, but for the volume"
    assert "1 node left in zone a: 1 short of cpu (2 CPU free at most, 3 CPU asked)" in stranded.because
    assert stranded.needs[0] == "1 CPU more on n2"


def test_no_room_anywhere_is_not_the_volume_s_fault() -> None:
    lab = cluster("a", "b")
    web(lab, "w1", "n1", "3")
    web(lab, "w2", "n2", "3")
    (stranded,) = loss(lab, "n1").stranded
    assert stranded.cause is Cause.ROOM
    assert "1 node left in all: 1 short of cpu" in stranded.because


def test_no_two_pods_count_on_the_same_room() -> None:
    lab = cluster("a", "a")
    web(lab, "w1", "n1", "3")
    lab.pod("shop/other", node="n1", owner=("ReplicaSet", "other-1"), requests={"cpu": "3"}, priority=100)
    found = loss(lab, "n1")
    (stranded,) = found.stranded
    assert (stranded.pods, stranded.cause) == (("shop/w1",), Cause.SHARED_ROOM), "the more urgent one goes first"
    assert found.returning[0].pods == ("shop/other",)


def test_pods_that_keep_apart_are_not_put_together() -> None:
    lab = cluster("a", "a", "a")
    for number in (1, 2):
        lab.pod(
            f"shop/w{number}",
            node="n1",
            owner=("ReplicaSet", "web-7d"),
            labels={"app": "web"},
            anti_affinity=[("app=web", "kubernetes.io/hostname")],
        )
    found = loss(lab, "n1")
    assert found.stranded == ()
    assert found.returning[0].nodes == ("n2", "n3")
    (stranded,) = loss(lab, "n1", "n3").stranded
    assert stranded.cause is Cause.SHARED_ROOM


def test_volumes_that_can_follow_do() -> None:
    lab = cluster("a", "b")
    stateful(lab, "nfs", "n1", disk={"source": NFS, "modes": ["ReadWriteMany"]})
    stateful(lab, "regional", "n1", disk={"zone": ["a", "b"]})
    stateful(lab, "longhorn", "n1", disk={"driver": "driver.longhorn.io"})
    assert loss(lab, zones=("a",)).stranded == ()


def test_a_local_volume_comes_back_with_its_node_alone() -> None:
    lab = cluster("a", "a")
    stateful(lab, "kafka", "n1", disk={"node": "n1", "storage_class": "local-path"})
    (stranded,) = loss(lab, "n1").stranded
    assert stranded.cause is Cause.VOLUME
    assert "node n1 only" in stranded.because
    assert stranded.needs[0].startswith("that very node")


def test_daemons_go_with_their_node_and_nobody_makes_a_bare_pod_again() -> None:
    lab = cluster("a", "a")
    lab.pod("kube-system/cni-x", node="n1", owner=("DaemonSet", "cni"))
    lab.pod("kube-system/etcd-n1", node="n1", owner=("Node", "n1"))
    lab.pod("shop/debug", node="n1")
    lab.pod("shop/done", node="n1", phase="Succeeded", owner=("Job", "load"))
    found = loss(lab, "n1")
    assert found.going_with_it == 2
    assert [(each.pods, each.cause) for each in found.stranded] == [(("shop/debug",), Cause.NOT_MADE_AGAIN)]


def test_cordoned_and_lost_nodes_take_nothing() -> None:
    lab = cluster("a", "a", "a")
    lab.node("n2", zone="a", cordoned=True)
    lab.node("n3", zone="a", ready="Unknown", ready_since=-900)
    web(lab, "w1", "n1")
    (stranded,) = loss(lab, "n1").stranded
    assert "1 cordoned" in stranded.because
    assert "n2 uncordoned" in stranded.needs


def test_many_pods_of_one_template_fill_the_nodes_that_are_left() -> None:
    lab = cluster("a", "a", "a", cpu="4", pods=20)
    for number in range(12):
        web(lab, f"w{number}", "n1", "900m")
    found = loss(lab, "n1")
    assert sum(len(each.pods) for each in found.returning) == 8, "four on each"
    assert sum(len(each.pods) for each in found.stranded) == 4


def test_questions_about_what_there_is_not_are_answered_with_what_there_is() -> None:
    view = view_of(cluster("a", "b"))
    with pytest.raises(WhatIfError, match="no node is in zone x; zones there are: a, b"):
        nodes_of(view, ["x"], [])
    with pytest.raises(WhatIfError, match="there is no node n9; nodes there are: n1, n2"):
        nodes_of(view, [], ["n9"])
    lab = cluster("a", "b")
    lab.unlisted.add("pods")
    with pytest.raises(WhatIfUnknownError, match="pods of the API server are not known"):
        nodes_of(view_of(lab), ["a"], [])


def test_what_is_not_known_is_said() -> None:
    lab = cluster("a", "b")
    stateful(lab, "pg", "n1")
    lab.unlisted |= {"persistentvolumes"}
    assert "persistentvolumes of the API server are not known" in loss(lab, "n1").unknown


def test_the_answer_survives_its_way_to_an_operator() -> None:
    lab = cluster("a", "b")
    stateful(lab, "pg", "n1")
    web(lab, "w1", "n1")
    view = view_of(lab)
    found = lose(view, ["n1"])
    assert loss_from_message(loss_to_message(view, found)) == found


class _AbortedError(Exception):
    """What a context raises when a call is given up."""


class _Context:
    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise _AbortedError(code, details)


def test_an_aggregator_answers() -> None:
    lab = cluster("a", "b")
    stateful(lab, "pg", "n1")
    view = view_of(lab)
    fleet: Any = SimpleNamespace(view=lambda: view, listeners=[])
    service = OperatorService(fleet, lambda: 0.0)
    answer = asyncio.run(service.WhatIf(operator_pb2.WhatIfRequest(lost_zones=["a"]), _Context()))
    assert (answer.cluster, list(answer.stranded[0].pods)) == ("whatif", ["db/pg-0"])
    with pytest.raises(_AbortedError) as refused:
        asyncio.run(service.WhatIf(operator_pb2.WhatIfRequest(lost_nodes=["n9"]), _Context()))
    assert refused.value.args[0] is grpc.StatusCode.NOT_FOUND
