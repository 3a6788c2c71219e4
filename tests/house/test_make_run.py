"""`make run` in a terminal: what an operator sees first, and how it ends."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CTRL_C = b"\x03"
SUMMARY_LIMIT_S = 45.0
STOP_LIMIT_S = 2.0


@dataclass
class Terminal:
    """A terminal with a make in it."""

    make: subprocess.Popen[bytes]
    fd: int
    seen: bytes = b""

    def read_until(self, wanted: bytes, limit_s: float) -> None:
        """Until `wanted` was printed, or the process ended, or the time is up."""
        deadline = time.monotonic() + limit_s
        while wanted not in self.seen and self.make.poll() is None and time.monotonic() < deadline:
            self._read()

    def wait(self, limit_s: float) -> int | None:
        """Exit status; None: it did not end in time."""
        deadline = time.monotonic() + limit_s
        while self.make.poll() is None and time.monotonic() < deadline:
            self._read()
        return self.make.poll()

    def _read(self) -> None:
        ready, _, _ = select.select([self.fd], [], [], 0.02)
        if ready:
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                time.sleep(0.01)


@pytest.fixture
def make_run() -> Iterator[Terminal]:
    """`make run` in a terminal of its own, as a shell would start it."""
    if not (ROOT / ".venv" / ".has-run").exists():
        pytest.skip("this checkout has no .venv made by make")
    ours, its = pty.openpty()
    unwanted = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "NO_COLOR"}
    make = subprocess.Popen(
        ["setsid", "--ctty", "make", "run", "ARGS=--listen 127.0.0.1:0"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in unwanted},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    terminal = Terminal(make, ours)
    yield terminal
    os.close(ours)  # hangs up: whatever is still in it gets a SIGHUP
    if make.poll() is None:
        make.kill()
    make.wait()


def test_it_shows_the_host_and_ends_with_ctrl_c(make_run: Terminal) -> None:
    make_run.read_until(b"interfaces", SUMMARY_LIMIT_S)
    make_run.read_until(b"not read, or not fully", 5.0)
    assert b"listening on 127.0.0.1:" in make_run.seen
    assert b"interfaces" in make_run.seen, make_run.seen.decode(errors="replace")
    time.sleep(0.5)
    os.write(make_run.fd, CTRL_C)
    assert make_run.wait(STOP_LIMIT_S) == 0, make_run.seen.decode(errors="replace")
