"""The search alone, against paths that pass so much and lose this and that: exact, or not certain, and never wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pathmtu.search import MAX_PACKETS, Search, Verdict

FLOOR = 60
TOPS = (1300, 1450, 1500, 4000, 8951, 9001, 65_000)


def run(limit: int, top: int, lost: Callable[[int], bool] = lambda _size: False) -> Verdict:
    """Search a path that passes up to `limit` and loses what `lost` says."""
    search = Search(top, FLOOR)
    while volley := search.volley():
        for size in volley:
            if size <= limit and not lost(size):
                search.answered(size)
            else:
                search.silent(size)
    return search.verdict()


@pytest.mark.parametrize("top", [1500, 9001])
def test_every_size_is_found_exactly(top: int) -> None:
    packets = []
    for limit in [*range(1280, 1501), top]:
        verdict = run(limit, top)
        assert (verdict.size, verdict.certain, verdict.told) == (min(limit, top), True, False)
        packets.append(verdict.packets)
    assert max(packets) <= 25  # 40 are allowed
    assert min(packets) == 2  # a path that is clean costs no more


@given(st.sampled_from(TOPS), st.data())
def test_any_size_of_any_interface(top: int, data: st.DataObject) -> None:
    limit = data.draw(st.integers(FLOOR, top))
    verdict = run(limit, top)
    assert (verdict.size, verdict.certain, verdict.top) == (limit, True, top)
    assert verdict.packets <= MAX_PACKETS


@given(st.sampled_from(TOPS), st.lists(st.booleans(), max_size=MAX_PACKETS), st.data())
@settings(max_examples=300)
def test_losses_make_it_uncertain_or_dearer_but_not_wrong(top: int, pattern: list[bool], data: st.DataObject) -> None:
    """Any pattern in which fewer than six tries of one size are lost: six in a row are what a verdict rests on."""
    limit = data.draw(st.integers(FLOOR, top))
    losses = iter(pattern)
    per_size: Counter[int] = Counter()

    def lost(size: int) -> bool:
        if per_size[size] >= 5 or not next(losses, False):
            return False
        per_size[size] += 1
        return True

    verdict = run(limit, top, lost)
    assert verdict.packets <= MAX_PACKETS
    assert verdict.size is None or verdict.size <= limit
    if verdict.certain:
        assert verdict.size == limit


@given(st.integers(1300, 1500), st.lists(st.sampled_from(["at once", "twice", "late", "lost"]), max_size=60), st.data())
@settings(max_examples=300)
def test_answers_come_late_twice_and_out_of_order(limit: int, fates: list[str], data: st.DataObject) -> None:
    """Late: in a later volley, after the try was given up."""
    search, fate = Search(1500, FLOOR), iter(fates)
    late: list[int] = []
    lost: Counter[int] = Counter()
    while volley := search.volley():
        for size in list(late):
            if data.draw(st.booleans()):
                late.remove(size)
                search.answered(size, late=True)
        for size in data.draw(st.permutations(volley)):
            how = next(fate, "at once")
            if size > limit:
                search.silent(size)
            elif how in ("at once", "twice"):
                search.answered(size)
                if how == "twice":
                    search.answered(size, late=True)
            elif how == "late":
                search.silent(size)
                late.append(size)
                lost[size] += 1
            else:
                search.silent(size)
                lost[size] += 1
    verdict = search.verdict()
    assert verdict.packets <= MAX_PACKETS
    assert verdict.size is None or verdict.size <= limit
    if verdict.certain and max(lost.values(), default=0) < 6:
        assert verdict.size == limit


@pytest.mark.parametrize("loss", [0.1, 0.19, 0.3])
def test_a_path_that_only_loses_packets_is_never_too_small(loss: float) -> None:
    """0.19: a tenth of the packets is lost in each direction. A verdict below the full size would be a finding."""
    luck = random.Random(f"{loss}")  # noqa: S311  # no secret
    verdicts = Counter(run(1500, 1500, lambda _size: luck.random() < loss) for _ in range(20_000))
    wrong = {verdict: n for verdict, n in verdicts.items() if verdict.certain and verdict.size not in (1500, None)}
    assert not wrong
    certain = sum(n for verdict, n in verdicts.items() if verdict.certain)
    assert certain > 0.95 * 20_000


def test_a_lossy_black_hole_is_found_or_left_open() -> None:
    luck = random.Random(7)  # noqa: S311  # no secret
    found = open_ = 0
    for limit in range(1300, 1500):
        for _ in range(5):
            verdict = run(limit, 1500, lambda _size: luck.random() < 0.1)
            assert not verdict.certain or verdict.size == limit
            found, open_ = found + verdict.certain, open_ + (not verdict.certain)
    assert found > 5 * open_


def test_a_path_that_is_dead_for_a_while_proves_nothing() -> None:
    """From the first full-size packet on everything is lost for so many packets; then all passes."""
    for dead in range(1, 38):
        search, sent = Search(1500, FLOOR), 0
        while volley := search.volley():
            for size in volley:
                sent += 1
                if 2 <= sent < 2 + dead:
                    search.silent(size)
                else:
                    search.answered(size)
        verdict = search.verdict()
        assert verdict.size == 1500 if verdict.certain else True, dead


def test_nothing_comes_back() -> None:
    verdict = run(0, 1500)
    assert (verdict.size, verdict.certain, verdict.packets) == (None, True, 6)


def test_icmp_names_the_size() -> None:
    search = Search(1500, FLOOR)
    while volley := search.volley():
        for size in volley:
            if size <= 1391:
                search.answered(size)
            else:
                search.refused(size, 1391)
    verdict = search.verdict()
    assert (verdict.size, verdict.certain, verdict.told) == (1391, True, True)
    assert verdict.packets <= 13


@given(st.integers(0, 70_000), st.integers(300, 1500))
def test_icmp_that_lies_does_not_mislead(limit_told: int, limit: int) -> None:
    search = Search(1500, FLOOR)
    while volley := search.volley():
        for size in volley:
            if size <= limit:
                search.answered(size)
            else:
                search.refused(size, limit_told)
    assert search.verdict().size == limit
    assert search.verdict().certain


@given(st.integers(FLOOR, 1500), st.sampled_from([0, 1]))
def test_the_own_interface_takes_less_than_it_was_said_to(limit: int, tells: int) -> None:
    """Its MTU was lowered meanwhile. A kernel that does not tell the size leaves it open."""
    search = Search(1500, FLOOR)
    while volley := search.volley():
        for size in volley:
            if size <= limit:
                search.answered(size)
            else:
                search.too_large_here(size, limit * tells)
    verdict = search.verdict()
    if tells or limit == 1500:
        assert (verdict.size, verdict.top, verdict.certain) == (limit, limit, True)
    else:
        assert verdict.top < 1500
        assert verdict.size is not None
        assert verdict.size <= limit


def test_no_sizes() -> None:
    with pytest.raises(ValueError, match="no sizes between 60 and 59"):
        Search(59, FLOOR)
