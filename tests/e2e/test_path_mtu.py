"""Path MTUs, found for real: two hosts, a router, VXLANs over it, an aggregator, two agents, and packets that vanish.

What is asked of it: the exact size, over underlay and overlays, IPv4 and IPv6, within 5 s and 40 packets, in the
direction that is broken; the finding with the right nodes; none on a path that merely loses packets.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.netns import Namespace, namespaces
from tests.pathlab import PATHS, PORT, Lab
from tests.trust import Authority

pytestmark = pytest.mark.needs_root

ROOT = Path(__file__).resolve().parents[2]
AGGREGATOR = "10.78.1.2:7443"
NODETELL = (sys.executable, "-m", "cli.main")
MAX_PACKETS, MAX_SECONDS = 40, 5.0
Event = dict[str, Any]


class Said:
    """What a process says on one of its outputs, as it comes."""

    def __init__(self, stream: Any, read: Callable[[str], Event]) -> None:
        self.lines: list[Event] = []
        self._stream, self._read_line = stream, read
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            with contextlib.suppress(ValueError):  # gRPC's own, or the end of a line that was cut
                self.lines.append(self._read_line(line))

    def of(self, event: str, since: int = 0) -> list[Event]:
        """The lines of one kind from the line of this number on."""
        return [line for line in self.lines[since:] if line.get("event") == event]


def log_line(line: str) -> Event:
    """A line of a role's log."""
    return dict(word.split("=", 1) for word in shlex.split(line))


