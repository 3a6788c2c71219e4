"""Findings and coverage as text to be read at 3 a.m.: the worst first, its cause above it, what to do, when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aggregator.findings import Record
from aggregator.model import Evidence, Gap, Severity
from aggregator.wording import without_node
from cli.report import Report, iso
from cli.terminal import Look, clean, table, wrap

_FACTS = 24
"""So many facts are shown as evidence of one finding."""
_NAMED = 6
"""So many nodes or objects are named; of the others, the number is said."""
_ALIKE = 3
"""So many consequences of one code are told below their cause; of the others, the number is said."""


def report_text(report: Report, look: Look, *, verbose: bool = False) -> str:
    """All findings, roots first with their consequences below them, then what limits the diagnosis."""
    standing = [record for record in report.records if record.resolved is None]
    over = [record for record in report.records if record.resolved is not None]
    where = f"cluster {clean(report.cluster)}, " if report.cluster else ""
    lines = wrap(f"{where}{iso(report.at)}: {_counts(standing)}", look.width)
    for record, below in chains(standing):
        lines += ["", *finding_text(record, look, verbose=verbose)]
        lines += _consequences(below, look, verbose=verbose)
    if over:
        lines += ["", look.style("Resolved", "bold")]
        lines += [line for record in over for line in resolved_text(record, look)]
    if report.gaps:
        lines += ["", look.style("What limits this diagnosis", "bold"), *coverage_text(report.gaps, look)]
    return "\n".join(lines)


def _counts(standing: Sequence[Record]) -> str:
    if not standing:
        return "no findings"
    by_word = {severity.word: 0 for severity in reversed(Severity)}
    for record in standing:
        by_word[record.finding.severity.word] += 1
    parts = ", ".join(f"{count} {word}" for word, count in by_word.items() if count)
    return f"{_number(len(standing), 'finding')} ({parts})"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def chains(records: Sequence[Record]) -> Iterable[tuple[Record, list[tuple[int, Record]]]]:
    """Each root with what follows from it, as (depth, record); what has several causes stands below the first."""
    known = {record.finding.id for record in records}
    effects: dict[str, list[Record]] = {}
    roots = []
    for record in records:
        causes = [cause for cause in record.finding.caused_by if cause in known and cause != record.finding.id]
        if causes:
            effects.setdefault(causes[0], []).append(record)
        else:
            roots.append(record)
    shown: set[str] = set()

    def below(cause: str, depth: int) -> Iterable[tuple[int, Record]]:
        for effect in effects.get(cause, ()):
            if effect.finding.id not in shown:
                shown.add(effect.finding.id)
                yield depth, effect
                yield from below(effect.finding.id, depth + 1)

    for root in roots:
        yield root, list(below(root.finding.id, 1))
    # Findings that name each other as their cause have no root; none may be lost for that.
    for record in records:
        if record not in roots and record.finding.id not in shown:
            shown.add(record.finding.id)
            yield record, list(below(record.finding.id, 1))


def finding_text(record: Record, look: Look, indent: str = "", *, verbose: bool = False) -> list[str]:
    """One finding in full; of many facts the first ones, unless `verbose`."""
    finding = record.finding
    inner = indent + "  "
    lines = [_head(record, look, indent), *wrap(finding.summary, look.width, inner)]
    lines += _life(record, look, inner)
    if finding.objects:
        lines += wrap(f"concerns {some(finding.objects)}", look.width, inner, inner + "  ")
    facts = finding.evidence if verbose else finding.evidence[:_FACTS]
    rows = _evidence(facts, look, inner + "  ")
    if len(facts) < len(finding.evidence):
        more = f"and {_number(len(finding.evidence) - len(facts), 'more fact')}: --verbose shows them"
        rows += wrap(more, look.width, inner + "  ")
    lines += _section("evidence", rows, look, inner)
    ruled_out = [f"{each.code}: {each.because}" for each in finding.ruled_out]
    lines += _section("ruled out", _bullets(ruled_out, look, inner + "  ", numbered=False), look, inner)
    steps = _bullets(finding.remediation, look, inner + "  ", numbered=True)
    lines += _section("what to do first", steps, look, inner)
    if finding.clears_when:
        lines += _section("clears when", wrap(finding.clears_when, look.width, inner + "  "), look, inner)
    return lines


def _consequences(below: Sequence[tuple[int, Record]], look: Look, *, verbose: bool) -> list[str]:
    """What follows from a root: how much, then each in short; of many of one code the first ones, unless `verbose`."""
    if not below:
        return []
    lines = ["", *wrap(f"which causes {_counts([record for _, record in below])}", look.width, "  ")]
    folded: dict[tuple[int, str], int] = {}
    for depth, record in below:
        indent = "  " * (depth + 1)
        if verbose:
            lines += ["", *finding_text(record, look, indent, verbose=True)]
            continue
        place = depth, record.finding.code
        folded[place] = folded.get(place, 0) + 1
        if folded[place] <= _ALIKE:
            lines += [_head(record, look, indent), *wrap(record.finding.summary, look.width, indent + "  ")]
            lines += wrap(f"id {record.finding.id}{_besides(record)}", look.width, indent + "  ", indent + "    ")
    for (depth, code), count in folded.items():
        if count > _ALIKE:
            more = f"and {count - _ALIKE:,} more {code}: --verbose shows them"
            lines += wrap(more, look.width, "  " * (depth + 1))
    return lines


def _besides(record: Record) -> str:
    """That it has other causes, too: it stands below the first."""
    others = len(record.finding.caused_by) - 1
    return f", and {_number(others, 'other cause')}" if others > 0 else ""


def _head(record: Record, look: Look, indent: str) -> str:
    """Severity, code and nodes: the line the eye looks for."""
    finding = record.finding
    word = look.style(finding.severity.word.upper(), finding.severity.word)
    nodes = f" on {clean(some(finding.nodes))}" if finding.nodes else ""
    return f"{indent}{word} {look.style(clean(finding.code), 'bold')} ({finding.stage.value}){nodes}"


def _life(record: Record, look: Look, indent: str) -> list[str]:
    since = f"since {iso(record.first_seen)}, " if record.first_seen else ""
    lines = wrap(f"{since}id {record.finding.id}", look.width, indent)
    if record.unconfirmed:
        lines += wrap(f"cannot be confirmed at present: {record.unconfirmed}", look.width, indent)
    return lines


def resolved_text(record: Record, look: Look) -> list[str]:
    """One line on a finding that is over."""
    finding = record.finding
    because = f" ({record.because})" if record.because else ""
    text = f"{iso(record.resolved or 0.0)} {finding.code} on {some(finding.nodes)}: {finding.summary}{because}"
    return wrap(text, look.width, "  ", "    ")


def event_text(kind: str, at: float, record: Record, look: Look) -> str:
    """What became of a finding: in full when it is new, its head and summary otherwise."""
    stamp = look.style(iso(at), "dim")
    if kind == "resolved":
        what = f"{clean(record.finding.code)} on {clean(some(record.finding.nodes))}"
        lines = [f"{stamp} {look.style('resolved', 'good')} {what}"]
    elif kind == "changed":
        lines = [f"{stamp} changed", _head(record, look, ""), *wrap(record.finding.summary, look.width, "  ")]
        lines += _life(record, look, "  ") if record.unconfirmed else []
    else:
        lines = [f"{stamp} {kind}", *finding_text(record, look)]
    return "\n".join(lines)


def _section(title: str, body: list[str], look: Look, indent: str) -> list[str]:
    return [indent + look.style(title, "dim"), *body] if body else []


def _bullets(texts: Sequence[str], look: Look, indent: str, *, numbered: bool) -> list[str]:
    lines = []
    for number, text in enumerate(texts, 1):
        mark = f"{number}. " if numbered else "- "
        lines += wrap(mark + text, look.width, indent, indent + " " * len(mark))
    return lines


def some(names: Sequence[str]) -> str:
    """The first of several names, and how many more there are."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1:,} more"


