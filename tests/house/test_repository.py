"""What the repository promises about itself: locks, documents, nothing of anybody's own machine."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.collectors import registry
from aggregator.signatures.catalog import CODES
from aggregator.signatures.code import Code
from aggregator.signatures.thresholds import Thresholds

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(requirement: str) -> str:
    """Name of a distribution as indexes compare it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def direct(*extras: str) -> set[str]:
    """Distributions that the project itself asks for, with these extras; its references to itself are followed."""
    names: set[str] = set()
    asked = list(PROJECT["dependencies"])
    for extra in extras:
        asked += PROJECT["optional-dependencies"][extra]
    for requirement in asked:
        if match := re.match(r"nodetell\[([\w,]+)\]", requirement):
            names |= direct(*match[1].split(","))
        else:
            names.add(canonical(requirement))
    return names


def locked(name: str) -> dict[str, str]:
    """Version by distribution in a lock file; every one must carry a hash."""
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    pinned = {}
    for entry in entries:
        match = re.match(r"([\w.-]+)==([^\s;\\]+)", entry)
        assert match, f"{name}: not a pinned version: {entry.splitlines()[0]!r}"
        assert "--hash=sha256:" in entry, f"{name}: {match[1]} has no hash"
        pinned[canonical(match[1])] = match[2]
    return pinned


LOCKS = {
    "agent.txt": ("agent",),
    "aggregator.txt": ("aggregator",),
    "image.txt": ("cli",),
    "run.txt": ("cli", "top", "build"),
    "dev.txt": ("dev",),
    "fuzz.txt": ("fuzz",),
    "release.txt": ("release",),
}
"""Extras by the lock that is made of them."""


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_the_locks_cover_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    assert direct(*extras) <= set(locked(lock))


def test_every_extra_has_its_lock_and_every_lock_is_known() -> None:
    in_locks = {extra for extras in LOCKS.values() for extra in extras}
    assert in_locks == set(PROJECT["optional-dependencies"])
    assert {path.name for path in (ROOT / "requirements").iterdir()} == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_tests_run_on_the_versions_that_are_shipped(lock: str) -> None:
    tested = locked("dev.txt")
    shared = {name: version for name, version in locked(lock).items() if name in tested}
    assert {name: tested[name] for name in shared} == shared
    if lock in {"agent.txt", "aggregator.txt", "image.txt", "run.txt"}:
        assert set(locked(lock)) <= set(tested)


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every text file of the repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = listing.stdout.decode().split("\0") if listing.returncode == 0 else []
    if not any(names):
        pytest.skip("not a git checkout: which files are the repository's cannot be told")
    for name in filter(None, names):
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            yield name, path.read_text()
        except UnicodeDecodeError:
            continue


INDEXES = re.compile(
    r"--(extra-)?index-url|--find-links|--trusted-host|https?://[\w.-]*(pypi\.|pythonhosted|artifactory|devpi)|file:///\w"
)
OWN_PLACES = re.compile(r"/(home|Users)/[a-z]\w*/\w|/root/[\w.]")


def test_nothing_in_it_is_of_one_machine() -> None:
    here = str(ROOT)
    for name, text in texts():
        if name == Path(__file__).relative_to(ROOT).as_posix():
            continue
        found = INDEXES.search(text) or OWN_PLACES.search(text)
        assert not found, f"{name}: {found[0]!r}"
        assert here not in text, f"{name}: {here}"


def test_a_place_of_one_machine_is_noticed() -> None:
    assert INDEXES.search("--extra-index-url https://example.org")
    assert OWN_PLACES.search("see /home/ada/notes")


def test_every_link_between_documents_leads_somewhere() -> None:
    for name, text in texts():
        if not name.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target:
                assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"


def test_the_readme_begins_with_the_two_commands_and_they_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    first_block = re.search(r"^((?:    .+\n)+)", readme, re.MULTILINE)
    assert first_block
    commands = [line.split("#")[0].strip() for line in first_block[1].splitlines()]
    assert commands[-2:] == ["make run", "make test"]
    makefile = (ROOT / "Makefile").read_text()
    for command in commands[-2:]:
        target = command.removeprefix("make ")
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), f"no rule for {command}"


def table_rows(document: str) -> list[list[str]]:
    """Cells of all tables of a document below docs/."""
    lines = (ROOT / "docs" / document).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_every_collector_has_its_row() -> None:
    documented = {row[0] for row in table_rows("signals.md")}
    missing = [collector.name for collector in registry.collectors() if f"`{collector.name}`" not in documented]
    assert not missing, "docs/signals.md has no row for them"


def section(document: str, heading: str) -> str:
    """Text below a heading of the second level, in one line; empty: there is none."""
    text = (ROOT / "docs" / document).read_text()
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(match[1].split()) if match else ""


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.code)
def test_every_finding_is_explained_as_it_is_made(code: Code) -> None:
    text = section("findings.md", code.code)
    assert f"**Clears when** {code.clears_when}." in text
    assert code.headline.lower() in text.lower()
    assert "**Not this:**" in text, "what looks like it, and is not?"


def test_thresholds_that_are_explained_are_the_ones_there_are() -> None:
    text = (ROOT / "docs" / "findings.md").read_text()
    explained = dict(re.findall(r"`(\w+_(?:min|s))` \((\d+)", text))
    defaults = {field.name: field.default for field in dataclasses.fields(Thresholds)}
    assert explained
    assert {name: defaults.get(name) for name in explained} == {name: float(value) for name, value in explained.items()}


def test_every_direct_dependency_has_its_reason() -> None:
    documented = {
        canonical(match[1]) for row in table_rows("dependencies.md") if (match := re.match(r"`([^`]+)`", row[0]))
    }
    build = {
        canonical(name) for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    }
    assert direct(*PROJECT["optional-dependencies"]) | build <= documented


def test_the_documents_name_the_wire_messages_that_leave_a_node() -> None:
    """Every byte that leaves a node is listed: each message of the agent's side of the contract."""
    signals = (ROOT / "docs" / "signals.md").read_text()
    facts = (ROOT / "proto" / "nodetell" / "v1" / "facts.proto").read_text()
    sent = set(re.findall(r"^message (\w+)", facts, re.MULTILINE)) - {"NodeFacts"}
    missing = sorted(name for name in sent if f"`{name}`" not in signals)
    assert not missing
