"""A role run as a child process of this very command: started, listened to, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import nodetell

import cli
from cli.exits import CliError

STOP_S = 1.4
"""A child that is told to stop and has not by then is killed: both must be gone within 2 s."""
_KEPT_LINES = 10
_MAX_LINE = 64 << 10
_WORTH_TELLING = frozenset({"warning", "error", "critical"})


class Child:
    """One role in a process of its own. `said` is called with each of its log lines that is worth telling."""

    def __init__(self, role: str, process: asyncio.subprocess.Process, said: Callable[[str, str], None]) -> None:
        self.role = role
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        """The end of what it wrote to standard error."""
        self.events: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        """JSON lines from its standard output."""
        self._process = process
        self._said = said
        self._readers = [asyncio.create_task(self._read_log()), asyncio.create_task(self._read_events())]

    @classmethod
    async def start(cls, role: str, flags: list[str], said: Callable[[str, str], None]) -> Child:
        """Start `nodetell ROLE --format json FLAGS`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "cli.main", role, "--format", "json"),
            *("--die-with", str(os.getpid()), *flags),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=False,
            process_group=0,  # Ctrl-C is for the parent, which tells its children
            limit=_MAX_LINE,
        )
        return cls(role, process, said)

    async def wait(self) -> int:
        """Until it ends by itself or is stopped; its exit status once all it said has been read."""
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._readers, return_exceptions=True), 0.5)
        return status

    def tell_to_stop(self) -> None:
        """SIGTERM, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _read_log(self) -> None:
        async for line in _lines(self._process.stderr):
            level, text = _log_line(line)
            self.last_lines.append(text)
            if level in _WORTH_TELLING:
                # Whoever reads the output may be gone; the log must be read on, or the child would wait for that.
                with contextlib.suppress(OSError, CliError):
                    self._said(self.role, text)

    async def _read_events(self) -> None:
        async for line in _lines(self._process.stdout):
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    self.events.put_nowait(document)


async def stop_all(children: list[Child]) -> None:
    """Stop all of them at once; what does not stop in time is killed."""
    for each in children:
        each.tell_to_stop()
    waiting = [asyncio.create_task(each.wait()) for each in children]
    if waiting:
        _, hanging = await asyncio.wait(waiting, timeout=STOP_S)
        if hanging:
            for each in children:
                each.kill()
            await asyncio.wait(hanging, timeout=0.3)


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the limit: what was read of it is gone, what follows is good
            continue
        if not line:
            return
        yield line.decode(errors="replace").rstrip("\n")


def _log_line(line: str) -> tuple[str, str]:
    """(level, text to read) of a JSON log line; what is none, a traceback for instance, stays as it is."""
    try:
        keys = json.loads(line)
    except ValueError:
        return "", line
    if not isinstance(keys, dict):
        return "", line
    rest = [f"{key}={value}" for key, value in keys.items() if key not in ("at", "level", "role", "event")]
    return str(keys.get("level", "")), " ".join([str(keys.get("event", "")), *rest]).strip()


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the places of this very software first, so that a child runs the same one."""
    places = [str(Path(package.__path__[0]).parent) for package in (cli, nodetell)]
    return {**env, "PYTHONPATH": os.pathsep.join([*places, *filter(None, [env.get("PYTHONPATH")])])}
