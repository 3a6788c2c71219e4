"""Authentication, too, gets out through the fault: packets over 1,280 bytes vanish in both directions.

Agent, router and aggregator are network namespaces with offloads off; agent, aggregator and the operator's command are
the real ones, over TLS 1.3, with ECDSA P-256 certificates without the root and a token of over a kilobyte, which an API
server on the aggregator's loopback vouches for. Every packet is measured at the router. Without the aggregator's small
segments not even the first message of TLS gets through, which is shown first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.apiserver import ApiServer, Cluster, Reply, Request
from tests.entrance import Vouching, kubeconfig
from tests.hole import Tap, Way, killed_at_the_end, start
from tests.netns import Namespace, namespaces
from tests.trust import Authority

pytestmark = pytest.mark.needs_root

LIMIT = 1_280
NODE = "far"
PORT = 7443
LINKS = 104
COMMAND = "from cli.main import main; raise SystemExit(main())"
AGENT = f"import agent.stream; agent.stream.TOKEN_CHECK_S = 0.5; {COMMAND}"
SERVE = """
import sys
import nodetell, grpc
from concurrent.futures import ThreadPoolExecutor
pair = tuple(open(name, "rb").read() for name in sys.argv[2:4])
server = grpc.server(ThreadPoolExecutor(1))
server.add_secure_port(sys.argv[1], grpc.ssl_server_credentials([pair]))
server.start()
print("listening", flush=True)
sys.stdin.read()
"""
CONNECT = """
import sys
import nodetell, grpc
credentials = grpc.ssl_channel_credentials(open(sys.argv[2], "rb").read())
with grpc.secure_channel(sys.argv[1], credentials) as channel:
    try:
        grpc.channel_ready_future(channel).result(timeout=float(sys.argv[3]))
        print("connected")
    except grpc.FutureTimeoutError:
        print("not connected")
"""


@contextlib.contextmanager
def vouching(inside: Namespace) -> Iterator[tuple[Vouching, str]]:
    """An API server that is reached within a namespace only: what it knows, and its URL."""
    known, cluster = Vouching(), Cluster()
    cluster.watch_s = 3_600.0

    async def answer(request: Request, reply: Reply) -> None:
        await (known.answer if request.method == "POST" else cluster.answer)(request, reply)

    server, loop, ready = ApiServer(answer), asyncio.new_event_loop(), threading.Event()

    def serve() -> None:
        with inside.entered():
            loop.run_until_complete(server.start())
            ready.set()
            loop.run_forever()
            loop.run_until_complete(server.stop())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield known, server.url
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass
class Scene:
    """An aggregator that listens, and what asks it."""

    way: Way
    ca: Authority
    api: Vouching
    tap: Tap
    target: str
    operator: tuple[str, ...]

    def ask(self, *question: str) -> Any:
        """What an operator on the agent's side of the hole is answered; None: nothing, or not yet."""
        words = [*question, "--format", "json", "--aggregator", self.target, *self.operator]
        with killed_at_the_end(start(self.way.agent, COMMAND, *words)) as process:
            said, _ = process.communicate(timeout=30)
            return json.loads(said) if said.startswith("{") else None

    def asked(self, token: str) -> bool:
        """The API server was asked about it."""
        return any(spec.get("token") == token for _, spec in self.api.asked)

    def until(self, question: tuple[str, ...], wanted: Callable[[Any], object], timeout_s: float = 60.0) -> Any:
        """The answer that is wanted. Fails the test if none comes."""
        end = time.monotonic() + timeout_s
        while not (answer := self.ask(*question)) or not wanted(answer):
            assert time.monotonic() < end, f"{question}: {str(answer)[:2_000]}"
            time.sleep(0.2)
        return answer


def bare(way: Way, ca: Authority, seconds: float) -> str:
    """What becomes of a TLS connection to a server that leaves TCP's segments alone."""
    own, target = ca.server("10.77.2.2", file="bare"), "10.77.2.2:7444"
    with killed_at_the_end(start(way.aggregator, SERVE, target, own.key, own.certificate)) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        with killed_at_the_end(start(way.agent, CONNECT, target, ca.file, str(seconds))) as client:
            return client.communicate(timeout=30)[0].strip()


