"""`nodetell top`: the live view on a terminal, one frame of it as text anywhere else."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from cli import client, exits
from cli.access import access
from cli.exits import CliError
from cli.listing import find
from cli.terminal import emit, look
from cli.top.frame import frame
from cli.top.rows import Order, columns
from cli.top.state import Seen


def run(arguments: argparse.Namespace) -> int:
    """Ask once, so that what is wrong is said before the screen is taken; then show it until told to stop."""
    order = order_of(arguments)
    show = None if arguments.once or not _is_terminal() else _application()
    seen = ask(arguments)
    if show is not None:
        return show(arguments, seen, order)
    emit(frame(seen, order, time.time(), look(sys.stdout, os.environ)))
    return exits.OK


def order_of(arguments: argparse.Namespace) -> Order:
    """As the flags have it. Raises CliError for a column that there is not."""
    if arguments.sort_by is None:
        return Order(text=arguments.filter)
    column, descending = find(arguments.sort_by, columns(0.0))
    return Order(column.name, descending, arguments.filter)


def ask(arguments: argparse.Namespace) -> Seen:
    """Everything, once. Raises CliError."""
    way = access(arguments)
    seen = Seen(way.address)
    with client.operator(way, arguments.timeout) as operator:
        seen.take_nodes(operator.nodes(), time.time())
        seen.take_findings(operator.findings(resolved=True), standing=True)
    return seen


def _is_terminal() -> bool:
    """All three streams are one that can be drawn on: textual reads the first and draws on the last."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    there = all(stream is not None and not stream.closed and stream.isatty() for stream in streams)
    return there and os.environ.get("TERM", "") not in ("", "dumb")


def _application() -> Callable[[argparse.Namespace, Seen, Order], int]:
    """What shows the live view. Raises CliError where textual is not installed."""
    try:
        from cli.top.app import show  # noqa: PLC0415  # nothing else needs textual
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        how = "pip install 'nodetell[top]' installs it; `nodetell top --once` needs nothing"
        raise CliError(exits.UNAVAILABLE, f"top: the package textual is not installed: {how}") from error
    return show
