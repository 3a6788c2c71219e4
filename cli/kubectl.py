"""`kubectl nodetell ...`: the questions of `nodetell`, put to a cluster's aggregator with the rights of a kubeconfig.

kubectl runs it as its plug-in. It goes through the API server (remote/), and everything else, what is asked and how it
is shown, is the commands' own.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nodetell import __version__

from cli import coverage, flags, parser, terminal
from cli.exits import CONFIG, CliError
from cli.main import guarded
from cli.page import Page
from cli.pages import PAGES, TERMINAL

COMMANDS = ("findings", "nodes", "node", "explain", "whatif", "coverage")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VARIABLES = (("KUBECONFIG", "kubeconfig files, as kubectl takes them"), *TERMINAL)
_SEE_ALSO = ("nodetell doctor", "docs/install.md", "docs/http-api.md")
_PAGE = Page(
    "asks the aggregator of a cluster through its API server",
    "Asks the aggregator of a cluster through its API server: with the kubeconfig at hand, and without a port that is "
    "forwarded. It needs the Role nodetell-operator of the aggregator's namespace, and an aggregator with its HTTP API "
    "(nodetell install --http).",
    "  kubectl nodetell findings\n"
    "  kubectl nodetell --context prod-a -n ops nodes\n"
    "  kubectl nodetell explain mtu\n"
    "  kubectl nodetell coverage worker-3",
    _VARIABLES,
    _SEE_ALSO,
)
_COVERAGE = Page(
    "show what limits the diagnosis",
    "Shows what could not be read or compared, why, and what would enable it: of all, or of one node.",
    "  kubectl nodetell coverage\n  kubectl nodetell coverage worker-3 --format json",
    _VARIABLES,
    _SEE_ALSO,
)


def run() -> int:
    """The plug-in; returns the exit status."""
    return guarded(_run, sys.argv[1:])


def _run(argv: list[str]) -> int:
    terminal.prepare()
    arguments = parse(argv)
    if arguments.command == "coverage":
        return coverage.run(arguments)
    return parser.command(arguments)(arguments)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, or SystemExit with 0 after help and 64 after a mistake."""
    # What says where to ask may stand before the command, too, as kubectl has it.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reach(first)
    built = build()
    try:
        before, _ = first.parse_known_args(argv)
    except argparse.ArgumentError as error:
        built.error(str(error))
    arguments = built.parse_args(argv)
    if arguments.command is None:
        built.error(f"which command? {', '.join(COMMANDS)}")
    for name, value in vars(before).items():
        setattr(arguments, name, value)
    return arguments


def build() -> parser._Parser:
    """The command line."""
    whole = parser._new(parser._Parser, _PAGE, "", prog="kubectl nodetell")
    whole.add_argument(
        "--version", action="version", version=f"kubectl nodetell {__version__}", help="print the version"
    )
    whole.set_defaults(command=None, through=through)
    reach(whole)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", parser_class=parser._Parser)
    for name in COMMANDS:
        page = _page(name)
        made = parser._new(commands.add_parser, page, name if name in PAGES else "findings", name, help=page.summary)
        made.set_defaults(command=name)
        made.reach = reach  # type: ignore[attr-defined]  # flags.client asks for it
        if name == "coverage":
            made.add_argument(
                "node", metavar="NAME", nargs="?", help="name of a node (default: all, and what is of none)"
            )
            flags.output(made, flags.DOCUMENT)
            flags.client(made)
        else:
            parser._ADD[name](made)
    return whole


def _page(name: str) -> Page:
    if name == "coverage":
        return _COVERAGE
    page = PAGES[name]
    # Examples that begin elsewhere (a watch, a bundle) are for `nodetell`.
    lines = [line for line in page.examples.splitlines() if "--watch" not in line and ".tar.gz" not in line]
    examples = "\n".join(line.replace("  nodetell ", "  kubectl nodetell ", 1) for line in lines)
    return replace(page, examples=examples, environment=_VARIABLES, see_also=_SEE_ALSO)


def reach(made: argparse.ArgumentParser) -> None:
    """How the aggregator is reached."""
    group = made.add_argument_group("cluster")
    group.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig to use (default: as kubectl finds it)")
    group.add_argument("--context", metavar="NAME", default="", help="of the kubeconfig (default: its current one)")
    group.add_argument(
        "-n", "--namespace", metavar="NAME", default="nodetell", help="where Nodetell is (default: nodetell)"
    )
    group.add_argument(
        "--audience",
        metavar="NAME",
        default="nodetell",
        help="the aggregator's access.token_audience (default: nodetell)",
    )
    group.add_argument(
        "--timeout", type=flags.positive, default=10.0, metavar="SECONDS", help="how long to wait (default: 10)"
    )


def through(arguments: argparse.Namespace, env: Mapping[str, str] = os.environ) -> object:
    """The way to the aggregator (cli.remote.operator.Through). Raises CliError."""
    from aggregator.cluster import credentials as own  # noqa: PLC0415  # help needs none of it
    from cli.remote.operator import Through  # noqa: PLC0415
    from cli.remote.proxy import Place  # noqa: PLC0415

    if NAMESPACE.fullmatch(arguments.namespace) is None:
        raise CliError(CONFIG, f'--namespace: "{arguments.namespace}" is not a name of a namespace')
    source = own.find(arguments.kubeconfig, env, Path.home())
    if source is None:
        raise CliError(CONFIG, "there is no kubeconfig: --kubeconfig FILE, $KUBECONFIG or ~/.kube/config")
    place = Place(arguments.namespace, arguments.audience)
    return Through(replace(source, context=arguments.context), env, place)


if __name__ == "__main__":
    sys.exit(run())
