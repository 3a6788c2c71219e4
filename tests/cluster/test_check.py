"""The check against a real API server, where NODETELL_TEST_KUBECONFIG names one; and the check itself, with a kubectl
that answers as RBAC would."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.doctor.calls import Call, calls
from tests.apiserver import Json, Reply, Request, serving, status
from tests.cluster import check
from tests.cluster.check import AGGREGATOR, COMPONENTS, NOT_MADE, OPERATORS_CALLS, OVERLAYS
from tests.entrance import kubeconfig


@dataclass
class Server:
    """What kubectl is told, and what it is asked."""

    is_there: bool = True
    has_cert_manager: bool = True
    refused: str = ""
    """Name of an overlay, or action of an Event, that is not taken."""
    left: str = ""
    """What of the rights is there already."""
    allowed: set[tuple[str, ...]] = field(
        default_factory=lambda: {
            *(asked(AGGREGATOR, call) for call in calls()),
            *(asked_for_operator(*each) for *each, may in OPERATORS_CALLS if may),
        }
    )
    words: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, *words: str, given: str | None = None) -> tuple[int, str]:
        """As Kubectl.run."""
        self.words.append(words)
        if words[:2] == ("get", "namespace"):
            return (0, "nodetell") if self.is_there else (1, 'Error (NotFound): namespaces "nodetell" not found')
        if words[0] == "get" and given is not None:
            return 0, self.left
        if words[0] == "get":
            return (0 if self.has_cert_manager else 1), ""
        if words[0] == "create":
            event = json.loads(given or "")
            assert event["apiVersion"] == "events.k8s.io/v1"
            assert len(event["note"].encode()) <= 1_024
            return (1, "is invalid") if event["action"] == self.refused else (0, "created (server dry run)")
        if words[0] in ("apply", "delete"):
            assert (given is None) == ("-k" in words)
            return (1, "error: no matches for kind") if Path(words[-1]).name == self.refused else (0, "created")
        may = tuple(each for each in words if not each.startswith("--as-group=")) in self.allowed
        return (0, "yes") if may else (1, "no - no RBAC policy matched")


def asked(account: str, call: Call) -> tuple[str, ...]:
    """How kubectl is asked of a call, but for the groups."""
    what, _, where = call.shown.partition(" ")[2].partition(" ")
    scope = tuple(where.split()) if where else ()
    if not call.path and not scope:
        scope = ("--all-namespaces",)
    return ("auth", "can-i", call.verb, what, *scope, f"--as=system:serviceaccount:nodetell:{account}")


def asked_for_operator(verb: str, what: str, below: str) -> tuple[str, ...]:
    """The same for an operator."""
    more = (f"--subresource={below}",) if below else ()
    return ("auth", "can-i", verb, what, *more, "-n", "nodetell", "--as=nodetell-check")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(server: Server, *more: str) -> int:
        monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/kubectl")
        monkeypatch.setattr(check.Kubectl, "run", lambda _self, *words, **given: server.run(*words, **given))
        return check.main(["--kubeconfig", "any", *more])

    return run


def test_as_it_should_be(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    server = Server()
    assert run(server) == 0
    applied = [Path(words[-1]) for words in server.words if words[0] == "apply"]
    overlays = {each.name for each in OVERLAYS.iterdir() if each.is_dir()}
    assert {each.name for each in applied if each.parent == OVERLAYS} == overlays
    assert len(applied) == len(overlays) + len(list(COMPONENTS.iterdir())) - 2
    assert all("--dry-run=server" in words for words in server.words if words[0] == "apply")
    assert "0 problems" in capsys.readouterr().out


def test_a_right_that_is_missing_and_one_too_many(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    server = Server()
    first = calls()[0]
    server.allowed.remove(asked(AGGREGATOR, first))
    server.allowed |= {asked("default", first), asked(AGGREGATOR, NOT_MADE[0])}
    assert run(server) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong: ")]
    assert wrong == [
        f"wrong: {AGGREGATOR} may not: {first.shown}",
        f"wrong: default may: {first.shown}",
        f"wrong: {AGGREGATOR} may: {NOT_MADE[0].shown}",
    ]


def test_an_operators_right_that_is_missing_and_one_too_many(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(is_there=False)
    server.allowed.remove(asked_for_operator("get", "services/https:nodetell-aggregator:http", "proxy"))
    server.allowed.add(asked_for_operator("get", "pods", ""))
    assert run(server, "--apply") == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong: ")]
    assert wrong == [
        "wrong: an operator may not get services/https:nodetell-aggregator:http/proxy",
        "wrong: an operator may get pods",
    ]


def test_an_overlay_that_is_refused(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Server(refused="tier-1")) == 1
    assert "wrong: tier-1: error: no matches for kind" in capsys.readouterr().out


def test_an_event_that_is_refused(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Server(refused="Resolved")) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong: ")]
    assert wrong == [f"wrong: Event Resolved on a {kind}: is invalid" for kind in ("Node", "Pod")]


def test_without_cert_manager_what_needs_it_is_said_to_be_skipped(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(Server(has_cert_manager=False)) == 0
    assert "skipped: tier-1-cert-manager" in capsys.readouterr().out


def test_rights_that_are_made_are_taken_away_and_those_that_are_there_left(run: Callable[..., int]) -> None:
    assert run(Server(is_there=True), "--apply") == 2
    assert run(Server(is_there=False)) == 2
    server = Server(is_there=False, left="clusterrole.rbac.authorization.k8s.io/nodetell-viewer")
    assert run(server, "--apply") == 2
    assert not {"apply", "delete"} & {words[0] for words in server.words}
    server = Server(is_there=False)
    assert run(server, "--apply") == 0
    assert server.words[-1][0] == "delete"


GROUPS = {
    "": {"nodes": False, "pods": True},
    "coordination.k8s.io": {"leases": True},
    "authorization.k8s.io": {"selfsubjectaccessreviews": False},
}
"""What the server has, and whether it is in namespaces."""


def discovery(path: str) -> Json | None:
    """What kubectl asks before anything else."""
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = {name: {"groupVersion": f"{name}/v1", "version": "v1"} for name in GROUPS if name}
        groups = [{"name": name, "versions": [each], "preferredVersion": each} for name, each in versions.items()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    group = path.split("/")[2] if path.count("/") == 3 else ""
    if group not in GROUPS or (not group and path != "/api/v1"):
        return None
    resources = [
        {"name": name, "singularName": "", "namespaced": namespaced, "kind": name.title(), "verbs": ["list"]}
        for name, namespaced in GROUPS[group].items()
    ]
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("list", "", "nodes"), (b"list", b"nodes")),
        (Call("watch", "coordination.k8s.io", "leases", "kube-system"), (b"watch", b"leases", b"kube-system")),
        (Call("get", path="/metrics"), (b"get", b"/metrics")),
        (Call("create", "", "pods/exec"), (b"create", b"pods", b"exec")),
    ],
)
def test_kubectl_itself_understands_each_kind_of_question(
    tmp_path: Path, call: Call, words: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where it keeps what it has discovered
    asked_of: list[Request] = []

    async def answer(request: Request, reply: Reply) -> None:
        if request.method == "POST":
            asked_of.append(request)
            allowed = request.headers["impersonate-user"].endswith(AGGREGATOR)
            review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}}
            await reply.whole(201, review | {"status": {"allowed": allowed}})
        elif (found := discovery(request.path)) is not None:
            await reply.whole(200, found)
        else:
            await reply.whole(404, status(404, "not found", "NotFound"))

    async def run() -> list[bool]:
        async with serving(answer) as server:
            kubectl = check.Kubectl(shutil.which("kubectl") or "", kubeconfig(tmp_path, server.url).path)
            return [await asyncio.to_thread(kubectl.may, account, call) for account in (AGGREGATOR, "default")]

    assert asyncio.run(run()) == [True, False]
    assert all(word in asked_of[0].body for word in words)


@pytest.mark.skipif(
    "NODETELL_TEST_KUBECONFIG" not in os.environ,
    reason="needs an API server: NODETELL_TEST_KUBECONFIG names a kubeconfig",
)
@pytest.mark.timeout(600)
def test_a_real_api_server_takes_the_manifests_and_their_rights_are_those_of_the_calls() -> None:
    path = str(Path(check.__file__))
    words = [sys.executable, path, "--kubeconfig", os.environ["NODETELL_TEST_KUBECONFIG"], "--apply"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
