"""An incident told as one story, on a terminal of 80 columns at 3 a.m.."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.findings import Record
from aggregator.model import Finding
from aggregator.story import Step, Story
from cli.render import fact_lines, some
from cli.report import iso
from cli.terminal import Look, wrap

_INDENT = "  "
_NAMED = 8
"""Other findings that are named; of more, the number is said."""


def story_text(story: Story, records: Mapping[str, Record], where: str, look: Look) -> str:
    """The story. `records`: by id of the finding, how long each is seen; `where`: of what and when, one clause."""
    lines = wrap(f"{where}: {_headline(story)}", look.width)
    if len(story.chain) == 1:
        lines += _part("what it is", _who(story.cause, records, look), look)
    else:
        lines += _part("symptom", _who(story.symptom, records, look), look)
        lines += _part("cause", _who(story.cause, records, look), look)
        lines += _part("chain, the cause first", _chain(story.chain, records, look), look)
    lines += _part("evidence, oldest first", _evidence(story, look), look)
    ruled_out = [f"{other.code}: {other.because}" for _, other in story.ruled_out]
    lines += _part("ruled out", _listed(list(dict.fromkeys(ruled_out)), look), look)
    lines += _part("what to do first", _listed(story.first, look, numbered=True), look)
    lines += _part(f"then, should {story.symptom.code} stay", _listed(story.then, look), look)
    over = [f"{each.code}: {each.text}" if len(story.chain) > 1 else each.text for each in story.over_when]
    lines += _part("it is over when", _listed(over, look), look)
    lines += _part("also explained by", _others(story.also_causes, look), look)
    lines += _part("which also causes", _others(story.also_effects, look), look)
    return "\n".join(lines)


def _headline(story: Story) -> str:
    word = story.severity.word.upper()
    ahead = "" if story.has_begun else ", nobody suffers yet"
    if len(story.chain) == 1:
        return f"{word} {story.cause.code}{ahead}; nothing that is known explains it"
    steps = f", in {len(story.chain) - 1} steps" if len(story.chain) > 2 else ""
    return f"{word} {story.symptom.code} comes of {story.cause.code}{steps}{ahead}"


def _part(title: str, body: Sequence[str], look: Look) -> list[str]:
    return ["", look.style(title, "bold"), *body] if body else []


def _who(finding: Finding, records: Mapping[str, Record], look: Look) -> list[str]:
    word = finding.severity.word
    nodes = f" on {some(finding.nodes)}" if finding.nodes else ""
    lines = wrap(f"{word.upper()} {finding.code} ({finding.stage.value}){nodes}", look.width, _INDENT, _INDENT * 2)
    lines[0] = lines[0].replace(word.upper(), look.style(word.upper(), word), 1)
    lines += wrap(finding.summary, look.width, _INDENT)
    if finding.objects:
        lines += wrap(f"concerns {some(finding.objects)}", look.width, _INDENT, _INDENT * 2)
    record = records.get(finding.id)
    facts = [f"began {iso(finding.since)}"] if finding.since else []
    if record is not None:
        facts += [f"seen since {iso(record.first_seen)}"] if record.first_seen else []
        facts += [f"over since {iso(record.resolved)} ({record.because})"] if record.resolved is not None else []
        facts += [f"cannot be confirmed at present: {record.unconfirmed}"] if record.unconfirmed else []
    return lines + wrap(", ".join([*facts, f"id {finding.id}"]), look.width, _INDENT, _INDENT * 2)


def _chain(chain: Sequence[Step], records: Mapping[str, Record], look: Look) -> list[str]:
    lines = []
    for number, step in enumerate(chain, 1):
        record = records.get(step.finding.id)
        began = iso(step.finding.since) or (iso(record.first_seen) if record is not None else "")
        when = f" {began}" if began else ""
        how = (
            f"; both are about {some(step.shared)}" if step.shared else "; the same signature found both" * (number > 1)
        )
        text = f"{number}.{when} {step.finding.code} ({step.finding.stage.value}){how}"
        lines += wrap(text, look.width, _INDENT, _INDENT + "   ")
        if 1 < number < len(chain):
            lines += wrap(step.finding.summary, look.width, _INDENT + "   ")
    return lines


def _evidence(story: Story, look: Look) -> list[str]:
    if not story.evidence:
        return []
    lines = fact_lines(story.evidence, look, _INDENT)
    if story.more_evidence:
        facts = f"{story.more_evidence:,} more fact{'' if story.more_evidence == 1 else 's'}"
        lines += wrap(f"and {facts}: --format json has all", look.width, _INDENT)
    return lines


def _listed(texts: Sequence[str], look: Look, *, numbered: bool = False) -> list[str]:
    lines = []
    for number, text in enumerate(texts, 1):
        mark = f"{number}. " if numbered else "- "
        lines += wrap(mark + text, look.width, _INDENT, _INDENT + " " * len(mark))
    return lines


def _others(findings: Sequence[Finding], look: Look) -> list[str]:
    lines = []
    for finding in findings[:_NAMED]:
        nodes = f" on {some(finding.nodes)}" if finding.nodes else ""
        text = f"{finding.severity.word.upper()} {finding.code}{nodes} ({finding.id})"
        lines += wrap(text, look.width, _INDENT, _INDENT * 2)
    more = len(findings) - _NAMED
    return [*lines, f"{_INDENT}and {more:,} more"] if more > 0 else lines
