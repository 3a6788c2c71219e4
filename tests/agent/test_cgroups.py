"""Paths of control groups by id: found once, not looked for again and again when they are gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.sensor.cgroups import Cgroups


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    pod = tmp_path / "fs/cgroup/kubepods.slice/pod1"
    pod.mkdir(parents=True)
    (tmp_path / "fs/cgroup/cgroup.controllers").write_text("io memory\n")
    return pod


def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Directories that are read from now on."""
    read: list[str] = []
    scandir = os.scandir

    def counted(path: str) -> object:
        read.append(path)
        return scandir(path)

    monkeypatch.setattr("agent.sensor.cgroups.os.scandir", counted)
    return read


def test_a_group_is_found_by_its_id_and_kept_when_it_is_gone(tmp_path: Path, tree: Path) -> None:
    groups, number = Cgroups(str(tmp_path)), tree.stat().st_ino
    assert groups.paths([number], 100.0) == {number: "/kubepods.slice/pod1"}
    tree.rmdir()
    assert groups.paths([number], 200.0) == {number: "/kubepods.slice/pod1"}


def test_an_id_that_is_not_there_costs_one_walk_in_ten_minutes(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, number = Cgroups(str(tmp_path)), tree.stat().st_ino
    gone = number + 1_000_000
    read = walks(monkeypatch)
    assert groups.paths([gone], 100.0) == {}
    once = len(read)
    assert once > 0
    for now in range(110, 700, 10):
        assert groups.paths([gone], now) == {}
    assert len(read) == once
    assert groups.paths([gone, number], 705.0) == {number: "/kubepods.slice/pod1"}, "a new id is looked for at once"
    groups.paths([gone, number], 720.0)
    assert len(read) == 2 * once


def test_no_unified_hierarchy_is_no_path(tmp_path: Path) -> None:
    assert Cgroups(str(tmp_path)).paths([7], 100.0) == {}
