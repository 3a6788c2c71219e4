"""`nodetell up`: an aggregator and an agent of this host as two child processes, and what they find, as it happens."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine
from typing import Any

from cli import exits
from cli.child import Child, stop_all
from cli.flags import DEFAULT_AGGREGATOR
from cli.foreground import own_terminal
from cli.report import iso
from cli.terminal import Look, clean, complain, emit, emit_json, look

DEFAULT_PAGE = "127.0.0.1:7444"
"""Where the page is, unless that port is taken, or the aggregator's own address is another one than usual."""
START_S = 30.0
"""Longer than any start takes; whoever needs longer hangs."""
_POLL_S = 0.1
_END_S = 0.7
"""A child that has ended is known to have within this time."""


def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C (0) or until a part ends by itself (1)."""
    with own_terminal() if arguments.own_terminal else contextlib.nullcontext():
        return asyncio.run(_Up(arguments).run())


class _Up:
    """The two children, and what is shown of them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._as_json = arguments.format == "json"
        self._look: Look = look(sys.stdout, os.environ)
        self._children: list[Child] = []
        self._stop = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) wants it ignored
                loop.add_signal_handler(number, self._stop.set)
        try:
            return await self._until_stopped(self._show())
        finally:
            await stop_all(self._children)
            if self._stop.is_set():
                self._tell("stopped", "stopped")

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> int:
        """Run until a signal comes (0), or a child ends (1), or the work fails (its exception)."""
        working, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                await working
        except _EndedError as error:
            complain(str(error))
            return exits.ENDED
        else:
            return exits.OK
        finally:
            for task in (working, stopped):
                task.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)

    async def _show(self) -> None:
        address = await self._start_aggregator()
        await self._start_agent(address)
        await self._with_children(self._follow(address))

    async def _start_aggregator(self) -> str:
        """Start it and return where it listens, as a client reaches it."""
        flags = self._aggregator_flags()
        aggregator = await Child.start("aggregator", flags, self._said)
        self._children.append(aggregator)
        event = await self._with_children(_ready(aggregator))
        address = _reachable(str(event.get("listen", "")))
        page = _page(event)
        self._tell("listening", f"listening on {address}", address=address, **({"page": page} if page else {}))
        if not self._as_json:
            if page:
                emit(f"look at it: {page}")
            where = "" if address == DEFAULT_AGGREGATOR else f" --aggregator {address}"
            emit(f"ask it with: nodetell findings --insecure{where}")
        return address

    def _aggregator_flags(self) -> list[str]:
        arguments = self._arguments
        flags = ["--config", arguments.aggregator_config] if arguments.aggregator_config else []
        if arguments.listen:
            if _taken(arguments.listen):
                hint = "stop what listens there, or choose another with --listen HOST:PORT"
                raise exits.CliError(exits.UNAVAILABLE, f"{arguments.listen}: address already in use; {hint}")
            flags += ["--listen", arguments.listen]
        elif not arguments.aggregator_config:
            free = not _taken(DEFAULT_AGGREGATOR)
            if not free:
                self._tell("port_taken", f"{DEFAULT_AGGREGATOR} is taken: taking a free port (--listen chooses one)")
            flags += ["--listen", DEFAULT_AGGREGATOR if free else "127.0.0.1:0"]
        if not arguments.aggregator_config:
            usual = DEFAULT_AGGREGATOR in flags and not _taken(DEFAULT_PAGE)
            flags += ["--http.listen", DEFAULT_PAGE if usual else "127.0.0.1:0"]
        if arguments.kubeconfig:
            if not os.access(arguments.kubeconfig, os.R_OK):
                raise exits.CliError(exits.CONFIG, f"{arguments.kubeconfig}: is not there, or may not be read")
            flags += ["--kubernetes.kubeconfig", arguments.kubeconfig]
        if arguments.state_directory or not arguments.aggregator_config:
            flags += ["--state-directory", arguments.state_directory or ""]  # empty: nowhere
        return [*flags, "--insecure"]  # on loopback, or the aggregator refuses it

    async def _start_agent(self, address: str) -> None:
        arguments = self._arguments
        flags = ["--config", arguments.agent_config] if arguments.agent_config else []
        flags += ["--aggregator", address, "--insecure"]
        if arguments.probe_directory:
            flags += ["--collectors.probe-directories", ",".join(arguments.probe_directory)]
        self._children.append(await Child.start("agent", flags, self._said))

    async def _with_children(self, work: Awaitable[Any]) -> Any:
        """Await the work; _EndedError as soon as a child ends."""
        task = asyncio.ensure_future(work)
        ends: dict[asyncio.Future[int], Child] = {asyncio.create_task(each.wait()): each for each in self._children}
        try:
            done, _ = await asyncio.wait({task, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if task in done and task.exception() is not None:
                # What failed may have failed because a child has just ended: then that is what to tell.
                done, _ = await asyncio.wait(ends, timeout=_END_S, return_when=asyncio.FIRST_COMPLETED)
            for end in done - {task}:
                raise _EndedError(ends[end], end.result())
            return task.result()
        finally:
            for each in (task, *ends):
                each.cancel()

    async def _follow(self, address: str) -> None:
        """Print the host once it has reported, then findings for ever."""
        # Only now: both children are started, and gRPC does not like to be forked.
        from cli.access import on_this_host  # noqa: PLC0415
        from cli.watch import first_host, follow  # noqa: PLC0415

        aggregator = on_this_host(address)
        facts = await first_host(aggregator, _POLL_S)
        if self._as_json:
            emit_json({"event": "host", "at": iso(time.time()), "host": facts.as_json()}, lines=True)
        else:
            from cli.node_text import node_text  # noqa: PLC0415

            emit("\n" + node_text(facts, self._look) + "\n")
        await follow(aggregator, self._look, self._arguments)

    def _said(self, role: str, line: str) -> None:
        if self._as_json:
            emit_json({"event": "log", "role": role, "line": line}, lines=True)
        else:
            complain(f"{role}: {clean(line)}")

    def _tell(self, event: str, text: str, **more: str) -> None:
        if self._as_json:
            emit_json({"event": event, "at": iso(time.time()), **more}, lines=True)
        else:
            emit(text)


class _EndedError(Exception):
    """A child ended by itself."""

    def __init__(self, child: Child, status: int) -> None:
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        last = [f"  {clean(line)}" for line in child.last_lines]
        super().__init__("\n".join([f"the {child.role} {how}{'; its last lines:' if last else ''}", *last]))


def _page(event: dict[str, object]) -> str:
    """Where a browser finds the page; empty: nowhere."""
    surfaces = event.get("surfaces")
    found = surfaces.get("http", "") if isinstance(surfaces, dict) else ""
    return f"{found}/" if found else ""


async def _ready(aggregator: Child) -> dict[str, object]:
    try:
        while True:
            event = await asyncio.wait_for(aggregator.events.get(), START_S)
            if event.get("event") == "ready":
                return event
    except TimeoutError:
        raise exits.CliError(exits.UNAVAILABLE, f"the aggregator is not ready after {START_S:g} s") from None


def _taken(address: str) -> bool:
    """Something listens at "host:port" already. What is no address is left to the aggregator, which says why."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError):
        return False
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _reachable(address: str) -> str:
    """An address that all interfaces listen on, as one that can be dialled."""
    host, _, port = address.rpartition(":")
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + f":{port}"  # replaced, not bound
