"""Mutation check of the signatures: is there a test for each decision? `make mutation`, docs/testing.md.

mutmut changes one operator, number or word at a time in a copy of the tree and runs the tests that reach it; a change
that no test notices has survived. It keeps its own state beside what it changes, so all of it happens in a scratch
directory, with a configuration of its own. All of them take hours; a random sample of each module tells as much, within
limits that are printed with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
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
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
TREE = ("agent", "aggregator", "cli", "proto", "tests", "docs")
"""What the tests need of the tree."""
_CRASH = (
    "tests/signatures/test_cr*.py",
    "tests/signatures/test_red_crash.py",
    "tests/signatures/test_cause_*.py",
)
SUITES = {
    "aggregator/causes.py": (
        "tests/aggregator/test_causes.py",
        "tests/aggregator/test_story.py",
        "tests/signatures/test_cause_timelines.py",
    ),
    "aggregator/signatures/case.py": ("tests/signatures/test_case.py",),
    "aggregator/signatures/clock.py": ("tests/signatures/test_clock*.py",),
    "aggregator/signatures/node_health.py": ("tests/signatures/test_node_health_timelines.py",),
    "aggregator/signatures/slow_fsync.py": (
        "tests/signatures/test_slow_fsync*.py",
        "tests/signatures/test_control_plane_timelines.py",
    ),
    "aggregator/signatures/crash_loop.py": _CRASH,
    "aggregator/signatures/crash/*": _CRASH,
    "aggregator/signatures/scheduler_stuck.py": ("tests/signatures/test_scheduler_*.py",),
    "aggregator/signatures/scheduler/*": ("tests/signatures/test_scheduler_*.py",),
    "aggregator/signatures/storage_gravity.py": (
        "tests/signatures/test_storage_*.py",
        "tests/signatures/test_red_storage.py",
    ),
    "aggregator/signatures/storage/*": ("tests/signatures/test_storage_*.py", "tests/signatures/test_red_storage.py"),
    "aggregator/signatures/mtu_mismatch.py": (
        "tests/signatures/test_mtu_*.py",
        "tests/signatures/test_fixture_hosts.py",
    ),
    "aggregator/signatures/mtu/*": ("tests/signatures/test_mtu_*.py", "tests/signatures/test_fixture_hosts.py"),
    "aggregator/signatures/control_plane_saturation.py": (
        "tests/signatures/test_control_plane*.py",
        "tests/signatures/test_late_leases.py",
    ),
    "aggregator/signatures/control_plane/*": (
        "tests/signatures/test_control_plane*.py",
        "tests/signatures/test_late_leases.py",
    ),
    "aggregator/signatures/*.py": ("tests/signatures/test_*.py",),
}
"""What is checked where nothing else is asked for, and by which tests: those of the very signature."""
OTHERWISE = ("tests/signatures/test_*.py",)
"""Tests for any other module. What takes a file system, a socket or a minute is not among them."""
SLOW = "not (sequences or any_sequence)"
"""Tests of all incremental evaluation together run for seconds and notice nothing that those of each do not."""
TIMEOUT_TIMES, TIMEOUT_S = 12.0, 5.0
"""A mutant is killed by time after so many times as long as its tests took, and so much longer: a survivor that a busy
machine keeps waiting must not pass for one that loops."""
NONE_SUCH = "none.such"
"""Asked for a mutant that there is none of, mutmut makes them all, measures the tests, and stops."""
DEVIATES = 1.96
"""Standard deviations to either side that hold 95 % of a normal distribution."""

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


def sampled(names: Mapping[str, Iterable[str]], size: int, seed: int) -> list[str]:
    """So many mutants of each module, or all of one that has no more; the same ones for the same seed."""
    draw = random.Random(seed)  # noqa: S311  # nobody guesses mutants
    sample: list[str] = []
    for _, of_module in sorted(names.items()):
        ordered = sorted(of_module)
        sample += draw.sample(ordered, min(size, len(ordered)))
    return sample


def estimate(found: Iterable[Mapping[str, str]]) -> tuple[float, float]:
    """The share that tests notice of all mutants of some modules, each of which a random sample was checked of, and how
    far off that may be with 95 % confidence. Each module counts by all its mutants.

    With (killed + 1) of (checked + 2) for the spread, a sample without survivors is not taken for certainty.
    """
    strata = []
    for names in found:
        counts = Counter(names.values())
        noticed = counts[KILLED] + counts[TIMED_OUT]
        checked = len(names) - counts[UNCHECKED]
        if checked:
            strata.append((len(names), checked, noticed))
    everything = sum(size for size, _, _ in strata)
    share = sum(size * noticed / checked for size, checked, noticed in strata) / everything
    variance = 0.0
    for size, checked, noticed in strata:
        smooth = (noticed + 1) / (checked + 2)
        unseen = (size - checked) / (size - 1) if size > 1 else 0.0
        variance += (size / everything) ** 2 * smooth * (1 - smooth) / checked * unseen
    return share, DEVIATES * math.sqrt(variance)


def estimates(found: Mapping[str, Mapping[str, str]]) -> str:
    """A line for each directory: how many of its mutants were checked, and the score of all of them."""
    packages: dict[str, list[Mapping[str, str]]] = {}
    for module, names in found.items():
        if any(each != UNCHECKED for each in names.values()):
            packages.setdefault(module.rpartition("/")[0], []).append(names)
    lines = []
    for package, modules in sorted(packages.items()):
        share, off = estimate(modules)
        everything = sum(map(len, modules))
        checked = sum(each != UNCHECKED for names in modules for each in names.values())
        low, high = max(0.0, share - off), min(1.0, share + off)
        lines.append(
            f"{package}: {checked:,} of {everything:,} mutants checked, score {100 * share:.1f} % "
            f"(95 % confidence: {100 * low:.1f} to {100 * high:.1f} %)"
        )
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
    parser.add_argument("--sample", type=int, default=0, help="mutants of each module, drawn at random; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
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
    if asked.sample:
        print(estimates(found))
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
    with log.open("w") as output:

        def mutmut(*names: str) -> None:
            _run(scratch, environment, [*names, "--max-children", str(asked.jobs)], output, 60 * asked.minutes)

        if asked.sample:
            mutmut(NONE_SUCH)
            mutmut(*sampled(results(scratch / "mutants"), asked.sample, asked.seed))
        else:
            mutmut()
    found = results(scratch / "mutants")
    if all(each == UNCHECKED for names in found.values() for each in names.values()):
        print(*log.read_text().replace("\r", "\n").splitlines()[-25:], sep="\n", file=sys.stderr)
        return {}
    for names in found.values():
        for name in (name for name, each in names.items() if each in (SURVIVED, UNTESTED)):
            print(f"{names[name]}: {name}", flush=True)
    return found


def _run(scratch: Path, environment: Mapping[str, str], arguments: list[str], output: IO[str], most_s: float) -> None:
    """mutmut in the scratch directory, for so long at most."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mutmut", "run", *arguments],
        cwd=scratch,
        env=environment,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        process.wait(most_s)
    except subprocess.TimeoutExpired:
        print(f"{most_s / 60:g} minutes are over")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # mutants are tested in children of its own
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
