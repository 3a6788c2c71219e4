"""An agent to which nothing is given, and what each thing given adds: the tiers of docs/privileges.md, for real.

A host is made of namespaces: a network, a pid and a mount namespace of its own, with an aggregator in it. The agent
runs in a container of that host: user 65534, no capability, no_new_privs, a /proc and a /sys of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.netns import Namespace, join, namespaces
from tests.trust import Authority

pytestmark = pytest.mark.needs_root

ROOT = Path(__file__).resolve().parents[2]
AGGREGATOR = "192.0.2.1:7443"
HOST_MTU, POD_MTU = 1432, 1388
UNPRIVILEGED = "--reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
HOST = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/proc /run/sys
mount -t sysfs sysfs /sys
if [ "$MOUNTED" = yes ]; then
    mount --bind /proc /run/proc && mount -o remount,bind,ro /run/proc
    mount --bind /sys /run/sys && mount -o remount,bind,ro /run/sys
    set -- "$@" --host.proc /run/proc --host.sys /run/sys
fi
$ENTER unshare --pid --fork --kill-child --mount --mount-proc sh -c 'mount -t sysfs sysfs /sys; exec "$@"' sh \
    setpriv $DROP -- "$@" &
wait
"""
"""The host's pid 1. With $MOUNTED its /proc and /sys are seen in the container, read-only and elsewhere, as a hostPath
is; with $ENTER empty the container shares the host's network. All of it is in a mount namespace of its own."""


@dataclass
class Tier:
    """What an agent of one tier reports."""

    coverage: dict[str, dict[str, Any]]
    items: list[dict[str, Any]]

    def status(self, *signals: str) -> set[str]:
        """Words for these signals."""
        return {self.coverage[signal]["status"] for signal in signals}

    def wanted(self, signal: str) -> dict[str, int]:
        """What would make a signal better, with the tier of each."""
        return {each["needs"]: each["tier"] for each in self.coverage[signal]["enable"]}

    def mtus(self) -> dict[str, int]:
        """Of the interfaces it tells of."""
        return {item["name"]: item["mtu"] for item in self.items if item["fact"] == "link"}

    def grants(self) -> set[str]:
        """What it says it was given."""
        return next(set(item["grants"]) for item in self.items if item["fact"] == "agent")


def _usable() -> None:
    needs.root_netns()
    for tool in ("setpriv", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs: {tool} of util-linux")
    drop = ["setpriv", *UNPRIVILEGED.split(), "--"]
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--mount-proc", *drop, sys.executable, "-c", "import cli.main"],
        cwd=ROOT,
        env=_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["no reason told"])[-1]
        pytest.skip(f"needs: an interpreter that user 65534 may run in new namespaces: {reason}")


def _env(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "PYTHONDONTWRITEBYTECODE": "1", **more}


