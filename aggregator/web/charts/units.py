"""Figures with the unit that suits them, as axes, tables and sentences of charts say them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """What the figures of a chart are."""

    said: Callable[[float], str]
    """A figure with its unit."""
    logarithmic: bool = False
    """Its figures lie decades apart."""
    from_zero: bool = True
    """Nothing is a figure like others: the axis begins there."""
    base: int = 10
    """Round figures are of this number."""
    tick: Callable[[float], str] | None = None
    """A figure at the axis, where there is less room."""


def latency(microseconds: float) -> str:
    """ "85 µs", "7.1 ms", "248 ms", "1.25 s"."""
    if abs(microseconds) < 999.5:
        return f"{microseconds:.3g} µs"
    if abs(microseconds) < 999_500:
        return f"{microseconds / 1e3:.3g} ms"
    return f"{microseconds / 1e6:.3g} s" if abs(microseconds) < 1e9 else f"{microseconds / 1e6:,.0f} s"


def amount(count: float) -> str:
    """ "0", "0.25", "1,450", "12.3 million"."""
    if abs(count) >= 1e15:
        return f"{count:.2g}"
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(count) >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,.0f}" if abs(count) >= 100 or count == int(count) else f"{count:.3g}"


def size(count: float) -> str:
    """ "512 B", "2.1 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB" if abs(count) < 1e6 else f"{count:.2g} TiB"


def offset(microseconds: float) -> str:
    """How much a clock is off: "-48 s", "+120 ms"."""
    return f"{'+' if microseconds > 0 else ''}{latency(microseconds)}"


LATENCY = Unit(latency, logarithmic=True)
OFFSET = Unit(offset, from_zero=False)
BYTES = Unit(size, base=2)
MTU = Unit(lambda value: f"{amount(value)} bytes", from_zero=False, tick=amount)
PER_MINUTE = Unit(lambda value: f"{amount(value)}/min" if value else "0")
PER_SECOND = Unit(lambda value: f"{amount(value)}/s" if value else "0")
PERCENT = Unit(lambda value: f"{amount(value)} %")
COUNT = Unit(amount)
YES = Unit(lambda value: "yes" if value else "no", tick=lambda value: {0.0: "no", 1.0: "yes"}.get(value, ""))