@pytest.fixture(params=["quick", "slow"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    needs.nft()
    needs.kind("veth")
    needs.kind("vxlan")
    with namespaces(3) as three:
        made = Way(*three)
        made.build(LIMIT, slow=request.param == "slow")
        yield made


@contextlib.contextmanager
def aggregator(way: Way, target: str, directory: Path, *, certificates: bool) -> Iterator[Scene]:
    """`certificates`: everybody must show one; otherwise agents send tokens, and operators one of their own."""
    ca = Authority(directory)
    own = ca.server("10.77.2.2", "fd77:2::2")
    flags = ["--listen", target, "--tls.certificate", own.certificate, "--tls.key", own.key, "--state-directory", ""]
    operator: tuple[str, ...] = ("--ca", ca.file)
    with vouching(way.aggregator) as (api, url):
        flags += ["--kubernetes.kubeconfig", str(kubeconfig(directory, url).path)]
        if certificates:
            flags += ["--tls.client-ca", ca.file]
            operator = ca.operator_flags()
        else:
            token = directory / "operator"
            token.write_text(api.token(user="ada", padding=700))
            api.allowed.add("ada")
            operator += ("--token-file", str(token))
        with killed_at_the_end(start(way.aggregator, COMMAND, "aggregator", *flags)) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            threading.Thread(target=process.stderr.read, daemon=True).start()
            assert process.stdout.readline().startswith("aggregator listening")
            tap = Tap(way.router, "to-agent")
            tap.listen()
            yield Scene(way, ca, api, tap, target, operator)


@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("way", "target", "shown"),
    [
        ("quick", "10.77.2.2:7443", "token"),
        ("quick", "[fd77:2::2]:7443", "both"),
        ("slow", "10.77.2.2:7443", "token"),
        ("slow", "10.77.2.2:7443", "certificate"),
    ],
    indirect=["way"],
)
def test_an_agent_gets_in_and_its_facts_get_out(way: Way, target: str, shown: str, tmp_path: Path) -> None:
    with aggregator(way, target, tmp_path, certificates=shown != "token") as scene:
        flags = ["--node", NODE, "--aggregator", target, "--tls.ca", scene.ca.file]
        if shown != "token":
            own = scene.ca.agent(NODE)
            flags += ["--tls.certificate", own.certificate, "--tls.key", own.key]
        token = tmp_path / "token"
        first, second = (scene.api.token(NODE, padding=size) for size in (700, 1_400))
        assert min(len(first), len(second)) > 1_024
        token.write_text(first)
        if shown != "certificate":
            flags += ["--token-file", str(token)]
        began = time.monotonic()
        with killed_at_the_end(start(way.agent, AGENT, "agent", *flags)) as agent:
            log = _Log(agent)
            node = scene.until(("node", NODE), lambda answer: len(_links(answer)) >= LINKS)
            took = time.monotonic() - began
            assert len(_links(node)) == len(json.loads(way.agent.ip("-j", "link")))

            way.agent.ip("link", "set", "vx0", "mtu", 1500, "up")
            found = scene.until(("findings",), lambda answer: _codes(answer, "mtu."))
            assert any(NODE in json.dumps(each) for each in found["findings"])

            if shown != "certificate":
                assert scene.asked(first)
                assert not scene.asked(second)
                renewed = token.with_suffix(".new")
                renewed.write_text(second)
                renewed.replace(token)
                log.until("token_renewed")
                end = time.monotonic() + 60
                while not scene.asked(second):
                    assert time.monotonic() < end, log.lines
                    time.sleep(0.1)
            way.agent.ip("link", "set", "vx1", "mtu", 1333)
            scene.until(("node", NODE), lambda answer: 1333 in _links(answer).values())
            log.until("path_proven")  # and that is no lie: what TCP takes for full-size packets pass
            assert log.count("stream_open") == 1, log.lines
            assert log.count("stream_ended") == log.count("stream_refused") == 0, log.lines
            assert not any(first in line or second in line for line in log.lines)
        up, down = (
            scene.tap.sizes[PORT],
            [size for port in scene.tap.sizes if port != PORT for size in scene.tap.sizes[port]],
        )
        print(  # noqa: T201  # figures worth seeing with -s
            f"{shown}: all facts after {took:.1f} s; {len(up)} packets up of at most {max(up)} bytes, {len(down)} down "
            f"of at most {max(down)}; the first ones up: {up[:7]}"
        )
        assert max(up + down) <= LIMIT
        assert way.dropped() == 0


@pytest.mark.parametrize("way", ["quick"], indirect=True)
def test_it_is_the_small_segments_that_do_it(way: Way, tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    assert bare(way, ca, 3.0) == "not connected"
    assert way.dropped() > 0
    way.router.run("nft", "flush", "ruleset")
    assert bare(way, ca, 10.0) == "connected"


def _codes(answer: Any, beginning: str) -> list[str]:
    return [each["code"] for each in answer["findings"] if each["code"].startswith(beginning)]


def _links(answer: Any) -> dict[str, int]:
    """MTU by name."""
    return {item["name"]: item["mtu"] for item in answer["items"] if item["fact"] == "link"}


class _Log:
    """What a process says on standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # closed at the end
            for line in process.stderr:
                self.lines.append(line)

    def count(self, event: str) -> int:
        return sum(f"event={event} " in line for line in self.lines)

    def until(self, event: str, timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s
        while not self.count(event):
            assert time.monotonic() < end, self.lines
            time.sleep(0.05)
