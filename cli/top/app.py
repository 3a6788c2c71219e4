"""The live view on a terminal: what is seen as two tables, keys, and a screen that is left as it was found.

It draws with the terminal's own colours and without animations, takes no mouse, and draws at most twice a second, so
that it serves over a slow line; while nothing changes it is drawn once a second for the sake of the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from aggregator.story import tell
from cli import exits
from cli.exits import CliError
from cli.listing import Column
from cli.node_text import node_text
from cli.render import coverage_text
from cli.report import iso
from cli.story_text import story_text
from cli.terminal import Look, clean, pad
from cli.terminal import columns as columns_of
from cli.top.follow import Follower
from cli.top.lines import Lines
from cli.top.rows import (
    DOWNWARDS,
    SHOWN,
    Line,
    Node,
    Order,
    columns,
    finding_lines,
    head_lines,
    node_rows,
    node_style,
    worst_of,
)
from cli.top.screens import HELP, Ask, Page
from cli.top.state import Seen

DRAW_S = 0.5
"""Changes are drawn so long after the first of them, together."""
TICK_S = 1.0
"""The clock goes on this often."""
_MOST_CELL = 40
"""Columns of a cell; what is longer is cut."""
_KEYS = "q quit  ? help  Tab findings/nodes  Enter story  / filter  < > r w sort  c coverage"
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Top(App[int]):
    """The live view."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "nodetell top"
    CSS = """
    Screen, Page, Ask { background: ansi_default; color: ansi_default; }
    #head, #counts, .title, .bar { height: 1; width: 100%; text-wrap: nowrap; text-overflow: ellipsis; }
    #findings { height: 1fr; min-height: 3; max-height: 45%; }
    #nodes { height: 2fr; min-height: 4; }
    Lines { background: ansi_default; scrollbar-size: 0 0; overflow: hidden hidden; }
    .title, .bar { text-style: bold; }
    #page { background: ansi_default; scrollbar-size: 0 0; height: 1fr; }
    #page-text { width: 100%; height: auto; }
    Ask { align: left bottom; }
    #question { height: 1; text-style: bold; }
    #answer { height: 1; border: none; background: ansi_default; color: ansi_default; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "end", "quit"),
        Binding("ctrl+c,ctrl+q", "end", "quit", priority=True, system=True),
        Binding("question_mark,h,f1", "help", "help"),
        Binding("slash", "filter", "filter"),
        Binding("less_than_sign,comma", "sort(-1)", "sort"),
        Binding("greater_than_sign,full_stop", "sort(1)", "sort"),
        Binding("r", "reverse", "reverse"),
        Binding("w", "worst", "worst first"),
        Binding("a", "all", "all"),
        Binding("c", "coverage", "coverage"),
        Binding("p", "pause", "pause"),
    ]

    def __init__(self, arguments: argparse.Namespace, seen: Seen, order: Order) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.animation_level = "none"
        self._seen, self._order = seen, order
        self._follower = Follower(arguments, seen, self._changed)
        self._following: asyncio.Task[None] | None = None
        self._fold, self._paused, self._due = True, False, False
        self._told: list[Line] = []
        self._rows: list[Node] = []
        self._widths: dict[str, int] = {}
        self.ended_by: signal.Signals | None = None
        """A signal that told it to end."""

    # -- life --------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Head, findings, nodes, keys."""
        yield Static("", id="head", markup=False)
        yield Static("", id="counts", markup=False)
        yield Static("findings, causes first", classes="title", markup=False)
        yield Lines(id="findings")
        yield Static("", id="nodes-title", classes="title", markup=False)
        yield Lines(id="nodes")
        yield Static(_KEYS, classes="bar", markup=False)

    def on_mount(self) -> None:
        """Begin to follow."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) wants it ignored
                loop.add_signal_handler(number, self._on_signal, number)
        self.query_one("#nodes", Lines).focus()
        self._following = loop.create_task(self._follow())
        self.set_interval(TICK_S, self._tick)
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """The widgets have another size now."""
        self.call_after_refresh(self._draw)

    async def on_unmount(self) -> None:
        """Leave the aggregator alone."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following

    async def _follow(self) -> None:
        try:
            await self._follower.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # a defect: the screen is given back before it is told
            self.exit(exits.UNAVAILABLE, message=f"{type(error).__name__}: {error}")

    def _on_signal(self, number: signal.Signals) -> None:
        self.ended_by = number
        self.exit(exits.OK)

    # -- drawing -----------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """Something is known anew."""
        if not self._due and not self._paused:
            self._due = True
            self.set_timer(DRAW_S, self._draw)

    def _tick(self) -> None:
        if not self._due and not self._paused and not self._covered:
            self._draw_head()

    @property
    def _covered(self) -> bool:
        """Something is open over it, or it ends: nothing is drawn that nobody sees."""
        return len(self.screen_stack) != 1

    def _draw(self, _: object = None) -> None:
        """Everything."""
        self._due = False
        if self._covered:
            return
        here = time.time()
        self._draw_head()
        self._draw_findings(here)
        self._draw_nodes(here)

    def _draw_head(self) -> None:
        first, second = head_lines(self._seen, time.time())
        head = self.screen.query_one("#head", Static)
        head.styles.text_style = "bold reverse" if self._seen.lost is not None else "bold"
        head.update(f"{first.text}{'   PAUSED' if self._paused else ''}")
        self.screen.query_one("#counts", Static).update(second.text)

    def _draw_findings(self, here: float) -> None:
        widget = self.screen.query_one("#findings", Lines)
        chosen = self._told[widget.cursor].id if widget.cursor < len(self._told) else ""
        self._told = finding_lines(self._seen, here, folded=self._fold)
        ids = [line.id for line in self._told]
        cursor = ids.index(chosen) if chosen in ids else widget.cursor
        shown = self._told or [Line("no findings", "dim")]
        width = max(columns_of(line.text) for line in shown)
        widget.fill(len(shown), lambda row: (shown[row].text, shown[row].style), None, width, cursor)

    def _draw_nodes(self, here: float) -> None:
        widget, order = self.screen.query_one("#nodes", Lines), self._order
        chosen = self._rows[widget.cursor].node if widget.cursor < len(self._rows) else ""
        self._rows = node_rows(self._seen, order, here)
        cursor = next((at for at, node in enumerate(self._rows) if node.node == chosen), widget.cursor)
        shown = columns(self._seen.now(here))
        self._widen(shown, self._rows[: max(50, widget.size.height)])
        worst = worst_of(self._seen.standing)
        nodes = self._rows

        def text(row: int) -> tuple[str, str]:
            return self._row(nodes[row], shown), node_style(nodes[row], worst)

        header = "  ".join(pad(self._named(each), self._widths[each.name], right=each.right) for each in shown)
        widget.fill(len(nodes), text, (header, "bold"), columns_of(header), cursor)
        told = f"nodes: {len(nodes):,}" + (
            f" of {len(self._seen.nodes):,} with “{clean(order.text)}”" if order.text else ""
        )
        how = f"by {order.column}{', downwards' if order.descending else ''}" if order.column else "the worst first"
        self.screen.query_one("#nodes-title", Static).update(f"{told}, {how}")

    def _named(self, column: Column[Node]) -> str:
        """Its header, marked where rows are sorted by it."""
        mark = ("v" if self._order.descending else "^") if column.name == self._order.column else ""
        return column.name + mark

    def _widen(self, shown: Sequence[Column[Node]], nodes: Sequence[Node]) -> None:
        """Columns grow with what is in sight, and do not shrink again: nothing jumps to and fro."""
        for column in shown:
            cells = (min(_MOST_CELL, columns_of(clean(column.text(node)))) for node in nodes)
            width = max((len(column.name) + 1, *cells))
            self._widths[column.name] = max(width, self._widths.get(column.name, 0))

    def _row(self, node: Node, shown: Sequence[Column[Node]]) -> str:
        cells = []
        for column in shown:
            text, width = clean(column.text(node)), self._widths[column.name]
            cells.append(pad(_cut(text, width), width, right=column.right))
        return "  ".join(cells).rstrip()

    # -- keys --------------------------------------------------------------------------------------------------------

    def action_end(self) -> None:
        """End it."""
        self.exit(exits.OK)

    def action_help(self) -> None:
        """Which keys there are."""
        self._open(HELP)

    def action_filter(self) -> None:
        """Ask for a text."""

        def answered(text: str | None) -> None:
            if text is not None:
                self._order = Order(self._order.column, self._order.descending, text.strip())
            self._draw()

        if not self._covered:
            self.push_screen(Ask(self._order.text), answered)

    def action_sort(self, by: int) -> None:
        """By the next column."""
        at = SHOWN.index(self._order.column) + by if self._order.column else (0 if by > 0 else -1)
        name = SHOWN[at % len(SHOWN)]
        self._order = Order(name, name in DOWNWARDS, self._order.text)
        self._draw()

    def action_reverse(self) -> None:
        """The other way round."""
        self._order = Order(self._order.column or SHOWN[0], not self._order.descending, self._order.text)
        self._draw()

    def action_worst(self) -> None:
        """As at the start."""
        self._order = Order(text=self._order.text)
        self._draw()

    def action_all(self) -> None:
        """All consequences, or few of each code."""
        self._fold = not self._fold
        self._draw()

    def action_pause(self) -> None:
        """What is shown stays, or goes on."""
        self._paused = not self._paused
        self._draw()

    def action_coverage(self) -> None:
        """What limits the diagnosis."""
        lines = coverage_text(self._seen.gaps, self._look) or ["nothing is lacking"]
        self._open("\n".join(["What limits this diagnosis", "", *lines]))

    async def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Enter: a story, or a node's page."""
        if event.lines.id == "findings":
            if event.row < len(self._told):
                self._story(self._told[event.row].id)
        elif event.row < len(self._rows):
            name = self._rows[event.row].node
            page = self._open(f"{clean(name)}: being asked for ...")
            if page is not None:
                self.run_worker(self._node_page(page, name))

    def _story(self, wanted: str) -> None:
        records = {record.finding.id: record for record in self._seen.over(time.time())} | self._seen.standing
        if wanted not in records:
            self.action_all()
            return
        asked = records[wanted]
        known = {**self._seen.standing, wanted: asked}  # what is over explains nothing that stands
        story = tell([record.finding for record in known.values()], wanted)
        self._open(story_text(story, known, iso(round(self._seen.now(time.time()))), self._look))

    async def _node_page(self, page: Page, name: str) -> None:
        try:
            page.show(node_text(await self._follower.node(name), self._look))
        except CliError as error:
            page.show(clean(str(error)))

    @property
    def _look(self) -> Look:
        return Look(max(30, self.size.width - 1), not self.no_color)

    def _open(self, text: str) -> Page | None:
        """Over everything; None: something is open already."""
        if self._covered:
            return None
        page = Page(text)
        self.push_screen(page, self._draw)
        return page


def _cut(text: str, width: int) -> str:
    if columns_of(text) <= width:
        return text
    while columns_of(text) > width - 1:
        text = text[:-1]
    return text + "~"


def show(arguments: argparse.Namespace, seen: Seen, order: Order) -> int:
    """Show it until told to stop; the exit status. A signal ends the process once the screen is given back."""
    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # there and empty it means nothing (https://no-color.org)
    top = Top(arguments, seen, order)
    status = top.run(mouse=False)
    if top.ended_by is not None:
        sys.stdout.flush()
        signal.signal(top.ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), top.ended_by)
    return exits.OK if status is None else status
