"""Who uses a surface while it is measured: browsers with a page open, and a Prometheus that scrapes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

TURN_S, SETTLE_S, REST_S = 15.0, 0.4, 2.0
"""As page.js has them: the page is asked for again so often, so long after an event, and not oftener than this."""
SCRAPE_S = 15.0
_ASSET = re.compile(r'(?:href|src)="([^"#]+\.(?:css|js|svg)(?:\?[^"]*)?)"')
_EVENTS = "api/v1/events?standing=no"


@dataclass(slots=True)
class Used:
    """What was asked for and came."""

    requests: int = 0
    bytes: int = 0
    unchanged: int = 0
    """Answers that nothing has changed (304)."""
    events: int = 0
    failed: list[str] = field(default_factory=list)


async def browser(session: aiohttp.ClientSession, base: str, path: str, used: Used) -> None:
    """One with this page open, until cancelled."""
    news = asyncio.Event()
    tag = ""

    async def get(what: str, known: str = "") -> tuple[str, str]:
        async with session.get(f"{base}/{what}", headers={"If-None-Match": known} if known else {}) as answer:
            body = await answer.read()
            used.requests += 1
            used.bytes += int(answer.headers.get("Content-Length", len(body)))
            used.unchanged += answer.status == 304
            if answer.status not in (200, 304):
                used.failed.append(f"{what}: {answer.status}")
            return body.decode(errors="replace"), answer.headers.get("ETag", "")

    async def listen() -> None:
        async with session.get(f"{base}/{_EVENTS}", timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for line in answer.content:
                if line.startswith(b"event:"):
                    used.events += 1
                    news.set()

    text, tag = await get(path)
    for asset in dict.fromkeys(_ASSET.findall(text)):
        await get(asset.removeprefix("./").lstrip("/"))
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        while True:
            looked = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await news.wait()
                    await asyncio.sleep(max(SETTLE_S, REST_S - (time.monotonic() - looked)))
            news.clear()
            _, tag = await get(path, tag)


async def prometheus(session: aiohttp.ClientSession, address: str, every_s: float, used: Used) -> None:
    """It scrapes, until cancelled."""
    while True:
        async with session.get(f"{address}/metrics") as answer:
            used.bytes += len(await answer.read())
            used.requests += 1
            if answer.status != 200:
                used.failed.append(f"metrics: {answer.status}")
        await asyncio.sleep(every_s)


@contextlib.asynccontextmanager
async def using(users: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """All of them at work. What ends before is told."""
    tasks = [asyncio.create_task(each) for each in users]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
