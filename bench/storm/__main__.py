"""The aggregator is killed under its agents and comes back: how long until the last one is in, and what it takes.

    python -m bench.storm [--agents 2000] [--mtls] [--away 60] [--links 50] [--moving 10] [--processes 2]

Agents are the real streams over real connections, in processes of their own. The aggregator is the real one with its
databases, killed with SIGKILL. Meanwhile a small question (a path proof of one byte, on a connection that stands) is
asked again and again: the longest it waited is how long the event loop did nothing else. And one more node goes wrong
while the storm lasts: how long until the finding about it stands is what diagnosis suffers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc.aio
from nodetell.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.reading import Reading
from agent.settings import StreamSettings
from agent.stream import Identity, Stream
from bench.storm.agents import Orders, Report, peer_of
from cli.authority import Role, issue, new_authority

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
CANARY = "node-canary"
OPERATOR = "operator"
ASK_S = 0.05
GIVE_UP_S = 300.0


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument("--processes", type=int, default=2, help="processes that the agents are in")
    parser.add_argument("--links", type=int, default=50, help="interfaces of each host, 24 counters each")
    parser.add_argument("--moving", type=int, default=10, help="interfaces with traffic")
    parser.add_argument("--away", type=float, default=60.0, help="seconds that the aggregator is gone")
    parser.add_argument("--rest", type=float, default=30.0, help="seconds of quiet before, and twice as many after")
    parser.add_argument("--mtls", action="store_true", help="TLS 1.3, a certificate for each agent")
    return parser.parse_args(words)


@dataclass
class Asked:
    """How long small questions waited."""

    waits_s: list[float] = field(default_factory=list)
    failed: int = 0


class Aggregator:
    """The aggregator's process."""

    def __init__(self, address: str, state: str, certificates: str) -> None:
        self._state, self._certificates = state, certificates
        self.address = address
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> float:
        """Start it; when it listened, monotonic."""
        flags = ["--listen", self.address, "--state-directory", self._state, "--log-level", "info"]
        if self._certificates:
            own = os.path.join(self._certificates, "aggregator")
            ca = os.path.join(self._certificates, "ca.crt")
            flags += ["--tls.certificate", f"{own}.crt", "--tls.key", f"{own}.key", "--tls.client-ca", ca]
        else:
            flags.append("--insecure")
        log = os.open(os.path.join(self._state, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cli.main", "aggregator", *flags,
                cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log,
            )  # fmt: skip
        finally:
            os.close(log)
        host, _, port = self.address.rpartition(":")
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return time.monotonic()
            if self._process.returncode is not None:
                raise SystemExit(f"the aggregator did not start: see {self._state}/log")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Without a word."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    def cpu_s(self) -> float:
        """User and system time of the process. Source: /proc/PID/stat."""
        assert self._process is not None  # it is asked after start
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self, what: str) -> float:
        """VmRSS or VmHWM (the most so far) of /proc/PID/status."""
        assert self._process is not None  # it is asked after start
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def make_certificates(directory: str, nodes: Sequence[str]) -> None:
    """One for the aggregator, one for each node, one for an operator."""
    now = datetime.datetime.now(datetime.UTC)
    authority = new_authority("storm", 2, now)
    Path(directory, "ca.crt").write_bytes(authority.certificate_pem())
    wanted = [(Role.AGGREGATOR, "aggregator", ["localhost", "127.0.0.1"]), (Role.OPERATOR, OPERATOR, [])]
    for role, name, names in [*wanted, *((Role.AGENT, node, []) for node in nodes)]:
        made = issue(authority, role, name, names, days=2, now=now)
        Path(directory, f"{name}.crt").write_bytes(made.certificate_pem())
        Path(directory, f"{name}.key").write_bytes(made.key_pem())


