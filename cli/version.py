"""`nodetell version`."""

from __future__ import annotations

import argparse

from nodetell import __version__

from cli import exits
from cli.documents import emit_document, wants_document
from cli.terminal import emit


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    if wants_document(arguments):
        emit_document({"version": __version__}, arguments)
    else:
        emit(f"nodetell {__version__}")
    return exits.OK
