"""`nodetell version`."""

from __future__ import annotations

import argparse

from nodetell import __version__

from cli import exits
from cli.terminal import emit, emit_json


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    if arguments.format == "json":
        emit_json({"version": __version__})
    else:
        emit(f"nodetell {__version__}")
    return exits.OK
