"""The command line: commands and their flags. What else their help says is in pages.py, what they share in flags.py."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from nodetell import __version__

from cli import certs_flags, flags
from cli.doctor import flags as doctor_flags
from cli.exits import USAGE
from cli.install import flags as install_flags
from cli.page import Page, epilog
from cli.pages import NODETELL, PAGES
from cli.terminal import complain, emit

_RAW = "examples:"
ROLES = ("agent", "aggregator", "sensor")
SHELLS = ("bash", "zsh", "fish")

_MODULES = {
    "up": "cli.up",
    "agent": "cli.roles",
    "aggregator": "cli.roles",
    "sensor": "cli.roles",
    "nodes": "cli.commands",
    "node": "cli.commands",
    "findings": "cli.commands",
    "top": "cli.top.command",
    "explain": "cli.explain",
    "whatif": "cli.whatif",
    "diagnose": "cli.diagnose",
    "collect": "cli.collect",
    "classify": "cli.classify",
    "signatures": "cli.signatures",
    "certs": "cli.certs",
    "install": "cli.install.command",
    "doctor": "cli.doctor.command",
    "completion": "cli.completion",
    "help": "cli.topics",
    "version": "cli.version",
}


class _Parser(argparse.ArgumentParser):
    """argparse's, but a wrong command line exits with 64 and help goes through the checked output."""

    page: Page | None = None
    """What its help says beside its flags."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}\n{self.prog} --help tells more")
        raise SystemExit(USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        if message and file in (None, sys.stdout):
            emit(message.rstrip("\n"))
        elif message:
            complain(message.rstrip("\n"))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, or SystemExit with 0 after help and 64 after a mistake."""
    wanted = [argument for argument in argv if not argument.startswith("-")]
    parser = build(wanted[:2] if wanted[:1] == ["help"] else wanted[:1])
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.error(f"which command? {', '.join(_MODULES)}")
    return arguments


def command(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What runs the command that was asked for."""
    module = importlib.import_module(_MODULES[arguments.command])
    run: Callable[[argparse.Namespace], int] = module.run
    return run


def build(roles: Collection[str] = ROLES) -> argparse.ArgumentParser:
    """The whole command line. Settings of the roles named have flags; of others they are left out, which is quicker."""
    parser = _new(_Parser, NODETELL, "", prog="nodetell")
    parser.add_argument("--version", action="version", version=f"nodetell {__version__}", help="print the version")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, add in _ADD.items():
        page = PAGES[name]
        made = _new(commands.add_parser, page, name, name, help=page.summary)
        made.set_defaults(command=name)
        add(made)
        if name in ROLES:
            flags.role(made, name, settings=name in roles)
    return parser


class _Formatter(argparse.HelpFormatter):
    """argparse's, but examples and what follows them keep their lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_RAW):
            return text
        return super()._fill_text(text, width, indent)


def _new(make: Callable[..., Any], page: Page, status_of: str, *args: str, **more: Any) -> _Parser:
    made: _Parser = make(
        *args,
        description=page.description,
        epilog=epilog(page, status_of),
        formatter_class=_Formatter,
        allow_abbrev=False,
        **more,
    )
    made.page = page
    return made


def _up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"where the aggregator listens (default: {flags.DEFAULT_AGGREGATOR}, or a free port if that one is taken)",
    )
    parser.add_argument(
        "--state-directory", metavar="PATH", help="keep the history of findings here (default: nowhere)"
    )
    parser.add_argument(
        "--probe-directory",
        metavar="PATH",
        action="append",
        default=[],
        help="measure the latency of fdatasync in this directory, by writing there once a second; may be repeated",
    )
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="join the host with the cluster that this kubeconfig's current context names; nothing is written there "
        "(default: the API server is not asked)",
    )
    parser.add_argument("--agent-config", metavar="FILE", help="configuration file of the agent (TOML)")
    parser.add_argument("--aggregator-config", metavar="FILE", help="configuration file of the aggregator (TOML)")
    # For a parent that dies of Ctrl-C, as make does: take the terminal, so that only this command gets the signal.
    parser.add_argument("--own-terminal", action="store_true", help=argparse.SUPPRESS)
    flags.output(parser, flags.TEXT)


