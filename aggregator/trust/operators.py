"""Who may read: whoever shows an operator's certificate, or puts a token beside the call ("authorization: Bearer ...").

A token is one of access.operator_tokens_file, or a service account's for the dedicated audience, of which the API
server says that it may "get" "findings" of the group "nodetell.dev". That of the agents' own account never counts,
whatever RBAC says of it: it is on every node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aggregator.settings import AccessSettings
from aggregator.trust.agents import service_account
from aggregator.trust.caller import Caller, Role, somebody_else, unproved
from aggregator.trust.certificate import Shown, certified
from aggregator.trust.operator_tokens import OperatorTokens
from aggregator.trust.token import MAX_TOKEN_BYTES, claims_of

if TYPE_CHECKING:  # it takes 24 MiB
    from aggregator.trust.review import Reviewer

RIGHT = ("get", "nodetell.dev", "findings")
"""Verb, group and resource that RBAC has to allow."""
HOLDS_S = 86_400.0
"""A watch has to be begun again after so long, for a certificate or a token of the file may not count any more."""
_ANONYMOUS = "no operator's certificate is shown, and no token (authorization: Bearer ...)"


@dataclass(frozen=True, slots=True)
class OperatorTrust:
    """Decides it, once for each call."""

    settings: AccessSettings
    reviewer: Reviewer | None
    """None: there is no API server to ask."""
    tokens: OperatorTokens | None
    """None: there is no file of them."""
    monotonic: Callable[[], float]

    async def admit(self, shown: Shown, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Whoever may read. Raises RefusedError."""
        shows = certified(shown)
        if shows is not None:
            if shows.role is not Role.OPERATOR:
                raise somebody_else(f"the certificate is of {shows.role.value} {shows.name[:80]}, not of an operator")
            return self._until_tomorrow(shows.name, "certificate")
        token = _bearer(metadata)
        if self.tokens is not None and (name := self.tokens.name_of(token)):
            return self._until_tomorrow(name, "token")
        claims = claims_of(token)
        if self.reviewer is None or claims is None:
            raise unproved("the token is of no operator")
        if self.settings.token_audience not in claims.audiences:
            named = ", ".join(claims.audiences)[:100]
            raise unproved(f'the token is for "{named}", not for "{self.settings.token_audience}"')
        return await self._reviewed(self.reviewer, token, claims.expires)

    async def _reviewed(self, reviewer: Reviewer, token: str, expires: float) -> Caller:
        answer = await reviewer.of_operator(token)
        if answer.user is None:
            raise unproved(f"the API server does not vouch for the token{': ' if answer.why else ''}{answer.why}")
        name = answer.user.username
        if name == service_account(self.settings.agent_service_account):
            raise somebody_else(f'"{name[:150]}" is what agents run as, and no operator')
        if answer.at >= expires:
            raise unproved("the token has expired")
        if not await reviewer.allowed(answer.user, *RIGHT):
            verb, group, resource = RIGHT
            raise somebody_else(f'"{name[:150]}" may not "{verb}" "{resource}" of the group "{group}"')
        return Caller(Role.OPERATOR, name, "", answer.asked + expires - answer.at, "token")

    def _until_tomorrow(self, name: str, by: str) -> Caller:
        return Caller(Role.OPERATOR, name, "", self.monotonic() + HOLDS_S, by)


def _bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The token beside a call. Raises RefusedError."""
    values = [value for key, value in metadata if key == "authorization"]
    if not values:
        raise unproved(_ANONYMOUS)
    value = values[0]
    if len(values) > 1 or not isinstance(value, str):
        raise unproved("more than one token is shown")
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unproved(_ANONYMOUS)
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise unproved("the token is of no operator")
    return token.strip()
