"""Text for terminals: harmless, aligned, and readable on narrow ones."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.terminal import clean, columns, look, pad, table, wrap


@given(st.text())
def test_clean_text_cannot_steer_a_terminal(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flannel.1", "flannel.1"),
        ("eth\x1b[2J0", "eth\\x1b[2J0"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("wg-🦊", "wg-🦊"),
    ],
)
def test_what_clean_does(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_wide_characters_take_two_columns() -> None:
    assert columns("wg-🦊") == 5
    assert columns("e\u0301") == 1
    assert pad("🦊", 4) == "🦊  "
    assert pad("12", 4, right=True) == "  12"


ROWS = [("eth0", "1500", "up"), ("a-rather-long-name", "65000", "")]


def test_a_table_aligns_numbers_to_the_right_and_leaves_out_empty_columns() -> None:
    assert table(("NAME", ">MTU", "STATE", "NOTE"), [(*row, "") for row in ROWS], 80) == [
        "  NAME                  MTU  STATE",
        "  eth0                 1500  up",
        "  a-rather-long-name  65000",
    ]


def test_a_last_column_that_does_not_fit_goes_below_its_row() -> None:
    rows = [("eth0", "1500", "192.0.2.1/24, 2001:db8::1/64"), ("lo", "65536", "")]
    assert table(("NAME", ">MTU", "ADDRESSES"), rows, 30) == [
        "  NAME    MTU",
        "  eth0   1500",
        "      addresses 192.0.2.1/24,",
        "        2001:db8::1/64",
        "  lo    65536",
    ]


def test_a_table_that_does_not_fit_becomes_paragraphs() -> None:
    assert table(("NAME", ">MTU", "STATE"), ROWS, 24) == [
        "  eth0: mtu 1500, state",
        "    up",
        "  a-rather-long-name:",
        "    mtu 65000",
    ]


@given(st.lists(st.tuples(*[st.text(max_size=20)] * 3), min_size=1), st.integers(30, 120))
def test_no_line_of_a_table_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    for line in table(("A", ">B", "C"), rows, width):
        assert line.isprintable()
        if line.isascii():
            assert len(line) <= width


def test_a_paragraph_keeps_to_the_width_unless_a_word_is_longer() -> None:
    lines = wrap("one two three " * 10 + "x" * 50, 40, "  ", "    ")
    assert max(len(line) for line in lines) == 40
    assert lines[0].startswith("  one")
    assert "".join(line.strip() for line in lines).count("x") == 50


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "colour"),
    [
        (_Terminal(), {"TERM": "xterm"}, True),
        (_Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (_Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (_Terminal(), {"TERM": "dumb"}, False),
        (_Terminal(), {}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (None, {"TERM": "xterm"}, False),
    ],
)
def test_colour_only_where_it_is_wanted(stream: io.StringIO | None, env: dict[str, str], colour: bool) -> None:
    assert look(stream, env).colour is colour


def test_columns_say_how_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, width in (("40", 40), ("5", 30), ("500", 120), ("x", 100)):
        monkeypatch.setenv("COLUMNS", text)
        assert look(io.StringIO(), {"COLUMNS": text}).width == width