def _evidence(evidence: Sequence[Evidence], look: Look, indent: str) -> list[str]:
    rows = [(each.node, each.signal, each.subject, value_text(each), each.source, iso(each.at)) for each in evidence]
    headers = ("NODE", "SIGNAL", "SUBJECT", ">VALUE", "SOURCE", "AT")
    return table(headers, rows, look.width, indent, lambda: fact_lines(evidence, look, indent)) if rows else []


def fact_lines(evidence: Sequence[Evidence], look: Look, indent: str) -> list[str]:
    """Facts, a wrapped line each. On the day of the last of them the time alone is given."""
    day = iso(evidence[-1].at)[:10]
    return [line for fact in evidence for line in wrap(_fact(fact, day), look.width, indent, indent + "  ")]


def _fact(fact: Evidence, day: str) -> str:
    """One fact as a line; on the story's own day its time alone."""
    at = iso(fact.at).removeprefix(f"{day}T")
    subject = f" of {fact.subject}" if fact.subject not in ("", fact.node) else ""
    return f"{at}{f' {fact.node}' if fact.node else ''} {fact.signal}{subject}: {value_text(fact)} ({fact.source})"


def value_text(evidence: Evidence) -> str:
    """A value with its unit, thousands kept apart."""
    value = evidence.value
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    else:
        text = value
    return f"{text} {evidence.unit}".rstrip()


# -- coverage ------------------------------------------------------------------------------------------------------


def coverage_text(gaps: Sequence[Gap], look: Look) -> list[str]:
    """Gaps of the diagnosis, one paragraph for what is the same on many nodes."""
    groups: dict[tuple[str, str, str, str], list[Gap]] = {}
    for gap in gaps:
        groups.setdefault((gap.signal, gap.status, without_node(gap.because, gap.node), gap.remedy), []).append(gap)
    lines = []
    for (signal, status, because, remedy), same in groups.items():
        nodes = sorted({gap.node for gap in same if gap.node})
        where = "" if not nodes else f" on {some(nodes)}" if len(nodes) <= _NAMED else f" on {len(nodes):,} nodes"
        reason = because if len(nodes) > 1 else same[0].because
        lines += wrap(f"{signal} {status}{where}: {reason}", look.width, "  ", "    ")
        if remedy:
            lines += wrap(f"to enable it: {remedy}", look.width, "    ", "      ")
    return lines
