"""etcd and others on a slow disk, for real, with sensor, agent and aggregator as processes.

What is asked of it: within 10 s of the first load, a finding that names process, device and mount.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.bpf.etcd import etcd
from tests.bpf.slow_disk import slow_disk

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(150)]
ROOT = Path(__file__).parents[2]
NODETELL = (sys.executable, "-m", "cli.main")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
DELAY_MS = 25.0
WRITER = """
import ctypes, os
ctypes.CDLL(None).prctl(15, b"journald-like", 0, 0, 0)  # PR_SET_NAME
while True:
    os.write(1, bytes(300))
    os.fdatasync(1)
"""


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[None]:
    """A nodetell process, ended gently."""
    process = subprocess.Popen(
        [*NODETELL, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def asked(*arguments: str) -> dict[str, Any]:
    """What a command prints; empty while nobody answers."""
    done = subprocess.run(
        [*NODETELL, *arguments, "--format", "json"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    with contextlib.suppress(json.JSONDecodeError):
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    return {}


@dataclass(frozen=True, slots=True)
class Live:
    """All three processes at work, beside a slow disk."""

    at: tuple[str, ...]
    disk: Path

    @property
    def device(self) -> str:
        """ "major:minor" of the disk."""
        device = os.stat(self.disk).st_dev
        return f"{os.major(device)}:{os.minor(device)}"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    needs.bpf()
    needs.fuse()
    needs.file_system("ext4")
    needs.mounts_of_pid_1()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    sensor = str(tmp_path / "sensor.sock")
    at = ("--insecure", "--aggregator", address)
    with (
        slow_disk(tmp_path, DELAY_MS) as disk,
        running("sensor", "--socket", sensor),
        running("aggregator", "--listen", address, "--insecure", "--state-directory", ""),
        running("agent", "--node", "slow", *at, "--collectors.sensor-socket", sensor),
    ):
        _wait_for_agent(at, sensor)
        yield Live(at, disk)


def test_etcd_on_a_slow_disk_is_named_with_device_and_mount(live: Live) -> None:
    needs.tool("etcd")
    with etcd(live.disk) as server:
        began = time.monotonic()
        load = threading.Thread(target=server.load, args=(15.0, 8))
        load.start()
        finding = _wait_for_finding(live.at, "cp.etcd_slow_fsync", str(live.disk))
        took = time.monotonic() - began
        load.join()
    _check(finding, "etcd", live, took)


def test_any_process_on_a_slow_disk_is_named_with_device_and_mount(live: Live) -> None:
    with (live.disk / "journal").open("wb", buffering=0) as journal:
        writer = subprocess.Popen([sys.executable, "-c", WRITER], stdout=journal)
        began = time.monotonic()
        try:
            finding = _wait_for_finding(live.at, "disk.slow_fsync", str(live.disk))
            took = time.monotonic() - began
        finally:
            writer.kill()
            writer.wait()
    _check(finding, "journald-like", live, took)


def _check(finding: dict[str, Any], process: str, live: Live, took: float) -> None:
    assert process in finding["summary"]
    assert live.device in finding["summary"]
    assert finding["nodes"] == ["slow"]
    assert took < 10.0, f"it took {took:.1f} s"


def _wait_for_agent(at: tuple[str, ...], sensor: str) -> None:
    until = time.monotonic() + 30
    while not (os.path.exists(sensor) and any(node["facts_at"] for node in asked("nodes", *at).get("nodes", []))):
        assert time.monotonic() < until, "the agent's facts did not arrive"
        time.sleep(0.2)
    time.sleep(3.0)  # until the agent has met the sensor


def _wait_for_finding(at: tuple[str, ...], code: str, mount: str) -> dict[str, Any]:
    until = time.monotonic() + 25
    while time.monotonic() < until:
        for finding in asked("findings", *at).get("findings", []):
            if finding["code"] == code and mount in finding["summary"]:
                found: dict[str, Any] = finding
                return found
        time.sleep(0.2)
    pytest.fail(f"no {code}: {asked('findings', *at)}\n{asked('node', 'slow', *at)}"[:3000])
