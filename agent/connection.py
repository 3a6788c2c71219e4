"""Connections to the aggregator: their options, and the proof that full-size packets pass."""

from __future__ import annotations

import os
from enum import Enum

import grpc.aio
from nodetell.limits import PATH_PROOF_BYTES
from nodetell.v1 import agent_pb2, agent_pb2_grpc

PROOF_TIMEOUT_S = 3.0
"""A proof takes two round trips and a few segments; TCP repeats a lost one once or twice in this time."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.use_local_subchannel_pool", 1),  # each channel a TCP connection of its own: a stalled one is thrown away
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # the stream starts again by its own rules
    ("grpc.service_config_disable_resolution", 1),  # no look-up of TXT records
    ("grpc.http2.bdp_probe", 0),  # doubles the bytes of a quiet stream
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 10),
)


def channel(target: str) -> grpc.aio.Channel:
    """A connection of its own to `target` ("host:port"), made when first used."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


class Proof(Enum):
    """What a path proof showed."""

    PASSED = "passed"
    STALLED = "stalled"
    """The connection stands and nothing came back: full-size packets are lost on the way."""
    UNTOLD = "untold"
    """The aggregator could not be asked."""


async def prove_path(target: str, timeout_s: float = PROOF_TIMEOUT_S) -> Proof:
    """Send full-size packets to `target` and have them sent back, on a connection that is closed afterwards."""
    padding = os.urandom(PATH_PROOF_BYTES)
    async with channel(target) as connection:
        stub = agent_pb2_grpc.AgentServiceStub(connection)  # type: ignore[no-untyped-call]  # generated
        try:
            answer = await stub.ProvePath(agent_pb2.PathProof(padding=padding), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return Proof.STALLED if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else Proof.UNTOLD
        return Proof.PASSED if len(answer.padding) == len(padding) else Proof.UNTOLD
