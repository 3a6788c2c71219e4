"""Prober and responder over real paths, in processes that may do nothing: uid 65534 and no capability."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.netns import Namespace, namespaces
from tests.pathlab import PATHS, PORT, Lab

pytestmark = pytest.mark.needs_root

ROOT = Path(__file__).resolve().parents[2]
MAX_PACKETS, MAX_SECONDS = 40, 5.0
PRIVILEGES_GONE = """
import asyncio, contextlib, ctypes, json, os, sys, time
from agent.pathmtu.answers import Answers
from agent.pathmtu.datagram import Key, smallest
from agent.pathmtu.prober import Numbers, Run
from agent.pathmtu.responder import Responder
from agent.pathmtu.route import RouteTable, carrier
from agent.pathmtu.search import Search
from agent.pathmtu.way import Way
from agent.network.live import NetlinkNetwork

KEY = Key(b"i" * 8, b"k" * 16)
PORT = int(sys.argv[1])

def give_everything_up():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    capabilities = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
    print(json.dumps({"uid": os.getuid(), "capabilities": capabilities}), flush=True)
"""
ANSWER = """
async def main():
    responder = Responder(Answers(), contextlib.nullcontext)
    responder.answers.grant([KEY], time.monotonic())
    responder.open((), PORT)
    print(json.dumps({"listening": PORT}), flush=True)
    await asyncio.Event().wait()

give_everything_up()
asyncio.run(main())
"""
PROBE = """
async def probe(inventory, routes, numbers, address):
    began = time.process_time()
    with contextlib.closing(Way(address, PORT)) as way:
        carried = carrier(inventory, routes.route_to(address), way.local_address)
        search = Search(carried.full_size, smallest(way.ipv6))
        outcome = await Run(search, way, KEY, numbers, contextlib.nullcontext).go()
    verdict = outcome.verdict
    return {"to": address, "interface": carried.interface, "size": verdict.size, "top": verdict.top,
            "certain": verdict.certain, "told": verdict.told, "packets": outcome.sent,
            "took_s": outcome.took_s, "rtt_s": outcome.rtt_s}

async def main():
    network, routes, numbers = NetlinkNetwork(), RouteTable(), Numbers()
    for line in sys.stdin:
        began = time.process_time()
        outcomes = await asyncio.gather(*(probe(network.inventory(), routes, numbers, to) for to in line.split()))
        print(json.dumps({"outcomes": outcomes, "cpu_s": time.process_time() - began}), flush=True)

give_everything_up()
asyncio.run(main())
"""

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A process in a namespace that prints a line of JSON for what it is asked."""

    process: subprocess.Popen[str]

    def line(self) -> Outcome:
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        assert text, self.process.communicate()[1]
        found: Outcome = json.loads(text)
        return found

    def probe(self, *addresses: str) -> dict[str, Outcome]:
        """What was found, by address."""
        return {outcome["to"]: outcome for outcome in self.ask(*addresses)["outcomes"]}

    def ask(self, *addresses: str) -> Outcome:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(addresses) + "\n")
        self.process.stdin.flush()
        return self.line()


@contextlib.contextmanager
def peer(where: Namespace, program: str) -> Iterator[Peer]:
    environment = ("env", f"PYTHONPATH={ROOT}:{ROOT / 'proto'}")
    process = where.start(*environment, sys.executable, "-c", PRIVILEGES_GONE + program, PORT)
    try:
        made = Peer(process)
        assert made.line() == {"uid": 65534, "capabilities": 0}
        yield made
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    needs.nft()
    needs.kind("veth")
    needs.kind("vxlan")
    with namespaces(3) as three:
        made = Lab(*three)
        made.build()
        yield made


@pytest.fixture(scope="module")
def prober(lab: Lab) -> Iterator[Peer]:
    """Host a probes, host b answers."""
    with peer(lab.b, ANSWER) as responder, peer(lab.a, PROBE) as made:
        assert responder.line() == {"listening": int(PORT)}
        yield made


