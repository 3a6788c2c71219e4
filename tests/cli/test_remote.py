"""`kubectl nodetell`'s way: through a service proxy to a real aggregator with TLS, and the same answers as by gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import pytest
from nodetell.v1 import agent_pb2_grpc, operator_pb2

from agent.pieces import pieces
from aggregator import main
from aggregator.cluster.credentials import Source
from aggregator.node_json import changes_json, counters_json, item_json, plain, summary_json
from aggregator.settings import AccessSettings, AggregatorSettings, HttpSettings, KubernetesSettings, TlsSettings
from cli import client, kubectl
from cli.access import Access
from cli.exits import CONFIG, NOT_FOUND, NOT_PERMITTED, UNAVAILABLE, USAGE, CliError
from cli.facts import HostFacts
from cli.remote import messages
from cli.remote.operator import RemoteOperator, Through, operator
from cli.remote.proxy import Place, refused
from tests.aggregator.test_main import tunnel_host
from tests.apiserver import serving
from tests.cli import samples
from tests.entrance import Caller, kubeconfig
from tests.serviceproxy import OPERATOR, ServiceProxy
from tests.trust import Authority

Event = operator_pb2.FindingEvent


class World:
    """An API server and an aggregator with one node, whose overlay does not fit; in a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.proxy = folder, ServiceProxy()
        self.ca = Authority(folder)
        self.authorities = Path(self.ca.file).read_bytes()
        self.grpc_address, self.http = "", ""
        self.source = Source(folder)
        self.loop = asyncio.new_event_loop()
        self.stop, self.up = asyncio.Event(), threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        own = self.ca.server()
        async with serving(self.proxy.answer) as server:
            where = kubeconfig(self.folder, server.url)
            where.path.write_text(where.path.read_text().replace("t0ken", "ada"))
            self.source = where
            settings = AggregatorSettings(
                listen="127.0.0.1:0",
                state_directory="",
                tls=TlsSettings(own.certificate, own.key),
                access=AccessSettings(agents="token"),
                http=HttpSettings(listen="127.0.0.1:0"),
                kubernetes=KubernetesSettings(kubeconfig=str(where.path)),
                log_level="error",
            )
            self.proxy.vouching.allowed.add(OPERATOR)
            told = asyncio.Event()

            def ready(address: str, surfaces: Any) -> None:
                self.grpc_address, self.http = address, surfaces["http"]
                self.proxy.behind = self.http
                told.set()

            running = asyncio.create_task(main.run(settings, self.stop, ready))
            await asyncio.wait({running, asyncio.create_task(told.wait())}, return_when=asyncio.FIRST_COMPLETED)
            credentials = grpc.ssl_channel_credentials(self.authorities)
            async with grpc.aio.secure_channel(self.grpc_address, credentials) as channel:
                stub = agent_pb2_grpc.AgentServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
                agent = Caller("worker-1", stub.Connect())
                assert await agent.hello(self.proxy.vouching.token("worker-1")) == "welcome"
                for chunk in pieces(1, tunnel_host(1450)):
                    await agent.say(chunk=chunk)
                self.up.set()
                await self.stop.wait()
            await running

    def remote(self, **place: str) -> Any:
        """The way of `kubectl nodetell`."""
        return operator(Through(self.source, {}, Place(**place)), 10.0)

    def near(self) -> Any:
        """By gRPC, as another operator."""
        token = self.proxy.vouching.token(user=OPERATOR)
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self.authorities), grpc.access_token_call_credentials(token)
        )
        return client.operator(Access(self.grpc_address, credentials), 10.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    made.thread.start()
    assert made.up.wait(40)
    end = time.monotonic() + 30
    with made.near() as near:
        while not near.findings(resolved=False).findings:
            assert time.monotonic() < end
            time.sleep(0.05)
    yield made
    made.loop.call_soon_threadsafe(made.stop.set)
    made.thread.join(20)
    made.loop.close()


def steady(message: Any) -> Any:
    """Without what changes between two questions."""
    if "at_unix_ms" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("at_unix_ms")
    for each in [*getattr(message, "nodes", ()), *getattr(message, "findings", ())]:
        for name in ("heard_at_unix_ms", "last_seen_unix_ms"):
            if name in each.DESCRIPTOR.fields_by_name:
                each.ClearField(name)
    return message


def host(answer: operator_pb2.GetNodeResponse) -> Any:
    """All that is shown of it."""
    return HostFacts(answer).as_json() | {"heard_at": None}


def test_the_answers_are_those_of_grpc(world: World) -> None:
    with world.remote() as far, world.near() as near:
        assert steady(far.nodes()) == steady(near.nodes())
        assert host(far.node("worker-1")) == host(near.node("worker-1"))
        end = time.monotonic() + 30
        while (mine := steady(far.findings(resolved=True))) != (theirs := steady(near.findings(resolved=True))):
            assert time.monotonic() < end, (mine, theirs)  # a limit more is known to one of them for a moment
            time.sleep(0.1)
        assert [each.code for each in mine.findings] == ["mtu.overlay_exceeds_underlay"]
        assert mine.coverage


def test_a_watch_begins_with_what_stands(world: World) -> None:
    with world.remote() as far:
        told = far.watch()
        first, second = next(told), next(told)
        told.close()
    assert (first.kind, second.kind) == (Event.KIND_STANDING, Event.KIND_SYNCED)
    assert first.finding.code == "mtu.overlay_exceeds_underlay"


def test_the_operators_own_credentials_stay_with_the_api_server(world: World) -> None:
    with world.remote() as far:
        far.nodes()
    assert world.proxy.audiences[-1] == ["nodetell"]
    headers = world.proxy.passed[-1]
    assert "authorization" not in headers
    assert headers["x-nodetell-token"] in world.proxy.vouching.tokens
    assert "ada" not in json.dumps(headers).split('"')


PLUGIN = """#!/bin/sh
echo '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "ada"}}'
"""


@pytest.mark.parametrize("kind", ["token file", "plug-in", "another context"])
def test_each_kind_of_kubeconfig_will_do(world: World, tmp_path: Path, plugin: Any, kind: str) -> None:
    config = json.loads(world.source.path.read_text())
    (tmp_path / "token").write_text("ada\n")
    (tmp_path / "plugin").write_text(PLUGIN)
    (tmp_path / "plugin").chmod(0o755)
    execute = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": str(tmp_path / "plugin")}
    users: dict[str, Any] = {
        "token file": {"tokenFile": str(tmp_path / "token")},
        "plug-in": {"exec": execute},
        "another context": {"token": "eve"},
    }
    config["contexts"].append({"name": "other", "context": {"cluster": "a", "user": "ada"}})
    config["users"] = [{"name": "u", "user": users[kind]}, {"name": "ada", "user": {"token": "ada"}}]
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    which = ("--context", "other") if kind == "another context" else ()
    code, out, err = plugin("nodes", "--kubeconfig", str(tmp_path / "kubeconfig"), *which)
    assert (code, "worker-1" in out) == (0, True), err


def failed(world: World, ask: Any = None, **place: str) -> CliError:
    with pytest.raises(CliError) as caught, world.remote(**place) as far:
        (ask or RemoteOperator.nodes)(far)
    assert "\n" not in str(caught.value)
    return caught.value


def test_which_right_is_missing_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.proxy, "may", {"proxy"})
    error = failed(world)
    assert error.status == NOT_PERMITTED
    assert 'resources: ["serviceaccounts/token"], resourceNames: ["nodetell-operator"]' in str(error)
    monkeypatch.setattr(world.proxy, "may", {"token"})
    error = failed(world)
    assert error.status == NOT_PERMITTED
    assert 'resources: ["services/proxy"], resourceNames: ["https:nodetell-aggregator:http"]' in str(error)
    assert "create rolebinding NAME --role nodetell-operator" in str(error)


