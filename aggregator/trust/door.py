"""Through which addresses one comes in, and what has to be shown at each: made of the settings, once.

gRPC's Python can demand a client certificate on a port or not ask for one. So where certificates are taken and
tls.certificate_listen names no address for them, everybody must show one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from nodetell.pem import PemError

from aggregator.segments import limit_segments
from aggregator.settings import AggregatorSettings
from aggregator.trust.agents import AgentTrust, NodeOfPod
from aggregator.trust.closed import Closed
from aggregator.trust.operator_tokens import OperatorTokens, TokensFileError
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.server import ServerCertificates
from aggregator.trust.standing import Anybody, Trust

if TYPE_CHECKING:
    from aggregator.trust.review import Reviewer


class DoorError(Exception):
    """Nobody could come in, or not by what the settings name: why, one line."""


class ListenError(Exception):
    """Nothing can listen at this address."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


@dataclass(frozen=True, slots=True)
class Listener:
    """An address and what is shown there."""

    address: str
    certificates: ServerCertificates | None
    """None: nothing is encrypted (insecure = true)."""

    def add_to(self, server: grpc.aio.Server) -> int:
        """Listen; the port. Raises ListenError."""
        try:
            if self.certificates is None:
                return server.add_insecure_port(self.address)
            port = server.add_secure_port(self.address, self.certificates.credentials())
        except RuntimeError:
            raise ListenError(self.address) from None
        limit_segments(port)
        return port


@dataclass(frozen=True, slots=True)
class Door:
    """How one comes in."""

    listeners: tuple[Listener, ...]
    """The first one is settings.listen."""
    agents: Trust
    operators: OperatorTrust | None
    """None: nobody is asked."""
    reviewer: Reviewer | None = None

    @property
    def interceptors(self) -> tuple[grpc.aio.ServerInterceptor, ...]:
        """What stands before the handlers of a server."""
        return () if self.operators is None else (Closed(self.operators),)

    async def aclose(self) -> None:
        """Close the connections to the API server."""
        if self.reviewer is not None:
            await self.reviewer.aclose()


def door(
    settings: AggregatorSettings,
    reviewer: Reviewer | None,
    node_of_pod: NodeOfPod,
    monotonic: Callable[[], float] = time.monotonic,
) -> Door:
    """The door that these settings describe. `reviewer`: asks the API server, where there is one. Raises DoorError."""
    if settings.insecure:
        return Door((Listener(settings.listen, None),), Anybody(), None)
    access, tls = settings.access, settings.tls
    if access.agents == "token" and reviewer is None:
        raise DoorError("access.agents is token, and no API server is asked (kubernetes.enabled)")
    if access.agents == "certificate" and not tls.client_ca:
        raise DoorError("access.agents is certificate, and tls.client_ca is not set")
    if not tls.client_ca and reviewer is None:
        raise DoorError("no agent could prove who it is: tls.client_ca is not set, and no API server is asked")
    try:
        demand = bool(tls.client_ca) and not tls.certificate_listen
        listeners = [Listener(settings.listen, ServerCertificates(tls, demand=demand))]
        if tls.certificate_listen:
            listeners.append(Listener(tls.certificate_listen, ServerCertificates(tls, demand=True)))
        file = access.operator_tokens_file
        tokens = OperatorTokens(Path(file).expanduser()) if file else None
    except (PemError, TokensFileError) as error:
        raise DoorError(str(error)) from error
    return Door(
        tuple(listeners),
        AgentTrust(access, reviewer, node_of_pod, monotonic),
        OperatorTrust(access, reviewer, tokens, monotonic),
        reviewer,
    )
