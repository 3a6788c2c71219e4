"""Nothing is sent to anybody but the aggregator and the API server, and no other name is asked for.

Three namespaces (agent, aggregator, API server), every address of the world routed out of each, and nftables at the
output of each: what goes to an address that was configured passes, everything else is counted and dropped. That the
counter counts, and that names are noted, is shown at the end by a stranger's program.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.apiserver import Cluster, serving
from tests.netns import Namespace, join, namespace, namespaces
from tests.trust import Authority

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(150)]

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "fixtures" / "hosts" / "vxlan-dropping"
NODE, HEART, API = "10.79.1.2", "10.79.1.1", "10.79.2.2"
HEART_NAME, API_NAME = "aggregator.nodetell.svc", "api.cluster.example"
TARGET = f"{HEART_NAME}:7443"
LIMIT_S = 60.0
KERNELS_OWN = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld-listener-report, mld2-listener-report"
WITH_RESOLVER = 'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"'
"""In the mount namespace that `ip netns exec` makes."""
STRANGER = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.getaddrinfo("telemetry.example", 443)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
    way.sendto(b"hello", ("192.0.2.9", 514))
"""


@dataclass(slots=True)
class Watched:
    """A namespace whose output is counted: `passes` are matches of what may be sent."""

    inside: Namespace
    passes: dict[str, str]

    def watch(self) -> None:
        """Begin to count."""
        lines = ["add table inet watch"]
        lines += [f"add counter inet watch {name}" for name in (*self.passes, "elsewhere")]
        lines += ["add chain inet watch out { type filter hook output priority 0 ; }"]
        rules = ["oif lo meta l4proto { tcp, udp } th dport 53 counter name elsewhere drop", "oif lo accept"]
        rules += [f"icmpv6 type {{ {KERNELS_OWN} }} accept"]
        rules += [f"{match} counter name {name} accept" for name, match in self.passes.items()]
        rules += ["counter name elsewhere drop"]
        for line in lines + [f"add rule inet watch out {rule}" for rule in rules]:
            self.inside.run("nft", *line.split())

    def packets(self) -> dict[str, int]:
        """By counter."""
        listing = json.loads(self.inside.run("nft", "-j", "list", "counters", "table", "inet", "watch"))
        found = [each["counter"] for each in listing["nftables"] if "counter" in each]
        return {each["name"]: each["packets"] for each in found}


