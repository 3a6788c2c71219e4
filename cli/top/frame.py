"""One frame of the live view as text: for pipes, for tickets, and for terminals that can't do more."""

from __future__ import annotations

from cli.listing import Choice, listing
from cli.terminal import Look, wrap
from cli.top.rows import Line, Order, columns, finding_lines, head_lines, node_rows
from cli.top.state import Seen


def frame(seen: Seen, order: Order, here: float, look: Look) -> str:
    """Everything that the live view shows, all nodes of it. `here`: now by this host's clock."""
    lines = [part for line in head_lines(seen, here) for part in wrap(line.text, look.width)]
    findings = finding_lines(seen, here)
    lines += ["", look.style("findings, causes first", "bold"), *(_cut(line, look) for line in findings or _NONE)]
    rows = node_rows(seen, order, here)
    lines += ["", look.style("nodes", "bold")]
    if not rows:
        return "\n".join([*lines, "none matches the filter" if seen.nodes else "no agent has reported yet"])
    return "\n".join([*lines, *listing(rows, Choice(columns(seen.now(here)), table=True), look)])


_NONE = [Line("no findings", "")]


def _cut(line: Line, look: Look) -> str:
    """A finding is one line, coloured by its first word."""
    text = line.text if len(line.text) <= look.width else line.text[: look.width - 3].rstrip() + "..."
    word, space, rest = text.partition(" ")
    return look.style(word, line.style) + space + rest if line.style else text
