"""The first words of a stream: Hello, the token that says who this is, Welcome.

A token is longer than what passes every path in one packet beside what TLS and HTTP/2 put before it. So it travels in
pieces, one at a time, each acknowledged before the next, like all that is sent while the path has not proved itself.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from nodetell.limits import CHUNK_BYTES, PROTOCOL
from nodetell.v1 import agent_pb2

from agent.ended import StreamEndedError

CONNECTING_TIMES = 3.0
"""The first answer may take so many times as long as the others: before it come the connection and TLS, for which an
aggregator that all its agents come back to needs its time. Whoever gives up meanwhile makes it do that work again."""


def token_pieces(token: bytes) -> list[agent_pb2.Credential]:
    """A token as it travels; none for an empty one."""
    starts = range(0, len(token), CHUNK_BYTES)
    return [
        agent_pb2.Credential(data=token[at : at + CHUNK_BYTES], last=at + CHUNK_BYTES >= len(token)) for at in starts
    ]


async def greet(call: Any, hello: agent_pb2.Hello, token: bytes, timeout_s: float) -> tuple[agent_pb2.Welcome, int]:
    """Say Hello and who we are, and wait for Welcome before anything else goes out: both HTTP/2 preambles need room.

    Returns it, and the seq that it acknowledges. `timeout_s`: for each answer but the first, which has CONNECTING_TIMES
    as long. Raises StreamEndedError.
    """
    hello.credential_bytes = len(token)
    messages = [agent_pb2.AgentMessage(seq=1, hello=hello)]
    for seq, piece in enumerate(token_pieces(token), 2):
        messages.append(agent_pb2.AgentMessage(seq=seq, credential=piece))
    for message in messages:
        within_s = timeout_s * CONNECTING_TIMES if message is messages[0] else timeout_s
        try:
            async with asyncio.timeout(within_s):
                await call.write(message)
                welcome = await _answer(call, message.seq, last=message is messages[-1])
        except TimeoutError:
            raise StreamEndedError(f"no answer within {within_s:g} s") from None
        if welcome is not None:
            if 0 < welcome.protocol <= PROTOCOL:
                return welcome, message.seq
            spoken = f"the aggregator speaks protocol {welcome.protocol}, this agent {PROTOCOL}"
            raise StreamEndedError(spoken, refused=True)
    raise _not_welcome()


async def _answer(call: Any, seq: int, *, last: bool) -> agent_pb2.Welcome | None:
    """What a message of the greeting is answered: an acknowledgement (None), or Welcome, from an aggregator that does
    not ask who this is before the last one."""
    while True:
        message = await call.read()
        body = None if message is grpc.aio.EOF else message.WhichOneof("body")
        if body == "welcome":
            welcome: agent_pb2.Welcome = message.welcome
            return welcome
        if body != "ack":
            raise _not_welcome()
        if message.ack.seq == seq and not last:
            return None


def _not_welcome() -> StreamEndedError:
    return StreamEndedError("the aggregator did not answer Hello with Welcome", refused=True)
