"""Every limit of the aggregator stands in docs/operating.md with its value and what it is."""

from __future__ import annotations

from dataclasses import fields

from tests.house import limits_page


def test_the_page_has_the_limits_as_they_are() -> None:
    text = limits_page.PAGE.read_text(encoding="utf-8")
    between = text.partition(limits_page.BEGIN)[2].partition(limits_page.END)[0].strip()
    assert between == limits_page.table(), "run: python -m tests.house.limits_page"


def test_no_limit_is_without_a_word_on_what_it_is() -> None:
    rows = limits_page.table().splitlines()[2:]
    names = [each.name for _, values in limits_page.GROUPS for each in fields(values)]
    assert [row.split("`")[1] for row in rows] == names
    assert all(len(row.rsplit("|", 2)[1].strip()) > 8 for row in rows)
