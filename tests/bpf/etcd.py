"""A real etcd for tests: started on a disk, put under load, and asked for its own histogram of WAL syncs."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METRIC = "etcd_disk_wal_fsync_duration_seconds"
_BUCKET = re.compile(rf'^{METRIC}_bucket{{le="([^"]+)"}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Syncs:
    """etcd's own histogram."""

    bounds_ms: list[float]
    counts: list[int]
    """Disjoint, one more than bounds."""

    @property
    def total(self) -> int:
        return sum(self.counts)

    def since(self, before: Syncs) -> Syncs:
        """What was added."""
        return Syncs(self.bounds_ms, [now - then for then, now in zip(before.counts, self.counts, strict=True)])


@dataclass(frozen=True, slots=True)
class Etcd:
    """A running one."""

    port: int
    pid: int

    def load(self, seconds: float, writers: int) -> None:
        """Put small values from so many connections."""
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=self._put, args=(until, number)) for number in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def syncs(self) -> Syncs:
        """Its histogram now."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = _BUCKET.findall(text)
        cumulative = [int(float(count)) for _, count in found]
        counts = [now - before for before, now in zip([0, *cumulative], cumulative, strict=False)]
        return Syncs([float(bound) * 1000 for bound, _ in found[:-1]], counts)

    def _put(self, until: float, number: int) -> None:
        value = base64.b64encode(os.urandom(256)).decode()
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            while time.monotonic() < until:
                key = base64.b64encode(b"key %d" % number).decode()
                connection.request("POST", "/v3/kv/put", json.dumps({"key": key, "value": value}))
                connection.getresponse().read()


@contextlib.contextmanager
def etcd(directory: Path) -> Iterator[Etcd]:
    """Run one with its data in `directory`."""
    port, peers = _free_port(), _free_port()
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    words = ["etcd", "--name", "n", "--data-dir", str(directory / "etcd"), "--logger", "zap", "--log-outputs", "stderr"]
    words += ["--listen-client-urls", client, "--advertise-client-urls", client, "--initial-cluster", f"n={peer}"]
    words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--heartbeat-interval", "250"]
    words += ["--election-timeout", "2500"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_serves(port, process)
        yield Etcd(port, process.pid)
    finally:
        process.kill()
        process.wait(20)


def _wait_until_it_serves(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "etcd ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/health")
            healthy = b"true" in connection.getresponse().read()
            if healthy:
                return
        time.sleep(0.1)
    raise AssertionError("etcd does not serve")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
