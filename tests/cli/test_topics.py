"""Help: every command's has all its parts, topics say what is so, and the manual is made of the same."""

from __future__ import annotations

import argparse
import re

import pytest

from cli import exits, parser, topics
from cli.exits import statuses
from cli.pages import PAGES
from cli.terminal import Look
from tests.cli.conftest import Run

SECTIONS = ("examples:\n", "exit status:\n")


def test_every_command_has_a_page_and_a_parser_and_a_module() -> None:
    assert list(PAGES) == list(parser._ADD) == list(parser._MODULES)
    assert set(exits._BY_COMMAND) <= set(PAGES)


@pytest.mark.parametrize("command", list(PAGES))
def test_help_has_all_its_sections(command: str) -> None:
    text = topics._parts(parser.build())[command].format_help()
    for section in SECTIONS:
        assert section in text
    page = PAGES[command]
    assert ("environment:\n" in text) == bool(page.environment)
    assert ("see also:\n" in text) == bool(page.see_also)
    for status, meaning in statuses(command):
        assert re.search(rf"\n  {status} +{re.escape(meaning.split()[0])}", text)


def test_examples_and_what_they_point_to_are_of_this_version(repository_documents: set[str]) -> None:
    known, built = set(PAGES), parser.build()
    for command, page in PAGES.items():
        for line in page.examples.splitlines():
            for found in re.findall(r"(?:^  |\| )nodetell (\S+)", line):
                assert found in known, (command, line)
        for each in page.see_also:
            if each.startswith("docs/"):
                assert each in repository_documents, (command, each)
            elif (word := each.split()[1]) == "help":
                assert each.split()[2] in {*topics.TOPICS, *known, "TOPIC"}, (command, each)
            else:
                assert word in {*known, "COMMAND", "--help"}, (command, each)
    flags = {option for part in topics._parts(built).values() for option in _options(part)}
    told = {flag for page in PAGES.values() for flag in re.findall(r"(?<![\w-])--[a-z-]+", page.examples)}
    of_others = {"--server-name", "--raw-output", "--no-headers"} | {"--role", "--name", "--node", "--force"}
    assert told <= flags | of_others


def _options(part: argparse.ArgumentParser) -> set[str]:
    found = {option for action in part._actions for option in action.option_strings}
    for inner in topics._parts(part).values():
        found |= _options(inner)
    return found


@pytest.fixture
def repository_documents() -> set[str]:
    from tests.cli.conftest import ROOT

    return {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("topic", list(topics.TOPICS))
def test_topics_can_be_read_on_a_small_terminal(topic: str) -> None:
    text = topics.TOPICS[topic][1](Look(80))
    assert text.strip()
    lines = [line for line in text.splitlines() if not line.startswith("  nodetell ")]
    assert max(map(len, lines)) <= 80


def test_columns_names_all_tables() -> None:
    text = topics.TOPICS["columns"][1](Look(80))
    for command, page in PAGES.items():
        if "nodetell help columns" in page.see_also:
            assert re.search(rf"^[^\n]*\b{command}\b[^\n]*:$", text, re.MULTILINE), command


def test_statuses_of_all_are_those_of_each() -> None:
    told = dict(statuses(""))
    for command in PAGES:
        assert {status for status, _ in statuses(command)} <= set(told)
    assert "something could not come back (whatif)" in told[1]


def test_help_of_a_command_is_its_help(run: Run) -> None:
    assert run("help", "certs", "issue").stdout == run("certs", "issue", "--help").stdout
    assert "--stream.batch-interval-s" in run("help", "agent").stdout
    nothing = run("help", "nosuch")
    assert nothing.returncode == exits.NOT_FOUND
    assert nothing.stderr.startswith("nodetell: help: nosuch: there is no such topic; there are: up, agent,")
    assert "it has no parts" in run("help", "version", "x").stderr
    assert "topics of `nodetell help`:" in run("help").stdout
