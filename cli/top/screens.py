"""What opens over the live view: a finding's story, a node's page, coverage, help."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

HELP = """\
nodetell top: what the keys do

  up down  k j        choose a row           Tab       findings or nodes
  PgUp PgDn Home End  move further           left right  the rest of wide rows
  Enter               a finding's story; a node's page
  /                   show only nodes with a text in their name or zone; empty: all
  < >                 sort nodes by the next column to the left or right
  r                   the other way round    w         the worst first, as at the start
  a                   all that follows from a finding, or the first three of each code
  c                   what limits the diagnosis (coverage)
  p                   pause: what is shown stays
  ?  h                this                   q  Ctrl-C  end; Esc closes what is open

Findings: causes first, what follows from them below, resolved ones of the last hour at the
end. Nodes: HEARD is how long ago the agent was heard, CLOCK its clock beside the
aggregator's, FSYNC P99 the worst 99th percentile, DROPS/S what its interfaces dropped in
the last minute, PATH MTU its worst path. Nothing stands for what is not known.
"""


class Page(ModalScreen[None]):
    """A text that scrolls, over everything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "dismiss", "close"),
        Binding("down,j", "scroll('scroll_down')", show=False),
        Binding("up,k", "scroll('scroll_up')", show=False),
        Binding("pagedown,space", "scroll('scroll_page_down')", show=False),
        Binding("pageup", "scroll('scroll_page_up')", show=False),
        Binding("home,g", "scroll('scroll_home')", show=False),
        Binding("end,G", "scroll('scroll_end')", show=False),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The text, and how to get back."""
        with VerticalScroll(id="page", can_focus=False):
            yield Static(Text.from_ansi(self._text), id="page-text")
        yield Static("Esc closes   up down PgUp PgDn scroll", classes="bar")

    def show(self, text: str) -> None:
        """Another text in its place."""
        self._text = text
        for shown in self.query("#page-text").results(Static):
            shown.update(Text.from_ansi(text))

    def on_mount(self) -> None:
        """The text may have come while this was being made."""
        self.show(self._text)

    def action_scroll(self, how: str) -> None:
        """Scroll, without an animation: over a slow line it would be many screens."""
        getattr(self.query_one("#page", VerticalScroll), how)(animate=False)


class Ask(ModalScreen[str | None]):
    """One line to type."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "leave it")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The question."""
        yield Static("only nodes with this in their name or zone (Enter; empty: all; Esc: as it was)", id="question")
        yield Input(self._text, id="answer", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value)
