"""docs/security.md: every statement in a table names tests that hold it, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
REFERENCES = sorted(set(REFERENCE.findall(PAGE)))


def exists(module: str, name: str) -> bool:
    """There is such a test, and it is collected: a function of that name at the top of that module."""
    path = ROOT / module
    if not path.is_file() or not name.startswith("test_") or not path.name.startswith("test_"):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.parse(path.read_text()).body)


@pytest.mark.parametrize(("module", "name"), REFERENCES, ids=lambda part: part.rpartition("/")[2])
def test_each_test_that_is_named_exists(module: str, name: str) -> None:
    assert exists(module, name)


def statements(text: str) -> list[str]:
    """Rows of the tables, without their heads."""
    lines = text.splitlines()
    rules = [place for place, line in enumerate(lines) if re.fullmatch(r"\|( --- \|)+", line)]
    heads = {place - 1 for place in rules} | set(rules)
    return [line for place, line in enumerate(lines) if line.startswith("|") and place not in heads]


def test_no_statement_is_without_a_test() -> None:
    assert len(statements(PAGE)) > 30
    assert [line for line in statements(PAGE) if not REFERENCE.search(line)] == []


def test_what_looks_like_a_test_is_one() -> None:
    assert len(re.findall(r"\.py::", PAGE)) == len(REFERENCE.findall(PAGE))


def test_a_statement_without_one_and_a_test_that_is_not_there_are_noticed() -> None:
    assert statements("| who | may |\n| --- | --- |\n| anybody | anything |\n") == ["| anybody | anything |"]
    assert not exists("tests/house/test_security_page.py", "test_that_is_not_there")
    assert not exists("tests/house/test_nowhere.py", "test_each_test_that_is_named_exists")
    assert not exists("tests/apiserver.py", "serving")
    assert exists("tests/house/test_security_page.py", "test_each_test_that_is_named_exists")
