"""Each situation for real: built, judged before any traffic, sent through, and judged again: exactly what must be said.

docs/situations.md lists them; `python -m tests.situations.document` writes its table anew.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from aggregator.model import Stage
from tests import needs
from tests.situations import document
from tests.situations.catalogue import SITUATIONS
from tests.situations.lab import Layout, Vxlan, built
from tests.situations.play import said, staged, words

BY_NAME = {situation.name: situation for situation in SITUATIONS}


@pytest.mark.needs_root
@pytest.mark.parametrize("name", BY_NAME)
def test_exactly_what_must_be_said(name: str) -> None:
    situation = BY_NAME[name]
    with staged(situation) as stage:
        assert said(stage.nodes.read()) == sorted(situation.before)
        assert stage.send() == situation.fates
        verdict = stage.settle()
        assert stage.moved() == words(situation.moves)
        assert said(verdict) == sorted(situation.after)


@pytest.mark.needs_root
def test_s1r_a_bound_overlay_cannot_be_too_large_while_its_device_stays() -> None:
    needs.kind("vxlan")
    with built(Layout(overlay=Vxlan(1500, bound=True))) as lab:
        assert "mtu 1450" in lab.places["a"].ip("link", "show", "vx0"), "cut down when it was made"
        with pytest.raises(subprocess.CalledProcessError) as refused:
            lab.places["a"].ip("link", "set", "vx0", "mtu", 1451)
        assert "Invalid argument" in str(refused.value.__notes__)


def test_none_is_left_out_and_none_is_there_twice() -> None:
    assert len(BY_NAME) == len(SITUATIONS)
    numbers = {int(match[1]) for name in BY_NAME if (match := re.match(r"S(\d+)", name))}
    assert numbers == set(range(17)) - {14}, "there never was an S14"
    assert {name for name in BY_NAME if name.startswith("noise")} == {f"noise {letter}" for letter in "abcd"}


def test_of_silent_ones_nothing_is_said_but_the_configuration() -> None:
    silent = [situation for situation in SITUATIONS if situation.silent]
    assert silent
    for situation in silent:
        assert all(finding.stage is Stage.RISK for finding in situation.after), situation.name


def test_the_document_lists_them_as_they_are() -> None:
    assert document.PATH.read_text() == document.renewed(document.PATH.read_text())
