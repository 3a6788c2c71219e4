"""The process that fuzzes: atheris (libFuzzer) over one target, with our own modules instrumented.

A case that breaks the property is kept, once for each place that it breaks in, and the run goes on: libFuzzer itself
would end at the first.
"""

from __future__ import annotations

import json
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import atheris

from fuzz.targets import MODULES, load

_MOST_FINDINGS = 50


class _Findings:
    """What broke, once for each place."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._places: set[str] = set()

    def add(self, case: bytes, place: str, text: str) -> None:
        """Keep a case and what it did."""
        if place in self._places or len(self._places) >= _MOST_FINDINGS:
            return
        self._places.add(place)
        name = f"finding-{len(self._places)}"
        (self._directory / f"{name}.bin").write_bytes(case)
        (self._directory / f"{name}.txt").write_text(text)
        print(f"FINDING {name}: {place}", file=sys.stderr, flush=True)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames][-3:]
    return f"{type(error).__name__} at {' > '.join(where)}"


def main() -> None:
    """Arguments: a JSON object with target, directory (of findings), corpus, and libFuzzer's own arguments."""
    given = json.loads(sys.argv[1])
    with atheris.instrument_imports(include=list(MODULES[given["target"]])):
        target = load(given["target"])
    findings = _Findings(Path(given["directory"]))

    def one(case: bytes) -> None:
        begun = time.thread_time()
        try:
            target.check(case)
        except Exception as error:  # noqa: BLE001  # whatever it is: that is the finding
            findings.add(case, _place(error), traceback.format_exc())
        took = time.thread_time() - begun
        if took > target.slow_s:
            findings.add(case, "slow", f"{took:.1f} s for {len(case)} bytes")

    options: dict[str, Any] = {}
    if target.mutate is not None:
        mutate = target.mutate

        def mutated(case: bytes, most: int, seed: int) -> bytes:
            return mutate(bytes(case), most, random.Random(seed), atheris.Mutate)[:most]  # not for secrets

        options["custom_mutator"] = mutated
    atheris.Setup([sys.argv[0], *given["arguments"], f"-max_len={target.max_bytes}", given["corpus"]], one, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
