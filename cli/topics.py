"""`nodetell help`: the help of a command, or a topic that concerns several, made from what commands really have."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from cli.exits import NOT_FOUND, OK, CliError, statuses
from cli.page import definitions
from cli.pages import ACCESS, PAGES, TERMINAL
from cli.terminal import Look, clean, emit, look, wrap


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    words = list(arguments.topic)
    if words and words[0] not in PAGES and words[0] in TOPICS:
        emit(TOPICS[words[0]][1](look(sys.stdout, os.environ)))
        return OK
    from cli.parser import build  # noqa: PLC0415  # it has loaded this module's command

    parser = build(words[:1])
    for number, word in enumerate(words):
        found = _parts(parser).get(word)
        if found is None:
            raise CliError(NOT_FOUND, _no_such(words[: number + 1], _parts(parser), commands=not number))
        parser = found
    emit(parser.format_help().rstrip("\n"))
    if not words:
        told = definitions((name, summary) for name, (summary, _) in TOPICS.items())
        emit(f"\ntopics of `nodetell help`:\n{told}")
    return OK


def _parts(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Commands of a parser, or parts of a command."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # argparse tells its actions no other way
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def _no_such(words: list[str], known: Mapping[str, Any], *, commands: bool) -> str:
    there = [*known, *(TOPICS if commands else ())]
    named = clean(" ".join(words)[:80])
    told = f"there are: {', '.join(there)}" if there else "it has no parts"
    return f"help: {named}: there is no such topic; {told}"


# -- topics ----------------------------------------------------------------------------------------------------------


_ACCESS = """\
Commands that ask an aggregator take its address and what to show to it from flags, or from variables of the same
meaning. A certificate, a token or both tell it who asks; without TLS it is asked on loopback only.

  nodetell nodes --insecure
      one on this host that `nodetell up` has started

  nodetell nodes --aggregator HOST:7443 --ca ca.crt --certificate ada.crt --key ada.key
      with a client certificate (`nodetell certs issue --role operator`)

  kubectl -n nodetell port-forward deployment/nodetell-aggregator 7443 &
  nodetell nodes --ca ca.crt --server-name nodetell-aggregator --token-file token
      in a cluster, with a token of an account that may ask (docs/identity.md)
"""


def _access(shape: Look) -> str:
    first, rest = _ACCESS.split("\n\n", 1)
    return "\n".join([*wrap(first, shape.width), "", rest, "environment:", definitions(ACCESS)])


def _columns(shape: Look) -> str:
    lines = wrap(
        "--columns NAME,... shows these, in this order; --format wide shows all, --sort-by COLUMN sorts by one "
        "(COLUMN:desc the other way round), --no-headers leaves the first line out. Upper and lower case are the same, "
        "and so are a space, - and _. Each row is one line then, columns stand two spaces or more apart, and what is "
        "not known is a -. What is marked * is shown only with wide, or where it is named.",
        shape.width,
    )
    for command, columns in _tables().items():
        told = ((f"{column.name}{'*' if column.wide else ''}", column.what) for column in columns)
        lines += ["", f"{command}:", definitions(told)]
    return "\n".join(lines)


def _tables() -> Mapping[str, Any]:
    # Only this topic needs them.
    from cli import (  # noqa: PLC0415
        certs,
        classify,
        coverage_text,
        evidence_table,
        findings_table,
        links_table,
        nodes_table,
        signatures,
        whatif,
    )
    from cli.doctor import command as doctor  # noqa: PLC0415

    return {
        "nodes, top": nodes_table.columns(0.0),
        "node NAME (its interfaces)": links_table.COLUMNS,
        "node NAME --coverage": coverage_text.COLUMNS,
        "findings, diagnose": findings_table.COLUMNS,
        "explain": evidence_table.COLUMNS,
        "whatif": whatif.COLUMNS,
        "classify": classify.COLUMNS,
        "signatures": signatures.COLUMNS,
        "certs": certs.COLUMNS,
        "doctor": doctor.COLUMNS,
    }


def _environment(_shape: Look) -> str:
    roles = [pair for name in ("agent", "aggregator", "sensor") for pair in PAGES[name].environment]
    shells = [pair for page in PAGES.values() for pair in page.environment]
    return definitions(dict.fromkeys((*ACCESS, *TERMINAL, *roles, *shells)))


_FORMATS = {
    "text": "to read: wrapped to the terminal, coloured where it has colours and NO_COLOR is not set",
    "wide": "to read or to cut: a table with all columns, a line each, however wide the terminal is; of a node's page "
    "every interface and counter by itself",
    "json": "for programs: one document, or one line for each of a stream (findings --watch, classify, up); its keys "
    "are a contract, to which keys may be added",
    "yaml": "the same documents as YAML; those of a stream stand between lines of ---",
}


def _formats(shape: Look) -> str:
    return "\n".join([*wrap("--format says what is printed.", shape.width), "", definitions(_FORMATS.items())])


def _statuses(_shape: Look) -> str:
    return definitions((str(status), what) for status, what in statuses(""))


TOPICS: Mapping[str, tuple[str, Callable[[Look], str]]] = {
    "access": ("how an aggregator is reached, and what is shown to it", _access),
    "columns": ("which columns the tables of each command have", _columns),
    "environment": ("all variables that are read", _environment),
    "formats": ("text, wide, JSON and YAML", _formats),
    "statuses": ("what each exit status means, of which command", _statuses),
}
"""Topics with half a line on each, and what makes them."""
