"""Mutation check of the signatures: is there a test for each decision? `make mutation`, docs/testing.md.

mutmut changes one operator, number or word at a time in a copy of the tree and runs the tests that reach it; a change
that no test notices has survived. It keeps its own state beside what it changes, so all of it happens in a scratch
directory, with a configuration of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ("agent", "aggregator", "cli", "proto", "tests", "docs")
"""What the tests need of the tree."""
SUITES = {
    "aggregator/causes.py": (
        "tests/aggregator/test_causes.py",
        "tests/aggregator/test_story.py",
        "tests/signatures/test_cause_timelines.py",
    ),
    "aggregator/signatures/case.py": ("tests/signatures/test_case.py",),
    "aggregator/signatures/clock.py": ("tests/signatures/test_clock*.py",),
    "aggregator/signatures/storage/attachment.py": (
        "tests/signatures/test_storage_t*.py",
        "tests/signatures/test_red_storage.py",
    ),
    "aggregator/signatures/crash/*": ("tests/signatures/test_crash_*.py", "tests/signatures/test_red_crash.py"),
    "aggregator/signatures/scheduler/*": ("tests/signatures/test_scheduler_[pt]*.py",),
}
"""What is checked where nothing else is asked for, and by which tests: those of the very signature."""
OTHERWISE = ("tests/signatures/test_*.py",)
"""Tests for any other module. What takes a file system, a socket or a minute is not among them."""
SLOW = "not (sequences or any_sequence or from_scratch)"
"""Tests of incremental evaluation run for seconds and notice nothing that others do not."""
TIMEOUT_TIMES, TIMEOUT_S = 4.0, 5.0
"""A mutant is killed by time after so many times as long as its tests take, and so much longer."""

KILLED, SURVIVED, TIMED_OUT, UNTESTED, UNCHECKED = "killed", "survived", "timed out", "no test", "not checked"
_BY_EXIT_CODE = {0: SURVIVED, 5: UNTESTED, 33: UNTESTED, 34: UNCHECKED, None: UNCHECKED}
"""By mutmut's exit codes; any other is a test that failed."""
_BY_TIME = frozenset({36, 24, 152, 255, -24})
"""Those of a mutant that ran out of time or was ended for it."""


def configuration(modules: Iterable[str], tests: Iterable[str]) -> str:
    """pyproject.toml of the scratch directory."""
    return f"""[tool.pytest.ini_options]
addopts = "--strict-markers --import-mode=importlib"
markers = ["needs_root: has no place here"]

[tool.mutmut]
source_paths = ["agent", "aggregator", "cli"]
only_mutate = {json.dumps(list(modules))}
also_copy = ["docs"]
pytest_add_cli_args = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not needs_root", "-k", {json.dumps(SLOW)}]
pytest_add_cli_args_test_selection = {json.dumps(list(tests))}
timeout_multiplier = {TIMEOUT_TIMES}
timeout_constant = {TIMEOUT_S}
"""


def outcome(exit_code: int | None) -> str:
    """What became of a mutant, by the exit code of its tests."""
    return TIMED_OUT if exit_code in _BY_TIME else _BY_EXIT_CODE.get(exit_code, KILLED)


def results(mutants: Path) -> dict[str, dict[str, str]]:
    """What became of each mutant, by module and name."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(mutants.rglob("*.py.meta")):
        codes: Mapping[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        if codes:
            module = path.relative_to(mutants).as_posix().removesuffix(".meta")
            found[module] = {name: outcome(code) for name, code in codes.items()}
    return found


def table(found: Mapping[str, Mapping[str, str]]) -> str:
    """A line for each module and one for all: how many of each outcome, and the score: the share of those checked that
    were noticed."""
    columns = (KILLED, TIMED_OUT, SURVIVED, UNTESTED, UNCHECKED)
    width = max((len(module) for module in found), default=0)
    lines = [f"{'module':{width}}  " + "  ".join(f"{each:>11}" for each in columns) + f"  {'score':>7}"]
    rows = [(module, Counter(names.values())) for module, names in found.items()]
    total: Counter[str] = sum((counts for _, counts in rows), Counter())
    for module, counts in (*rows, ("all", total)):
        noticed = counts[KILLED] + counts[TIMED_OUT]
        checked = noticed + counts[SURVIVED] + counts[UNTESTED]
        score = f"{100 * noticed / checked:.1f} %" if checked else "-"
        lines.append(f"{module:{width}}  " + "  ".join(f"{counts[each]:>11,}" for each in columns) + f"  {score:>7}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the check. Exit status 0, whatever the score is; 1 where it can't be run."""
    parser = argparse.ArgumentParser(prog="make mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", default=list(SUITES), help="paths or patterns (aggregator/signatures/mtu/*)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument(
        "--minutes",
        type=float,
        default=60.0,
        help="for each of the suites; what is not checked by then stays unchecked",
    )
    parser.add_argument(
        "--keep", type=Path, help="a new directory; then `cd DIR/1 && mutmut browse` shows each survivor"
    )
    asked = parser.parse_args(arguments)
    if find_spec("mutmut") is None:
        parser.exit(1, "mutmut is not installed: it is one of the tools that `make dev` installs\n")
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="nodetell-mutation-") as scratch:
        for number, (tests, modules) in enumerate(suites(asked.modules).items(), 1):
            checked = _check((asked.keep or Path(scratch)) / str(number), modules, tests, asked)
            if not checked:
                return 1
            found |= checked
    print(table(found))
    return 0


def suites(modules: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Modules by the tests that they are checked with."""
    found: dict[tuple[str, ...], list[str]] = {}
    for module in modules:
        tests = (tests for pattern, tests in SUITES.items() if module == pattern or fnmatch(module, pattern))
        found.setdefault(next(tests, OTHERWISE), []).append(module)
    return found


def _check(
    scratch: Path, modules: list[str], tests: tuple[str, ...], asked: argparse.Namespace
) -> dict[str, dict[str, str]]:
    """What became of the mutants of some modules; empty: it could not be found out, and why is told."""
    for name in TREE:
        shutil.copytree(ROOT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    chosen = sorted({path.relative_to(ROOT).as_posix() for pattern in tests for path in ROOT.glob(pattern)})
    (scratch / "pyproject.toml").write_text(configuration(modules, chosen))
    log = scratch / "mutmut.log"
    environment = {key: value for key, value in os.environ.items() if key != "NODETELL_SHARED"}
    environment["PYTHONPATH"] = str(scratch / "proto")
    mutmut = [sys.executable, "-m", "mutmut"]
    with log.open("w") as output:
        run = [*mutmut, "run", "--max-children", str(asked.jobs)]
        process = subprocess.Popen(
            run, cwd=scratch, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(60 * asked.minutes)
        except subprocess.TimeoutExpired:
            print(f"{asked.minutes:g} minutes are over")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # mutants are tested in children of its own
            process.wait()
    found = results(scratch / "mutants")
    if all(each == UNCHECKED for names in found.values() for each in names.values()):
        print(*log.read_text().replace("\r", "\n").splitlines()[-25:], sep="\n", file=sys.stderr)
        return {}
    for names in found.values():
        for name in (name for name, each in names.items() if each in (SURVIVED, UNTESTED)):
            print(f"{names[name]}: {name}", flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
