"""`nodetell doctor` as it is run: with an API server that answers, refuses, lies or is away, and an aggregator."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from nodetell import __version__
from nodetell.v1 import operator_pb2

from aggregator.trust.review import ACCESS_REVIEWS
from cli import exits
from cli.doctor.aggregator_reader import shown_certificate
from cli.doctor.model import Unread
from cli.main import main
from tests.apiserver import Reply, Request, serving, status
from tests.authority import authority, issued, server_context
from tests.cli.installation import NAMESPACE, lists
from tests.cli.test_access import Operators, served
from tests.entrance import kubeconfig
from tests.trust import Authority

Say = Callable[[Request], tuple[int, dict[str, Any]] | None]


def well(request: Request) -> tuple[int, dict[str, Any]]:
    """What a good API server with an installation that is well says."""
    if request.path == ACCESS_REVIEWS:
        return 201, {"status": {"allowed": True}}
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    within, plural, name = "", parts[0], ""
    if parts[0] == "namespaces" and len(parts) > 2:
        within, plural, name = parts[1], parts[2], "".join(parts[3:])
    elif len(parts) == 2:
        name = parts[1]
    found = lists()
    key = f"{plural}/{within}" if f"{plural}/{within}" in found else plural
    items = list(found[key])  # type: ignore[arg-type]  # nothing of it is unread
    if not name:
        return 200, {"kind": "List", "items": items}
    named = [each for each in items if each["metadata"]["name"] == name]
    return (200, named[0]) if named else (404, status(404, "not found"))


def doctor(folder: Path, say: Say, *more: str) -> tuple[int, list[Request]]:
    """Run it against a server; the exit status, and what was asked."""

    async def answer(request: Request, reply: Reply) -> None:
        await reply.whole(*(say(request) or well(request)))

    async def run() -> tuple[int, list[Request]]:
        async with serving(answer) as server:
            words = ["doctor", "--kubeconfig", str(kubeconfig(folder, server.url).path), *more]
            return await asyncio.to_thread(main, words), server.requests

    return asyncio.run(run())


def shown(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)["checks"]
    return found


@pytest.fixture(autouse=True)
def _no_aggregator_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGGREGATOR", "CA", "TOKEN_FILE", "CERTIFICATE", "KEY", "SERVER_NAME"):
        monkeypatch.delenv(f"NODETELL_{name}", raising=False)


def test_an_installation_that_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, requests = doctor(tmp_path, lambda _request: None, "--format", "json")
    found = shown(capsys)
    # Images are of this version, and pods of "1.0"; the certificate's dates are those of the tests' day.
    assert {each["check"] for each in found if each["state"] == "unknown"} == {"aggregator"}
    assert not [each for each in found if each["state"] in ("wrong", "broken") and each["check"] != "certificates"]
    assert code == exits.OK
    asked = {request.method for request in requests if request.path != ACCESS_REVIEWS}
    assert asked == {"GET"}
    (secret,) = (request for request in requests if "/secrets" in request.path)
    assert "PartialObjectMetadata" in secret.headers["accept"]


def test_what_may_not_be_read_is_told_with_the_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = doctor(tmp_path, lambda _request: (403, status(403, "forbidden", "Forbidden")), "--format", "json")
    found = shown(capsys)
    assert {each["state"] for each in found} - {"ok"} == {"unknown"}
    assert any('resources: ["pods"], verbs: ["list"]' in each["do"] for each in found)
    assert any('resources: ["subjectaccessreviews"]' in each["do"] for each in found)
    assert code == exits.OK


def test_without_the_right_to_ask_roles_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(request: Request) -> tuple[int, dict[str, Any]] | None:
        return (403, status(403, "forbidden")) if request.path == ACCESS_REVIEWS else None

    doctor(tmp_path, say, "--format", "json")
    assert [each["state"] for each in shown(capsys) if each["check"] == "rights"] == ["ok"]


def test_something_that_keeps_it_from_working(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(request: Request) -> tuple[int, dict[str, Any]] | None:
        return (404, status(404, "not found")) if "/secrets/" in request.path else None

    assert doctor(tmp_path, say)[0] == exits.CRITICAL
    out = capsys.readouterr().out
    assert "there is no Secret nodetell-aggregator-tls" in out
    assert "ok " not in out.splitlines()[0]


def test_pages_of_a_list_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes: list[Any] = list(lists()["nodes"])  # type: ignore[arg-type]

    def say(request: Request) -> tuple[int, dict[str, Any]] | None:
        if request.path != "/api/v1/nodes":
            return None
        if "continue" in request.query:
            return 200, {"items": nodes[1:]}
        return 200, {"items": nodes[:1], "metadata": {"continue": "more"}}

    doctor(tmp_path, say, "--format", "json")
    assert any("each of 3 nodes" in each["what"] for each in shown(capsys))


@pytest.mark.parametrize("body", [[], 7, {"items": 3}, {"items": [None, 4, {"metadata": []}]}, {"metadata": 1}])
def test_answers_that_are_odd_end_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], body: Any) -> None:
    doctor(tmp_path, lambda _request: (200, body), "--format", "json")
    assert shown(capsys)


def test_credentials_that_are_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = doctor(tmp_path, lambda _request: (401, status(401, "Unauthorized")))
    assert code == exits.UNAVAILABLE
    said = capsys.readouterr().err
    assert "does not accept these credentials (401)" in said
    assert "the aggregator was not asked" in said
    assert "t0ken" not in said


def test_one_list_that_does_not_come_is_one_thing_that_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(request: Request, reply: Reply) -> None:
        if request.path.endswith("/networkpolicies"):
            await reply.reset()
        else:
            await reply.whole(*well(request))

    async def run() -> int:
        async with serving(answer) as server:
            words = ["doctor", "--kubeconfig", str(kubeconfig(tmp_path, server.url).path), "--format", "json"]
            return await asyncio.to_thread(main, words)

    assert asyncio.run(run()) == exits.OK
    unknown = {each["check"] for each in shown(capsys) if each["state"] == "unknown"}
    assert unknown == {"aggregator", "network policies"}


def test_an_api_server_that_is_away_and_an_aggregator_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1").path
    words = ["doctor", "--kubeconfig", str(path), "--insecure", "--aggregator", "127.0.0.1:1"]
    assert main([*words, "--timeout", "5"]) == exits.UNAVAILABLE
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_wrong_namespace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, requests = doctor(tmp_path, lambda _request: None, "--namespace", "ops")
    assert code == exits.CRITICAL
    assert "there is no namespace ops" in capsys.readouterr().out
    assert not any(f"/namespaces/{NAMESPACE}/" in request.path for request in requests)


def test_the_certificate_that_is_shown_is_got_whoever_signed_it(tmp_path: Path) -> None:
    pair = issued(tmp_path, authority(tmp_path, "ca"), "server")

    async def run() -> bytes | Unread:
        async def nothing(_request: Request, _reply: Reply) -> None:
            return

        async with serving(nothing, server_context(pair)) as server:
            return await asyncio.to_thread(shown_certificate, f"127.0.0.1:{server.port}", "", 20.0)

    assert asyncio.run(run()) == ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


def test_a_certificate_that_nobody_shows() -> None:
    assert isinstance(shown_certificate("127.0.0.1:1", "", 5.0), Unread)
    assert isinstance(shown_certificate("nowhere", "", 5.0), Unread)


class Aggregator(Operators):
    """Knows one node that it no longer hears."""

    def ListNodes(self, request: object, context: Any) -> operator_pb2.ListNodesResponse:  # noqa: N802  # gRPC's
        super().ListNodes(request, context)
        gone = operator_pb2.NodeSummary(
            node="node-a", agent_version="0.0.1", heard_at_unix_ms=1, clock_offset_us=9_000_000
        )
        here = operator_pb2.NodeSummary(node="node-b", agent_version=__version__, heard_at_unix_ms=1, connected=True)
        return operator_pb2.ListNodesResponse(aggregator_version=__version__, nodes=[gone, here])


def test_an_aggregator_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ca = Authority(tmp_path)
    with served(Aggregator(), ca) as address:
        code = main(["doctor", "--no-kube", "--aggregator", address, "--ca", ca.file, "--format", "json"])
    found = shown(capsys)
    assert code == exits.WARNING
    told = {each["check"]: each["what"] for each in found if each["state"] == "wrong"}
    assert set(told) == {"certificates", "clocks", "heard"}
    assert "ends in" in told["certificates"]  # tomorrow
    assert "node-a (+9.0 s)" in told["clocks"]
    assert told["heard"].endswith("1 agent: node-a")
    assert [each["why"] for each in found if each["state"] == "unknown"] == ["it was not asked (--no-kube)"]


def test_an_aggregator_that_does_not_let_us_in_still_shows_its_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca = Authority(tmp_path)
    with served(Aggregator(grpc.StatusCode.UNAUTHENTICATED), ca) as address:
        code, _ = doctor(tmp_path, lambda _: None, "--aggregator", address, "--ca", ca.file, "--format", "json")
    found = shown(capsys)
    (unknown,) = (each for each in found if each["state"] == "unknown")
    assert "does not know who asks" in unknown["why"]
    wrong = [each["what"] for each in found if each["check"] == "certificates" and each["state"] in ("wrong", "broken")]
    assert any('is not for "nodetell-aggregator"' in each for each in wrong)
    assert any("is not signed by an authority in the agents' ConfigMap" in each for each in wrong)
    assert code == exits.CRITICAL
