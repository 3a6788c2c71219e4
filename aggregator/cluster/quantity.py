"""Kubernetes quantities ("250m", "1.5Gi", "2e3") as whole numbers, rounded up as the API machinery does.

Source: apimachinery pkg/api/resource, Quantity.MilliValue and Value: what cannot be told exactly is rounded away from
zero. The usual forms take a short way; the others go through exact fractions.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_POWERS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_WHOLE = {suffix: power.numerator for suffix, power in _POWERS.items() if power.denominator == 1}
_USUAL = re.compile(r"([0-9]{1,18})(|k|[MGTPE]i?|Ki)", re.ASCII)
_ANY = re.compile(
    r"([+-]?)([0-9]{1,64}(?:\.[0-9]{0,64})?|\.[0-9]{1,64})(?:[eE]([+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)"
)
_MOST = 2**63 - 1
"""The API machinery's numbers end there too."""
_CPU = frozenset({"cpu", "requests.cpu", "limits.cpu"})
"""Resources whose amounts are thousandths; the longer names are those of a quota."""


class QuantityError(ValueError):
    """It is no quantity."""


@lru_cache(maxsize=16_384)
def value(text: str) -> int:
    """Whole units, rounded away from zero. Raises QuantityError."""
    usual = _USUAL.fullmatch(text)
    return min(int(usual[1]) * _WHOLE[usual[2]], _MOST) if usual else _scaled(text, 1)


@lru_cache(maxsize=16_384)
def thousandths(text: str) -> int:
    """Thousandths of a unit ("100m" is 100), rounded away from zero. Raises QuantityError."""
    number = text[:-1]
    if text[-1:] == "m" and number.isascii() and number.isdigit() and len(number) <= 18:
        return int(number)
    return _scaled(text, 1000)


def amount(resource: str, quantity: str | float) -> int:
    """Amount of a resource: thousandths for "cpu", whole units for anything else. Raises QuantityError."""
    text = quantity if isinstance(quantity, str) else repr(quantity)
    return thousandths(text) if resource in _CPU else value(text)


def _scaled(text: str, scale: int) -> int:
    found = _ANY.fullmatch(text)
    if found is None:
        raise QuantityError(f"{text[:40]!r} is no quantity")
    sign, digits, exponent, suffix = found.groups()
    exact = Fraction(digits if digits[-1] != "." else digits[:-1])
    exact *= Fraction(10) ** int(exponent) if exponent is not None else _POWERS[suffix or ""]
    magnitude = min(-(-exact.numerator * scale // exact.denominator), _MOST)
    return -magnitude if sign == "-" else magnitude
