"""The command itself: help, mistakes, and an output that is closed, full, narrow, coloured or not."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import socket
import struct
import subprocess
import termios
import time
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Run, environment

COMMANDS = [
    "up",
    "agent",
    "aggregator",
    "sensor",
    "nodes",
    "node",
    "findings",
    "diagnose",
    "collect",
    "classify",
    "certs",
    "version",
]
FIXTURE = Path(__file__).parents[1] / "fixtures/hosts/vxlan-over-too-small-underlay"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "examples:\n  nodetell " in done.stdout
    assert "exit status:" in done.stdout
    assert "--format {text,json" in done.stdout


def test_help_names_each_command_and_imports_nothing_heavy() -> None:
    words = [COMMAND[0], "-X", "importtime", *COMMAND[1:], "--help"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=True)
    for command in COMMANDS:
        assert re.search(rf"\n +{command}\s", done.stdout)
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not modules & {"grpc", "google.protobuf", "lightkube", "psutil", "asyncio"}


def test_a_diagnosis_needs_no_grpc() -> None:
    words = [COMMAND[0], "-X", "importtime", *COMMAND[1:], "diagnose", str(FIXTURE)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not modules & {"grpc", "lightkube"}


def test_help_is_quick() -> None:
    best = min(_seconds("--help") for _ in range(5))
    assert best < 0.4  # 0.06 s on an idle machine


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([*COMMAND, *arguments], capture_output=True, env=environment(), check=True)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("no-such-command",),
        ("diagnose",),
        ("diagnose", "x", "--format", "xml"),
        ("findings", "--wat"),
        ("nodes", "--timeout", "-1"),
        ("collect", "x", "--snapshots", "0"),
        ("agent", "--no-such-setting", "1"),
    ],
)
def test_a_wrong_command_line_exits_with_64_and_says_where_help_is(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 64
    assert done.stdout == ""
    assert "--help tells more" in done.stderr


def test_version(run: Run) -> None:
    from nodetell import __version__

    assert run("version").stdout == f"nodetell {__version__}\n"
    assert json.loads(run("version", "--format", "json").stdout) == {"version": __version__}


# -- output --------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "diagnose", str(FIXTURE)], stdout=write, stderr=subprocess.PIPE, env=environment(), check=False
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("diagnose", str(FIXTURE), "--format", "json")])
def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 74
    assert done.stderr == b"nodetell: standard output: No space left on device\n"


def test_a_closed_output_is_one_line() -> None:
    words = f"exec {shlex.join(COMMAND)} version >&-"
    done = subprocess.run(["sh", "-c", words], stderr=subprocess.PIPE, env=environment(), check=False)
    assert done.returncode == 74
    assert done.stderr == b"nodetell: standard output: it is closed\n"


def test_a_closed_error_output_does_no_harm() -> None:
    words = f"exec {shlex.join(COMMAND)} nosuch 2>&-"
    assert subprocess.run(["sh", "-c", words], env=environment(), check=False).returncode == 64


def test_an_output_that_cannot_encode_gets_escapes(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "wg-🦊"
    (bundle / "nodes/node-a").mkdir(parents=True)
    done = run("diagnose", bundle, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0
    assert "wg-\\U0001f98a" in done.stdout


def _on_terminal(columns: int, **env: str) -> str:
    """What a diagnosis prints on a terminal of so many columns."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, True)
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, "diagnose", str(FIXTURE)], stdin=follower, stdout=follower, stderr=follower, env=environment(**env)
    )
    os.close(follower)
    text = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            break
        if not piece:
            break
        text += piece
    process.wait(timeout=30)
    os.close(leader)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_and_its_width() -> None:
    text = _on_terminal(60, TERM="xterm-256color")
    assert "\x1b[1;33mWARNING\x1b[0m" in text
    assert max(len(line) for line in text.splitlines() if "\x1b" not in line and "t0/" not in line) <= 60


@pytest.mark.parametrize("env", [{"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(env: dict[str, str]) -> None:
    text = _on_terminal(100, **env)
    assert "WARNING mtu.overlay_exceeds_underlay" in text
    assert "\x1b" not in text


# -- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["agent", "aggregator", "sensor"])
def test_settings_printed_are_settings_that_load(run: Run, tmp_path: Path, role: str) -> None:
    printed = run(role, "--print-config")
    assert printed.returncode == 0
    path = tmp_path / "role.toml"
    path.write_text(printed.stdout)
    alone = ("--insecure",) if role != "sensor" else ()
    done = run(role, "--config", path, "--check-config", *alone)
    assert (done.returncode, done.stdout) == (0, f"{path}: ok\n")
    assert run(role, "--config", path, "--print-config").stdout == printed.stdout
    as_json = json.loads(run(role, "--print-config", "--format", "json").stdout)
    assert as_json == json.loads(json.dumps(tomllib.loads(printed.stdout)))


@pytest.mark.parametrize(
    ("role", "what"), [("agent", "tls.ca is not set"), ("aggregator", "tls.certificate and tls.key")]
)
def test_without_tls_and_without_the_word_for_it_no_role_starts(run: Run, role: str, what: str) -> None:
    checked = run(role, "--check-config")
    assert (checked.returncode, checked.stdout) == (78, "")
    assert checked.stderr.startswith(f"nodetell: settings: {what}")
    as_json = run(role, "--check-config", "--format", "json")
    assert as_json.returncode == 78
    (problem,) = json.loads(as_json.stdout)["problems"]
    assert problem.startswith(what)
    started = run(role)
    assert started.returncode == 78
    assert "event=settings_refused" in started.stderr
    assert what in started.stderr


def test_all_that_is_wrong_with_the_settings_is_said_at_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("nod = 1\n[stream]\nbatch_interval_s = 0\n")
    done = run("agent", "--config", path, "--check-config", "--log-level", "loud", NODETELL_AGENT_NO="x")
    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f'nodetell: {path}:1: unknown key "nod"; did you mean "node"?',
        f"nodetell: {path}:3: stream.batch_interval_s: 0.0 is below the minimum of 0.2 seconds",
        "nodetell: environment variable NODETELL_AGENT_NO: there is no such setting; did you mean NODETELL_AGENT_NODE?",
        'nodetell: flag --log-level: "loud" is none of debug, info, warning, error',
    ]
    as_json = run("agent", "--config", path, "--check-config", "--format", "json")
    assert as_json.returncode == 78
    assert len(json.loads(as_json.stdout)["problems"]) == 2


def test_a_role_does_not_start_with_wrong_settings(run: Run) -> None:
    done = run("aggregator", "--listen", "nowhere")
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1


# -- without an aggregator -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("nodes",), ("node", "x"), ("findings",), ("findings", "--watch")])
def test_an_aggregator_that_is_not_there(run: Run, arguments: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(*arguments, "--insecure", NODETELL_AGGREGATOR=address)
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr == (
        f"nodetell: aggregator {address}: Connection refused; "
        "is it running, and is this its address? (--aggregator, NODETELL_AGGREGATOR)\n"
    )


def test_an_aggregator_that_does_not_answer(run: Run) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = run("nodes", "--insecure", "--aggregator", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.5")
    assert done.returncode == 69
    assert "no answer in time" in done.stderr


def test_an_interrupt_exits_with_130() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        words = [
            *COMMAND,
            "nodes",
            "--insecure",
            "--aggregator",
            f"127.0.0.1:{silent.getsockname()[1]}",
            "--timeout",
            "30",
        ]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, env=environment())
        silent.settimeout(20)
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert stderr == b""