def until(happened: Callable[[], object], within_s: float, what: Callable[[], object]) -> None:
    """Wait; fails with `what` if it does not happen within so many seconds."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what()}"
        time.sleep(0.05)


def start(where: Namespace, *command: str, **environment: str) -> subprocess.Popen[str]:
    variables = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", **environment}
    return where.start("env", *(f"{name}={value}" for name, value in variables.items()), *command)


@contextlib.contextmanager
def running(where: Namespace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A nodetell process, ended gently."""
    process = start(where, *NODETELL, *arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
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


def of_network(event: Event) -> bool:
    """It is about a finding that the lab can cause."""
    return str(event["finding"]["code"]).startswith(("mtu.", "net."))


@dataclass(frozen=True)
class Live:
    """Both roles at work in the lab."""

    lab: Lab
    agents: dict[str, Said]
    findings: Said

    def sizes(self, node: str, since: int = 0) -> dict[str, str]:
        """What an agent has found, by address."""
        return {line["to"]: line["path_mtu"] for line in self.agents[node].of("path_mtu", since)}

    def standing(self) -> dict[str, Event]:
        """The findings that stand about the network; the machine's own disks and clock are not the lab's."""
        found: dict[str, Event] = {}
        for line in list(self.findings.lines):
            if line["event"] in ("appeared", "changed") and of_network(line):
                found[line["finding"]["id"]] = line["finding"]
            elif line["event"] == "resolved":
                found.pop(line["finding"]["id"], None)
        return found

    def of_code(self, code: str) -> list[Event]:
        return [finding for finding in self.standing().values() if finding["code"] == code]

    def one_hole(self) -> Event:
        """The one black hole that stands: that of the underlay, with what it costs the overlays as evidence."""

        def devices() -> list[set[str]]:
            return [{e["subject"].split()[0] for e in each["evidence"]} for each in self.of_code("mtu.path_black_hole")]

        until(lambda: devices() == [{"eth0", "vx0", "vx6"}], 5, self.standing)
        return self.of_code("mtu.path_black_hole")[0]

    def recovered(self) -> None:
        """The router lets everything pass; wait until both agents know it and no finding stands."""
        self.lab.mend()
        for node, other in (("a", 2), ("b", 1)):
            until(lambda: self.sizes(node) == expected(other), 20, lambda: self.sizes(node))  # noqa: B023  # called at once
        until(lambda: not self.standing(), 10, self.standing)


def expected(other: int, size: int = 1500) -> dict[str, str]:
    """What is to be found towards a host where the router passes packets up to `size`."""
    return {path.format(other): str(size - smaller) for path, smaller in PATHS.items()}


@pytest.fixture(scope="module")
def live(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    ca = Authority(tmp_path_factory.mktemp("ca"))
    listen = ("--listen", AGGREGATOR, "--state-directory", "", "--path-mtu.interval-s", "2")
    agent = ("--aggregator", AGGREGATOR, "--path-mtu.port", PORT, "--stream.heartbeat-interval-s", "1")
    with (
        running(lab.a, "aggregator", *listen, *ca.aggregator_flags("10.78.1.2")) as aggregator,
        running(lab.a, "agent", "--node", "a", *agent, *ca.agent_flags("a")) as a,
        running(lab.b, "agent", "--node", "b", *agent, *ca.agent_flags("b")) as b,
    ):
        listening = Said(aggregator.stderr, log_line)
        until(lambda: listening.of("listening"), 20, lambda: listening.lines)
        watch = ("findings", "--watch", "--format", "json", "--aggregator", AGGREGATOR, *ca.operator_flags())
        with running(lab.a, *watch) as watching:
            agents = {"a": Said(a.stderr, log_line), "b": Said(b.stderr, log_line)}
            made = Live(lab, agents, Said(watching.stdout, json.loads))
            until(lambda: made.findings.of("synced"), 20, lambda: made.findings.lines)
            yield made


@pytest.fixture
def fine(live: Live) -> Iterator[Live]:
    """Nothing is wrong, before and after."""
    live.recovered()
    yield live
    live.recovered()


@pytest.mark.parametrize("size", [1300, 1413, 1499])
def test_a_black_hole_is_found_to_the_byte(fine: Live, size: int) -> None:
    since = {node: len(said.lines) for node, said in fine.agents.items()}
    fine.lab.drop(f"meta length > {size}")
    began = time.monotonic()
    for node, other in (("a", 2), ("b", 1)):
        wanted = expected(other, size)
        until(lambda: fine.sizes(node, since[node]) == wanted, 10, lambda: fine.sizes(node, since[node]))  # noqa: B023  # called at once
        for line in fine.agents[node].of("path_mtu", since[node]):
            assert int(line["packets"]) <= MAX_PACKETS
            assert float(line["took_s"]) <= MAX_SECONDS
    took = time.monotonic() - began
    print(f"{size}: ten paths known {took:.1f} s after the packets began to vanish")  # noqa: T201  # a figure worth seeing with -s
    finding = fine.one_hole()
    assert (finding["nodes"], finding["stage"]) == (["a", "b"], "active")
    assert {finding["code"] for finding in fine.standing().values()} == {"mtu.path_black_hole"}


def test_one_direction_alone(fine: Live) -> None:
    since = {node: len(said.lines) for node, said in fine.agents.items()}
    fine.lab.drop('iifname "to-a" meta length > 1388')
    until(lambda: fine.sizes("a", since["a"]) == expected(2, 1388), 10, lambda: fine.sizes("a", since["a"]))
    time.sleep(2.5)  # the other direction is probed once more
    assert fine.sizes("b") == expected(1)
    finding = fine.one_hole()
    assert finding["nodes"] == ["a", "b"]
    assert {evidence["node"] for evidence in finding["evidence"]} == {"a"}


def test_a_hop_that_tells_is_no_black_hole(fine: Live) -> None:
    """Hosts learn the size. Over IPv4 they cut the VXLAN's packets in two then, and what is in them passes whole.

    Over IPv6 nobody may cut them, and what is in them is lost without a word: that is a black hole, on that overlay.
    """
    since = {node: len(said.lines) for node, said in fine.agents.items()}
    fine.lab.tell(1400)
    try:
        for node, other in (("a", 2), ("b", 1)):
            wanted = {f"10.78.{other}.2": "1400", f"fd78:{other}::2": "1400", f"10.245.0.{other}": "1330"}
            until(lambda: wanted.items() <= fine.sizes(node, since[node]).items(), 10, lambda: fine.sizes(node))  # noqa: B023  # called at once
        until(lambda: fine.sizes("a")["10.244.0.2"] == "1450", 10, lambda: fine.sizes("a"))
        until(lambda: fine.of_code("mtu.path_smaller"), 5, fine.standing)
        subjects = {e["subject"].split()[0] for f in fine.of_code("mtu.path_smaller") for e in f["evidence"]}
        assert subjects == {"eth0"}
        until(lambda: fine.of_code("mtu.path_black_hole"), 5, fine.standing)
        subjects = {e["subject"].split()[0] for f in fine.of_code("mtu.path_black_hole") for e in f["evidence"]}
        assert subjects == {"vx6"}
    finally:
        fine.lab.tell(None)


def test_a_path_that_loses_packets_is_no_finding(fine: Live) -> None:
    events = len(fine.findings.lines)
    since = {node: len(said.lines) for node, said in fine.agents.items()}
    before = sum(fine.lab.probes(fine.lab.a).values())
    fine.lab.drop("numgen random mod 10 0")
    time.sleep(8)
    sent = sum(fine.lab.probes(fine.lab.a).values()) - before
    assert sent > 30  # five paths every two seconds, two packets at least
    assert not [line for line in fine.findings.of("appeared", events) if of_network(line)]
    assert [fine.agents[node].of("path_mtu", since[node]) for node in ("a", "b")] == [[], []]


def test_no_search_sends_more_than_it_says(fine: Live) -> None:
    """The kernel's own count of what leaves towards the probe port, path by path."""
    time.sleep(1)
    lab = fine.lab
    quiet = lab.probes(lab.a)
    until(lambda: (now := lab.probes(lab.a)) != quiet and min(now[k] - quiet[k] for k in now) >= 2, 5, lambda: quiet)
    since = len(fine.agents["a"].lines)
    lab.drop("meta length > 1432")
    before = lab.probes(lab.a)
    until(lambda: fine.sizes("a", since) == expected(2, 1432), 10, lambda: fine.sizes("a", since))
    sent = {address: count - before[address] for address, count in lab.probes(lab.a).items()}
    said = {line["to"]: int(line["packets"]) for line in fine.agents["a"].of("path_mtu", since)}
    for address, count in sent.items():
        # A search that began before the rule, and one that began after the result, may be among them.
        assert said[address] <= count <= 2 + said[address] + MAX_PACKETS
    assert max(said.values()) <= MAX_PACKETS


@pytest.mark.usefixtures("live")
def test_open_ports_answer_nobody_else(lab: Lab) -> None:
    """Whoever has no key gets nothing, whatever is sent."""
    stranger = """
import os, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
    way.settimeout(1.5)
    way.connect(("10.78.2.2", int(sys.argv[1])))
    for size in (0, 1, 12, 31, 32, 40, 1400):
        way.send((b"NTp1" + os.urandom(size))[:size])
    try:
        print("answered", way.recv(2048))
    except TimeoutError:
        print("silence")
"""
    assert lab.router.run(sys.executable, "-c", stranger, PORT) == "silence\n"