def _role(parser: argparse.ArgumentParser) -> None:
    flags.output(parser, flags.TEXT)


def _nodes(parser: argparse.ArgumentParser) -> None:
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the node")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="each signal instead: how it is read, why not better, and which lines of the manifest would change that",
    )
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _findings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="go on with each that appears, changes or resolves")
    parser.add_argument("--all", action="store_true", help="also those that are resolved")
    parser.add_argument("--verbose", action="store_true", help="what follows from another finding in full, too")
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="print one frame as text, and end")
    parser.add_argument(
        "--interval",
        type=flags.positive,
        default=2.0,
        metavar="SECONDS",
        help="how often nodes are asked for anew (default: 2); findings come by themselves",
    )
    parser.add_argument("--filter", metavar="TEXT", default="", help="only nodes with this in their name or zone")
    parser.add_argument(
        "--sort-by", metavar="COLUMN[:desc]", help="sort nodes by this column (default: the worst first)"
    )
    flags.client(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="id or code of a finding, or its beginning")
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a bundle, in place of an aggregator")
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _whatif(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a bundle, in place of an aggregator")
    parser.add_argument("--lose-zone", metavar="ZONE", action="append", help="a zone with all its nodes; repeatable")
    parser.add_argument("--lose-node", metavar="NODE", action="append", help="a node; repeatable")
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle: a directory or a .tar.gz")
    parser.add_argument("--verbose", action="store_true", help="what follows from another finding in full, too")
    parser.add_argument(
        "--serve",
        metavar="HOST:PORT",
        nargs="?",
        const="127.0.0.1:0",
        help="show it as a page, on loopback only, until Ctrl-C (default: a free port of 127.0.0.1)",
    )
    flags.output(parser, flags.LIST)


def _collect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="where to write: a new or empty directory, or a new .tar.gz")
    parser.add_argument("--node", metavar="NAME", help="name of this node in the cluster (default: the host name)")
    parser.add_argument(
        "--cluster",
        metavar="NAME",
        help='name of the cluster (default: the kubeconfig\'s, or else "default", as an aggregator has it)',
    )
    parser.add_argument("--snapshots", type=flags.count, default=2, metavar="N", help="how many snapshots (default: 2)")
    parser.add_argument(
        "--interval", type=flags.positive, default=10.0, metavar="SECONDS", help="time between snapshots (default: 10)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig to use (default: as kubectl finds it)")
    parser.add_argument("--no-kube", action="store_true", help="leave the cluster's objects out")
    flags.output(parser, flags.DOCUMENT)


def _classify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="where the messages are; - is standard input (default: -)"
    )
    flags.output(parser, flags.LIST)


def _signatures(parser: argparse.ArgumentParser) -> None:
    flags.output(parser, flags.LIST)


def _certs(parser: argparse.ArgumentParser) -> None:
    flags.output(parser, flags.LIST)
    certs_flags.add(parser, lambda make, page, *args, **more: _new(make, page, "certs", *args, **more))


def _install(parser: argparse.ArgumentParser) -> None:
    install_flags.add(parser)
    flags.output(parser, flags.DOCUMENT)


def _doctor(parser: argparse.ArgumentParser) -> None:
    doctor_flags.add(parser)
    flags.output(parser, flags.LIST)
    flags.client(parser)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    # What the scripts ask: which words could stand here. Everything after it is the command line so far.
    parser.add_argument("--values", metavar="KIND", help=argparse.SUPPRESS)
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("topic", metavar="TOPIC", nargs="*", help="a command, or a topic that concerns several")


def _version(parser: argparse.ArgumentParser) -> None:
    flags.output(parser, flags.DOCUMENT)


_ADD: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "up": _up,
    "agent": _role,
    "aggregator": _role,
    "sensor": _role,
    "nodes": _nodes,
    "node": _node,
    "findings": _findings,
    "top": _top,
    "explain": _explain,
    "whatif": _whatif,
    "diagnose": _diagnose,
    "collect": _collect,
    "classify": _classify,
    "signatures": _signatures,
    "certs": _certs,
    "install": _install,
    "doctor": _doctor,
    "completion": _completion,
    "help": _help,
    "version": _version,
}
