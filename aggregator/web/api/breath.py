"""Long work in the event loop, in pieces: agents' streams and other requests are served between them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

AT_ONCE_S = 0.005
"""Work goes on for so long before others get their turn."""


@dataclass(slots=True)
class Breath:
    """Of one piece of work."""

    _since: float = field(default_factory=time.monotonic)

    async def take(self) -> None:
        """Let others have their turn, if it is time."""
        if time.monotonic() - self._since > AT_ONCE_S:
            await asyncio.sleep(0)
            self._since = time.monotonic()
