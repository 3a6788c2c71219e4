"""Whether a role still gets round to things, by the file it keeps (alive.py): what an exec probe runs, several times a
minute and where there is no shell.

    python3 -IS alive_check.py FILE SECONDS [ready]

So it imports next to nothing, and is never imported by what it looks at. Status 0: its last sign is no older than that,
and it is ready where that is asked for; 1, with one line that says why: it is not.
"""

import sys
import time


def problem(text: str, now: float, seconds: float, wanted: str) -> str:
    """What is wrong with what a file says at monotonic time `now`; empty: nothing."""
    moment, _, state = text.strip().partition(" ")
    try:
        age = now - float(moment)
    except ValueError:
        return "holds no sign of life"
    if not -1 <= age <= seconds:  # one from before a boot may be of a time that has not come yet
        return f"the last sign of life is {age:.0f} s old" if age > 0 else "is of another boot"
    return f"is {state}, not {wanted}" if wanted and state != wanted else ""


def main(arguments: list[str]) -> int:
    """Look, and say what is wrong."""
    if len(arguments) not in (2, 3):
        print("alive_check: FILE SECONDS [ready]", file=sys.stderr)  # noqa: T201  # a program of its own
        return 1
    path, seconds, wanted = arguments[0], arguments[1], arguments[2] if arguments[2:] else ""
    try:
        with open(path, encoding="ascii") as file:
            wrong = problem(file.read(64), time.monotonic(), float(seconds), wanted)
    except (OSError, ValueError) as error:
        wrong = (getattr(error, "strerror", None) or str(error)).lower()
    if wrong:
        print(f"{path}: {wrong}", file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
