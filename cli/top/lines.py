"""A widget of many lines of which only those in sight are made: thousands of nodes cost what a screenful does."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

STYLES = {
    "critical": Style(color="red", bold=True),
    "warning": Style(color="yellow"),
    "info": Style(color="cyan"),
    "bold": Style(bold=True),
    "dim": Style(dim=True),
    "": Style(),
}
"""By the word that rows have for their style."""
_CHOSEN = Style(reverse=True)
_CHOSEN_ELSEWHERE = Style(underline=True)


class Lines(ScrollView, can_focus=True):
    """Rows below an optional header that stays in sight; one of them is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home,g", "first", show=False),
        Binding("end,G", "last", show=False),
        Binding("left", "side(-8)", show=False),
        Binding("right", "side(8)", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, lines: Lines, row: int) -> None:
            super().__init__()
            self.lines, self.row = lines, row

        @property
        def control(self) -> Lines:
            """The widget that it is about."""
            return self.lines

    def __init__(self, *, id: str) -> None:  # noqa: A002  # as every widget has it
        super().__init__(id=id)
        self.cursor = 0
        """Number of the chosen row."""
        self._count = 0
        self._header: tuple[str, str] | None = None
        self._text: Callable[[int], tuple[str, str]] = lambda _: ("", "")

    def fill(
        self,
        count: int,
        text: Callable[[int], tuple[str, str]],
        header: tuple[str, str] | None,
        width: int,
        cursor: int,
    ) -> None:
        """Show so many rows. `text` gives text and style of one that is in sight, `width` is that of the longest."""
        self._count, self._text, self._header = count, text, header
        self.cursor = max(0, min(cursor, count - 1))
        self.virtual_size = Size(width, count + self._above)
        self._keep_in_sight()
        self.refresh()

    @property
    def _above(self) -> int:
        return 1 if self._header is not None else 0

    @property
    def in_sight(self) -> range:
        """Numbers of the rows that can be seen."""
        first = self.scroll_offset.y
        return range(first, min(self._count, first + max(0, self.size.height - self._above)))

    def render_line(self, y: int) -> Strip:
        """A line of the screen."""
        left, width = self.scroll_offset.x, self.size.width
        if y == 0 and self._header is not None:
            text, style = self._header
            return _strip(text, STYLES[style], left, width)
        row = self.scroll_offset.y + y - self._above
        if row >= self._count:
            return Strip.blank(width)
        text, style = self._text(row)
        shown = STYLES[style]
        if row == self.cursor:
            shown = shown + (_CHOSEN if self.has_focus else _CHOSEN_ELSEWHERE)
        return _strip(text, shown, left, width)

    def on_focus(self) -> None:
        """The chosen row is shown otherwise then."""
        self.refresh()

    def on_blur(self) -> None:
        """Likewise."""
        self.refresh()

    def action_move(self, by: int) -> None:
        """Choose a row above or below."""
        before = self.cursor
        self.cursor = max(0, min(self.cursor + by, self._count - 1))
        scrolled = self._keep_in_sight()
        if scrolled:
            self.refresh()
        elif before != self.cursor:  # two lines over a slow line, not all of them
            for row in (before, self.cursor):
                self.refresh(Region(0, row + self._above - self.scroll_offset.y, self.size.width, 1))

    def action_page(self, by: int) -> None:
        """So many screens up or down."""
        self.action_move(by * max(1, len(self.in_sight) - 1))

    def action_first(self) -> None:
        """The first row."""
        self.action_move(-self._count)

    def action_last(self) -> None:
        """The last row."""
        self.action_move(self._count)

    def action_side(self, by: int) -> None:
        """Move what is in sight to the side."""
        most = max(0, self.virtual_size.width - self.size.width)
        self.scroll_to(x=max(0, min(self.scroll_offset.x + by, most)), animate=False)

    def action_choose(self) -> None:
        """Say which row was chosen."""
        if self._count:
            self.post_message(self.Chosen(self, self.cursor))

    def _keep_in_sight(self) -> bool:
        height = max(1, self.size.height - self._above)
        top = self.scroll_offset.y
        wanted = min(max(top, self.cursor - height + 1), self.cursor)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False)
        return wanted != top


def _strip(text: str, style: Style, left: int, width: int) -> Strip:
    """The part of a line that is in sight, filled up to the width."""
    return Strip([Segment(text, style)]).crop_extend(left, left + width, style)
