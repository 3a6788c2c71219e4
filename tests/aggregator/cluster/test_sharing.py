"""What is used stays shared, what is not used goes, and no addition pays for all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster import sharing
from aggregator.cluster.sharing import Sharing, Table

steps = st.tuples(st.sampled_from(["use", "drop", "sweep"]), st.integers(0, 40))


@given(st.lists(steps, max_size=120), st.booleans())
def test_what_is_used_is_found_and_what_is_not_goes(sequence: list[tuple[str, int]], as_key: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "_SMALL", 4)
        table: Table[object, tuple[str, int]] = Table()
        used: dict[int, tuple[str, int]] = {}
        for what, number in sequence:
            key: object = ("thing", number) if as_key else number
            if what == "drop":
                used.pop(number, None)
            elif what == "sweep":
                table.sweep()
                assert len(table) == len(used)
            else:
                found = table.get(key)
                if number in used:
                    assert found is used[number]
                elif found is None:
                    thing = ("thing", int(number))
                    found = table.add(thing if as_key else number, thing)
                    del thing
                assert found is not None
                used[number] = found
                del found
            del key
        table.sweep()
        assert len(table) == len(used)
        assert all(table.get(("thing", number) if as_key else number) is thing for number, thing in used.items())


def test_it_is_bounded_by_what_is_used() -> None:
    share = Sharing()
    kept = [share.text(f"kept-{number}") for number in range(5_000)]
    for number in range(100_000):
        share.text(f"passing-{number}")
    assert len(share) < 3 * len(kept) + 2 * 4096
    assert all(share.text(f"kept-{number}") is text for number, text in enumerate(kept))


def test_no_addition_sweeps_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[int] = []
    sweep = Table._sweep

    def noticed(table: Table[object, object], most: int) -> None:
        swept.append(most)
        sweep(table, most)

    monkeypatch.setattr(Table, "_sweep", noticed)
    share = Sharing()
    for number in range(20_000):
        share.text(f"passing-{number}")
    assert swept
    assert max(swept) < 10


def test_equal_mappings_are_one_and_others_are_not() -> None:
    share = Sharing()
    one = share.mapping({"a": "1", "b": None})
    assert one == {"a": "1", "b": ""}
    assert share.mapping({"a": "1"}) is share.mapping({"a": "1"})
    assert share.mapping({"a": "1"}) is not one
    assert share.amounts({"cpu": 1}) is share.amounts({"cpu": 1})
    assert share.amounts({"cpu": 1}) != share.amounts({"cpu": 2})
    assert share.text(None) == share.text("") == ""
    assert share.mapping(None) == share.mapping({}) == {}
