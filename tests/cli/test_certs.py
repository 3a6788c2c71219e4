"""`nodetell certs`: what it writes, with which rights, what it refuses, and that a real aggregator takes it."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.authority import Role, certificates_in, describe, issue, load_authority, new_authority
from cli.main import main
from tests.entrance import Entrance, entrance
from tests.trust import Authority, Files


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in this process: starting one for each certificate would take most of the time."""
    monkeypatch.setattr("cli.main._abandon_output", lambda: None)  # it is the tests' own

    def runs(*words: str) -> Done:
        capsys.readouterr()
        try:
            status = main(list(words))
        except SystemExit as error:
            status = int(error.code or 0)
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    return runs


def made(run: Run, *words: str | Path) -> list[dict[str, Any]]:
    """What a part of the command says that it made."""
    done = run("certs", *map(str, words), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)["certificates"]
    return found


def refused(run: Run, status: int, *words: str | Path) -> str:
    """Why nothing is made."""
    done = run("certs", *map(str, words))
    assert (done.returncode, done.stdout) == (status, "")
    return done.stderr


@pytest.fixture
def ca(run: Run, tmp_path: Path) -> Path:
    """A directory with an authority."""
    made(run, "init", tmp_path / "ca")
    return tmp_path / "ca"


def test_an_authority_is_made_once_and_its_key_is_nobody_else_s(run: Run, ca: Path) -> None:
    assert sorted(path.name for path in ca.iterdir()) == ["ca.crt", "ca.key"]
    assert stat.S_IMODE(ca.stat().st_mode) == 0o700
    assert stat.S_IMODE((ca / "ca.key").stat().st_mode) == 0o600
    before = (ca / "ca.crt").read_bytes()
    assert "is there already; --force writes over it" in refused(run, 73, "init", ca)
    assert (ca / "ca.crt").read_bytes() == before
    made(run, "init", ca, "--force", "--name", "acme", "--days", "30")
    assert (ca / "ca.crt").read_bytes() != before
    (found,) = certificates_in((ca / "ca.crt").read_bytes())
    assert describe(found).subject == "CN=acme,O=nodetell"
    assert stat.S_IMODE((ca / "ca.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "file", "says"),
    [
        (
            ("--role", "aggregator", "--name", "nodetell.example.org", "--name", "192.0.2.1", "--name", "2001:db8::1"),
            "aggregator",
            {"role": "aggregator", "names": ["nodetell.example.org", "192.0.2.1", "2001:db8::1"]},
        ),
        (("--role", "agent", "--node", "worker-1.example.org"), "agent-worker-1.example.org", {"role": "agent"}),
        (("--role", "operator", "--name", "ada"), "operator-ada", {"role": "operator", "name": "ada"}),
    ],
)
def test_each_role_has_its_certificate(
    run: Run, ca: Path, words: tuple[str, ...], file: str, says: dict[str, Any]
) -> None:
    (one,) = made(run, "issue", ca, *words)
    assert one["file"] == str(ca / f"{file}.crt")
    assert says.items() <= one.items()
    assert stat.S_IMODE((ca / f"{file}.key").stat().st_mode) == 0o600
    (found,) = certificates_in((ca / f"{file}.crt").read_bytes())  # without the authority: it would only take room
    assert found.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]  # it is one
    assert len((ca / f"{file}.crt").read_bytes()) < 900
    assert "is there already" in refused(run, 73, "issue", ca, *words)
    shown = run("certs", "show", str(ca / f"{file}.crt"))
    assert shown.returncode == 0
    assert one["subject"] in shown.stdout
    assert "PRIVATE" not in shown.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--role", "agent"),
        ("--role", "agent", "--name", "a"),
        ("--role", "agent", "--node", "Not A Node"),
        ("--role", "agent", "--node", "a,O=nodetell:operators"),
        ("--role", "operator"),
        ("--role", "operator", "--name", "a,O=nodetell:agents"),
        ("--role", "operator", "--name", "a", "--name", "b"),
        ("--role", "operator", "--name", "../../etc/passwd"),
        ("--role", "aggregator"),
        ("--role", "aggregator", "--name", "no host"),
        ("--role", "aggregator", "--node", "a"),
        ("--role", "king", "--name", "a"),
        ("--role", "operator", "--name", "a", "--days", "0"),
    ],
)
def test_what_is_no_name_is_refused(run: Run, ca: Path, words: tuple[str, ...]) -> None:
    refused(run, 64, "issue", ca, *words)
    assert sorted(path.name for path in ca.iterdir()) == ["ca.crt", "ca.key"]


