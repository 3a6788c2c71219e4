"""`nodetell version`."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

from cli import exits
from cli.terminal import emit, emit_json


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    try:
        text = version("nodetell")
    except PackageNotFoundError:
        text = "unknown (run from a source tree that is not installed)"
    if arguments.format == "json":
        emit_json({"version": text})
    else:
        emit(f"nodetell {text}")
    return exits.OK
