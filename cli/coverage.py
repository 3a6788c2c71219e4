"""`kubectl nodetell coverage`: what limits the diagnosis, of all or of one node."""

from __future__ import annotations

import argparse
import os
import sys

from aggregator.convert import gap_from_message, gap_to_json
from aggregator.model import Gap
from cli import client
from cli.access import reached
from cli.documents import emit_document, wants_document
from cli.exits import OK
from cli.render import coverage_text
from cli.terminal import emit, look


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    with client.operator(reached(arguments), arguments.timeout) as operator:
        if arguments.node:
            operator.node(arguments.node)  # not found is not the same as nothing to say
        gaps = [gap_from_message(each) for each in operator.findings(resolved=False).coverage]
    return show([gap for gap in gaps if not arguments.node or gap.node == arguments.node], arguments)


def show(gaps: list[Gap], arguments: argparse.Namespace) -> int:
    """Print these."""
    if wants_document(arguments):
        emit_document({"coverage": [gap_to_json(gap) for gap in gaps]}, arguments)
    else:
        emit("\n".join(coverage_text(gaps, look(sys.stdout, os.environ))) or "nothing limits the diagnosis")
    return OK
