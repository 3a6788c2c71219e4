"""`nodetell explain ID [BUNDLE]`: the story of one finding, of a live aggregator or of an evidence bundle."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from aggregator.findings import Record
from aggregator.model import Finding
from aggregator.story import tell
from aggregator.story_json import story_json
from cli.documents import emit_document, wants_document
from cli.evidence_table import COLUMNS, evidence
from cli.exits import NOT_FOUND, CliError
from cli.listing import choice, emit_listing
from cli.report import Report, iso, status_of
from cli.story_text import story_text
from cli.terminal import clean, emit, look

_NAMED = 12
"""Findings that are named to somebody who asked for one that there is not."""


def run(arguments: argparse.Namespace) -> int:
    """Tell the story; the exit status is that of the worst finding of its chain."""
    wanted = choice(arguments, COLUMNS)
    report = _of_bundle(arguments) if arguments.bundle is not None else _of_aggregator(arguments)
    asked = chosen(report.records, arguments.id)
    # What is over explains nothing that stands, and is explained by what was there with it.
    standing = [record for record in report.records if record.resolved is None]
    known = standing if asked.resolved is None else [*standing, asked]
    story = tell([record.finding for record in known], asked.finding.id)
    shape = look(sys.stdout, os.environ)
    if wants_document(arguments):
        emit_document({"cluster": report.cluster, "at": iso(report.at), **story_json(story)}, arguments)
    elif wanted.table:
        emit_listing(evidence(story), wanted, shape)
    else:
        where = f"cluster {clean(report.cluster)}, {iso(report.at)}" if report.cluster else iso(report.at)
        by_id = {record.finding.id: record for record in known}
        emit(story_text(story, by_id, where, shape))
    return status_of(story.severity)


def chosen(records: Sequence[Record], asked: str) -> Record:
    """The finding that is meant by an id, the beginning of one, or a code that only one has. Raises CliError."""
    standing = [record for record in records if record.resolved is None]
    over = [record for record in records if record.resolved is not None]
    for known in (standing, over):
        exact = [record for record in known if record.finding.id == asked]
        begun = [record for record in known if asked and record.finding.id.startswith(asked)]
        like = begun or [record for record in known if asked and record.finding.code.startswith(asked)]
        of_code = [record for record in known if record.finding.code == asked]
        for found in (exact, of_code, like):
            if len(found) == 1:
                return found[0]
            if found:
                raise CliError(NOT_FOUND, f"{clean(asked)}: that could be any of these:\n{_list(found)}")
    there = f"there are:\n{_list(standing)}" if standing else "there are no findings"
    raise CliError(NOT_FOUND, f"{clean(asked) or '(empty)'}: there is no such finding; {there}")


def _list(records: Sequence[Record]) -> str:
    lines = [_line(record.finding) for record in records[:_NAMED]]
    more = len(records) - _NAMED
    return "\n".join([*lines, f"  and {more:,} more"] if more > 0 else lines)


def _line(finding: Finding) -> str:
    return f"  {clean(finding.id)}  {finding.severity.word} {clean(finding.code)}"


def _of_bundle(arguments: argparse.Namespace) -> Report:
    from cli.diagnose import of_path  # noqa: PLC0415  # a question to an aggregator needs no signatures

    return of_path(arguments.bundle)


def _of_aggregator(arguments: argparse.Namespace) -> Report:
    from aggregator.convert import record_from_message  # noqa: PLC0415  # a bundle needs no gRPC
    from cli import client  # noqa: PLC0415
    from cli.access import reached  # noqa: PLC0415

    with client.operator(reached(arguments), arguments.timeout) as operator:
        answer = operator.findings(resolved=True)
    return Report("", time.time(), [record_from_message(finding) for finding in answer.findings])
