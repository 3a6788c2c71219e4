"""Amounts of resources as operators order them: "500m CPU", "1.5 GiB memory", "2 nvidia.com/gpu"."""

from __future__ import annotations

from aggregator.cluster.objects import Amounts

_UNITS = ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_FIRST = ("cpu", "memory", "ephemeral-storage")


def bytes_text(amount: int) -> str:
    """ "20 GiB"; what is no multiple of a unit in four digits."""
    for size, unit in _UNITS:
        if abs(amount) >= size:
            return f"{amount / size:.4g} {unit}"
    return f"{amount:,} bytes"


def amount_text(resource: str, amount: int) -> str:
    """One amount in the unit of objects.Amounts, with what it is of."""
    if resource == "cpu":
        return f"{amount / 1000:.4g} CPU" if amount % 1000 == 0 or abs(amount) >= 10_000 else f"{amount:,}m CPU"
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return f"{bytes_text(amount)} {resource}"
    return f"{amount:,} {resource}"


def amounts_text(amounts: Amounts) -> str:
    """All of them that are not zero, CPU and memory first; "nothing" where there are none."""
    names = [name for name in _FIRST if amounts.get(name)]
    names += sorted(name for name, amount in amounts.items() if amount and name not in _FIRST and name != "pods")
    return ", ".join(amount_text(name, amounts[name]) for name in names) or "nothing"
