"""`nodetell completion`: a script for the shell, made from the parser by shtab, and the words that it asks us for.

Names of nodes and zones and ids of findings are asked of the aggregator that the command line so far names, or the
environment: for at most a second, and what goes wrong says nothing. A shell would expand what it is given as words, so
the scripts only compare lines, and whatever is not a plain name is left out.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO
from typing import Any

from cli import exits
from cli.exits import CliError
from cli.terminal import emit

_TIMEOUT_S = 1.0
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST = 5_000
"""Words that are told; a longer list helps nobody."""
_DYNAMIC = {
    ("node", "name"): "nodes",
    ("whatif", "lose_node"): "nodes",
    ("whatif", "lose_zone"): "zones",
    ("explain", "id"): "findings",
}
"""What is asked for, by command and argument."""
_FILES = frozenset({"FILE", "PATH", "BUNDLE"})

_BASH = """
_nodetell_values() {
  local line
  while IFS= read -r line; do
    [[ "$line" == "$2"* ]] && printf '%s\\n' "$line"
  done < <("${COMP_WORDS[0]}" completion --values "$1" bash -- "$COMP_LINE" 2>/dev/null)
}
_nodetell_nodes() { _nodetell_values nodes "$1"; }
_nodetell_zones() { _nodetell_values zones "$1"; }
_nodetell_findings() { _nodetell_values findings "$1"; }
"""
_ZSH = """
_nodetell_values() {
  local -a found
  found=("${(@f)$(nodetell completion --values "$1" zsh -- "$LBUFFER" 2>/dev/null)}")
  compadd -- "${(@)found:#}"
}
_nodetell_nodes() { _nodetell_values nodes }
_nodetell_zones() { _nodetell_values zones }
_nodetell_findings() { _nodetell_values findings }
"""
_FISH = """
function _nodetell_values
    set -l words (commandline -opc)
    command $words[1] completion --values $argv[1] fish -- $words[2..-1] 2>/dev/null
end
"""


def run(arguments: argparse.Namespace) -> int:
    """Print the script, or the words that could stand here."""
    if arguments.values is not None:
        with suppress(CliError, SystemExit), redirect_stderr(StringIO()):
            for word in _values(arguments.values, arguments.words):
                emit(word)
        return exits.OK
    emit(script(arguments.shell))
    return exits.OK


def script(shell: str) -> str:
    """The script for a shell. Raises CliError where shtab is not installed."""
    try:
        import shtab  # noqa: PLC0415  # only this command needs it
    except ImportError as error:
        raise CliError(
            exits.UNAVAILABLE, "completion: needs the package shtab (pip install 'nodetell[cli]')"
        ) from error
    from cli.parser import build  # noqa: PLC0415  # it has loaded this module's command

    parser = build()
    _mark(parser, shtab)
    preamble: Any = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}  # its annotation knows one shell only
    return shtab.complete(parser, shell=shell, preamble=preamble).rstrip("\n")


def _mark(parser: argparse.ArgumentParser, shtab: Any, command: str = "") -> None:
    """Say of each argument what completes it."""
    for action in parser._actions:  # argparse tells its actions no other way
        if isinstance(action, argparse._SubParsersAction):
            for name, part in action.choices.items():
                _mark(part, shtab, command or name)
        elif (command, action.dest) in _DYNAMIC:
            kind = _DYNAMIC[command, action.dest]
            asked = f"_nodetell_{kind}"
            action.complete = {"bash": asked, "zsh": asked, "fish": f"(_nodetell_values {kind})"}  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


# -- words that could stand here -------------------------------------------------------------------------------------


def _values(kind: str, words: Sequence[str]) -> Iterable[str]:
    """Names of a kind, sorted, of the aggregator that a command line names. Raises CliError."""
    from cli import client, flags  # noqa: PLC0415  # a script needs no gRPC
    from cli.access import access  # noqa: PLC0415

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    flags.client(parser)
    with suppress(argparse.ArgumentError, ValueError):  # a line that is not finished may be none
        line = [part for word in words for part in (shlex.split(word) if " " in word else [word])]
        named, _ = parser.parse_known_args([os.path.expanduser(word) for word in line if word != "--"])
        names: dict[str, Callable[[client.Operator], Iterable[str]]] = {
            "nodes": lambda asked: (node.node for node in asked.nodes().nodes),
            "zones": lambda asked: (node.zone for node in asked.nodes().nodes),
            "findings": lambda asked: (each.id for each in asked.findings(resolved=False).findings),
        }
        if kind not in names:
            return []
        with client.operator(access(named), min(named.timeout, _TIMEOUT_S)) as asked:
            return sorted({name for name in names[kind](asked) if _PLAIN.fullmatch(name)})[:_MOST]
    return []
