"""The `nodetell` command: takes the command line apart, calls the command, and turns what goes wrong into a status.

Nothing heavy is imported before it is known what is wanted: help, and a diagnosis of a bundle, never load gRPC.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cli.exits import BROKEN_PIPE, INTERRUPTED, CliError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return guarded(_run, sys.argv[1:] if argv is None else argv)


def guarded(run: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run what takes a command line; what goes wrong becomes a status and a line."""
    try:
        return run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return BROKEN_PIPE
    except CliError as error:
        from cli.terminal import complain  # noqa: PLC0415  # see the module's docstring

        complain(str(error))
        _abandon_output()
        return error.status


def _run(argv: list[str]) -> int:
    from cli import parser, terminal  # noqa: PLC0415  # so that an interrupt while importing is caught above

    terminal.prepare()
    arguments = parser.parse(argv)
    return parser.command(arguments)(arguments)


def _abandon_output() -> None:
    from cli.terminal import abandon_output  # noqa: PLC0415  # see the module's docstring

    abandon_output()


if __name__ == "__main__":
    sys.exit(main())
