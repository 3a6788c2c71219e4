"""The command line of `nodetell certs`: its four parts and their flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from cli import flags
from cli.page import Page

SUMMARY = "make a small private authority, and certificates of it; needs no server"
DESCRIPTION = (
    "Makes a small private authority (ECDSA P-256) and certificates for the aggregator, agents and operators, for "
    "those who have no cert-manager. The directory holds the authority's key: keep it where only you can read it, and "
    "not in the cluster. Nothing is written over unless --force is given. A process that uses a certificate takes up a "
    "new one by itself."
)
EXAMPLES = (
    "  nodetell certs init ~/nodetell-ca\n"
    "  nodetell certs issue ~/nodetell-ca --role aggregator --name nodetell.example.org --name 192.0.2.10\n"
    "  nodetell certs issue ~/nodetell-ca --role agent --node worker-1\n"
    "  nodetell certs issue ~/nodetell-ca --role operator --name ada\n"
    "  nodetell certs renew ~/nodetell-ca\n"
    "  nodetell certs show ~/nodetell-ca/*.crt"
)


def add(parser: argparse.ArgumentParser, new: Callable[..., Any]) -> None:
    """The parts of the command. `new` makes a parser as the others are."""
    parts = parser.add_subparsers(title="parts", metavar="PART", dest="part", required=True, parser_class=type(parser))

    def part(name: str, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
        page = Page(summary, description, examples, (), ("nodetell certs", "docs/identity.md"))
        made: argparse.ArgumentParser = new(parts.add_parser, page, name, help=summary)
        # Without a default: what stands before the part counts.
        flags.output(made, flags.LIST, inherited=True)
        return made

    made = part(
        "init", "a new authority", "Makes ca.crt and ca.key in the directory.", "  nodetell certs init ~/nodetell-ca"
    )
    made.add_argument("directory", metavar="DIR", help="where to write; made if it is not there")
    made.add_argument("--name", default="nodetell", help="name of the authority (default: nodetell)")
    made.add_argument("--days", type=_days, metavar="N", help="how long it counts (default: 3650)")
    made.add_argument("--force", action="store_true", help="write over an authority that is there")

    made = part(
        "issue",
        "a certificate for an aggregator, an agent or an operator",
        "Makes a key and a certificate, signed by the authority in the directory: aggregator.crt, agent-NODE.crt or "
        "operator-NAME.crt, each with its .key beside it.",
        "  nodetell certs issue ~/nodetell-ca --role aggregator --name nodetell.example.org --name 192.0.2.10\n"
        "  nodetell certs issue ~/nodetell-ca --role agent --node worker-1\n"
        "  nodetell certs issue ~/nodetell-ca --role operator --name ada",
    )
    made.add_argument("directory", metavar="DIR", help="where the authority is")
    made.add_argument("--role", required=True, choices=("aggregator", "agent", "operator"), help="whose it is to be")
    made.add_argument(
        "--name",
        action="append",
        default=[],
        help="aggregator: a host name or IP address that it is reached by, repeatable; operator: the operator's name",
    )
    made.add_argument("--node", default="", help="agent: the node's name, as the agent has it")
    made.add_argument("--output", metavar="DIR", help="where to write (default: beside the authority)")
    made.add_argument(
        "--days", type=_days, metavar="N", help="how long it counts (default: 365, of an operator 90); never longer "
        "than the authority"
    )  # fmt: skip
    made.add_argument("--force", action="store_true", help="write over a certificate that is there")

    made = part(
        "renew",
        "certificates that will soon expire, anew",
        "Issues certificates anew, each with a new key, the same names and as many days as it had, in place of the old "
        "one: those named, or else those in the directory with less than a third of their time left.",
        "  nodetell certs renew ~/nodetell-ca\n  nodetell certs renew ~/nodetell-ca ~/nodetell-ca/aggregator.crt",
    )
    made.add_argument("directory", metavar="DIR", help="where the authority is")
    made.add_argument("file", metavar="FILE", nargs="*", help="certificates to renew, however much time they have")

    made = part(
        "show",
        "what certificates say",
        "Prints role, names and dates of all certificates in files.",
        "  nodetell certs show ~/nodetell-ca/*.crt\n"
        "  nodetell certs show ~/nodetell-ca/*.crt --columns file,until --sort-by until",
    )
    made.add_argument("file", metavar="FILE", nargs="+", help="certificates, PEM")


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise argparse.ArgumentTypeError(f'"{text}" is no number from 1 to 36500')
    return int(text)
