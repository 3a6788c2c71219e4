"""Which node an agent may speak for: by the certificate that its connection showed, by the token that it sent, or both.

A token counts if the API server vouches for it, for the dedicated audience, as one of the agents' service account that
is bound to a pod. The node is the one that the token is bound to (from Kubernetes 1.30 on), else the one that its pod
runs on. Whoever takes such a token from a node can speak for that node, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aggregator.settings import AccessSettings
from aggregator.trust.caller import Caller, Role, not_now, somebody_else, unproved
from aggregator.trust.certificate import Certified, Shown, certified
from aggregator.trust.token import claims_of

if TYPE_CHECKING:  # what asks the API server takes 24 MiB
    from aggregator.trust.review import Answer, Reviewer, User

NODE_NAME = "authentication.kubernetes.io/node-name"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
CERTIFICATE_HOLDS_S = 86_400.0
"""A stream that was opened with a certificate has to be opened again after so long, for only then is it checked whether
the certificate still counts."""

NodeOfPod = Callable[[str], tuple[str, str] | None]
""""namespace/name" and node of the pod with a UID, by the API server's view; None: there is none, or not yet."""


@dataclass(frozen=True, slots=True)
class AgentTrust:
    """Decides it, once for each stream, and again for each token that follows."""

    settings: AccessSettings
    reviewer: Reviewer | None
    """None: there is no API server to ask."""
    node_of_pod: NodeOfPod
    monotonic: Callable[[], float]

    @property
    def account(self) -> str:
        """The user name of the service account that agents run as."""
        return service_account(self.settings.agent_service_account)

    def before_token(self, shown: Shown, node: str, announced: int) -> None:
        """Refuse what no token could mend, before one is sent. Raises RefusedError."""
        shows = certified(shown)
        if shows is not None:
            _same_node(shows, node)
        wanted = self.settings.agents
        if wanted == "certificate" and shows is None:
            raise unproved("the agent shows no certificate, and access.agents asks for one")
        if wanted == "token" and not announced:
            raise unproved("the agent sends no token, and access.agents asks for one")
        if shows is None and not announced:
            raise unproved("the agent shows no certificate and sends no token: there is nothing to go by")
        if announced and shows is None and self.reviewer is None:
            raise unproved("the agent sends a token, and there is no API server to ask about it")

    async def admit(self, shown: Shown, node: str, token: bytes | None) -> Caller:
        """Whoever may speak for the node. Raises RefusedError."""
        self.before_token(shown, node, len(token or b""))
        if token is not None and self.settings.agents != "certificate" and self.reviewer is not None:
            return await self._by_token(self.reviewer, node, token)
        return Caller(Role.AGENT, node, node, self.monotonic() + CERTIFICATE_HOLDS_S, "certificate")

    async def _by_token(self, reviewer: Reviewer, node: str, raw: bytes) -> Caller:
        try:
            token = raw.decode("ascii")
        except UnicodeDecodeError:
            raise unproved("the token is no service account's: it holds other bytes than ASCII") from None
        claims = claims_of(token)
        if claims is None:
            raise unproved("the token is no service account's: it is no JWT with an audience, a subject and an end")
        if self.settings.token_audience not in claims.audiences:
            named = ", ".join(claims.audiences)[:100]
            raise unproved(f'the token is for "{named}", not for "{self.settings.token_audience}"')
        if claims.subject != self.account:
            raise somebody_else(f'the token is of "{claims.subject[:150]}", and agents run as "{self.account}"')
        answer = await reviewer.of_agent(token)
        if answer.user is None:
            raise unproved(f"the API server does not vouch for the token{': ' if answer.why else ''}{answer.why}")
        if answer.user.username != self.account:
            raise somebody_else(f'the token is of "{answer.user.username[:150]}", and agents run as "{self.account}"')
        bound = self._node_of(answer.user)
        if bound != node:
            raise somebody_else(f'the token is of node "{bound[:80]}", and the agent says that it is {node}')
        return Caller(Role.AGENT, self.account, node, _until(answer, claims.expires), "token")

    def _node_of(self, user: User) -> str:
        """The node that a token is bound to, or its pod. Raises RefusedError."""
        if bound := _one(user, NODE_NAME):
            return bound
        uid, name = _one(user, POD_UID), _one(user, POD_NAME)
        if not uid:
            raise somebody_else("the token is bound to no pod, so nothing says which node it is of")
        found = self.node_of_pod(uid)
        if found is None:
            raise not_now(f"pod {name or uid} of the token is not among the pods that the API server has told of yet")
        key, node = found
        if key != f"{self.settings.agent_service_account.partition('/')[0]}/{name}" or not node:
            raise somebody_else(f"the token is of pod {name[:80]}, and pod {key[:150]} has its UID")
        return node


def service_account(name: str) -> str:
    """The user name of the service account "namespace/name"."""
    return "system:serviceaccount:" + name.replace("/", ":")


def _same_node(shows: Certified, node: str) -> None:
    if shows.role is not Role.AGENT:
        raise somebody_else(f"the certificate is of {shows.role.value} {shows.name[:80]}, which reports for no node")
    if shows.name != node:
        raise somebody_else(f'the certificate is of node "{shows.name[:80]}", and the agent says that it is {node}')


def _one(user: User, key: str) -> str:
    values = user.extra.get(key, ())
    return values[0] if len(values) == 1 else ""


def _until(answer: Answer, expires: float) -> float:
    """When the token expires, seconds of the monotonic clock: by the API server's clock, for ours may be wrong."""
    left = expires - answer.at
    if left <= 0:
        raise unproved(f"the token has expired {-left:.0f} s ago")
    return answer.asked + left
