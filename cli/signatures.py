"""`nodetell signatures`: what is diagnosed, with which numbers, and when it is over; needs no server.

The same table is the page docs/thresholds.md: `python -m cli.signatures > docs/thresholds.md`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nodetell.setting import Setting, settings_of

from aggregator.causes import EDGES
from aggregator.installed import Installed, installed
from aggregator.model import Severity, Stage
from aggregator.signatures.catalog import CODES
from aggregator.signatures.code import Code
from aggregator.signatures.stages import stages_of
from aggregator.signatures.thresholds import Thresholds
from cli.documents import emit_document, wants_document
from cli.exits import OK
from cli.listing import Column, choice, emit_listing
from cli.report import Json
from cli.terminal import Look, emit, look, wrap

BUILT_IN = "built in"


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One code as it is listed."""

    code: Code
    source: str
    """"built in", or the distribution that it is from."""
    stages: tuple[Stage, ...]
    """Empty: a signature from outside does not say."""

    @property
    def severity(self) -> str:
        """By stage, in words; the case at hand may decide otherwise, by age for instance."""
        code = self.code
        words = []
        if Stage.RISK in self.stages or not self.stages:
            words.append(f"{code.risk.word} as a risk")
        if Stage.ACTIVE in self.stages or not self.stages:
            several = code.spreads and code.active < Severity.CRITICAL
            words.append(f"{code.active.word} when active{', critical on several nodes' if several else ''}")
        return "; ".join(words)

    @property
    def stage(self) -> str:
        """In words."""
        return " or ".join(stage.value for stage in self.stages) or "as it is found"


def rows(found: Installed, codes: Mapping[str, Code] = CODES) -> list[CodeRow]:
    """All codes: built-in ones by incident in the order of the catalogue, then those from outside."""
    order = list(dict.fromkeys(code.incident for code in codes.values()))
    built_in = sorted(codes.values(), key=lambda code: order.index(code.incident))
    listed = [CodeRow(code, BUILT_IN, stages_of(code.code)) for code in built_in]
    return listed + [CodeRow(code, each.source, ()) for each in found.added for code in each.extension.codes]


def run(arguments: argparse.Namespace) -> int:
    """List them."""
    wanted, shape = choice(arguments, COLUMNS), look(sys.stdout, os.environ)
    found = installed()
    if wants_document(arguments):
        emit_document(signatures_json(found), arguments)
    elif wanted.table:
        emit_listing(rows(found), wanted, shape)
    else:
        emit(signatures_text(found, shape))
    return OK


COLUMNS: Sequence[Column[CodeRow]] = (
    Column("CODE", "as findings have it", lambda row: row.code.code),
    Column("INCIDENT", "what it belongs to", lambda row: row.code.incident),
    Column("STAGE", "risk, active or both", lambda row: row.stage),
    Column("SEVERITY", "the usual one", lambda row: row.severity),
    Column("MEANING", "in a few words", lambda row: row.code.headline),
    Column("CLEARS WHEN", "it is over then", lambda row: row.code.clears_when, wide=True),
    Column("SOURCE", "built in, or the distribution it is from", lambda row: row.source, wide=True),
)
"""All columns of codes as a table."""


def _source_of(setting: Setting) -> str:
    """Where the number comes from, as far as it is told apart from what it means."""
    return str(setting.metadata.get("source", ""))


def _value(setting: Setting) -> str:
    return f"{setting.default:g}" if isinstance(setting.default, (int, float)) else str(setting.default)


def _limits(setting: Setting) -> str:
    low, high = setting.metadata.get("min"), setting.metadata.get("max")
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""


def signatures_json(found: Installed) -> Json:
    """Everything, as one object."""
    return {
        "codes": [
            {
                "code": row.code.code,
                "incident": row.code.incident,
                "meaning": row.code.headline,
                "stages": [stage.value for stage in row.stages],
                "severity": {"risk": row.code.risk.word, "active": row.code.active.word},
                "critical_on_several_nodes": row.code.spreads,
                "clears_when": row.code.clears_when,
                "remediation": list(row.code.remediation),
                "source": row.source,
            }
            for row in rows(found)
        ],
        "thresholds": [
            {
                "name": setting.dotted,
                "meaning": setting.doc,
                "unit": setting.metadata.get("unit", ""),
                "default": setting.default,
                "min": setting.metadata.get("min"),
                "max": setting.metadata.get("max"),
                "source": _source_of(setting) or setting.doc,
            }
            for setting in settings_of(Thresholds)
        ],
        "edges": [{"cause": edge.cause, "effect": edge.effect, "shared": edge.kind} for edge in found.edges],
        "refused": [{"signature": each.name, "source": each.source, "because": each.because} for each in found.refused],
    }