@pytest.fixture(scope="module")
def ca() -> Iterator[Authority]:
    """Of whom user 65534 may read everything."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Authority(Path(directory))


@pytest.fixture(scope="module")
def networks(ca: Authority) -> Iterator[tuple[Namespace, Namespace, Authority]]:
    """A host with a bridge, and a pod on it; whose certificates its aggregator takes."""
    _usable()
    with namespaces(2) as (host, pod):
        host.ip("link", "add", "br0", "type", "bridge")
        join(host, "h0", pod, "eth0", mtu=HOST_MTU)
        pod.ip("link", "set", "eth0", "mtu", POD_MTU)
        for inside, name, address in ((host, "h0", "192.0.2.1/24"), (pod, "eth0", "192.0.2.2/24")):
            inside.ip("addr", "add", address, "dev", name)
        host.ip("route", "add", "default", "via", "192.0.2.2", "mtu", 1300)
        listen = ["--listen", AGGREGATOR, "--state-directory", "", *ca.aggregator_flags("192.0.2.1")]
        with _ended(host.start(sys.executable, "-m", "cli.main", "aggregator", *listen)):
            yield host, pod, ca


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.communicate(timeout=10)


def _observed(host: Namespace, pod: Namespace, ca: Authority, tier: int) -> Tier:
    """Run an agent of this tier until its first facts are there."""
    node = f"tier-{tier}"
    agent = [sys.executable, "-m", "cli.main", "agent", "--node", node, "--aggregator", AGGREGATOR]
    agent += ca.agent_flags(node)
    inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", HOST, "sh", *agent]
    with Path(f"/run/netns/{pod.name}").open() as network:
        number = network.fileno()
        enter = "" if tier == 2 else f"nsenter --net=/proc/self/fd/{number}"
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{host.name}", *inside],
            cwd=ROOT,
            env=_env(MOUNTED="yes" if tier else "no", ENTER=enter, DROP=UNPRIVILEGED),
            pass_fds=(number,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    with _ended(process):
        deadline = time.monotonic() + 25
        while True:
            facts = _asked(host, ca, "node", node)
            if facts and facts["items"]:
                break
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline, "the agent's facts did not arrive within 25 s"
            time.sleep(0.3)
        coverage = _asked(host, ca, "node", node, "--coverage")
    return Tier({each["signal"]: each for each in coverage["signals"]}, facts["items"])


def _asked(host: Namespace, ca: Authority, *arguments: str) -> dict[str, Any]:
    """What the aggregator answers; empty: it does not know."""
    command = [sys.executable, "-m", "cli.main", *arguments, "--format", "json", "--aggregator", AGGREGATOR]
    process = host.start(*command, *ca.operator_flags())
    output, _ = process.communicate(timeout=20)
    answer: dict[str, Any] = json.loads(output) if process.returncode == 0 else {}
    return answer


NOTHING_NEEDED = ("host", "disks", "disk_attributes", "usage", "clock")
BEYOND_TIER_2 = ("fsync", "drops", "retransmits")


def _same_in_all_tiers(tier: Tier) -> None:
    assert tier.status(*NOTHING_NEEDED) <= {"measured", "degraded"}
    assert any(item["fact"] == "disk" for item in tier.items)
    assert any(item["fact"] == "host" for item in tier.items)
    if Path("/proc/pressure/io").exists():
        assert tier.status("pressure") == {"measured"}
    assert tier.status(*BEYOND_TIER_2, "kernel_log") <= {"unavailable", "denied"}
    for signal in BEYOND_TIER_2:
        assert tier.wanted(signal)["sensor"] == 3
        assert "sensor" in tier.coverage[signal]["because"][0]["reason"]
    assert not tier.grants() & {"sensor", "kernel_log", "kubelet", "probe_directory"}


def test_tier_0_has_the_devices_and_names_the_rest(networks: tuple[Namespace, Namespace, Authority]) -> None:
    tier = _observed(*networks, 0)
    _same_in_all_tiers(tier)
    assert tier.mtus()["eth0"] == POD_MTU
    assert not {"h0", "br0"} & set(tier.mtus())
    assert not tier.grants() & {"host_proc", "host_sys", "host_network"}
    for signal in ("links", "link_counters", "routes", "protocols", "volumes"):
        assert tier.status(signal) == {"degraded"}, signal
        assert "container" in " ".join(each["reason"] for each in tier.coverage[signal]["because"])
    assert tier.wanted("links") == {"host_network": 2}
    assert tier.wanted("volumes") == {"host_proc": 1}
    lines = tier.coverage["volumes"]["enable"][0]["lines"]
    assert lines["volumes"] == ["- name: proc", "  hostPath: {path: /proc, type: Directory}"]


def test_tier_1_sees_the_host_by_its_files(networks: tuple[Namespace, Namespace, Authority]) -> None:
    tier = _observed(*networks, 1)
    _same_in_all_tiers(tier)
    assert tier.mtus()["h0"] == HOST_MTU
    assert "eth0" not in tier.mtus()
    assert tier.grants() >= {"host_proc", "host_sys"}
    assert "host_network" not in tier.grants()
    assert tier.coverage["links"]["source"] == "sysfs"
    assert tier.status("links") == {"degraded"}
    assert tier.status("protocols", "volumes", "link_counters") <= {"measured", "degraded"}
    assert tier.coverage["volumes"]["source"] == "/proc/1/mountinfo"
    assert tier.status("routes", "conntrack") <= {"unavailable", "denied"}
    for signal in ("links", "routes", "conntrack"):
        assert tier.wanted(signal) == {"host_network": 2}
        assert "hostNetwork: true" in tier.coverage[signal]["enable"][0]["lines"]["spec"]


def test_tier_2_sees_kinds_and_routes(networks: tuple[Namespace, Namespace, Authority]) -> None:
    tier = _observed(*networks, 2)
    _same_in_all_tiers(tier)
    assert tier.mtus()["h0"] == HOST_MTU
    assert {item["name"]: item["kind"] for item in tier.items if item["fact"] == "link"}["br0"] == "bridge"
    assert [item["mtu"] for item in tier.items if item["fact"] == "route" and item["gateway"] == "192.0.2.2"] == [1300]
    assert tier.grants() >= {"host_proc", "host_sys", "host_network"}
    assert tier.status("links", "link_counters", "routes", "protocols") == {"measured"}
    assert tier.coverage["links"]["source"] == "rtnetlink"