@dataclass
class Names:
    """A name server in a namespace, and every name that it was asked for."""

    inside: Namespace
    address: str
    known: dict[str, str]
    asked: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        with self.inside.entered():
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind((self.address, 53))
        server.settimeout(0.2)
        over = threading.Event()
        thread = threading.Thread(target=self._serve, args=(server, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            server.close()

    def _serve(self, server: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                query, whom = server.recvfrom(2048)
                server.sendto(self._answer(query), whom)

    def _answer(self, query: bytes) -> bytes:
        """A records of known names; of others that there are none (RFC 1035, 4.1)."""
        labels, place = [], 12
        while query[place]:
            labels.append(query[place + 1 : place + 1 + query[place]].decode())
            place += 1 + query[place]
        name, (kind,) = ".".join(labels).lower(), struct.unpack_from(">H", query, place + 1)
        self.asked.add(name)
        question = query[12 : place + 5]
        address = self.known.get(name, "") if kind == 1 else ""
        flags = 0x8180 if name in self.known else 0x8183
        head = query[:2] + struct.pack(">5H", flags, 1, int(bool(address)), 0, 0)
        record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address) if address else b""
        return head + question + record


@dataclass
class World:
    """Who is there."""

    node: Watched
    heart: Watched
    folder: Path
    authority: Authority

    def start(self, where: Watched, *words: str) -> subprocess.Popen[str]:
        """A `nodetell` command in a namespace, which asks that namespace's name server."""
        return where.inside.start(*self._command(where, *words))

    def said(self, where: Watched, *words: str) -> str:
        """What such a command prints, whether findings or an error have it end with a status or not."""
        try:
            return where.inside.run(*self._command(where, *words))
        except subprocess.CalledProcessError as error:
            return str(error.output)

    def _command(self, where: Watched, *words: str) -> list[str]:
        settings = (f"PYTHONPATH={ROOT}:{ROOT / 'proto'}", f"HOME={self.folder}")
        resolver = str(self.folder / f"{where.inside.name}.resolv.conf")
        program = ("-c", words[1]) if words[0] == "python" else ("-m", "cli.main", *words)
        return ["sh", "-c", WITH_RESOLVER, resolver, "env", *settings, sys.executable, *program]


def _cabled(node: Namespace, heart: Namespace, api: Namespace) -> None:
    """node - heart - api; whatever is not known goes to the next one, so that it can be counted on its way out."""
    join(node, "out", heart, "to-node")
    join(heart, "out", api, "to-heart")
    for where, name, number, gateway in (
        (node, "out", "1.2", "1.1"),
        (heart, "to-node", "1.1", ""),
        (heart, "out", "2.1", "2.2"),
        (api, "to-heart", "2.2", ""),
    ):
        net, host = number.split(".")
        where.ip("addr", "add", f"10.79.{number}/24", "dev", name)
        where.ip("addr", "add", f"fd79:{net}::{host}/64", "dev", name, "nodad")
        if gateway:
            where.ip("route", "add", "default", "via", f"10.79.{gateway}")
            where.ip("route", "add", "default", "via", f"fd79:{net}::{gateway[-1]}")


@contextlib.contextmanager
def _api_server(inside: Namespace, folder: Path, authority: Authority) -> Iterator[list[str]]:
    """An API server in a namespace, a kubeconfig for it, and the paths that were asked for."""
    own = authority.issued("api", names=[API_NAME], file="api")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    paths: list[str] = []
    there, ready, loop = Cluster(), threading.Event(), asyncio.new_event_loop()
    there.watch_s = 30.0
    there.put("/api/v1/nodes", "node-a")
    over = asyncio.Event()

    async def serve() -> None:
        async with serving(there.answer, context, API) as server:
            config = {
                "current-context": "c",
                "clusters": [
                    {
                        "name": "a",
                        "cluster": {
                            "server": f"https://{API_NAME}:{server.port}",
                            "certificate-authority": authority.file,
                        },
                    }
                ],
                "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
                "users": [{"name": "u", "user": {"token": "t0ken"}}],
            }
            (folder / "kubeconfig").write_text(json.dumps(config))
            ready.set()
            await over.wait()
            paths.extend(request.path for request in server.requests)

    def work() -> None:
        with inside.entered():
            asyncio.set_event_loop(loop)
            loop.run_until_complete(serve())

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(LIMIT_S)
    try:
        yield paths
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@contextlib.contextmanager
def _running(process: subprocess.Popen[str]) -> Iterator[None]:
    drain = threading.Thread(target=process.communicate)
    drain.start()
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        drain.join(10)
        process.kill()
        drain.join()


def _until_known(world: World) -> dict[str, Any]:
    """What an operator's command says of the node once its agent and the API server's object are both there."""
    operator = world.authority.operator_flags()
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        said = world.said(world.node, "nodes", "--aggregator", TARGET, *operator, "--format", "json")
        for each in json.loads(said)["nodes"] if said else []:
            if each["node"] == "node-a" and each.get("links") and each["connected"]:
                found: dict[str, Any] = each
                return found
        time.sleep(0.3)
    pytest.fail(f"not within {LIMIT_S:g} s")


def test_nobody_is_spoken_to_but_the_aggregator_and_the_api_server(tmp_path: Path) -> None:
    needs.nft()
    needs.kind("veth")
    if not os.path.exists("/etc/resolv.conf"):
        pytest.skip("needs: /etc/resolv.conf, to put another over it")
    authority = Authority(tmp_path)
    with contextlib.ExitStack() as stack:
        node, heart, api = stack.enter_context(namespaces(3))
        _cabled(node, heart, api)
        paths = stack.enter_context(_api_server(api, tmp_path, authority))
        port = json.loads((tmp_path / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"].rpartition(":")[2]
        of_node = Watched(
            node,
            {"aggregator": f"ip daddr {HEART} tcp dport 7443", "names": f"ip daddr {HEART} udp dport 53"},
        )
        of_heart = Watched(
            heart,
            {
                "agents": f"ip daddr {NODE} tcp sport 7443",
                "answers": f"ip daddr {NODE} udp sport 53",  # the test's name server is in that namespace
                "api": f"ip daddr {API} tcp dport {port}",
                "names": f"ip daddr {API} udp dport 53",
            },
        )
        nodes_names = Names(heart, HEART, {HEART_NAME: HEART})
        hearts_names = Names(api, API, {API_NAME: API})
        for watched, names in ((of_node, nodes_names), (of_heart, hearts_names)):
            (tmp_path / f"{watched.inside.name}.resolv.conf").write_text(f"nameserver {names.address}\n")
            stack.enter_context(names.serving())
            watched.watch()
        world = World(of_node, of_heart, tmp_path, authority)
        aggregator = world.start(
            of_heart, "aggregator", "--listen", f"{HEART}:7443", "--state-directory", str(tmp_path / "state"),
            *authority.aggregator_flags(HEART_NAME), "--kubernetes.kubeconfig", str(tmp_path / "kubeconfig"),
        )  # fmt: skip
        stack.enter_context(_running(aggregator))
        agent = world.start(
            of_node, "agent", "--node", "node-a", "--aggregator", TARGET, *authority.agent_flags("node-a"),
        )  # fmt: skip
        with _running(agent):
            assert _until_known(world)["links"] >= 2
            end = time.monotonic() + LIMIT_S
            while of_heart.packets()["api"] < 20 and time.monotonic() < end:
                time.sleep(0.2)
            time.sleep(6)  # a batch, a heartbeat, a proof of the path
        sent, served = of_node.packets(), of_heart.packets()
        assert sent["aggregator"] > 10
        assert served["agents"] > 10
        assert served["api"] >= 20
        assert sent["elsewhere"] == served["elsewhere"] == 0, (sent, served, nodes_names.asked, hearts_names.asked)
        assert nodes_names.asked == {HEART_NAME}
        assert hearts_names.asked == {API_NAME}

        world.said(of_node, "python", STRANGER)
        assert of_node.packets()["elsewhere"] >= 1
        assert "telemetry.example" in nodes_names.asked
    assert "/api/v1/nodes" in paths


def test_a_diagnosis_of_a_bundle_sends_nothing_at_all(tmp_path: Path) -> None:
    needs.nft()
    needs.kind("veth")
    with namespace() as inside:
        inside.ip("link", "add", "out", "type", "veth", "peer", "name", "far")
        inside.ip("link", "set", "out", "up")
        inside.ip("link", "set", "far", "up")
        inside.ip("addr", "add", "10.79.3.1/24", "dev", "out")
        inside.ip("route", "add", "default", "dev", "out")
        watched = Watched(inside, {})
        watched.watch()
        resolver = tmp_path / f"{inside.name}.resolv.conf"
        resolver.write_text("nameserver 10.79.3.2\n")
        world = World(watched, watched, tmp_path, Authority(tmp_path))
        found = json.loads(world.said(watched, "diagnose", str(BUNDLE), "--format", "json"))
        assert found["findings"]
        assert watched.packets() == {"elsewhere": 0}
        world.said(watched, "python", STRANGER)
        assert watched.packets()["elsewhere"] >= 1