class Canary:
    """A node that goes wrong on demand."""

    def __init__(self) -> None:
        self.mtu = 1500

    def reading(self) -> Reading:
        """An overlay on an interface that is too small for it, once `mtu` is."""
        reading = Reading()
        eth0 = pb.Link(ifindex=2, name="eth0", mtu=self.mtu, up=True, operstate=pb.OPER_STATE_UP, hardware=True)
        eth0.addresses.append("10.0.0.11/24")
        tunnel = pb.Tunnel(id=1, local="10.0.0.11", port=8472, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK)
        vxlan = pb.Link(ifindex=3, name="flannel.1", kind="vxlan", mtu=1450, up=True, lower=2, tunnel=tunnel)
        reading.add(pb.Item(key="link/2", link=eth0))
        reading.add(pb.Item(key="link/3", link=vxlan))
        reading.add(pb.Item(key="route/254/x/3/0", route=pb.Route(destination="10.244.2.0/24", ifindex=3, table=254)))
        return reading


class Workers:
    """The processes of the agents."""

    def __init__(self, processes: list[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def _ask(self, process: asyncio.subprocess.Process, word: str) -> Report:
        assert process.stdin is not None  # it was made with pipes
        assert process.stdout is not None
        process.stdin.write(f"{word}\n".encode())
        return Report(**json.loads(await process.stdout.readline()))

    async def ask(self, word: str) -> list[Report]:
        """Have all of them do it."""
        return list(await asyncio.gather(*(self._ask(process, word) for process in self._processes)))

    async def until_back(self, count: int) -> list[Report]:
        """Wait until so many have had an update acknowledged since the mark, or it takes too long."""
        until = time.monotonic() + GIVE_UP_S
        while True:
            reports = await self.ask("report")
            if sum(len(report.back) for report in reports) >= count or time.monotonic() > until:
                return reports
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def working(wanted: argparse.Namespace, address: str, certificates: str) -> AsyncIterator[Workers]:
    """The agents at work."""
    processes: list[asyncio.subprocess.Process] = []
    try:
        for number in range(wanted.processes):
            first = number * wanted.agents // wanted.processes
            count = (number + 1) * wanted.agents // wanted.processes - first
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.storm.agents", cwd=ROOT, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, limit=1 << 20, env=ENVIRONMENT,
            )  # fmt: skip
            processes.append(process)
            assert process.stdin is not None
            orders = Orders(address, first, count, wanted.links, wanted.moving, certificates)
            process.stdin.write((json.dumps(asdict(orders)) + "\n").encode())
        yield Workers(processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def ask_small_questions(address: str, certificates: str, asked: Asked) -> None:
    """Until cancelled."""
    while True:
        connection = await peer_of(address, certificates, CANARY).channel()
        async with connection:
            stub = agent_pb2_grpc.AgentServiceStub(connection)  # type: ignore[no-untyped-call]
            with contextlib.suppress(grpc.aio.AioRpcError):
                await stub.ProvePath(agent_pb2.PathProof(padding=b"x"), timeout=30)
                while True:
                    began = time.monotonic()
                    await stub.ProvePath(agent_pb2.PathProof(padding=b"x"), timeout=60)
                    asked.waits_s.append(time.monotonic() - began)
                    await asyncio.sleep(ASK_S)
        asked.failed += 1
        await asyncio.sleep(0.2)


async def until_found(address: str, certificates: str) -> float:
    """When a finding about the canary stands, monotonic."""
    until = time.monotonic() + GIVE_UP_S
    while time.monotonic() < until:
        connection = await peer_of(address, certificates, OPERATOR).channel()
        async with connection:
            stub = operator_pb2_grpc.OperatorServiceStub(connection)  # type: ignore[no-untyped-call]
            with contextlib.suppress(grpc.aio.AioRpcError):
                while time.monotonic() < until:
                    answer = await stub.ListFindings(operator_pb2.ListFindingsRequest(), timeout=30)
                    if any(CANARY in finding.nodes for finding in answer.findings):
                        return time.monotonic()
                    await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
    return float("inf")


async def storm(wanted: argparse.Namespace, directory: str) -> int:
    """Run it and print what came of it; 0: all were back within a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    certificates = ""
    if wanted.mtls:
        certificates = os.path.join(directory, "certificates")
        os.mkdir(certificates)
        make_certificates(certificates, [*(f"node-{number}" for number in range(wanted.agents)), CANARY])
    aggregator, asked, canary, stop = Aggregator(address, directory, certificates), Asked(), Canary(), asyncio.Event()
    await aggregator.start()
    tasks: list[asyncio.Task[None]] = []
    try:
        async with working(wanted, address, certificates) as workers:
            news = asyncio.Event()
            identity = Identity(CANARY, os.urandom(16), "storm")
            at_once = StreamSettings(reconnect_max_s=1.0)  # what it waits for is diagnosis, not its own turn
            stream = Stream(peer_of(address, certificates, CANARY), at_once, identity, canary, news)
            tasks.append(asyncio.create_task(stream.run(stop)))
            began = time.monotonic()
            first = await workers.until_back(wanted.agents)
            show("at first", began, first, aggregator, asked)
            tasks.append(asyncio.create_task(ask_small_questions(address, certificates, asked)))
            await asyncio.sleep(wanted.rest)
            print(f"all well:  memory {aggregator.memory_mib('VmRSS'):.0f} MiB, longest wait {longest(asked)}")
            await aggregator.kill()
            await workers.ask("mark")
            canary.mtu = 1400
            await asyncio.sleep(wanted.away)
            held = sum(report.backlog_bytes for report in await workers.ask("report"))
            print(f"away:      {wanted.away:.0f} s; the agents hold {held / wanted.agents / 1024:.1f} KiB of it each")
            asked.waits_s.clear()
            began = time.monotonic()
            listening = await aggregator.start()
            print(f"it listens {listening - began:.1f} s after the start")
            finding = asyncio.create_task(until_found(address, certificates))
            back = await workers.until_back(wanted.agents)
            last = show("come back", began, back, aggregator, asked)
            print(f"finding:   {await finding - began:.1f} s after the start about a node that went wrong meanwhile")
            await asyncio.sleep(2 * wanted.rest)
            held = sum(report.backlog_bytes for report in await workers.ask("report"))
            print(f"{2 * wanted.rest:.0f} s later: memory {aggregator.memory_mib('VmRSS'):.0f} MiB, ", end="")
            print(f"longest wait {longest(asked)}; untold still {held / wanted.agents / 1024:.1f} KiB each")
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await aggregator.kill()
    return 0 if last <= 60 and sum(len(report.back) for report in back) >= wanted.agents else 1


def longest(asked: Asked) -> str:
    """Of the small questions, and forget them."""
    waits, asked.waits_s = sorted(asked.waits_s), []
    if not waits:
        return "unknown"
    return f"{waits[-1]:.2f} s (99th percentile {waits[len(waits) * 99 // 100]:.2f} s of {len(waits)})"


def show(what: str, began: float, reports: list[Report], aggregator: Aggregator, asked: Asked) -> float:
    """Print what the agents report; seconds until the last one was in."""
    back = sorted(at - began for report in reports for at in report.back)
    last = back[-1] if back else float("inf")
    half = back[len(back) // 2] if back else float("inf")
    print(
        f"{what + ':':<11}{len(back):,} agents, half of them {half:.1f} s and the last {last:.1f} s after the start; "
        f"told to come again later {sum(r.deferred for r in reports):,} times, "
        f"refused {sum(r.refused for r in reports):,}; the aggregator has taken {aggregator.cpu_s():.1f} s of CPU time "
        f"in {time.monotonic() - began:.1f} s, and {aggregator.memory_mib('VmHWM'):.0f} MiB at most"
        + (f", longest wait {longest(asked)}" if asked.waits_s else "")
    )
    for report in reports:
        for reason, count in report.ended.items():
            print(f"    {count:,} times: {reason}")
    sys.stdout.flush()
    return last


def main() -> int:
    """The program."""
    wanted = arguments(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="nodetell-storm-") as directory:
        return asyncio.run(storm(wanted, directory))


if __name__ == "__main__":
    raise SystemExit(main())
