"""The live view on real terminals: what it draws, what it leaves behind however it ends, and where there is none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, environment
from tests.cli.test_top import Busy, serve

LEFT = b"\x1b[?1049l"
"""The screen that was there before is shown again (xterm's rmcup)."""
VISIBLE = b"\x1b[?25h"
"""So is the cursor."""
COLOURED = re.compile(rb"\x1b\[[0-9;]*\b(3[0-7]|4[0-7]|[349]8;|9[0-7])[0-9;]*m")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    operators = Busy()
    server, where = serve(operators)
    yield where
    operators.hold.set()
    server.stop(None).wait()


class Terminal:
    """A terminal of 80 by 24 with the view on it."""

    def __init__(self, address: str, **env: str) -> None:
        self.leader, self.follower = pty.openpty()
        fcntl.ioctl(self.leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.follower)
        # Tests that run below nohup(1) hand down that SIGHUP is ignored.
        words = ["env", "--default-signal=HUP", *COMMAND, "top", "--insecure", "--aggregator", address]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self.follower)
        self.process = subprocess.Popen(
            words, **streams, env=environment(TERM="xterm-256color") | env, start_new_session=True
        )  # type: ignore[call-overload]  # by name, for brevity
        self.text = b""

    def until(self, wanted: bytes) -> None:
        """Read until it was drawn; what never is fails the test by the end of the time."""
        end = time.monotonic() + 45
        while wanted not in self.text:
            assert time.monotonic() < end, self.text[-2000:]
            self._read()

    def ended(self) -> int:
        """The status with which it ended, all it drew read."""
        end = time.monotonic() + 45
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text[-2000:]
            self._read()
        while select.select([self.leader], [], [], 0)[0] and self._read():
            pass
        return int(self.process.returncode)

    def watch(self, seconds: float) -> None:
        """Read for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read()

    def type(self, keys: bytes) -> None:
        os.write(self.leader, keys)

    def _read(self) -> bool:
        if not select.select([self.leader], [], [], 0.05)[0]:
            return True
        try:
            more = os.read(self.leader, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.text += more
        return bool(more)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.leader, self.follower):
            with contextlib.suppress(OSError):
                os.close(end)


@contextlib.contextmanager
def terminal(address: str, **env: str) -> Iterator[Terminal]:
    made = Terminal(address, **env)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("end", "status"),
    [(b"q", 0), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_however_it_ends_the_terminal_is_as_it_was(address: str, end: bytes | signal.Signals, status: int) -> None:
    with terminal(address) as shown:
        shown.until(b"mtu.overlay_exceeds_underlay")
        shown.until(b"q quit")
        if isinstance(end, bytes):
            shown.type(end)
        else:
            shown.process.send_signal(end)
        assert shown.ended() == status
        assert LEFT in shown.text
        assert VISIBLE in shown.text[shown.text.index(LEFT) :]
        assert termios.tcgetattr(shown.follower) == shown.before
        assert b"Traceback" not in shown.text


def test_a_terminal_that_is_gone_ends_it() -> None:
    operators = Busy()
    server, where = serve(operators)
    with terminal(where) as shown:
        shown.until(b"q quit")
        os.close(shown.follower)
        os.close(shown.leader)  # as when the connection to the jump host breaks
        shown.process.send_signal(signal.SIGHUP)  # the kernel sends it to those whose controlling terminal it is
        assert shown.process.wait(45) != 0
    operators.hold.set()
    server.stop(None).wait()


def test_colours_are_the_terminals_own_and_none_with_no_color(address: str) -> None:
    for env, coloured in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        with terminal(address, **env) as shown:
            shown.until(b"WARNING")
            shown.until(b"q quit")
            shown.type(b"q")
            assert shown.ended() == 0
            assert bool(COLOURED.search(shown.text)) == coloured
            assert b"38;2;" not in shown.text


def test_a_node_that_calls_itself_an_escape_sequence_draws_nothing_of_it(address: str) -> None:
    with terminal(address) as shown:
        shown.until(b"node-0001 ")
        shown.type(b"\r")
        shown.until(b"interfaces")
        shown.until(b"wg\\x1b]0;x")
        shown.type(b"\x03")
        assert shown.ended() == 0
        assert b"\x1b]0;" not in shown.text


def test_without_textual_it_is_said_how_to_get_it(address: str, tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError('No module named textual', name='textual')\n")
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    with terminal(address, PYTHONPATH=path) as shown:
        assert shown.ended() == 69
    told = b"nodetell: top: the package textual is not installed: pip install 'nodetell[top]' installs it"
    assert told in shown.text.replace(b"\r\n", b" ")


# -- where there is no terminal --------------------------------------------------------------------------------------


def test_into_a_pipe_goes_one_frame_without_textual(run: Run, address: str, tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError(name='textual')\n")
    path = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    done = run("top", "--insecure", "--aggregator", address, "--sort-by", "node:desc", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    rows = done.stdout.partition("\nnodes\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == ["NODE", "node-a", "node-0002", "node-0001", "node-0000"]


def test_an_aggregator_that_is_not_there_is_told_before_the_screen_is_taken() -> None:
    with terminal("127.0.0.1:1") as shown:
        assert shown.ended() == 69
        assert b"nodetell: aggregator 127.0.0.1:1: Connection refused" in shown.text
        assert b"\x1b[?1049h" not in shown.text


def test_a_wrong_column_is_a_wrong_command_line(run: Run) -> None:
    done = run("top", "--insecure", "--sort-by", "nosuch")
    assert done.returncode == 64
    assert done.stderr.startswith('nodetell: --sort-by: there is no column "nosuch" (there are: NODE, FINDINGS,')