def test_the_aggregators_own_refusal_is_told_from_the_api_servers(world: World) -> None:
    error = failed(world, audience="other")
    assert (error.status, "access.token_audience" in str(error)) == (NOT_PERMITTED, True)
    problem = b'{"title": "Forbidden", "status": 403, "detail": "it may not get findings.nodetell.dev"}'
    error = refused(403, {"content-type": "application/problem+json; charset=utf-8"}, problem, Place())
    assert (error.status, "it may not get findings.nodetell.dev" in str(error)) == (NOT_PERMITTED, True)
    assert "nodetell-viewer has to be bound" in str(error)


def test_what_is_not_there_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed(world, lambda far: far.node("nope")).status == NOT_FOUND
    assert failed(world, lambda far: far.node("a/b?c=d")).status == NOT_FOUND
    for name, value, said in (
        ("account", False, "there is no ServiceAccount nodetell-operator in namespace nodetell"),
        ("service", False, "there is no Service nodetell-aggregator of namespace nodetell"),
        ("behind", "", "has no pod that is ready, or no port http"),
        ("behind", "https://127.0.0.1:9", "does not get through to the Service"),
        ("tampered", b"<html>", "no JSON object"),
        ("tampered", b'{"nodes": {}}', "there is no list nodes in it"),
        ("tampered", b'{"nodes": [{"node": 7}], "next": null}', "the answer cannot be understood: nodes: "),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(world.proxy, name, value)
            error = failed(world)
        assert (error.status, said in str(error)) == (UNAVAILABLE, True), error


def test_credentials_that_the_api_server_does_not_take(world: World, tmp_path: Path) -> None:
    bad = tmp_path / "kubeconfig"
    bad.write_text(world.source.path.read_text().replace('"ada"', '"eve"'))
    with pytest.raises(CliError) as caught, operator(Through(Source(bad), os.environ, Place()), 10.0) as far:
        far.nodes()
    assert caught.value.status == NOT_PERMITTED
    assert "(401)" in str(caught.value)
    with (
        pytest.raises(CliError, match=r"no/where: not found"),
        operator(Through(Source(tmp_path / "no" / "where"), {}, Place()), 10.0),
    ):
        pass


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`kubectl nodetell ...`: its status, and what it said on either side."""
    monkeypatch.setenv("KUBECONFIG", str(world.source.path))

    def plugin(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["kubectl-nodetell", *words])
        try:
            code = kubectl.run()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return plugin


def test_the_commands_are_those_of_nodetell(plugin: Any) -> None:
    code, out, _ = plugin("findings")
    assert code == 1
    assert "WARNING mtu.overlay_exceeds_underlay (risk) on worker-1" in out
    assert plugin("nodes", "--columns", "node,agent", "--no-headers")[1].split() == ["worker-1", "connected"]
    assert json.loads(plugin("node", "worker-1", "--format", "json")[1])["node"] == "worker-1"
    assert "what to do first" in plugin("explain", "mtu")[1]
    assert plugin("whatif", "--lose-node", "worker-1")[0] == UNAVAILABLE  # no nodes are known of the API server
    code, out, _ = plugin("coverage", "worker-1", "--format", "json")
    assert {entry["node"] for entry in json.loads(out)["coverage"]} == {"worker-1"}
    assert "fsync degraded on worker-1: off" in plugin("coverage")[1]


@pytest.mark.parametrize("words", [("-n", "other", "nodes"), ("nodes", "-n", "other"), ("nodes", "--namespace=other")])
def test_where_it_is_may_be_said_before_the_command_and_after_it(plugin: Any, words: tuple[str, ...]) -> None:
    code, _, err = plugin(*words)
    assert (code, "namespace other" in err) == (UNAVAILABLE, True), err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), USAGE, "which command? findings, nodes, node, explain, whatif, coverage"),
        (("doctor",), USAGE, "invalid choice"),
        (("nodes", "--aggregator", "127.0.0.1:1"), USAGE, "--aggregator"),
        (("nodes", "--context"), USAGE, "expected one argument"),
        (("nodes", "-n", "a/b"), CONFIG, '--namespace: "a/b" is not a name of a namespace'),
        (("nodes", "--context", "none"), UNAVAILABLE, "none"),
        (("coverage", "nope"), NOT_FOUND, 'there is no node "nope"'),
    ],
)
def test_what_is_wrong_with_a_command_line(plugin: Any, words: tuple[str, ...], code: int, said: str) -> None:
    found, _, err = plugin(*words)
    assert (found, said in err) == (code, True), err


def test_without_a_kubeconfig(plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plugin("nodes")[0] == CONFIG


def test_help_names_the_plugin_and_no_flag_that_is_not_its_own(plugin: Any) -> None:
    for words in ((), *((name,) for name in kubectl.COMMANDS)):
        code, out, _ = plugin(*words, "--help")
        assert code == 0
        assert "usage: kubectl nodetell" in out
        assert "--context" in out
        assert "--insecure" not in out
        examples = [
            line for line in out.splitlines() if line.startswith("  ") and "nodetell " in line and "kubectl" in line
        ]
        assert examples


# -- messages ----------------------------------------------------------------------------------------------------------


def full(message: Any, depth: int = 0) -> Any:
    """A message with something in each of its fields, of a oneof in the last one."""
    for number, field in enumerate(message.DESCRIPTOR.fields, 1):
        if field.message_type is not None:
            if depth < 4:
                inner = getattr(message, field.name)
                full(inner.add() if field.is_repeated else inner, depth + 1)
            continue
        if field.enum_type is not None:
            value: Any = field.enum_type.values[-1].number
        elif field.type in (field.TYPE_STRING,):
            value = f"{field.name} ä"
        elif field.type == field.TYPE_BOOL:
            value = True
        elif field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
            value = number + 0.5
        else:
            value = number
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def everything() -> operator_pb2.GetNodeResponse:
    """A node with a fact of each kind that there is, and every field of it."""
    answer = operator_pb2.GetNodeResponse(api_unknown=["pods"])
    full(answer.summary)
    answer.facts.node, answer.facts.at_unix_ms = answer.summary.node, answer.summary.facts_at_unix_ms
    for kind in sorted(messages.FACTS):
        item = answer.facts.items.add(key=f"{kind}/1")
        getattr(item, kind).SetInParent()
        full(getattr(item, kind))
    answer.facts.schemas.add(id=1, names=["a", "b"])
    answer.facts.blocks.add(schema=1, subject="link/1", values=[1, 1 << 63])
    answer.changes.add(subject="link/1", name="b", increment=1 << 63, over_ms=1500)
    full(answer.volumes.add())
    return answer


def as_answered(answer: operator_pb2.GetNodeResponse) -> Any:
    """As the HTTP API has it, over the wire."""
    document = {
        **summary_json(answer.summary),
        "volume_rows": [plain(each) for each in answer.volumes],
        "api_unknown": list(answer.api_unknown),
        "items": [item_json(item) for item in answer.facts.items],
        "counters": dict(counters_json(answer.facts)),
        "changes": changes_json(answer.changes),
    }
    return json.loads(msgspec.json.encode(document))


def test_every_field_of_every_kind_of_fact_comes_back() -> None:
    before = everything()
    after = messages.node(as_answered(before))
    assert list(after.facts.items) == list(before.facts.items)
    assert after == before


@pytest.mark.parametrize("make", [samples.host, everything])
def test_what_is_unset_stays_unset(make: Any) -> None:
    before = make()
    after = messages.node(as_answered(before))
    assert after.summary == before.summary
    assert list(after.volumes) == list(before.volumes)


def test_what_a_newer_aggregator_says_besides_is_left_out() -> None:
    document = as_answered(everything())
    document["brand_new"] = {"a": 1}
    document["items"].append({"key": "new/1", "fact": "brand_new", "what": 1})
    document["items"][0]["more"] = [1]
    assert messages.node(document) == everything()


@pytest.mark.parametrize(
    "change",
    [
        {"items": 7},
        {"items": [{"fact": "link"}]},
        {"items": [{"fact": "link", "key": "a", "mtu": "large"}]},
        {"counters": {"a": {"b": -1}}},
        {"changes": {"a": {"b": {}}}},
        {"clock": {"offset_s": "late"}},
        {"facts_at": "yesterday"},
        {"volume_rows": [None]},
        {"links": 1 << 40},
        {"limits": {"a": 1}},
    ],
)
def test_what_cannot_be_understood_is_an_error_of_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(messages.NotUnderstoodError) as caught:
        messages.node({**as_answered(everything()), **change})
    assert "\n" not in str(caught.value)