def signatures_text(found: Installed, shape: Look) -> str:
    """To be read: codes by incident, then numbers, then what was refused."""
    lines: list[str] = []
    for incident, listed in _by_incident(rows(found)):
        lines += ["", shape.style(incident, "bold")]
        for row in listed:
            source = "" if row.source == BUILT_IN else f" [{row.source}]"
            head = f"{row.code.code} ({row.stage}){source}: {row.code.headline}"
            lines += wrap(head, shape.width, "  ", "    ")
            lines += wrap(row.severity, shape.width, "    ")
            lines += wrap(f"clears when {row.code.clears_when}", shape.width, "    ", "      ")
    lines += ["", shape.style("thresholds: [thresholds] of the aggregator's configuration", "bold")]
    for setting in settings_of(Thresholds):
        unit = setting.metadata.get("unit", "")
        limits = f" ({_limits(setting)})" if _limits(setting) else ""
        lines += wrap(f"{setting.dotted} = {_value(setting)}{f' {unit}' if unit else ''}{limits}", shape.width, "  ")
        source = f" Source: {_source_of(setting)}." if _source_of(setting) else ""
        lines += wrap(f"{setting.doc}{source}", shape.width, "    ")
    lines += ["", shape.style("what explains what, where both are about the same", "bold")]
    for edge in found.edges:
        lines += wrap(f"{edge.cause} -> {edge.effect} ({edge.kind})", shape.width, "  ", "    ")
    if found.refused:
        lines += ["", shape.style("not used", "warning")]
        for each in found.refused:
            lines += wrap(f"{each.name} of {each.source}: {each.because}", shape.width, "  ", "    ")
    return "\n".join(lines[1:])


def _by_incident(listed: Iterable[CodeRow]) -> Iterator[tuple[str, list[CodeRow]]]:
    groups: dict[str, list[CodeRow]] = {}
    for row in listed:
        groups.setdefault(row.code.incident, []).append(row)
    yield from groups.items()


# -- the page --------------------------------------------------------------------------------------------------------

_PAGE = """\
# Codes and thresholds

Made by `make docs` from the very tables that the diagnosis uses; `nodetell signatures` prints the same, and what is
installed besides ([signatures.md](signatures.md)). What each code rests on, and what it is not, is in
[findings.md](findings.md).

A severity is the usual one of the code: age, or harm that is proven more than once, may make it worse.
"""
_EDGES = """
## What explains what

A finding that another explains names it in `caused_by`. It takes an object of this kind that both are about, and the
cause must have begun first (at most a minute later, as other clocks have it) where both know when they began.

| cause | explains | shared |
| --- | --- | --- |
"""
_NUMBERS = """\
## Thresholds

All of them are keys of `[thresholds]` in the aggregator's configuration file (`NODETELL_AGGREGATOR_THRESHOLDS_...` in
its environment). Where a number comes from is said with what it means.

| key | default | unit | limits | meaning and source |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """docs/thresholds.md: the built-in codes, what explains what, and all thresholds."""
    parts = [_PAGE]
    for incident, listed in _by_incident(rows(Installed())):
        parts.append(
            f"\n## {incident}\n\n| code | stage | severity | meaning | clears when |\n| --- | --- | --- | --- | --- |\n"
        )
        parts += [
            f"| `{row.code.code}` | {row.stage} | {_cell(row.severity)} | {_cell(row.code.headline)} | "
            f"{_cell(row.code.clears_when)} |\n"
            for row in listed
        ]
    parts.append(_EDGES)
    parts += [f"| `{edge.cause}` | `{edge.effect}` | {edge.kind} |\n" for edge in sorted(EDGES, key=str)]
    parts.append("\n" + _NUMBERS)
    for setting in settings_of(Thresholds):
        source = f" Source: {_source_of(setting)}." if _source_of(setting) else ""
        unit = setting.metadata.get("unit", "")
        meaning = _cell(setting.doc + source)
        parts.append(f"| `{setting.dotted}` | {_value(setting)} | {unit} | {_limits(setting)} | {meaning} |\n")
    return "".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
