"""How what could not be read becomes a coverage entry: one rule for all collectors."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, ReadError
from agent.hosts.files import printable
from agent.reading import Reading

_LINE = 1000


def status_of(failure: Failure) -> int:
    """What a failure to read all of a signal makes of it."""
    if failure is Failure.DAMAGED:
        return pb.COVERAGE_STATUS_DAMAGED
    return pb.COVERAGE_STATUS_DENIED if failure is Failure.DENIED else pb.COVERAGE_STATUS_MISSING


def add(reading: Reading, signal: str, error: ReadError, *, detail: str = "", lost: str = "", remedy: str = "") -> None:
    """Tell that `signal` is missing, denied or damaged, why, and what is lost; the error's own remedy comes first."""
    reading.gap(
        signal,
        printable(f"{error}; {lost}" if lost else str(error), _LINE),
        detail=detail,
        status=status_of(error.failure),
        remedy=error.remedy or remedy,
    )


def damage(reading: Reading, signal: str, place: str, problems: list[str], *, detail: str = "") -> None:
    """Tell of damaged parts of a source, if there are any: the first, and how many more."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        reading.gap(
            signal, printable(f"{place}: {problems[0]}{more}", _LINE), detail=detail, status=pb.COVERAGE_STATUS_DAMAGED
        )


def excerpt(raw: bytes, limit: int = 60) -> str:
    """A piece of a damaged line as part of a message: printable, and not endless."""
    return f'"{printable(raw[: limit + 4].decode("utf-8", "replace"), limit)}"'
