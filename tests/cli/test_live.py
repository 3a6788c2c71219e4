"""Asking an aggregator, played by a server with made-up answers."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from aggregator.convert import gap_to_message, record_to_message
from tests.cli import samples
from tests.cli.conftest import COMMAND, Run, environment

Event = operator_pb2.FindingEvent


class Operators(operator_pb2_grpc.OperatorServiceServicer):
    """Answers with the samples."""

    def __init__(self) -> None:
        self.asked: list[operator_pb2.ListFindingsRequest] = []
        self.hold = threading.Event()

    def ListNodes(self, request: object, context: object) -> operator_pb2.ListNodesResponse:  # noqa: ARG002, N802
        return operator_pb2.ListNodesResponse(nodes=[samples.host().summary], aggregator_version="0.1.0")

    def GetNode(  # noqa: N802
        self, request: operator_pb2.GetNodeRequest, context: grpc.ServicerContext
    ) -> operator_pb2.GetNodeResponse:
        if request.node != "node-a":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no agent has ever reported for {request.node}")
        return samples.host()

    def ListFindings(  # noqa: N802
        self,
        request: operator_pb2.ListFindingsRequest,
        context: object,  # noqa: ARG002
    ) -> operator_pb2.ListFindingsResponse:
        self.asked.append(request)
        report = samples.report()
        return operator_pb2.ListFindingsResponse(
            findings=[record_to_message(record) for record in report.records],
            coverage=[gap_to_message(gap) for gap in report.gaps],
        )

    def WatchFindings(self, request: object, context: grpc.ServicerContext) -> Iterator[Event]:  # noqa: ARG002, N802
        at = round(samples.AT * 1000)
        root, effect = (record_to_message(record) for record in samples.report().records[:2])
        yield Event(kind=Event.KIND_STANDING, finding=root, at_unix_ms=at)
        yield Event(kind=Event.KIND_SYNCED, at_unix_ms=at)
        yield Event(kind=Event.KIND_APPEARED, finding=effect, at_unix_ms=at + 1000)
        yield Event(kind=Event.KIND_RESOLVED, finding=effect, at_unix_ms=at + 2000)
        while context.is_active() and not self.hold.wait(0.05):  # a watch that nobody reads any more keeps no thread
            pass


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Operators]]:
    operators = Operators()
    server = grpc.server(ThreadPoolExecutor(4))
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(operators, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", operators
    operators.hold.set()
    server.stop(None).wait()


Served = tuple[str, Operators]


def test_a_nodes_interfaces_signals_and_page_in_all_their_forms(run: Run, served: Served) -> None:
    asked = ("node", "node-a", "--insecure", "--aggregator", served[0])
    names = run(*asked, "--columns", "name", "--no-headers").stdout.splitlines()
    assert names[:2] == ["lo", "eth0"]
    assert [name for name in names if name.startswith("veth")] == [f"veth{number}" for number in range(5)]
    assert "veth3" in run(*asked, "--format", "wide").stdout
    assert "veth3" not in run(*asked).stdout
    signals = run(*asked, "--coverage", "--columns", "signal,status").stdout.splitlines()
    assert signals[0].split() == ["SIGNAL", "STATUS"]
    assert len(signals) > 10
    wrong = run(*asked, "--coverage", "--columns", "mtu")
    assert (wrong.returncode, wrong.stdout) == (64, "")


def test_nodes(run: Run, served: Served) -> None:
    done = run("nodes", "--insecure", "--aggregator", served[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:2] == ["node-a", "connected"]
    document = json.loads(run("nodes", "--insecure", "--aggregator", served[0], "--format", "json").stdout)
    assert document["aggregator_version"] == "0.1.0"
    assert document["nodes"][0]["facts_at"] == "2026-11-22T10:01:00Z"


def test_a_node(run: Run, served: Served) -> None:
    done = run("node", "node-a", "--insecure", NODETELL_AGGREGATOR=served[0])
    assert done.returncode == 0, done.stderr
    assert "flannel.1" in done.stdout
    document = json.loads(run("node", "node-a", "--insecure", "--format", "json", NODETELL_AGGREGATOR=served[0]).stdout)
    assert document["counters"]["protocol/Ip"]["FragFails"] == 20


def test_a_node_that_is_not_known(run: Run, served: Served) -> None:
    done = run("node", "node-z", "--insecure", "--aggregator", served[0])
    assert done.returncode == 66
    assert done.stderr == "nodetell: no agent has ever reported for node-z\n"


def test_findings(run: Run, served: Served) -> None:
    done = run("findings", "--insecure", "--aggregator", served[0])
    assert done.returncode == 2, done.stderr
    assert "WARNING mtu.overlay_exceeds_underlay (risk)" in done.stdout
    document = json.loads(run("findings", "--all", "--insecure", "--aggregator", served[0], "--format", "json").stdout)
    assert [finding["severity"] for finding in document["findings"]][:2] == ["warning", "critical"]
    assert document["coverage"][0]["remedy"] == "name a directory to probe"
    assert [request.include_resolved for request in served[1].asked[-2:]] == [False, True]


def test_watching_ends_well_with_ctrl_c(served: Served) -> None:
    words = [*COMMAND, "findings", "--watch", "--insecure", "--aggregator", served[0], "--format", "json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    events = [json.loads(process.stdout.readline()) for _ in range(4)]
    assert [event["event"] for event in events] == ["standing", "synced", "appeared", "resolved"]
    assert events[2]["at"] == "2026-11-22T10:01:01Z"
    assert events[2]["finding"]["code"] == "mtu.drop_fingerprint"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")


def test_watching_as_text(served: Served) -> None:
    words = [*COMMAND, "findings", "--watch", "--insecure", "--aggregator", served[0]]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    text = ""
    while "resolved" not in text:
        text += process.stdout.readline()
    assert "2026-11-22T10:01:00Z standing\nWARNING mtu.overlay_exceeds_underlay" in text
    assert "2026-11-22T10:01:02Z resolved mtu.drop_fingerprint on node-a" in text
    process.stdout.close()  # the reader goes away
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    process.stderr.close()
