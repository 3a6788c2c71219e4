"""Answers the agent on a local socket, and nobody else: who connects is told by the kernel, not by what he says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
import time
from collections.abc import Callable

from nodetell.logs import event

from agent.sensor.settings import SensorSettings
from agent.sensor.wire import LENGTH, REQUEST

_log = logging.getLogger("nodetell.sensor")

MODE = 0o660
_IDLE_S = 300.0
"""A connection on which nothing is asked for so long is ended. Agents stretch their intervals to minutes at most."""
_WRITE_S = 10.0
_FRESH_S = 0.2
"""An answer is given again within this time: asking without pause costs the host nothing."""
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class SocketError(Exception):
    """The socket cannot be served: why, one line."""


class Server:
    """Serves reports until it is closed."""

    def __init__(self, settings: SensorSettings, report: Callable[[], bytes]) -> None:
        self._settings = settings
        self._report = report
        self._allowed = {0, os.geteuid(), settings.agent_uid}
        self._clients: set[asyncio.Task[None]] = set()
        self._answer = b""
        self._answered_at = -_FRESH_S
        self._server: asyncio.Server | None = None
        self._inode: tuple[int, int] | None = None

    async def start(self) -> None:
        """Bind and listen. Raises SocketError."""
        path = self._settings.socket
        try:
            listener = _listen(path)
            status = os.stat(path)
            self._inode = (status.st_dev, status.st_ino)
            _give_to(path, self._settings.agent_gid)
        except OSError as error:
            raise SocketError(f"{path}: {error.strerror or error}") from error
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=64)

    async def close(self) -> None:
        """End all connections and remove the socket, unless another sensor has put its own there."""
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError):
            status = os.stat(self._settings.socket)
            if (status.st_dev, status.st_ino) == self._inode:
                os.unlink(self._settings.socket)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        try:
            if self._welcome(writer):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return  # the client went, or does not read what it asked for
        except asyncio.CancelledError:
            return  # the server closes
        finally:
            # Not close(): that would wait for a client that does not read.
            writer.transport.abort()

    def _welcome(self, writer: asyncio.StreamWriter) -> bool:
        raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in self._allowed:
            event(_log, logging.WARNING, "client_refused", uid=uid, pid=pid, allowed=self._settings.agent_uid)
            return False
        if len(self._clients) > self._settings.max_clients:
            event(_log, logging.WARNING, "client_refused", uid=uid, pid=pid, clients=self._settings.max_clients)
            return False
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await asyncio.wait_for(reader.readexactly(len(REQUEST)), _IDLE_S) == REQUEST:
            if time.monotonic() - self._answered_at >= _FRESH_S:
                self._answer = self._report()
                self._answered_at = time.monotonic()
            writer.write(LENGTH.pack(len(self._answer)) + self._answer)
            await asyncio.wait_for(writer.drain(), _WRITE_S)


def _listen(path: str) -> socket.socket:
    os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            listener.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_stale(path)
            listener.bind(path)
        os.chmod(path, MODE)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; raises OSError if somebody does, or if it is no socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another sensor listens there")


def _give_to(path: str, group: int) -> None:
    if os.stat(path).st_gid == group:
        return
    try:
        os.chown(path, -1, group)
    except PermissionError:
        event(
            _log, logging.WARNING, "socket_group", path=path, group=group, reason="not permitted: run with this group"
        )