@pytest.fixture(autouse=True)
def _mended(lab: Lab) -> Iterator[None]:
    yield
    lab.mend()


ADDRESSES = {path.format(2): smaller for path, smaller in PATHS.items()}


def test_a_clean_path_costs_two_packets(prober: Peer) -> None:
    for address, outcome in prober.probe(*ADDRESSES).items():
        size = 1500 - ADDRESSES[address]
        assert (outcome["size"], outcome["top"], outcome["certain"], outcome["packets"]) == (size, size, True, 2)
        assert outcome["interface"] == {0: "eth0", 50: "vx0", 70: "vx6"}[ADDRESSES[address]]
        assert 0 < outcome["rtt_s"] < 1


@pytest.mark.parametrize("first", [1300, 1365, 1430, 1495])
def test_the_size_is_exact_within_five_seconds_and_forty_packets(lab: Lab, prober: Peer, first: int) -> None:
    """By the kernel's count of what left."""
    for size in [first, first + 1, first + 5]:
        lab.drop(f"meta length > {size}")
        before = lab.probes(lab.a)
        outcomes = prober.probe(*ADDRESSES)
        sent = lab.probes(lab.a)
        lab.mend()
        for address, smaller in ADDRESSES.items():
            outcome = outcomes[address]
            assert (outcome["size"], outcome["certain"], outcome["told"]) == (size - smaller, True, False)
            assert outcome["packets"] == sent[address] - before[address] <= MAX_PACKETS
            assert outcome["took_s"] < MAX_SECONDS


def test_a_direction_that_is_not_broken_is_clean(lab: Lab, prober: Peer) -> None:
    lab.drop('iifname "to-b" meta length > 1400')  # answers are small and pass
    assert all(outcome["packets"] == 2 for outcome in prober.probe(*ADDRESSES).values())
    lab.drop('iifname "to-a" meta length > 1400')
    assert [each["size"] for each in prober.probe(*ADDRESSES).values()] == [1400 - less for less in PATHS.values()]


def test_icmp_is_believed_where_it_answers_a_probe(lab: Lab, prober: Peer) -> None:
    lab.tell(1391)
    try:
        for outcome in prober.probe("10.78.2.2", "fd78:2::2").values():
            assert (outcome["size"], outcome["certain"], outcome["told"]) == (1391, True, True)
            assert outcome["packets"] <= 20
    finally:
        lab.tell(None)


def test_loss_alone_makes_no_size(lab: Lab, prober: Peer) -> None:
    lab.drop("numgen random mod 10 0")
    for _ in range(25):
        for address, outcome in prober.probe(*ADDRESSES).items():
            assert not outcome["certain"] or outcome["size"] in (1500 - ADDRESSES[address], None)


def test_a_port_that_nobody_opened(prober: Peer) -> None:
    (outcome,) = prober.probe("10.78.1.1").values()  # the router: it says so by ICMP, and the probe goes on undisturbed
    assert (outcome["size"], outcome["certain"], outcome["packets"]) == (None, True, 6)


def test_full_size_is_what_the_route_allows(lab: Lab, prober: Peer) -> None:
    lab.a.ip("route", "replace", "10.78.2.0/24", "via", "10.78.1.1", "dev", "eth0", "mtu", 1333)
    try:
        (outcome,) = prober.probe("10.78.2.2").values()
        assert (outcome["size"], outcome["top"], outcome["packets"]) == (1333, 1333, 2)  # what traffic sends there
    finally:
        lab.a.ip("route", "del", "10.78.2.0/24")


def test_the_cost(prober: Peer) -> None:
    clean = prober.ask(*ADDRESSES)["cpu_s"]
    print(f"a clean path: {1000 * clean / len(ADDRESSES):.2f} ms of CPU")  # noqa: T201  # a figure worth seeing with -s
    assert clean < 0.1