def test_what_cannot_be_read_or_written_is_named(run: Run, ca: Path, tmp_path: Path) -> None:
    agent = ("--role", "agent", "--node", "a")
    assert "nodetell certs init makes it" in refused(run, 3, "issue", tmp_path / "none", *agent)
    (tmp_path / "file").write_text("")
    assert f"{tmp_path}/file" in refused(run, 73, "init", tmp_path / "file")
    (ca / "ca.key").write_text("no key")
    assert f"{ca}/ca.crt: is no certificate of an authority with its key" in refused(run, 78, "issue", ca, *agent)
    done = run("certs", "show", str(tmp_path / "file"), str(ca / "ca.crt"))
    assert done.returncode == 3
    assert f"{tmp_path}/file: holds no certificate" in done.stderr
    assert "authority nodetell" in done.stdout  # the rest is shown


def test_a_certificate_of_no_authority_signs_nothing(run: Run, ca: Path) -> None:
    made(run, "issue", ca, "--role", "agent", "--node", "a")
    for end in ("crt", "key"):
        (ca / f"ca.{end}").write_bytes((ca / f"agent-a.{end}").read_bytes())
    assert "is of no authority" in refused(run, 78, "issue", ca, "--role", "operator", "--name", "ada")


def test_nothing_outlives_its_authority() -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    by = new_authority("x", 30, now)
    leaf = issue(by, Role.AGENT, "a", (), days=365, now=now)
    assert leaf.certificate.not_valid_after_utc == by.certificate.not_valid_after_utc
    assert load_authority(by.certificate_pem(), by.key_pem()).certificate == by.certificate


def test_renewing_takes_those_that_need_it_and_keeps_their_names(run: Run, ca: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    by = load_authority((ca / "ca.crt").read_bytes(), (ca / "ca.key").read_bytes())
    old = issue(by, Role.AGGREGATOR, "nodetell-aggregator", ("a.example", "192.0.2.1"), days=90, now=now)
    aged = issue(by, Role.AGENT, "old", (), days=90, now=now - datetime.timedelta(days=70))
    for name, each in (("fresh", old), ("aged", aged)):
        (ca / f"{name}.crt").write_bytes(each.certificate_pem())
        (ca / f"{name}.key").write_bytes(each.key_pem())
    before = {path.name: path.read_bytes() for path in ca.iterdir()}
    (renewed,) = made(run, "renew", ca)
    assert (renewed["file"], renewed["name"], renewed["role"]) == (str(ca / "aged.crt"), "old", "agent")
    after = {path.name: path.read_bytes() for path in ca.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"aged.crt", "aged.key"}
    (found,) = certificates_in(after["aged.crt"])
    days = (found.not_valid_after_utc - now) / datetime.timedelta(days=1)
    assert 89 < days < 91
    assert made(run, "renew", ca) == []
    (again,) = made(run, "renew", ca, ca / "fresh.crt")
    assert again["names"] == ["a.example", "192.0.2.1"]
    made(run, "init", ca, "--force")
    assert "was not issued by the authority in" in refused(run, 78, "renew", ca, ca / "aged.crt")


def test_an_expired_certificate_is_shown_as_such(run: Run, ca: Path) -> None:
    by = load_authority((ca / "ca.crt").read_bytes(), (ca / "ca.key").read_bytes())
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    (ca / "old.crt").write_bytes(issue(by, Role.OPERATOR, "ada", (), days=1, now=past).certificate_pem())
    (one,) = made(run, "show", ca / "old.crt")
    assert one["expired"] is True
    assert "EXPIRED" in run("certs", "show", str(ca / "old.crt")).stdout


class Made(Authority):
    """The directory, as tests use an authority."""

    def __init__(self, directory: Path) -> None:
        self.file = str(directory / "ca.crt")
        self._own = Files(str(directory / "aggregator.crt"), str(directory / "aggregator.key"))

    def server(self, *names: str, file: str = "") -> Files:  # noqa: ARG002  # there is one
        return self._own


def test_they_open_a_real_door_also_for_a_node_with_a_long_name(run: Run, ca: Path, tmp_path: Path) -> None:
    node = "ip-10-0-0-1." + "x" * 60 + ".eu-west-1.compute.internal"
    made(run, "issue", ca, "--role", "aggregator", "--name", "127.0.0.1")
    made(run, "issue", ca, "--role", "agent", "--node", node)
    made(run, "issue", ca, "--role", "operator", "--name", "ada")

    async def scene(at: Entrance) -> None:
        agent = Files(str(ca / f"agent-{node}.crt"), str(ca / f"agent-{node}.key"))
        async with at.agent(node, agent) as one:
            assert await one.hello() == "welcome"
        assert await at.nodes(Files(str(ca / "operator-ada.crt"), str(ca / "operator-ada.key"))) == "here"
        assert (await at.nodes(agent)).startswith("PERMISSION_DENIED")
        # One made for clients is no aggregator's, and the reverse.
        served = Files(str(ca / "aggregator.crt"), str(ca / "aggregator.key"))
        assert (await at.nodes(served)).startswith("UNAVAILABLE")

    async def run_it() -> None:
        async with entrance(tmp_path, ca=Made(ca), clients=True) as at:
            await scene(at)

    asyncio.run(run_it())


def test_a_key_is_readable_by_nobody_else_at_any_moment(run: Run, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made(run, "init", tmp_path / "ca")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "ca/ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
