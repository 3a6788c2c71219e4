"""Connections to the aggregator: their options, their TLS, and the proof that full-size packets pass."""

from __future__ import annotations

import os
from enum import Enum

import grpc.aio
from nodetell.handshake import Shown
from nodetell.limits import PATH_PROOF_BYTES
from nodetell.pem import PemError
from nodetell.v1 import agent_pb2, agent_pb2_grpc

from agent.credentials import Renewed, read_certificates, read_token
from agent.settings import TlsSettings

PROOF_TIMEOUT_S = 3.0
"""A proof takes a handshake, two round trips and a few segments; TCP repeats a lost one once or twice in this time."""

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


class Peer:
    """The aggregator: where it is, how we know it, and how it knows us."""

    def __init__(self, address: str, tls: TlsSettings | None, token_file: str = "") -> None:
        """`address`: "host:port". `tls`: None does without, which is for loopback."""
        self.address = address
        self._name = tls.server_name if tls else ""
        self._certificates = Renewed(lambda: read_certificates(tls)) if tls else None
        self._token = Renewed(lambda: read_token(token_file))
        if tls is None:
            self.shown = Shown.NOTHING
        else:
            self.shown = Shown.CERTIFICATE if tls.certificate else Shown.NO_CERTIFICATE

    async def channel(self) -> grpc.aio.Channel:
        """A connection of its own, made when first used, with the certificates as they are now. Raises PemError."""
        if self._certificates is None:
            return grpc.aio.insecure_channel(self.address, options=_OPTIONS)
        found = await self._certificates.now()
        own = (found.own.key, found.own.certificate) if found.own else (None, None)
        credentials = grpc.ssl_channel_credentials(found.authorities, *own)
        named = [("grpc.ssl_target_name_override", self._name)] if self._name else []
        return grpc.aio.secure_channel(self.address, credentials, options=[*_OPTIONS, *named])

    async def token(self) -> bytes:
        """The token that says who we are, as it is now; empty: none is sent. Raises PemError."""
        return await self._token.now()


class Proof(Enum):
    """What a path proof showed."""

    PASSED = "passed"
    STALLED = "stalled"
    """The connection stands and nothing came back: full-size packets are lost on the way."""
    UNTOLD = "untold"
    """The aggregator could not be asked."""


async def prove_path(peer: Peer, timeout_s: float = PROOF_TIMEOUT_S) -> Proof:
    """Send full-size packets to the peer and have them sent back, on a connection that is closed afterwards."""
    padding = os.urandom(PATH_PROOF_BYTES)
    try:
        connection = await peer.channel()
    except PemError:
        return Proof.UNTOLD
    async with connection:
        stub = agent_pb2_grpc.AgentServiceStub(connection)  # type: ignore[no-untyped-call]  # generated
        try:
            answer = await stub.ProvePath(agent_pb2.PathProof(padding=padding), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return Proof.STALLED if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else Proof.UNTOLD
        return Proof.PASSED if len(answer.padding) == len(padding) else Proof.UNTOLD
