"""All rules there are, found where they are written, so that a new one is tested and must be documented."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import aggregator.messages as package
from aggregator.messages.rules import Rule


def all_rules() -> list[Rule]:
    """Each rule of the package, once."""
    found: dict[Rule, None] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            found.update(dict.fromkeys(_rules(value)))
    return list(found)


def _rules(value: object) -> Iterator[Rule]:
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _rules(each)
