"""An API server for tests: over real sockets, in the test's event loop, and as badly behaved as the test wants it.

`ApiServer` answers each request by a function that writes what it likes, whole or half. `Cluster` is what a good one
would know: objects with resourceVersions, their past, pages and watches of it. Faults are put between the two.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import struct
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes = b""


class Reply:
    """An answer, piece by piece."""

    def __init__(self, writer: asyncio.StreamWriter, ahead_s: float = 0.0) -> None:
        self._writer, self._ahead_s = writer, ahead_s
        self._chunked = False
        self.ended = False

    async def whole(self, status: int, body: bytes | Json, headers: dict[str, str] | None = None) -> None:
        """An answer with a length."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self._head(status, {"Content-Length": str(len(data))} | (headers or {}))
        await self._send(data)
        self.ended = True

    async def begin(self, headers: dict[str, str] | None = None) -> None:
        """A 200 whose length nobody knows yet."""
        self._chunked = True
        await self._head(200, {"Transfer-Encoding": "chunked"} | (headers or {}))

    async def piece(self, data: bytes) -> None:
        """Some of it."""
        await self._send(b"%x\r\n%b\r\n" % (len(data), data))

    async def half_piece(self, data: bytes) -> None:
        """Less of it than is announced."""
        await self._send(b"%x\r\n%b" % (len(data) + 100, data))

    async def end(self) -> None:
        """That was all of it."""
        await self._send(b"0\r\n\r\n")
        self.ended = True

    async def reset(self) -> None:
        """The connection breaks."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close sends RST
        self._writer.close()

    async def _head(self, status: int, headers: dict[str, str]) -> None:
        given = {
            "Date": formatdate(time.time() + self._ahead_s, usegmt=True),
            "Content-Type": "application/json",
        } | headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        await self._send(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


Answer = Callable[[Request, Reply], Awaitable[None]]


class ApiServer:
    """Listens, on loopback if not told otherwise. `answer` is called for each request; a connection it leaves unended
    is closed."""

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.answer, self.context, self.host = answer, context, host
        self.requests: list[Request] = []
        self.connections = 0
        self.ahead_s = 0.0
        """Its clock less ours."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.context else 'http'}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; where it did before, if it did."""
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, ssl=self.context, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be away: nothing listens, and every connection breaks."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()  # what nobody reads any more would be waited for
        for writer in list(self._writers):
            with suppress(OSError):
                await writer.wait_closed()
        self._server = None

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(self._tasks)

    def watches(self, path: str) -> int:
        """How many watches of a path were asked for."""
        return sum(request.path == path and "watch" in request.query for request in self.requests)

    def lists(self, path: str) -> int:
        """How many lists of a path were begun."""
        return sum(
            request.path == path and "watch" not in request.query and "continue" not in request.query
            for request in self.requests
        )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                begun: bytes | None = b""
                while begun is not None:
                    begun = await self._one(begun, reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, begun: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """Answer a request, of which this was read already; returns what was read of the next one. None: close."""
        head = (begun + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        url = urlsplit(target)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, body)
        self.requests.append(request)
        reply = Reply(writer, self.ahead_s)
        gone = asyncio.ensure_future(reader.read(1))  # nothing is sent before the answer: it ends when the client does
        work = asyncio.ensure_future(self.answer(request, reply))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for each in (gone, work):
                each.cancel()
            more, _ = await asyncio.gather(gone, work, return_exceptions=True)
        return (more if isinstance(more, bytes) else b"") if reply.ended else None


@asynccontextmanager
async def serving(
    answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[ApiServer]:
    """A server for as long as the context."""
    server = ApiServer(answer, context, host)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def status(code: int, message: str, reason: str = "", **more: Any) -> Json:
    """A v1 Status as error answers and ERROR events have it."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"} | {
        "message": message,
        "reason": reason,
        "code": code,
        **more,
    }


EXPIRED = status(410, "too old resource version: 1 (4691)", "Expired")
TOO_LARGE = status(
    504,
    "Timeout: Too large resource version: 9, current: 4",
    "Timeout",
    details={"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]},
)


def line(kind: str, item: Json) -> bytes:
    """An event of a watch."""
    return json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n"


@dataclass(slots=True)
class Kept:
    """What is known of one path."""

    objects: dict[str, Json] = field(default_factory=dict)
    past: list[tuple[int, str, str, Json]] = field(default_factory=list)
    """Version, type, name, object."""


class Cluster:
    """Objects by path and name, all that happened to them, and the versions: one counter for all, as in etcd."""

    def __init__(self) -> None:
        self.version = 100
        self.compacted = 0
        """What happened up to this version is forgotten."""
        self.bookmark_s = 0.05
        self.watch_s = 1.0
        self._kept: dict[str, Kept] = {}
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def of(self, path: str) -> Kept:
        """What is known of a path."""
        return self._kept.setdefault(path, Kept())

    def put(self, path: str, name: str, **more: Any) -> None:
        """Make or change an object."""
        kept = self.of(path)
        self.version += 1
        kind = "MODIFIED" if name in kept.objects else "ADDED"
        item = {"metadata": {"name": name, "resourceVersion": str(self.version)}, **more}
        kept.objects[name] = item
        self._happened(kept, kind, name, item)

    def drop(self, path: str, name: str) -> None:
        """Delete an object."""
        kept = self.of(path)
        self.version += 1
        item = kept.objects.pop(name)
        item = item | {"metadata": item["metadata"] | {"resourceVersion": str(self.version)}}
        self._happened(kept, "DELETED", name, item)

    def compact(self) -> None:
        """Forget the past."""
        self.compacted = self.version

    def restore(self, version: int) -> None:
        """Go back to a version, as an etcd that is restored."""
        for kept in self._kept.values():
            kept.past = [each for each in kept.past if each[0] <= version]
            kept.objects = self._at(kept, version)
        self.version = version

    def _happened(self, kept: Kept, kind: str, name: str, item: Json) -> None:
        kept.past.append((self.version, kind, name, item))
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    def _at(kept: Kept, version: int) -> dict[str, Json]:
        objects: dict[str, Json] = {}
        for at, kind, name, item in kept.past:
            if at > version:
                break
            if kind == "DELETED":
                objects.pop(name, None)
            else:
                objects[name] = item
        return objects

    def expired(self, token: str) -> Json:
        """The answer to a continue token that is too old, with one that goes on in the present."""
        _, after = _read(token)
        return status(410, "The provided continue parameter is too old", "Expired") | {
            "metadata": {"continue": _token(-1, after)}
        }

    async def list(self, request: Request, reply: Reply) -> None:
        """Answer a list, page by page of one version."""
        kept = self.of(request.path)
        version, after = self.version, ""
        if token := request.query.get("continue"):
            asked, after = _read(token)
            if asked >= 0 and asked < self.compacted:
                await reply.whole(410, self.expired(token))
                return
            version = asked if asked >= 0 else self.version
        objects = self._at(kept, version)
        names = sorted(name for name in objects if name > after)
        limit = int(request.query.get("limit", "0")) or len(names) or 1
        metadata = {"resourceVersion": str(version)}
        if len(names) > limit:
            metadata["continue"] = _token(version, names[limit - 1])
        items = [objects[name] for name in names[:limit]]
        await reply.whole(200, {"kind": "ThingList", "apiVersion": "v1", "metadata": metadata, "items": items or None})

    async def watch(self, request: Request, reply: Reply, bookmarks: bool = True) -> None:
        """Answer a watch: what happened since its version and what happens, until its time is over."""
        version = int(request.query["resourceVersion"])
        await reply.begin()
        if version < self.compacted:
            await reply.piece(line("ERROR", EXPIRED))
            await reply.end()
            return
        kept = self.of(request.path)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # this cluster has been served in an earlier loop, which its event belongs to
            self._loop, self._changed = loop, asyncio.Event()
        end = loop.time() + min(self.watch_s, float(request.query["timeoutSeconds"]))
        while loop.time() < end:
            changed = self._changed
            for at, kind, _, item in list(kept.past):
                if at > version:
                    version = at
                    await reply.piece(line(kind, item))
            try:
                async with asyncio.timeout(self.bookmark_s):
                    await changed.wait()
            except TimeoutError:
                if bookmarks and not changed.is_set():  # else there is something to tell before it
                    version = max(version, self.version)
                    mark = {"kind": "Thing", "metadata": {"resourceVersion": str(version)}}
                    await reply.piece(line("BOOKMARK", mark))
        await reply.end()

    async def answer(self, request: Request, reply: Reply) -> None:
        """As a good API server does."""
        if "watch" in request.query:
            await self.watch(request, reply)
        elif request.path == "/metrics":
            await reply.whole(200, b"# TYPE up gauge\nup 1\n")
        else:
            await self.list(request, reply)

    def truth(self, path: str) -> dict[str, str]:
        """Versions of the objects, by name."""
        return {name: item["metadata"]["resourceVersion"] for name, item in self.of(path).objects.items()}


def _token(version: int, after: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, after]).encode()).decode()


def _read(token: str) -> tuple[int, str]:
    version, after = json.loads(base64.urlsafe_b64decode(token))
    return int(version), str(after)
