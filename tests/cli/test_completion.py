"""Completion by the shells themselves: commands, flags, files, and names that an aggregator tells."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from cli.completion import script
from cli.exits import UNAVAILABLE, CliError
from tests.cli.conftest import COMMAND, Run, environment
from tests.needs import tool

EVIL = "$(touch PWNED)`touch PWNED`"


class Names(operator_pb2_grpc.OperatorServiceServicer):
    """An aggregator whose nodes have names of all kinds."""

    def ListNodes(self, request: object, context: object) -> operator_pb2.ListNodesResponse:  # noqa: ARG002, N802
        names = ["worker-1", "worker-2", "etcd-0", EVIL, "-rf", "worker-3;reboot"]
        nodes = [operator_pb2.NodeSummary(node=name, zone="eu-west-1a") for name in names]
        return operator_pb2.ListNodesResponse(nodes=nodes)

    def ListFindings(self, request: object, context: object) -> operator_pb2.ListFindingsResponse:  # noqa: ARG002, N802
        ids = ("mtu-1a2b", "mtu-1c2d", "fsync-3e4f")
        return operator_pb2.ListFindingsResponse(findings=[operator_pb2.Finding(id=each) for each in ids])


@dataclass(frozen=True)
class Shell:
    """A directory with a nodetell command, the scripts beside it, and an aggregator to ask."""

    directory: Path
    address: str

    @property
    def env(self) -> dict[str, str]:
        found = environment(TERM="dumb", HOME=str(self.directory), NODETELL_AGGREGATOR=self.address)
        return found | {"PATH": f"{self.directory / 'bin'}{os.pathsep}{found['PATH']}"}

    def run(self, words: list[str]) -> list[str]:
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.env, cwd=self.directory, timeout=50, check=False
        )
        return [line for line in done.stdout.splitlines() if line]

    def bash(self, line: str) -> list[str]:
        """What bash would offer at the end of a line."""
        words = line.split(" ")
        script = (
            f"source nodetell.bash; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
            f"COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; _shtab_nodetell; "
            "printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        return self.run(["bash", "--norc", "-c", script])

    def fish(self, line: str) -> list[str]:
        """The same of fish; what it describes an offer with is left out."""
        script = f"source nodetell.fish; complete -C {shlex.quote(line)}"
        return [each.split("\t")[0] for each in self.run(["fish", "--no-config", "-c", script])]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    directory = tmp_path_factory.mktemp("shell")
    (directory / "bin").mkdir()
    command = directory / "bin/nodetell"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    command.chmod(0o755)
    for name in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [*COMMAND, "completion", name], capture_output=True, text=True, env=environment(), check=True
        )
        (directory / f"nodetell.{name}").write_text(done.stdout)
    (directory / "evidence.tar.gz").touch()
    server = grpc.server(ThreadPoolExecutor(2))
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(Names(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Shell(directory, f"127.0.0.1:{port}")
    server.stop(None).wait()


def test_bash_completes_commands_flags_values_and_files(shell: Shell) -> None:
    assert shell.bash("nodetell no") == ["nodes", "node"]
    assert shell.bash("nodetell findings --wa") == ["--watch"]
    assert shell.bash("nodetell nodes --format y") == ["yaml"]
    assert shell.bash("nodetell certs is") == ["issue"]
    assert shell.bash("nodetell diagnose evi") == ["evidence.tar.gz"]
    assert shell.bash("nodetell agent --stream.batch") == ["--stream.batch-interval-s"]


def test_bash_completes_names_that_an_aggregator_tells(shell: Shell) -> None:
    assert shell.bash("nodetell node --insecure wor") == ["worker-1", "worker-2"]
    assert shell.bash("nodetell explain --insecure mtu") == ["mtu-1a2b", "mtu-1c2d"]
    assert shell.bash("nodetell whatif --insecure --lose-zone eu") == ["eu-west-1a"]
    assert shell.bash(f"nodetell whatif --insecure --aggregator {shell.address} --lose-node e") == ["etcd-0"]


def test_names_that_a_shell_could_take_for_more_are_never_offered(shell: Shell) -> None:
    assert shell.bash("nodetell node --insecure ") == ["etcd-0", "worker-1", "worker-2"]
    assert not (shell.directory / "PWNED").exists()


def test_bash_is_not_kept_waiting_and_says_nothing_where_nobody_answers(shell: Shell) -> None:
    assert shell.bash("nodetell node wor") == []  # it does not say how to reach one
    assert shell.bash("nodetell node --insecure --aggregator 127.0.0.1:1 --ca 'unfinished wor") == []


def test_fish_completes_the_same(shell: Shell) -> None:
    tool("fish")
    assert sorted(shell.fish("nodetell no")) == ["node", "nodes"]
    assert "yaml" in shell.fish("nodetell nodes --format ")
    assert shell.fish("nodetell node --insecure wor") == ["worker-1", "worker-2"]


def test_zsh_completes_the_same(shell: Shell) -> None:
    tool("zsh")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=follower, stdout=follower, stderr=follower, env=shell.env, cwd=shell.directory
    )
    os.close(follower)
    try:
        os.write(leader, b"unsetopt zle_bracketed_paste prompt_sp; PS1='> '; autoload -U compinit; compinit -u -D; ")
        os.write(leader, b"source ./nodetell.zsh; compdef _shtab_nodetell nodetell; echo rea''dy\n")
        _until(leader, b"ready")
        os.write(leader, b"nodetell versi\t")
        _until(leader, b"version")
        os.write(leader, b"\x15nodetell node --insecure etc\t")
        _until(leader, b"etcd-0")
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def _until(leader: int, wanted: bytes) -> None:
    """Read until it is there; a shell that never says it fails the test by the end of the time."""
    text, end = b"", time.monotonic() + 40
    os.set_blocking(leader, False)
    while wanted not in text:
        assert time.monotonic() < end, text
        try:
            text += os.read(leader, 65536)
        except BlockingIOError:
            time.sleep(0.02)


def test_without_shtab_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(CliError, match="needs the package shtab") as caught:
        script("bash")
    assert caught.value.status == UNAVAILABLE


def test_an_unknown_shell_is_told_which_there_are(run: Run) -> None:
    done = run("completion", "tcsh")
    assert done.returncode == 64
    assert "bash" in done.stderr
