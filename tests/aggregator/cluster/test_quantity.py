"""Quantities against exact arithmetic, and against what the API machinery's own documentation says."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster.quantity import QuantityError, amount, thousandths, value

POWERS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
MOST = 2**63 - 1


def away_from_zero(exact: Fraction) -> int:
    """The next whole number, no farther than 64 bits go."""
    whole = math.ceil(abs(exact))
    return min(whole, MOST) * (1 if exact >= 0 else -1)


@given(
    sign=st.sampled_from(["", "+", "-"]),
    number=st.one_of(
        st.integers(0, 10**20).map(str),
        st.decimals(0, 10**9, places=7).map(lambda each: f"{each:f}"),
        st.integers(0, 999).map(lambda each: f".{each}"),
        st.integers(0, 999).map(lambda each: f"{each}."),
    ),
    suffix=st.one_of(
        st.sampled_from([*POWERS, *BINARY]),
        st.tuples(st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 30)).map(
            lambda each: "".join(map(str, each))
        ),
    ),
)
def test_every_form_is_rounded_up_as_exact_arithmetic_does(sign: str, number: str, suffix: str) -> None:
    exact = Fraction(Decimal(sign + number))
    if suffix in BINARY:
        exact *= Fraction(2) ** BINARY[suffix]
    elif suffix in POWERS:
        exact *= Fraction(10) ** POWERS[suffix]
    else:
        exact *= Fraction(10) ** int(suffix[1:])
    assert value(sign + number + suffix) == away_from_zero(exact)
    assert thousandths(sign + number + suffix) == away_from_zero(exact * 1000)


@pytest.mark.parametrize(
    ("text", "whole", "milli"),
    [
        ("0", 0, 0),
        ("1", 1, 1000),
        ("100m", 1, 100),
        ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
        ("128974848", 128_974_848, 128_974_848_000),
        ("129e6", 129_000_000, 129_000_000_000),
        ("129M", 129_000_000, 129_000_000_000),
        ("123Mi", 128_974_848, 128_974_848_000),
        ("1E", 10**18, MOST),
        ("1E3", 1000, 1_000_000),
        ("100n", 1, 1),
        ("-100m", -1, -100),
        ("8Ei", MOST, MOST),
    ],
)
def test_the_usual_ones(text: str, whole: int, milli: int) -> None:
    assert (value(text), thousandths(text)) == (whole, milli)


@given(st.text(max_size=12))
def test_whatever_comes_is_a_number_or_the_one_error(text: str) -> None:
    for read in (value, thousandths):
        try:
            found: int | str = read(text)
        except QuantityError as error:
            found = str(error)
        assert isinstance(found, int) or len(found.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", " ", "1 Gi", "1gi", "1ki", "Gi", ".", "1e", "0x1", "1_000", "٣", "½", "NaN", "1mm", "--1"]
)
def test_what_is_none(text: str) -> None:
    for read in (value, thousandths):
        with pytest.raises(QuantityError, match="is no quantity"):
            read(text)


def test_only_cpu_is_counted_in_thousandths() -> None:
    assert amount("cpu", "250m") == 250
    assert amount("requests.cpu", "1") == 1000
    assert amount("memory", "250m") == 1
    assert amount("nvidia.com/gpu", "2") == 2
    assert amount("example.com/cpu", "2") == 2
    assert amount("cpu", 0.5) == 500
    assert amount("pods", 110) == 110
