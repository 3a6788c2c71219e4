"""The table of docs/situations.md, from the situations themselves. `python -m tests.situations.document` renews it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.situations.catalogue import MOVES_BY, SITUATIONS, Said, Situation
from tests.situations.traffic import Fates

PATH = Path(__file__).resolve().parents[2] / "docs" / "situations.md"
_BEGIN, _END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
_HEAD = ("Situation", "What is sent", "Counters that move", "Said before any traffic", "Said after it")


def renewed(text: str) -> str:
    """The document with its table as it must be. Raises ValueError where it has no place for one."""
    before, _, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"{PATH.name}: no {_BEGIN.strip()} ... {_END.strip()}")
    return f"{before}{_BEGIN}{_table()}{_END}{after}"


def _table() -> str:
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_row, SITUATIONS)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(situation: Situation) -> tuple[str, ...]:
    moves = "; ".join(f"{node}: {counters}" for node, counters in situation.moves.items()) or "none"
    if situation.moves_by != MOVES_BY:
        moves += f" (by {situation.moves_by} or more)"
    after = _said(situation.after)
    if situation.silent:
        after += f"; *would tell:* {situation.silent}"
    what = f"**{situation.name}** {situation.what}"
    return what, _fates(situation), moves, _said(situation.before), after


def _fates(situation: Situation) -> str:
    told = "; ".join(_told(situation.fates))
    if situation.noise is None:
        return told
    noise = f"{situation.noise.count} small ones to {situation.noise.to}" if situation.noise.count else "nothing"
    return f"{told}; {noise}" if told else noise


def _told(fates: Fates) -> Iterator[str]:
    if fates.small:
        yield f"small: {fates.small.value}"
    if fates.whole:
        yield f"full size, DF: {fates.whole.value}"
    if fates.cuttable:
        yield f"without DF: {fates.cuttable.value}"
    if fates.bulk:
        yield f"bulk TCP {fates.bulk.value}"


def _said(findings: Iterable[Said]) -> str:
    return (
        ", ".join(f"`{found.code}` {found.stage.value} on {' and '.join(found.nodes)}" for found in findings)
        or "nothing"
    )


if __name__ == "__main__":
    PATH.write_text(renewed(PATH.read_text()))
