"""Every signal of one node: whether it is measured, from what, why not better, and what in the manifest mends that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nodetell import signals
from nodetell.v1 import facts_pb2

from cli.facts import HostFacts
from cli.listing import Column
from cli.report import Json
from cli.terminal import Look, clean, table, wrap


@dataclass(frozen=True, slots=True)
class SignalState:
    """One signal on one node."""

    signal: signals.Signal
    status: str
    """ "measured", "degraded", "unavailable", "denied" or "damaged"."""
    source: str
    """What it is read from; empty: nothing, or the agent does not tell."""
    reasons: tuple[tuple[str, str], ...]
    """Why it is not better, each with what would mend that (may be empty)."""
    lacking: tuple[tuple[signals.Way, tuple[signals.Need, ...]], ...]
    """Better ways, each with what the agent was not given."""


def states(facts: HostFacts) -> list[SignalState]:
    """All signals in the table's order, then what an agent of another version tells of."""
    told: dict[str, list[facts_pb2.Coverage]] = {}
    unknown: dict[str, signals.Signal] = {}
    for item in facts.of("coverage"):
        known = signals.of_gap(item.key)
        if not known:
            name = item.coverage.signal
            known = [unknown.setdefault(name, signals.Signal(name, name, "not known to this version of nodetell"))]
        for signal in known:
            told.setdefault(signal.name, []).append(item.coverage)
    sources = {item.signal_source.signal: item.signal_source.source for item in facts.of("signal_source")}
    agent = facts.first("agent")
    grants = tuple(agent.grants) if agent is not None else ()
    working = {item.collector.name for item in facts.of("collector") if item.collector.ok}
    return [
        _state(
            signal,
            sources.get(signal.name, ""),
            told.get(signal.name, []),
            grants,
            told_grants=agent is not None,
            answered=signal.collector in working,
        )
        for signal in (*signals.SIGNALS, *unknown.values())
    ]


COLUMNS: Sequence[Column[SignalState]] = (
    Column("SIGNAL", "its name", lambda each: each.signal.name),
    Column("STATUS", "measured, degraded, unavailable, denied or damaged", lambda each: each.status),
    Column("READ FROM", "where it comes from", lambda each: each.source),
    Column("WHAT", "what it tells", lambda each: each.signal.what, wide=True),
    Column("BECAUSE", "why it is not better", lambda each: "; ".join(why for why, _ in each.reasons), wide=True),
    Column("REMEDY", "what would mend that", lambda each: "; ".join(do for _, do in each.reasons if do), wide=True),
)
"""All columns of a node's signals as a table."""

_SILENT = "there is nothing of it on this node, or nothing that the agent can see"
_UNREAD = "it was not read yet, or the agent is of a version that does not know it"


def _state(
    signal: signals.Signal,
    source: str,
    coverage: list[facts_pb2.Coverage],
    grants: tuple[str, ...],
    *,
    told_grants: bool,
    answered: bool,
) -> SignalState:
    reasons = [(each.because, each.remedy) for each in coverage]
    if not source and signal.collector and not coverage:
        reasons.append((_SILENT if answered else _UNREAD, ""))
    lacks = signals.lacking(signal, source, grants) if told_grants else []
    status = _status(signal, source, {each.status for each in coverage})
    better = tuple((way, tuple(needs)) for way, needs in lacks)
    return SignalState(signal, status, source, tuple(reasons), better if status != "measured" else ())


def _status(signal: signals.Signal, source: str, told: set[int]) -> str:
    """One word for it. Part of a signal that is missing or denied makes it degraded: the other part is read."""
    if source or not signal.collector:
        if facts_pb2.COVERAGE_STATUS_DAMAGED in told:
            return "damaged"
        return "degraded" if told else "measured"
    for status, word in _NOTHING_READ.items():
        if status in told:
            return word
    return "unavailable"


_NOTHING_READ = {facts_pb2.COVERAGE_STATUS_DAMAGED: "damaged", facts_pb2.COVERAGE_STATUS_DENIED: "denied"}
_STYLES = {
    "measured": "good",
    "degraded": "warning",
    "unavailable": "warning",
    "denied": "warning",
    "damaged": "critical",
}


def coverage_page(facts: HostFacts, look: Look) -> str:
    """All signals as a table, then those that could be better, with what would make them so."""
    all_states = states(facts)
    rows = [(each.signal.name, each.status, each.source) for each in all_states]
    lines = [look.style(clean(facts.summary.node), "bold"), ""]
    lines += table(("SIGNAL", "STATUS", "READ FROM"), rows, look.width)
    for each in all_states:
        if each.status != "measured":
            lines += ["", *_explained(each, look)]
    return "\n".join(lines)


def _explained(state: SignalState, look: Look) -> Iterator[str]:
    word = look.style(state.status, _STYLES[state.status])
    yield f"{look.style(clean(state.signal.name), 'bold')}: {word} ({state.signal.what})"
    for because, remedy in state.reasons:
        yield from wrap(because, look.width, "  ", "    ")
        if remedy:
            yield from wrap(f"to enable it: {remedy}", look.width, "    ", "      ")
    for way, needs in state.lacking:
        for need in needs:
            yield from wrap(f"from {way.source}, tier {need.tier}: {need.what}", look.width, "  ", "    ")
            for place, added in need.lines.items():
                yield f"    {place}:"
                yield from (f"      {line}" for line in added)


def coverage_json(facts: HostFacts) -> Json:
    """The same for programs."""
    return {
        "node": facts.summary.node,
        "signals": [
            {
                "signal": each.signal.name,
                "status": each.status,
                "what": each.signal.what,
                "source": each.source or None,
                "because": [{"reason": because, "remedy": remedy or None} for because, remedy in each.reasons],
                "enable": [
                    {
                        "source": way.source,
                        "tier": need.tier,
                        "needs": need.name,
                        "lines": {place: list(lines) for place, lines in need.lines.items()},
                    }
                    for way, needs in each.lacking
                    for need in needs
                ],
            }
            for each in states(facts)
        ],
    }
