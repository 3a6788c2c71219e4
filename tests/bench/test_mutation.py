"""The mutation check: what it asks mutmut for, and how it reads and counts what that left behind."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from bench.mutation import (
    OTHERWISE,
    ROOT,
    SUITES,
    configuration,
    estimate,
    estimates,
    outcome,
    results,
    sampled,
    suites,
    table,
)


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (1, "killed"),
        (3, "killed"),
        (-11, "killed"),
        (0, "survived"),
        (36, "timed out"),
        (33, "no test"),
        (None, "not checked"),
    ],
)
def test_outcomes(exit_code: int | None, expected: str) -> None:
    assert outcome(exit_code) == expected


def test_results_are_read_by_module(tmp_path: Path) -> None:
    folder = tmp_path / "aggregator" / "signatures"
    folder.mkdir(parents=True)
    (folder / "case.py.meta").write_text(json.dumps({"exit_code_by_key": {"m1": 1, "m2": 0, "m3": None}}))
    (folder / "code.py.meta").write_text(json.dumps({"exit_code_by_key": {}}))
    found = results(tmp_path)
    assert found == {"aggregator/signatures/case.py": {"m1": "killed", "m2": "survived", "m3": "not checked"}}


def test_the_score_is_of_what_was_checked() -> None:
    killed = {f"k{number}": "killed" for number in range(6)}
    found = {
        "a.py": {**killed, "t": "timed out", "s": "survived", "n": "no test", "u": "not checked"},
        "b.py": {"u": "not checked"},
    }
    header, a, b, total = table(found).splitlines()
    assert header.split()[-1] == "score"
    assert a.split() == ["a.py", "6", "1", "1", "1", "1", "77.8", "%"]
    assert b.split() == ["b.py", "0", "0", "0", "0", "1", "-"]
    assert total.split() == ["all", "6", "1", "1", "1", "2", "77.8", "%"]


def test_modules_are_checked_with_the_tests_of_their_signature() -> None:
    asked = [
        "aggregator/signatures/crash/ways.py",
        "aggregator/causes.py",
        "aggregator/signatures/crash/*",
        "agent/x.py",
    ]
    assert suites(asked) == {
        SUITES["aggregator/signatures/crash/*"]: [asked[0], asked[2]],
        SUITES["aggregator/causes.py"]: [asked[1]],
        OTHERWISE: [asked[3]],
    }


def test_every_suite_has_modules_and_tests() -> None:
    for module, tests in SUITES.items():
        assert list(ROOT.glob(module)), module
        for pattern in tests:
            assert list(ROOT.glob(pattern)), pattern


def test_the_configuration_is_valid_and_quotes_what_it_is_given() -> None:
    made = tomllib.loads(configuration(['a "b".py'], ["tests/x.py"]))["tool"]["mutmut"]
    assert made["only_mutate"] == ['a "b".py']
    assert made["pytest_add_cli_args_test_selection"] == ["tests/x.py"]


def test_a_sample_is_of_each_module_and_the_same_for_the_same_seed() -> None:
    names = {"a.py": [f"a{number}" for number in range(50)], "b.py": ["b0", "b1"]}
    first = sampled(names, 5, seed=1)
    assert len(set(first)) == 7
    assert {"b0", "b1"} < set(first)
    assert first == sampled({"b.py": ["b1", "b0"], "a.py": names["a.py"][::-1]}, 5, seed=1)
    assert first != sampled(names, 5, seed=2)
    assert sampled({}, 5, seed=1) == []


def checked(killed: int, survived: int, unchecked: int) -> dict[str, str]:
    outcomes = ["killed"] * killed + ["survived"] * survived + ["not checked"] * unchecked
    return {str(number): each for number, each in enumerate(outcomes)}


def test_a_module_counts_by_all_its_mutants() -> None:
    share, off = estimate([checked(10, 0, 90), checked(5, 5, 890)])
    assert share == pytest.approx((100 * 1.0 + 900 * 0.5) / 1000)
    assert 0.2 < off < 0.35


def test_all_of_them_are_certain_and_a_sample_without_survivors_is_not() -> None:
    assert estimate([checked(7, 3, 0)]) == (0.7, 0.0)
    assert estimate([checked(1, 0, 0)]) == (1.0, 0.0)
    share, off = estimate([checked(10, 0, 990)])
    assert share == 1.0
    assert 0.1 < off < 0.25
    assert estimate([checked(100, 0, 900)])[1] < off / 3


def test_a_module_of_which_nothing_was_checked_says_nothing() -> None:
    assert estimate([checked(1, 1, 0), checked(0, 0, 50)]) == (0.5, 0.0)


def test_scores_are_told_by_directory() -> None:
    found = {"x/a.py": checked(9, 1, 90), "x/b.py": checked(8, 2, 0), "y/c.py": checked(0, 0, 5)}
    (line,) = estimates(found).splitlines()
    assert line.startswith("x: 20 of 110 mutants checked, score 89.1 % (95 % confidence: ")
    assert line.endswith(" to 100.0 %)")


def test_every_package_of_signatures_has_a_suite_of_its_own() -> None:
    folder = ROOT / "aggregator" / "signatures"
    modules = [path.relative_to(ROOT).as_posix() for path in folder.glob("*/*.py")]
    assert OTHERWISE not in suites(modules)
    assert SUITES["aggregator/signatures/*.py"] == OTHERWISE
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {pattern.split("/")[2] for pattern in SUITES if pattern.endswith("/*")} == packages
