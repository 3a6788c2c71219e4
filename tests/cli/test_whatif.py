"""`nodetell whatif` from a bundle and of an aggregator: what it prints, and its exit statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from tests.cli.conftest import Run
from tests.lab.cluster import Lab


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Two zones; db/pg-0 cannot leave the first one."""
    lab = Lab("prod-a")
    lab.node("n1", zone="a")
    lab.node("n2", zone="b")
    lab.disk("db/data", "pv-1", zone="a")
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data"})
    lab.pod("shop/web", node="n2", owner=("ReplicaSet", "web"))
    lab.write(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_something_could_not_come_back(run: Run, bundle: Path) -> None:
    done = run("whatif", bundle, "--lose-zone", "a", COLUMNS="100")
    assert (done.returncode, done.stderr) == (1, "")
    assert "if zone a, that is 1 node (n1) were lost" in done.stdout
    assert "StatefulSet/db/pg: 1 pod (db/pg-0), held by its volume" in done.stdout
    assert "it would take a node in zone a with 100m CPU, 128 MiB memory free" in done.stdout


def test_everything_would_come_back(run: Run, bundle: Path) -> None:
    done = run("whatif", bundle, "--lose-node", "n2", "--format", "json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["cluster"] == "prod-a"
    assert answer["lost"] == {"zones": [], "nodes": ["n2"]}
    assert answer["returning"] == [{"workload": "ReplicaSet/shop/web", "pods": ["shop/web"], "nodes": ["n1"]}]
    assert answer["stranded"] == []


def test_mistakes_are_one_line(run: Run, bundle: Path, tmp_path: Path) -> None:
    unknown = run("whatif", bundle, "--lose-zone", "x")
    assert (unknown.returncode, unknown.stdout) == (66, "")
    assert unknown.stderr == "nodetell: no node is in zone x; zones there are: a, b\n"
    assert run("whatif", bundle).returncode == 64
    assert run("whatif", tmp_path / "none", "--lose-node", "n1").returncode == 3
    (bundle / "t0/kube/nodes.json").unlink()
    blind = run("whatif", bundle, "--lose-node", "n1")
    assert blind.returncode == 3
    assert "nodes of the API server are not known" in blind.stderr


class _Operators(operator_pb2_grpc.OperatorServiceServicer):
    """Says that the loss of n1 strands db/pg-0."""

    def WhatIf(  # noqa: N802
        self, request: operator_pb2.WhatIfRequest, context: grpc.ServicerContext
    ) -> operator_pb2.WhatIfResponse:
        if list(request.lost_nodes) != ["n1"]:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no node n9; nodes there are: n1")
        group = operator_pb2.StrandedPods(
            workload="StatefulSet/db/pg", cause="volume", because="no node is left there", pods=["db/pg-0"]
        )
        return operator_pb2.WhatIfResponse(cluster="live", at_unix_ms=1, nodes=["n1"], stranded=[group])


@pytest.fixture
def aggregator() -> Iterator[str]:
    """Address of a server that answers."""
    server = grpc.server(ThreadPoolExecutor(2))
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(_Operators(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_an_aggregator_is_asked_where_no_bundle_is_named(run: Run, aggregator: str) -> None:
    done = run("whatif", "--lose-node", "n1", "--insecure", "--aggregator", aggregator, "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["stranded"][0]["pods"] == ["db/pg-0"]
    unknown = run("whatif", "--lose-node", "n9", "--insecure", "--aggregator", aggregator)
    assert (unknown.returncode, unknown.stderr) == (66, "nodetell: there is no node n9; nodes there are: n1\n")
