"""A neighbour on etcd's throttled disk, for real, with sensor, agent and aggregator as processes.

What is asked of it: within 30 s of the neighbour's first write the chain disk.noisy_neighbour -> cp.etcd_slow_fsync is
there and names the process; when the neighbour has stopped, both resolve.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.bpf.etcd import Etcd, etcd
from tests.bpf.slow_disk import slow_disk
from tests.e2e.test_slow_fsync import asked, running

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(150)]
SLOW, NOISY = "cp.etcd_slow_fsync", "disk.noisy_neighbour"
DELAY_MS, BYTES_PER_S = 1.0, 12e6
"""Of the disk: alone on it, etcd's log takes a few milliseconds."""
LIMIT_MS = 120
"""What counts as slow here: a machine that is busy with other tests has to stay below."""
WINDOW_S = 10
QUIET_S = 11.0
"""etcd alone, before the neighbour comes."""
NAMED_WITHIN_S, RESOLVED_WITHIN_S = 30.0, 40.0
NEIGHBOUR = """
import ctypes, os
ctypes.CDLL(None).prctl(15, b"nightly-backup", 0, 0, 0)  # PR_SET_NAME
while True:
    os.lseek(1, 0, 0)
    os.write(1, bytes(384 << 10))
    os.fdatasync(1)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """How to ask the aggregator, and the disk."""
    needs.bpf()
    needs.fuse()
    needs.file_system("ext4")
    needs.mounts_of_pid_1()
    needs.tool("etcd")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    sensor = str(tmp_path / "sensor.sock")
    at = ("--insecure", "--aggregator", address)
    limits = ("--thresholds.window-s", str(WINDOW_S), "--thresholds.fsync-warning-ms", str(LIMIT_MS))
    with (
        slow_disk(tmp_path, DELAY_MS, bytes_per_s=BYTES_PER_S) as disk,
        running("sensor", "--socket", sensor),
        running("aggregator", "--listen", address, "--insecure", "--state-directory", "", *limits),
        running("agent", "--node", "cp-1", *at, "--collectors.sensor-socket", sensor),
    ):
        until = time.monotonic() + 30
        while not (os.path.exists(sensor) and any(each["facts_at"] for each in asked("nodes", *at).get("nodes", []))):
            assert time.monotonic() < until, "the agent's facts did not arrive"
            time.sleep(0.2)
        yield at, disk


@contextlib.contextmanager
def load(server: Etcd) -> Iterator[None]:
    """Someone writes to etcd, now and then."""
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            server.load(0.001, 1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def neighbour(disk: Path) -> Iterator[None]:
    """Two writers of one name."""
    with contextlib.ExitStack() as undo:
        for number in range(2):
            file = undo.enter_context((disk / f"backup-{number}").open("wb", buffering=0))
            writer = subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdout=file)
            undo.callback(writer.wait)
            undo.callback(writer.kill)
        yield


def found(at: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Findings of the incident that stand, by code."""
    return {each["code"]: each for each in asked("findings", *at).get("findings", []) if each["code"] in (SLOW, NOISY)}


def test_the_neighbour_is_named_and_when_it_stops_all_is_well(place: tuple[tuple[str, ...], Path]) -> None:
    at, disk = place
    with etcd(disk) as server, load(server):
        time.sleep(QUIET_S)
        assert found(at) == {}, f"etcd alone is fast enough on this disk: {found(at)}"
        with neighbour(disk):
            begun = time.monotonic()
            chain: dict[str, dict[str, Any]] = {}
            while not (set(chain) == {SLOW, NOISY} and chain[NOISY]["id"] in chain[SLOW]["caused_by"]):
                assert time.monotonic() - begun < NAMED_WITHIN_S, f"{chain}\n{asked('node', 'cp-1', *at)}"[:3000]
                chain = found(at)
            took = time.monotonic() - begun
        assert took < NAMED_WITHIN_S
        assert "nightly-backup keeps etcd waiting" in chain[NOISY]["summary"]
        assert (chain[NOISY]["nodes"], chain[SLOW]["nodes"]) == (["cp-1"], ["cp-1"])
        stat = os.stat(disk).st_dev
        assert f"Device/cp-1/{os.major(stat)}:{os.minor(stat)}" in chain[NOISY]["objects"]
        begun = time.monotonic()
        while chain := found(at):
            assert time.monotonic() - begun < RESOLVED_WITHIN_S, f"still there: {chain}"
            time.sleep(0.5)
