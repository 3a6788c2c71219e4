"""What a measured end of streams says when it is asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable

_SETTLE_S = 1.0
"""gRPC closes what is over when it gets to it."""


async def told(what: Callable[[], dict[str, object]], settled: Callable[[], bool] = lambda: True) -> None:
    """For each line that comes, a line goes out, once all is settled; ends with the input."""
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        since = loop.time()
        while loop.time() < since + _SETTLE_S:
            await asyncio.sleep(0.05)
            if not settled():
                since = loop.time()
        sys.stdout.write(json.dumps(what()) + "\n")
        sys.stdout.flush()
