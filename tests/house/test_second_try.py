"""Which tests are tried twice: those that are listed, all of them, and no pure one. And which run side by side."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import conftest

TESTS = Path(conftest.__file__).parent


class Item:
    """As much of a collected test as the choice looks at."""

    def __init__(self, place: str, *marks: str) -> None:
        module, _, self.name = place.partition("::")
        self.path = TESTS / module
        self.marks = set(marks)
        self.added: list[pytest.MarkDecorator] = []

    def get_closest_marker(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(name=name) if name in self.marks else None

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.added.append(mark)


def tries(item: Item) -> int:
    """How often that test may be run."""
    conftest.pytest_collection_modifyitems([item])  # type: ignore[list-item]
    return 1 + sum(int(mark.kwargs["reruns"]) for mark in item.added)


@pytest.mark.parametrize(
    "listed", conftest.TRIED_TWICE + conftest.TRIED_ONCE + conftest.ONE_AT_A_TIME + conftest.TOGETHER
)
def test_what_is_listed_exists(listed: str) -> None:
    module, _, name = listed.partition("::")
    assert (TESTS / module).exists()
    assert not name or f"def {name}(" in (TESTS / module).read_text()


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item("agent/test_ledger.py"), 1),
        (Item("signatures/test_clock.py"), 1),
        (Item("agent/test_stream.py"), 2),
        (Item("e2e/test_path_mtu.py"), 2),
        (Item("agent/test_fs_errors.py", "needs_root"), 2),
        (Item("aggregator/test_store.py", "needs_root"), 1),
        (Item("aggregator/test_main.py::test_nodes_and_their_facts"), 2),
        (Item("aggregator/test_main.py::test_what_was_acknowledged_over_the_wire_survives_kill_9"), 1),
    ],
    ids=lambda value: value.path.name if isinstance(value, Item) else "",
)
def test_only_what_the_kernel_decides_is_tried_twice(item: Item, expected: int) -> None:
    assert tries(item) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("e2e/test_path_mtu.py", "machine"),
        ("agent/test_fs_errors.py", "machine"),
        ("agent/test_ledger.py", "agent/test_ledger.py"),
        ("release/test_image.py", "release/"),
    ],
    ids=["listed", "needs root", "a module", "a directory"],
)
def test_what_looks_at_the_machine_runs_one_at_a_time_and_modules_side_by_side(module: str, expected: str) -> None:
    assert conftest.group_of(module) == expected
