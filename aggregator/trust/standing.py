"""What the agent of one stream has proved, while the stream stands: until when it holds, and the tokens that follow.

A token that follows is checked beside the stream, never in its way: an API server that does not answer costs nothing
until the token before has expired.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from nodetell.v1 import agent_pb2

from aggregator.trust.caller import Caller, RefusedError, Role, not_now, unproved
from aggregator.trust.certificate import Shown
from aggregator.trust.token import TokenPieces

GRACE_S = 60.0
"""A token counts for so long after its end: the next one may be on its way."""
ASK_S = 10.0
"""A stream has the API server asked this often at most ..."""
ASK_AGAIN_S = 60.0
"""... and where that did not answer, after twice as long each time, up to so long."""


class Trust(Protocol):
    """Who may speak for a node."""

    def before_token(self, shown: Shown, node: str, announced: int) -> None:
        """Refuse what no token of `announced` bytes (0: none follows) could mend. Raises RefusedError."""

    async def admit(self, shown: Shown, node: str, token: bytes | None) -> Caller:
        """Whoever may speak for the node, by what was shown and sent. Raises RefusedError."""


class Anybody:
    """Whoever comes, for whatever node (insecure = true)."""

    def before_token(self, shown: Shown, node: str, announced: int) -> None:
        """Refuses nobody."""

    async def admit(self, shown: Shown, node: str, token: bytes | None) -> Caller:  # noqa: ARG002  # it looks at nothing
        """Whoever it is."""
        return Caller(Role.ANYBODY, node, node)


@dataclass(slots=True, eq=False)
class Standing:
    """Made once a stream's agent is admitted; closed with the stream."""

    trust: Trust
    shown: Shown
    caller: Caller
    """As last proved."""
    monotonic: Callable[[], float] = time.monotonic
    _pieces: TokenPieces = field(default_factory=TokenPieces)
    _asking: asyncio.Task[None] | None = None
    _asked: float = float("-inf")
    _refused: RefusedError | None = None

    def take(self, piece: agent_pb2.Credential) -> None:
        """A piece of a token that is to take the place of the one before. Raises ProtocolError."""
        token = self._pieces.take(piece)
        if token is not None:
            self.close()
            self._asking = asyncio.create_task(self._ask(token), name="token")

    def check(self) -> None:
        """Raises RefusedError where the stream may not go on."""
        if self._refused is not None:
            raise self._refused
        until = self.caller.until
        if until is None or self.monotonic() < until:
            return
        if self.caller.by == "certificate":
            raise not_now("the certificate has to be shown anew: connect again")
        if self.monotonic() >= until + GRACE_S:
            raise unproved("the token has expired, and no good one has come")

    def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, token: bytes) -> None:
        wait = ASK_S
        while True:
            await asyncio.sleep(max(0.0, self._asked + wait - self.monotonic()))
            self._asked = self.monotonic()
            try:
                self.caller = await self.trust.admit(self.shown, self.caller.node, token)
            except RefusedError as refused:
                if refused.code is grpc.StatusCode.UNAVAILABLE:
                    wait = min(2 * wait, ASK_AGAIN_S)
                    continue
                self._refused = refused
            return
