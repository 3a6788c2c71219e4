"""Judging of scenarios: what must fail does, with the reason; and a scenario is a bundle for others to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import words
from tests.lab.__main__ import main
from tests.lab.cluster import Lab
from tests.lab.scenario import SCENARIOS, Scenario, Want, judge, lacking, scenario, write

FULL = "net.conntrack_full"


def conntrack(lab: Lab, count: int) -> None:
    """How full the connection tracking table of n1 is, of 262,144."""
    host = lab.host("n1")
    host.file("proc/sys/net/netfilter/nf_conntrack_count", f"{count}\n")
    host.file("proc/sys/net/netfilter/nf_conntrack_max", "262144\n")


def full(*counts: int) -> Scenario:
    """A node whose table is full at last; earlier snapshots with other counts."""
    lab = Lab()
    lab.node("n1")
    for count in counts:
        conntrack(lab, count)
        lab.tick(60)
    conntrack(lab, 262_144)
    return Scenario(lab, why="the table is full", expect=[Want(FULL, nodes=["n1"], severity="critical", count=1)])


def test_what_is_there_passes() -> None:
    judge(full())
    judge(replace(full(1000, 262_144), at_each=[[], [FULL], [FULL]]))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([Want("mtu.path_smaller")], "is not among"),
        ([Want(FULL, nodes=["n2"])], "is not among"),
        ([Want(FULL, objects=["Pod/a/b"])], "is not among"),
        ([Want(FULL, stage="risk")], "is not among"),
        ([Want(FULL, says=["no such words"])], "is not among"),
        ([Want(FULL, count=2)], "1 findings"),
        ([Want(FULL, caused_by="node.lost")], "is explained by"),
        ([], "besides"),
    ],
)
def test_what_is_not_as_wanted_fails(wanted: Sequence[Want], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        judge(replace(full(), expect=wanted))


def test_a_forbidden_code_fails_even_where_it_is_allowed() -> None:
    with pytest.raises(AssertionError, match="must not be found"):
        judge(replace(full(), expect=[], allow=[FULL], forbid=[FULL]))


def test_a_recovery_that_comes_late_fails() -> None:
    with pytest.raises(AssertionError, match="the table is full"):
        judge(replace(full(262_144), at_each=[[FULL], []]))


def test_words_that_are_others_fail_and_say_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "FOLDER", tmp_path)
    case = replace(full(), name="net_conntrack_full__positive_of_a_test")
    said = words.told(case.lab.findings(), case.lab.now)
    assert said[0] == f"{FULL} (active, critical)"
    file = tmp_path / "net_conntrack_full.txt"
    file.write_text("\n".join(["== net_conntrack_full__positive", "other", f"== {case.name}", *said]))
    judge(case, by_word=True)
    judge(replace(case, name="net_conntrack_full__positive_of_nobody"))
    for name, line in (
        ("net_conntrack_full__positive", "-other"),
        ("net_conntrack_full__positive_of_nobody", f"+{said[0]}"),
    ):
        with pytest.raises(AssertionError, match=r"python -m tests\.lab\.words") as raised:
            judge(replace(case, name=name), by_word=True)
        assert line in str(raised.value).splitlines()


def test_what_is_not_diagnosed_yet_is_not_expected() -> None:
    later = replace(full(), expect=[*full().expect, Want("cp.of_tomorrow")])
    judge(later, known=[FULL])
    with pytest.raises(AssertionError, match="tomorrow"):
        judge(later)


def test_kinds_that_a_code_lacks() -> None:
    names = ["a_b__positive", "a_b__near_miss_of_another_kind", "a_bc__recovery"]
    assert lacking(["a.b"], names) == ["a.b: recovery"]


def test_two_scenarios_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def some_code__positive() -> Scenario:
        return full()

    monkeypatch.setitem(SCENARIOS, "some_code__positive", full)
    scenario(some_code__positive)  # of the same module: it is only imported twice
    some_code__positive.__module__ = "another"
    monkeypatch.setitem(SCENARIOS, "some_code__positive", full)
    with pytest.raises(ValueError, match="already"):
        scenario(some_code__positive)


def test_a_written_scenario_has_its_judgement_beside_it(tmp_path: Path) -> None:
    write(full(1000), tmp_path)
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert expected["expect"][0]["code"] == FULL
    assert expected["expect"][0]["min_severity"] == "critical"
    assert (tmp_path / "t0/kube/nodes.json").read_text().startswith('{\n    "apiVersion": "v1"')


def test_the_command_names_them_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.split() == sorted(SCENARIOS)
    assert main(["no_such__positive", str(tmp_path)]) == 2
    assert main(["all"]) == 2
