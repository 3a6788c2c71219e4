"""System calls that processes make, counted by the kernel as they enter (perf)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

EVENT = "raw_syscalls:sys_enter"


def obstacle() -> str:
    """Why they can't be counted here; empty: they can."""
    if shutil.which("perf") is None:
        return "needs perf: apt-get install linux-perf (Ubuntu: linux-tools-generic)"
    tried = subprocess.run(_command((), ("true",)), capture_output=True, text=True, check=False)
    return "" if parse(tried.stderr) else f"perf cannot count {EVENT} here: {tried.stderr.strip()}"


def per_second(pids: Mapping[str, Sequence[int]], seconds: float) -> dict[str, float | None]:
    """Of groups of processes, their threads and what they start meanwhile, all in the same time. None: not counted."""
    counting = {
        name: subprocess.Popen(_command(group, ("sleep", str(seconds))), stderr=subprocess.PIPE, text=True)
        for name, group in pids.items()
    }
    counts = {name: parse(perf.communicate()[1]) for name, perf in counting.items()}
    return {name: None if count is None else count / seconds for name, count in counts.items()}


def _command(pids: Sequence[int], meanwhile: Sequence[str]) -> list[str]:
    whom = ["-p", ",".join(map(str, pids))] if pids else []
    return ["perf", "stat", "-x", ",", "-e", EVENT, *whom, *meanwhile]


def parse(output: str) -> int | None:
    """Of `perf stat -x ,`; None: there is no count in it. A process that never ran has made none, and has no count."""
    for line in output.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2] == EVENT and fields[0].isdigit():
            return int(fields[0])
    return None
