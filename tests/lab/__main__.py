"""Write a scenario of the tests as an evidence bundle, to look at it or to diagnose it.

PYTHONPATH=.:proto python -m tests.lab                     names all scenarios
PYTHONPATH=.:proto python -m tests.lab NAME DIRECTORY      writes one, with its expected.json
PYTHONPATH=.:proto python -m tests.lab all DIRECTORY       writes each into a directory of its own
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.lab.scenario import SCENARIOS, write

HERE = Path(__file__).parent


def load_all() -> None:
    """Import every module of the tests that defines scenarios."""
    for path in sorted(HERE.parent.rglob("*.py")):
        if path.parent != HERE and "\n@scenario\n" in path.read_text():
            importlib.import_module(".".join(path.relative_to(HERE.parent.parent).with_suffix("").parts))


def main(arguments: list[str]) -> int:
    """Names, or one or all as bundles. Exit status 2: no such scenario, or too few words."""
    load_all()
    if not arguments:
        print("\n".join(sorted(SCENARIOS)))  # noqa: T201  # this is a command
        return 0
    names = sorted(SCENARIOS) if arguments[0] == "all" else [arguments[0]]
    if len(arguments) != 2 or not set(names) <= set(SCENARIOS):
        print(f"no such scenario, or no directory: {' '.join(arguments)}", file=sys.stderr)  # noqa: T201  # a command
        return 2
    for name in names:
        target = Path(arguments[1])
        write(SCENARIOS[name](), target / name if arguments[0] == "all" else target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
