"""The whole path, for real: two hosts joined by a VXLAN, both roles as processes, and somebody who sets an MTU.

What is asked of it: the finding stands within 3 s of the command that causes it and is over within 3 s of the one that
mends it; real drops make it active; and a bundle collected here and diagnosed elsewhere says what the live view says.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.netns import Namespace, join, namespaces

pytestmark = pytest.mark.needs_root

ADDRESS = "127.0.0.1:7443"
CODE = "mtu.overlay_exceeds_underlay"
PEER = "10.244.2.22"
"""A pod on host b. It needs not exist: the packets die on host a."""
NODETELL = (sys.executable, "-m", "cli.main")
SEND_LARGE = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
    way.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER = IP_PMTUDISC_PROBE: DF, whatever is known of the path
    for _ in range(40):
        way.sendto(bytes(1472), (sys.argv[1], 9))
        time.sleep(0.005)
"""

Event = dict[str, Any]


@dataclass
class Watch:
    """Events of `nodetell findings --watch`, each with when it was printed (monotonic seconds)."""

    process: subprocess.Popen[str]
    events: queue.Queue[tuple[float, Event]] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put((time.monotonic(), json.loads(line)))

    def until(self, wanted: Callable[[Event], bool], within: float) -> tuple[float, Event]:
        """The first event that is wanted; fails if none comes within so many seconds."""
        deadline = time.monotonic() + within
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                at, event = self.events.get(timeout=left)
                if wanted(event):
                    return at, event
                seen.append(event)
        pytest.fail(f"no such event within {within:g} s; seen: {seen}")


@contextlib.contextmanager
def running(inside: Namespace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A nodetell process in a namespace, ended gently."""
    process = inside.start(*NODETELL, *arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    """A pod behind host a, host a, host b: routed VXLAN without a link of its own, outer DF set, everything at 1450."""
    needs.kind("vxlan")
    with namespaces(3) as (pod, a, b):
        join(a, "u0", b, "u0")
        for host, mine, other in ((a, 1, 2), (b, 2, 1)):
            host.ip("addr", "add", f"10.9.0.{mine}/24", "dev", "u0")
            tunnel = f"vxlan id 42 dstport 4789 local 10.9.0.{mine} remote 10.9.0.{other} df set"
            host.ip("link", "add", "vx0", "mtu", 1450, "type", *tunnel.split())
            host.ip("addr", "add", f"10.244.{mine}.0/32", "dev", "vx0")
            host.ip("link", "set", "vx0", "up")
            host.ip("route", "add", f"10.244.{other}.0/24", "dev", "vx0")
            host.sysctl("net/ipv4/ip_forward", 1)
        a.ip("neigh", "add", PEER, "lladdr", "02:00:00:00:00:22", "dev", "vx0", "nud", "permanent")
        join(pod, "eth0", a, "v0", mtu=1450)
        pod.ip("addr", "add", "10.244.1.11/24", "dev", "eth0")
        a.ip("addr", "add", "10.244.1.1/24", "dev", "v0")
        pod.ip("route", "add", "default", "via", "10.244.1.1")
        yield pod, a, b


@pytest.fixture(scope="module")
def live(hosts: tuple[Namespace, Namespace, Namespace]) -> Iterator[Watch]:
    """Aggregator and agent of host a, and an operator who watches."""
    _, a, _ = hosts
    with (
        running(a, "aggregator", "--listen", ADDRESS, "--insecure", "--cluster", "lab", "--state-directory", ""),
        running(a, "agent", "--node", "a", "--insecure", "--aggregator", ADDRESS),
    ):
        deadline = time.monotonic() + 20
        while not _known(a):
            assert time.monotonic() < deadline, "the agent's facts did not arrive within 20 s"
            time.sleep(0.2)
        with running(a, "findings", "--watch", "--format", "json", "--insecure", "--aggregator", ADDRESS) as process:
            watch = Watch(process)
            watch.until(lambda event: event["event"] == "synced", 10)
            yield watch


def _known(inside: Namespace) -> bool:
    asked = inside.start(*NODETELL, "nodes", "--format", "json", "--insecure", "--aggregator", ADDRESS)
    output, _ = asked.communicate(timeout=20)
    return asked.returncode == 0 and any(node["facts_at"] for node in json.loads(output)["nodes"])


def _of(kind: str, code: str = CODE) -> Callable[[Event], bool]:
    return lambda event: event["event"] == kind and event["finding"]["code"] == code


def test_a_finding_follows_the_mtu_within_three_seconds(
    hosts: tuple[Namespace, Namespace, Namespace], live: Watch
) -> None:
    _, a, _ = hosts
    for _ in range(3):
        caused = time.monotonic()
        a.ip("link", "set", "vx0", "mtu", 1500)
        appeared, event = live.until(_of("appeared"), 3)
        assert event["finding"]["nodes"] == ["a"]
        assert event["finding"]["stage"] == "risk"
        mended = time.monotonic()
        a.ip("link", "set", "vx0", "mtu", 1450)
        resolved, _ = live.until(_of("resolved"), 3)
        print(f"appeared after {appeared - caused:.2f} s, resolved after {resolved - mended:.2f} s")  # noqa: T201 - with -s


def test_packets_that_die_make_it_active_and_a_bundle_says_the_same(
    hosts: tuple[Namespace, Namespace, Namespace], live: Watch, tmp_path: Path
) -> None:
    pod, a, _ = hosts
    for inside, name in ((a, "vx0"), (a, "v0"), (pod, "eth0")):
        inside.ip("link", "set", name, "mtu", 1500)
    live.until(_of("appeared"), 3)

    pod.run(sys.executable, "-c", SEND_LARGE, PEER)
    _, event = live.until(lambda event: _of("changed")(event) and event["finding"]["stage"] == "active", 4)
    assert event["finding"]["severity"] == "warning"
    live.until(_of("appeared", "mtu.drop_fingerprint"), 4)

    archive = tmp_path / "evidence.tar.gz"
    recording = a.start(
        *NODETELL, "collect", str(archive), "--node", "a", "--cluster", "lab", "--no-kube", "--interval", "3"
    )
    time.sleep(1.5)
    pod.run(sys.executable, "-c", SEND_LARGE, PEER)
    _, errors = recording.communicate(timeout=30)
    assert recording.returncode == 0, errors
    assert _told(_json(a, "findings", "--insecure", "--aggregator", ADDRESS)) == _told(
        _json(None, "diagnose", str(archive))
    )

    for inside, name in ((a, "vx0"), (a, "v0"), (pod, "eth0")):
        inside.ip("link", "set", name, "mtu", 1450)
    live.until(_of("resolved"), 3)


def _json(inside: Namespace | None, *arguments: str) -> Event:
    """What a nodetell command says as JSON; in a namespace, or on another host: one that has none of its interfaces."""
    command = [*NODETELL, *arguments, "--format", "json"]
    process = inside.start(*command) if inside else subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=30)
    assert process.returncode in {0, 1, 2}
    found: Event = json.loads(output)
    return found


def _told(report: Event) -> list[tuple[str, ...]]:
    """What must agree: everything of a finding but its times and the counts that went on meanwhile; of what the lab
    has made, for the machine's own disks and clock are not its."""
    return [
        (f["id"], f["code"], f["stage"], f["severity"], *f["nodes"], *f["caused_by"], *f["remediation"])
        for f in report["findings"]
        if f["code"].startswith(("mtu.", "net."))
    ]
