"""The mutation check: what it asks mutmut for, and how it reads and counts what that left behind."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from bench.mutation import OTHERWISE, ROOT, SUITES, configuration, outcome, results, suites, table


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
