"""A real Chromium for tests of the page, in a thread of its own: Playwright's loop keeps off the tests' loops.

Every request that a page makes is looked at: one that leaves the server is a failure of whatever test it happens in,
and so is whatever a page complains of.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, Request, sync_playwright

from aggregator.known import Known
from aggregator.web.server import HttpServer, make_site

EXECUTABLE = "/usr/bin/chromium"
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 30_000.0
_T = TypeVar("_T")


class Chromium:
    """One browser for all tests."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.submit(self._start).result()

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=EXECUTABLE, args=list(OPTIONS))

    def close(self) -> None:
        """End."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def visit(self, address: str, use: Callable[[Page], _T], *, complaints: tuple[str, ...] = (), **context: Any) -> _T:
        """Open an address in a context of its own, and use it. Nothing may be asked of any other server; what the page
        says on its console is a failure, but for what contains one of `complaints`."""
        return self._thread.submit(self._visit, address, use, complaints, context).result()

    def _visit(
        self, address: str, use: Callable[[Page], _T], complaints: tuple[str, ...], context: dict[str, Any]
    ) -> _T:
        assert self._browser is not None
        own = urlsplit(address).netloc
        elsewhere: list[str] = []
        said: list[str] = []

        def look(request: Request) -> None:
            if urlsplit(request.url).netloc != own:
                elsewhere.append(request.url)

        there = self._browser.new_context(**context)
        try:
            there.on("request", look)
            page = there.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("console", lambda message: said.append(message.text))
            page.goto(address)
            result = use(page)
        finally:
            there.close()
        assert elsewhere == []
        assert [text for text in said if not any(each in text for each in complaints)] == []
        return result


@dataclass
class Sites:
    """Servers in a thread of their own, each with something else to show."""

    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _servers: list[HttpServer] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """In the servers' loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def serve(self, known: Known) -> str:
        """Where it can be seen, with a slash at the end."""
        server, address = self.run(self._serve(known))
        self._servers.append(server)
        return f"{address}/"

    @staticmethod
    async def _serve(known: Known) -> tuple[HttpServer, str]:
        server = HttpServer(make_site(known, None), "127.0.0.1:0")
        return server, await server.start()

    def close(self) -> None:
        """End."""
        for server in self._servers:
            self.run(server.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join()
        self._loop.close()
