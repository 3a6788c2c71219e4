"""An API server for tests that hands requests on to a Service, as the real one's proxy does: it takes Authorization
away, does not look at the certificate behind it, and answers by itself where a right, the Service or its pods are
missing. And it makes tokens, and knows those that it made."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2

from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS
from tests.apiserver import Reply, Request, status
from tests.entrance import Vouching

SPACE = "/api/v1/namespaces/nodetell"
TOKENS = f"{SPACE}/serviceaccounts/nodetell-operator/token"
PROXY = f"{SPACE}/services/https:nodetell-aggregator:http/proxy"
OPERATOR = "system:serviceaccount:nodetell:nodetell-operator"
HOP = ("authorization", "host", "connection", "content-length", "transfer-encoding", "accept-encoding")
ADA = "Bearer ada"


@dataclass
class ServiceProxy:
    """What it is told to be, and what it has seen."""

    behind: str = ""
    """URL of the HTTP API; empty: the Service has no endpoints."""
    may: set[str] = field(default_factory=lambda: {"token", "proxy"})
    """What Ada may."""
    account: bool = True
    service: bool = True
    vouching: Vouching = field(default_factory=Vouching)
    audiences: list[list[str]] = field(default_factory=list)
    """Of the tokens that were asked for."""
    passed: list[dict[str, str]] = field(default_factory=list)
    """Headers of the requests handed on."""
    tampered: bytes = b""
    """Sent in place of what comes from behind."""

    async def answer(self, request: Request, reply: Reply) -> None:
        """As tests.apiserver has it."""
        if request.path in (TOKEN_REVIEWS, ACCESS_REVIEWS):
            await self.vouching.answer(request, reply)
        elif not (request.path == TOKENS or request.path.startswith(f"{SPACE}/services/")):
            await reply.whole(404, status(404, "the server could not find the requested resource", "NotFound"))
        elif request.headers.get("authorization") != ADA:
            await reply.whole(401, status(401, "Unauthorized", "Unauthorized"))
        elif request.path == TOKENS:
            await self._token(request, reply)
        else:
            await self._proxy(request, reply)

    async def _token(self, request: Request, reply: Reply) -> None:
        if "token" not in self.may:
            denied = 'User "ada" cannot create resource "serviceaccounts/token"'
            await reply.whole(
                403, status(403, f'serviceaccounts "nodetell-operator" is forbidden: {denied}', "Forbidden")
            )
        elif not self.account:
            await reply.whole(404, status(404, 'serviceaccounts "nodetell-operator" not found', "NotFound"))
        else:
            spec = json.loads(request.body)["spec"]
            self.audiences.append(spec["audiences"])
            token = self.vouching.token(user=OPERATOR, audience=spec["audiences"], left_s=spec["expirationSeconds"])
            await reply.whole(201, {"kind": "TokenRequest", "status": {"token": token}})

    async def _proxy(self, request: Request, reply: Reply) -> None:
        name = "https:nodetell-aggregator:http"
        if "proxy" not in self.may:
            await reply.whole(403, status(403, f'services "{name}" is forbidden', "Forbidden"))
        elif not self.service or not request.path.startswith(PROXY):
            await reply.whole(404, status(404, 'services "nodetell-aggregator" not found', "NotFound"))
        elif not self.behind:
            await reply.whole(503, status(503, f'no endpoints available for service "{name}"', "ServiceUnavailable"))
        elif self.tampered:
            await reply.whole(200, self.tampered)
        else:
            await self._through(request, reply)

    async def _through(self, request: Request, reply: Reply) -> None:
        headers = {key: value for key, value in request.headers.items() if key not in HOP}
        self.passed.append(headers)
        url = f"{self.behind}{request.path.removeprefix(PROXY)}"
        try:
            async with (
                httpx2.AsyncClient(verify=False, trust_env=False) as client,  # as the API server does it
                client.stream("GET", url, params=_query(request), headers=headers) as answer,
            ):
                kind = {"Content-Type": answer.headers.get("content-type", "")}
                if kind["Content-Type"].startswith("text/event-stream"):
                    await reply.begin(kind)
                    async for piece in answer.aiter_bytes():
                        await reply.piece(piece)
                else:
                    await reply.whole(answer.status_code, await answer.aread(), kind)
        except httpx2.ConnectError as error:
            said = f"error trying to reach service: dial tcp: {error}"
            await reply.whole(503, status(503, said, "ServiceUnavailable"))


def _query(request: Request) -> Any:
    return list(request.query.items())
