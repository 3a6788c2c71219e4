"""`nodetell up`: an aggregator and an agent of this very host, for real, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, environment

STOP_S = 2.0


class Up:
    """A running `nodetell up --format json`."""

    def __init__(self, tmp_path: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--format", "json", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(HOME=str(tmp_path)),
            start_new_session=True,
        )
        self.events: list[dict[str, object]] = []

    def until(self, name: str) -> dict[str, object]:
        """The next event of this name."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            event: dict[str, object] = json.loads(line)
            self.events.append(event)
            if event["event"] == name:
                return event
        raise AssertionError(f"ended before {name}: {self.process.communicate()}")

    def children(self) -> list[int]:
        """Process ids of the aggregator and the agent."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in task.read_text().split()]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path, "--listen", "127.0.0.1:0")
    yield running
    running.close()


def gone(pid: int, within_s: float = 5.0) -> bool:
    """The process ends (or is a zombie of somebody else's) within that time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_shows_this_host_and_stops_at_once(up: Up) -> None:
    listening = up.until("listening")
    host = up.until("host")["host"]
    assert isinstance(host, dict)
    facts = {item["fact"] for item in host["items"]}
    assert {"link", "host", "usage", "coverage"} <= facts
    assert any(item["fact"] == "link" and item["loopback"] for item in host["items"])
    up.until("synced")
    page = str(listening["page"])
    assert page.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(page, timeout=20) as answer:  # noqa: S310  # it begins with http
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    with urllib.request.urlopen(f"{page}api/v1/nodes", timeout=20) as answer:  # noqa: S310  # likewise
        assert [node["connected"] for node in json.loads(answer.read())["nodes"]] == [True]
    children = up.children()
    assert len(children) == 2
    began = time.monotonic()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=10) == 0
    assert time.monotonic() - began < STOP_S
    assert all(gone(pid, 0.1) for pid in children)
    host_port = str(listening["address"]).rpartition(":")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host_port[0], int(host_port[2])))


def test_sigterm_ends_it_as_well(up: Up) -> None:
    up.until("listening")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(timeout=10) == 0


def test_nothing_is_left_of_it_when_it_is_killed(up: Up) -> None:
    up.until("host")
    children = up.children()
    up.process.kill()
    up.process.wait(timeout=10)
    assert all(gone(pid) for pid in children)


@pytest.mark.parametrize(("index", "role"), [(0, "aggregator"), (1, "agent")])
def test_a_part_that_dies_ends_the_whole_and_is_named(up: Up, index: int, role: str) -> None:
    up.until("host")
    children = up.children()
    os.kill(sorted(children)[index], signal.SIGKILL)
    _, stderr = up.process.communicate(timeout=10)
    assert up.process.returncode == 1
    assert f"nodetell: the {role} was ended by SIGKILL; its last lines:" in stderr
    assert all(gone(pid) for pid in children)


def test_a_part_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("nod = 1\n")
    up = Up(tmp_path, "--listen", "127.0.0.1:0", "--agent-config", str(config))
    stdout, stderr = up.process.communicate(timeout=30)
    assert up.process.returncode == 1, stdout
    assert f'{config}:1: unknown key "nod"' in stderr


def test_a_port_that_is_taken_is_said_with_the_flag_that_chooses_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        up = Up(tmp_path, "--listen", address)
        _, stderr = up.process.communicate(timeout=30)
    assert up.process.returncode == 69
    assert stderr.startswith(f"nodetell: {address}: address already in use; ")
    assert "--listen" in stderr


def test_a_reader_that_goes_away_ends_it_quietly(up: Up) -> None:
    up.until("listening")
    children = up.children()
    assert up.process.stdout is not None
    up.process.stdout.close()
    assert up.process.wait(timeout=30) == 141
    assert up.process.stderr is not None
    assert up.process.stderr.read() == ""
    assert all(gone(pid) for pid in children)


def test_history_is_kept_where_it_was_asked_for(tmp_path: Path) -> None:
    up = Up(tmp_path, "--listen", "127.0.0.1:0", "--state-directory", str(tmp_path / "state"))
    up.until("synced")
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=10) == 0
    assert any((tmp_path / "state").iterdir())
    up.close()


def test_ctrl_c_on_a_terminal_lets_make_succeed(tmp_path: Path) -> None:
    """make dies of the SIGINT that a terminal sends to its whole foreground group, unless the command takes it."""
    if shutil.which("make") is None:
        pytest.skip("needs: make")
    words = f"{shlex.join(COMMAND)} up --own-terminal --listen 127.0.0.1:0"
    (tmp_path / "Makefile").write_text(f"run:\n\t@{words}\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe("make", ["make", "--no-print-directory", "run"], environment(HOME=str(tmp_path), TERM="xterm"))  # noqa: S606  # a child of pty.fork
    try:
        text = _read_until(terminal, "What limits|not read, or not fully|drops and errors", 30)
        began = time.monotonic()
        os.write(terminal, b"\x03")
        text += _read_until(terminal, "", STOP_S + 1)
        _, status = os.waitpid(pid, 0)
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert time.monotonic() - began < STOP_S
    assert "stopped" in text
    assert "***" not in text


def _read_until(terminal: int, words: str, within_s: float) -> str:
    """What comes until one of the words stands in it, or all of it if there are none."""
    text, until = "", time.monotonic() + within_s
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody has the other end open any more
            return text
        text += piece
        if words and any(word in text for word in words.split("|")):
            return text
    return text


def test_a_free_port_is_taken_where_the_usual_one_is_not(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # somebody else has it: just as well
            taken.bind(("127.0.0.1", 7443))
            taken.listen()
        up = Up(tmp_path)
        assert up.until("port_taken")
        assert not str(up.until("listening")["address"]).endswith(":7443")
        up.close()


def test_a_role_by_itself_says_when_it_is_ready_and_logs_json(tmp_path: Path) -> None:
    words = [
        *COMMAND,
        "aggregator",
        "--listen",
        "127.0.0.1:0",
        "--insecure",
        "--state-directory",
        "",
        "--format",
        "json",
    ]
    pipe, env = subprocess.PIPE, environment(HOME=str(tmp_path))
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=env) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["listen"].startswith("127.0.0.1:")
        process.terminate()
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert {"at", "level", "role", "event"} <= set(lines[0])
    assert lines[-1]["event"] == "stopped"


def test_a_child_whose_parent_is_gone_does_not_start(tmp_path: Path) -> None:
    words = [*COMMAND, "agent", "--die-with", "1"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(HOME=str(tmp_path)), check=False)
    assert done.returncode == 69
    assert "is gone" in done.stderr
