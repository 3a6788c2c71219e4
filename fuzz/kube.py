"""Objects of the API server as seeds, without what nobody reads, so that cases stay short."""

from __future__ import annotations

import json
from collections.abc import Iterable

from aggregator.cluster.state import RESOURCES
from tests.aggregator.cluster.samples import NEW_EVENT, OLD_EVENT, SAMPLES


def objects() -> Iterable[tuple[int, dict[str, object]]]:
    """(number of the resource, object)."""
    events = RESOURCES.index("events")
    for number, thing in [*enumerate(map(SAMPLES.__getitem__, RESOURCES)), (events, OLD_EVENT), (events, NEW_EVENT)]:
        metadata = {key: value for key, value in thing["metadata"].items() if key != "managedFields"}
        yield number, thing | {"metadata": metadata}


def resource_of(number: int) -> str:
    """The resource that a byte stands for."""
    return RESOURCES[number % len(RESOURCES)]


def text(thing: object) -> bytes:
    """As it comes."""
    return json.dumps(thing, separators=(",", ":")).encode()
