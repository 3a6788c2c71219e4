"""A real agent on a host whose clock is wrong, and a real aggregator that notices, until it is right again.

A clock of its own can't be had (a time namespace has none for the time of day): the agent's process is given another
time.time() before it loads anything, and that one can be set while it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
NODETELL = (sys.executable, "-m", "cli.main")
AGENT = """
import sys, time
place, *arguments = sys.argv[1:]
right = time.time
def shifted():
    with open(place) as file:
        return right() + float(file.read())
time.time = shifted
import agent.stream
agent.stream.CLOCK_INTERVAL_S = 1.0
from cli.main import main
sys.exit(main(arguments))
"""
AHEAD_S = -47.9


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """A process, ended gently."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=quiet, stderr=quiet)
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


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 40.0) -> Any:
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, what
        time.sleep(0.3)
    return found


def test_a_clock_that_is_wrong_is_named_and_resolved_when_it_is_set(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    at = ("--insecure", "--aggregator", address)
    clock = tmp_path / "clock"
    clock.write_text(str(AHEAD_S))
    other = tmp_path / "right"
    other.write_text("0")

    def skewed() -> list[dict[str, Any]]:
        return [each for each in asked("findings", *at).get("findings", []) if each["code"] == "node.clock_skew"]

    def measured(node: str) -> Any:
        return asked("node", node, *at).get("clock")

    with (
        running(*NODETELL, "aggregator", "--listen", address, "--insecure", "--state-directory", ""),
        running(sys.executable, "-c", AGENT, str(clock), "agent", "--node", "late", *at),
        running(sys.executable, "-c", AGENT, str(other), "agent", "--node", "right", *at),
    ):
        (finding,) = wait_for(skewed, "no finding names the clock")
        assert finding["nodes"] == ["late"]
        assert finding["stage"] == "risk"
        assert "48 s slow beside the aggregator's" in finding["summary"]
        late, right = measured("late"), wait_for(lambda: measured("right"), "the other one is not measured")
        assert abs(late["offset_s"] - AHEAD_S) <= late["bound_s"] + 0.001
        assert abs(right["offset_s"]) <= right["bound_s"] + 0.001
        assert max(late["bound_s"], right["bound_s"]) < 1.0
        clock.write_text("0")
        wait_for(lambda: not skewed(), "it stands although the clock has been set")
        assert abs(measured("late")["offset_s"]) < 1.0
