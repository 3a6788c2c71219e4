"""What findings of scenarios say, word for word: summary, evidence with unit, source and time, what is ruled out.

A rule that finds the right code and shows the wrong number is wrong, and no other test of it notices. The words are in
tests/lab/said/CODE.txt, a section for each scenario; after a change that is meant, write them anew and read the diff:

    PYTHONPATH=.:proto .venv/bin/python -m tests.lab.words
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from functools import cache
from importlib import import_module
from pathlib import Path

from aggregator.model import Finding

FOLDER = Path(__file__).with_name("said")
_MARK = "== "
_ROOT = Path(__file__).parents[2]


def compare(name: str, said: list[str]) -> None:
    """Assert that the findings of a scenario say what they did."""
    before = _kept(_file(name)).get(name, [])
    if said != before:
        lines = "\n".join(unified_diff(before, said, "before", "now", lineterm="", n=1))
        raise AssertionError(f"{name} says something else (if that is meant: python -m tests.lab.words):\n{lines}")


def told(findings: Iterable[Finding], now: float) -> list[str]:
    """All that findings say, in lines. Times are seconds relative to `now`."""
    return [line for finding in findings for line in _of_finding(finding, now)]


def _of_finding(finding: Finding, now: float) -> Iterator[str]:
    since = f", since {finding.since - now:.0f} s" if finding.since else ""
    yield f"{finding.code} ({finding.stage.value}, {finding.severity.word}{since})"
    yield f"  {finding.summary}"
    yield f"  of: {' '.join((*finding.nodes, *finding.objects))}"
    for each in finding.evidence:
        where = " ".join(filter(None, (each.node, each.source)))
        yield f"  {each.signal} of {each.subject}: {each.value} {each.unit} [{where} {each.at - now:.0f} s]"
    for rule in finding.ruled_out:
        yield f"  not {rule.code}: {rule.because}"
    yield f"  do: {finding.remediation[0] if finding.remediation else ''}"


def _file(name: str) -> Path:
    return FOLDER / f"{name.partition('__')[0]}.txt"


@cache
def _kept(path: Path) -> dict[str, list[str]]:
    """Lines by name of the scenario."""
    kept: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith(_MARK):
            lines = kept[line.removeprefix(_MARK)] = []
        else:
            lines.append(line)
    return kept


def main() -> int:
    """Write all of them anew."""
    from tests.lab.scenario import SCENARIOS  # it uses this module

    said: dict[str, list[str]] = {}
    for path in sorted((_ROOT / "tests" / "signatures").glob("test_*timelines.py")):
        module = import_module(f"tests.signatures.{path.stem}")
        said |= getattr(module, "all_words", dict[str, list[str]])()  # of cases that are no scenarios
    for name, make in SCENARIOS.items():
        if "__positive" in name:
            lab = make().lab
            said[name] = told(lab.findings(), lab.now)
    files: dict[Path, list[str]] = {}
    for name, lines in sorted(said.items()):
        files.setdefault(_file(name), []).extend([f"{_MARK}{name}", *lines])
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for path, lines in files.items():
        path.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
