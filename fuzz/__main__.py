"""`python -m fuzz TARGET --runs N`: fuzzes one target, or all, and says what came of it.

Needs atheris, which is no dependency of anything else here.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fuzz import corpus
from fuzz.captures import TOP
from fuzz.minimise import minimised
from fuzz.targets import NAMES, load

_CASES = re.compile(r"stat::number_of_executed_units: (\d+)")
_EDGES = re.compile(r"cov: (\d+)")


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    cases: int
    seconds: float
    edges: int
    findings: list[Path]
    whole: bool
    """The engine came to its end: neither a hang nor too much memory stopped it."""


def main(arguments: list[str] | None = None) -> int:
    """1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(NAMES)}; none: all of them")
    parser.add_argument("--runs", type=int, default=1_000_000, help="cases of each target (default: 1,000,000)")
    parser.add_argument("--seconds", type=int, default=0, help="end each target's run after so long; 0: no end")
    parser.add_argument("--keep", action="store_true", help="minimise what was found new into fuzz/corpus")
    parser.add_argument("--work", type=Path, help="directory for corpora and findings; none: a temporary one")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.targets if name not in NAMES]:
        parser.error(f"no target {', '.join(unknown)}")
    if find_spec("atheris") is None:
        parser.error("atheris is not there: `make fuzz` installs it (requirements/fuzz.txt), where it has a wheel")
    work: Path = given.work or Path(tempfile.mkdtemp(prefix="nodetell-fuzz-"))
    found = False
    for name in given.targets or NAMES:
        result = run(name, work / name, runs=given.runs, seconds=given.seconds)
        print(
            f"{name}: {result.cases:,} cases in {result.seconds:.0f} s, {result.edges:,} edges, "
            f"{len(result.findings)} findings{'' if result.whole else ', ended early: see log'}; {work / name}",
            flush=True,
        )
        found |= bool(result.findings) or not result.whole
        if given.keep:
            keep(name, work / name)
    return int(found)


def run(name: str, work: Path, *, runs: int, seconds: int = 0) -> Result:
    """Fuzz one target in a process of its own; its corpus, findings and log are below `work`."""
    cases = work / "corpus"
    cases.mkdir(parents=True, exist_ok=True)
    target = load(name)
    for number, case in enumerate([*target.seeds(), *corpus.load(name)]):
        (cases / f"seed-{number}").write_bytes(case)
    arguments = [f"-runs={runs}", "-print_final_stats=1", "-timeout=120", "-rss_limit_mb=2048", "-len_control=20"]
    arguments += [f"-artifact_prefix={work}/", "-verbosity=1"]
    if seconds:
        arguments.append(f"-max_total_time={seconds}")
    if target.words:
        words = work / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        arguments.append(f"-dict={words}")
    given = {"target": name, "directory": str(work), "corpus": str(cases), "arguments": arguments}
    begun = time.monotonic()
    with (work / "log").open("w") as log:
        ended = subprocess.run(
            [sys.executable, "-m", "fuzz.engine", json.dumps(given)], cwd=TOP, stderr=log, stdout=log, check=False
        )
    said = (work / "log").read_text(errors="replace")
    edges = [int(each) for each in _EDGES.findall(said)]
    executed = _CASES.search(said)
    return Result(
        int(executed[1]) if executed else 0,
        time.monotonic() - begun,
        max(edges, default=0),
        sorted(work.glob("finding-*.bin")),
        ended.returncode == 0 and executed is not None,
    )


def keep(name: str, work: Path) -> None:
    """Minimise a target's corpus into git's."""
    target = load(name)
    cases = [place.read_bytes() for place in (work / "corpus").iterdir()]
    kept = corpus.save(name, minimised(target.check, [*cases, *corpus.load(name)]))
    print(f"{name}: {kept} of {len(cases):,} cases kept", flush=True)


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
