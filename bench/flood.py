"""What 199 agents wait for their acknowledgements while one more floods the aggregator, each way it can, and without.

The aggregator, the agents that behave and the one that does not are processes of their own. Run it with `make flood`;
it fails if an agent lost its stream, or waited longer for most of its acknowledgements than the bound below.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.floods import FLOODS, Behaved, flood, largest_update

RATIO, FLOOR_S = 10.0, 0.25
"""With a flood, 99 of 100 acknowledgements take at most so many times as long as without, or this."""
UPDATES = 12


def main() -> int:
    """All floods, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=199)
    parser.add_argument("--only", choices=tuple(FLOODS), action="append", help="this flood; may be given again")
    parser.add_argument("--role", choices=("all", "behaved", "flood"), default="all", help=argparse.SUPPRESS)
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "behaved":
        print(json.dumps(asyncio.run(_behaved(args.target, args.agents))))
        return 0
    if args.role == "flood":
        largest_update(1), largest_update(2)
        asyncio.run(flood(args.kind, args.target, "flooder"))
        return 0
    return _all(args.agents, args.only or list(FLOODS))


async def _behaved(target: str, agents: int) -> list[float]:
    """Seconds waited for each acknowledgement of a whole update but the first, of all agents."""
    behaved = [Behaved(target, f"node-{number}", interval_s=1.0) for number in range(agents)]
    async with asyncio.TaskGroup() as group:
        for each in behaved:
            group.create_task(each.run(UPDATES))
            await asyncio.sleep(1.0 / agents)
    return [waited for each in behaved for waited in each.waited_s[1:]]


def _all(agents: int, floods: list[str]) -> int:
    failed = False
    base = 0.0
    print(f"{'flood':<16}{'median':>10}{'99 %':>10}{'longest':>10}   aggregator's CPU")
    for kind in ("", *floods):
        waited, cpu = _measured(agents, kind)
        waited.sort()
        median, high, longest = statistics.median(waited), waited[int(0.99 * len(waited))], waited[-1]
        base = base or high
        bound = max(FLOOR_S, RATIO * base)
        verdict = "" if high <= bound else f"   over the bound of {bound * 1000:.0f} ms"
        failed = failed or bool(verdict)
        row = "".join(f"{each * 1000:>7.0f} ms" for each in (median, high, longest))
        print(f"{kind or 'none':<16}{row}   {cpu:.0f} % of a core{verdict}", flush=True)
    return int(failed)


def _measured(agents: int, kind: str) -> tuple[list[float], float]:
    with _aggregator() as (target, pid):
        command = [sys.executable, "-m", "bench.flood", "--target", target]
        flooder = subprocess.Popen([*command, "--role", "flood", "--kind", kind]) if kind else None
        try:
            time.sleep(3.0 if kind else 0.0)
            before, began = _cpu_s(pid), time.monotonic()
            behaved = [*command, "--role", "behaved", "--agents", str(agents)]
            out = subprocess.run(behaved, check=True, capture_output=True, text=True, timeout=600).stdout
            cpu = 100 * (_cpu_s(pid) - before) / (time.monotonic() - began)
            if flooder is not None and flooder.poll() is not None:
                raise RuntimeError(f"the flood of {kind} ended by itself")
        finally:
            if flooder is not None:
                flooder.kill()
                flooder.wait()
    return [float(each) for each in json.loads(out)], cpu


@contextlib.contextmanager
def _aggregator() -> Iterator[tuple[str, int]]:
    """An aggregator of its own: its address and its process."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        command = [sys.executable, "-m", "cli.main", "aggregator", "--listen", "127.0.0.1:0", "--insecure"]
        command += ["--state-directory", directory]
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(command, stderr=errors, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        try:
            yield _address(log, process), process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if "event=listening" in line:
                return next(word.removeprefix("listen=") for word in line.split() if word.startswith("listen="))
        time.sleep(0.1)
    raise RuntimeError(f"the aggregator does not listen: {log.read_text(encoding='utf-8')[-2000:]}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
