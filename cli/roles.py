"""`nodetell agent`, `nodetell aggregator` and `nodetell sensor`: settings in, the role's main function, signals out."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import dataclasses
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nodetell.alive import Alive, AliveError, alive
from nodetell.logs import configure, use_json
from nodetell.settings import SettingsError, load, render

from cli import exits
from cli.flags import SETTING
from cli.role_settings import env_prefix, settings_class, start_problem
from cli.terminal import emit, emit_json

STOP_GRACE_S = 10.0
"""A role that was told to stop and is not done by then (a read that hangs) is ended."""
_PR_SET_PDEATHSIG = 1  # prctl(2)


def run(arguments: argparse.Namespace) -> int:
    """Run a role until it is told to stop, or only check or print its settings."""
    role: str = arguments.command
    if arguments.die_with is not None:
        _die_with(arguments.die_with)
    settings = load_settings(arguments)
    if arguments.print_config:
        if arguments.format == "json":
            emit_json(dataclasses.asdict(settings))
        else:
            emit(render(settings, env_prefix(role)).rstrip("\n"))
        return exits.OK
    if arguments.check_config:
        problem = start_problem(role, settings)
        if arguments.format == "json":
            emit_json({"ok": not problem, "problems": [problem] if problem else []})
        if problem:
            raise exits.CliError(exits.CONFIG, f"{arguments.config or 'settings'}: {problem}")
        if arguments.format == "text":
            emit(f"{arguments.config or 'settings'}: ok")
        return exits.OK
    if arguments.format == "json":
        use_json()
    configure(settings.log_level)
    try:
        status = asyncio.run(_until_stopped(partial(_alive, role, settings, arguments.format)))
    except AliveError as error:
        raise exits.CliError(exits.CANNOT_CREATE, str(error)) from error
    return {0: exits.OK, 2: exits.CONFIG}.get(status, exits.UNAVAILABLE)  # a role's own: 2 refuses the settings


def load_settings(arguments: argparse.Namespace) -> Any:
    """The role's settings from file, environment and flags. Raises CliError with all problems."""
    role: str = arguments.command
    flags = {
        name.removeprefix(SETTING): value
        for name, value in vars(arguments).items()
        if name.startswith(SETTING) and value is not None
    }
    path = Path(arguments.config) if arguments.config else None
    try:
        return load(settings_class(role), path, os.environ, flags, env_prefix(role))
    except SettingsError as error:
        if arguments.check_config and arguments.format == "json":
            emit_json({"ok": False, "problems": error.problems})
        raise exits.CliError(exits.CONFIG, str(error)) from error


async def _alive(role: str, settings: Any, form: str, stop: asyncio.Event) -> int:
    """The role's main function, with a sign of life beside it where one is asked for. Raises AliveError."""
    async with alive(settings.alive_file) as signs:
        if signs is not None and role != "aggregator":  # which is once it takes connections
            signs.ready()
        return await _role_main(role, settings, form, signs)(stop)


def _role_main(role: str, settings: Any, form: str, signs: Alive | None) -> Callable[[asyncio.Event], Awaitable[int]]:
    if role == "agent":
        from agent import main as agent_main  # noqa: PLC0415  # only one role is wanted

        return lambda stop: agent_main.run(settings, stop)
    if role == "sensor":
        from agent.sensor import main as sensor_main  # noqa: PLC0415

        return lambda stop: sensor_main.run(settings, stop)
    from aggregator import main as aggregator_main  # noqa: PLC0415

    def ready(address: str, surfaces: Mapping[str, str]) -> None:
        if signs is not None:
            signs.ready()
        if form == "json":
            emit_json({"event": "ready", "listen": address, "surfaces": dict(surfaces)}, lines=True)
        else:
            emit(f"aggregator listening on {address}")
            for name, where in surfaces.items():
                emit(f"{name} on {where}")

    return lambda stop: aggregator_main.run(settings, stop, ready)


async def _until_stopped(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run until the role ends or a signal tells it to; a second signal ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(exits.INTERRUPTED)
        stop.set()
        watchdog = threading.Timer(STOP_GRACE_S, os._exit, (exits.INTERRUPTED,))
        watchdog.daemon = True
        watchdog.start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) wants it ignored
            loop.add_signal_handler(number, on_signal)
    return await main(stop)


def _die_with(parent: int) -> None:
    """Get SIGTERM when the parent ends in whatever way, so that nothing is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        raise exits.CliError(exits.UNAVAILABLE, f"the process {parent} that started this one is gone")
