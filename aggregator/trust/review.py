"""What the API server is asked of those who call: whether a token is good, and whether whoever it is of may look.

Two questions by POST, which change nothing there. Answers are kept for a short while, and only so many questions are
under way.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeVar

import msgspec

from aggregator.cluster.answers import ApiError, refusal
from aggregator.cluster.credentials import Source
from aggregator.cluster.sender import Sender
from aggregator.trust.caller import RefusedError, not_now

T = TypeVar("T")

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105  # a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ANSWER_S = 4.0
"""An agent waits for its Welcome meanwhile, and gives up after 10 s."""


class Lane(Enum):
    """Who the questions are about: how many may be under way, and how many wait for their turn. Whoever can reach the
    port can make an operator's call with a token of their own making: agents are not to wait for that."""

    AGENTS = (24, 20_000)
    """Every agent of the largest cluster may come back at once."""
    OPERATORS = (8, 200)


KEPT_S = 30.0
"""An answer is good for so long. A right that was taken away is gone as soon."""
KEPT = 4_096
"""Answers that are kept."""
_MAX_ANSWER = 256 << 10


class User(msgspec.Struct, frozen=True):
    """Whom the API server takes somebody for: status.user of a TokenReview."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()
    audiences: tuple[str, ...] = ()
    error: str = ""


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a token."""

    user: User | None
    """None: the API server knows nobody by it, for this audience."""
    at: float
    """When, seconds since the epoch by the API server's clock; the aggregator's own may be wrong."""
    asked: float
    """When, seconds of the monotonic clock."""
    why: str = ""
    """Why nobody is known by it, if that was told."""


@dataclass(slots=True)
class _Kept:
    """Answers by what was asked: a digest, so that no token lies about in memory for it."""

    answers: dict[bytes, tuple[float, Any]] = field(default_factory=dict)

    def get(self, key: bytes, now: float) -> Any:
        """An answer that is not too old; None: there is none."""
        found = self.answers.get(key)
        return found[1] if found is not None and now - found[0] < KEPT_S else None

    def put(self, key: bytes, now: float, answer: Any) -> None:
        """Keep an answer, in place of the oldest where there are too many."""
        self.answers.pop(key, None)
        self.answers[key] = (now, answer)
        while len(self.answers) > KEPT or now - next(iter(self.answers.values()))[0] >= KEPT_S:
            del self.answers[next(iter(self.answers))]


class Reviewer:
    """Asks. Made in the event loop that it is used in."""

    def __init__(
        self,
        source: Source,
        env: Mapping[str, str],
        *,
        audience: str,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._audience, self._answer_s = audience, answer_s
        self._clock, self._monotonic = clock, monotonic
        self._sender = Sender(source, env, answer_s=answer_s, clock=clock)
        self._turns = {lane: asyncio.Semaphore(lane.value[0]) for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        self._tokens, self._rights = _Kept(), _Kept()

    async def of_agent(self, token: str) -> Answer:
        """Whose token an agent has sent, for the dedicated audience. Raises RefusedError where that can't be asked."""
        return await self._token(token, Lane.AGENTS)

    async def of_operator(self, token: str) -> Answer:
        """The same of one beside an operator's call."""
        return await self._token(token, Lane.OPERATORS)

    async def _token(self, token: str, lane: Lane) -> Answer:
        key, now = hashlib.sha256(token.encode()).digest(), self._monotonic()
        if (kept := self._tokens.get(key, now)) is not None:
            return kept  # type: ignore[no-any-return]  # what was put there
        spec = {"token": token, "audiences": [self._audience]}
        body, at = await self._ask(TOKEN_REVIEWS, "authentication.k8s.io/v1", "TokenReview", spec, lane)
        status = _read(body, _TokenReview).status
        # An authenticator that does not know audiences names none, and vouches for a token made for something else.
        known = status.authenticated and self._audience in status.audiences
        why = "" if known else status.error or ("" if not status.authenticated else f'not for "{self._audience}"')
        answer = Answer(status.user if known else None, at, now, " ".join(why.split())[:200].replace(token, "..."))
        self._tokens.put(key, self._monotonic(), answer)
        return answer

    async def allowed(self, user: User, verb: str, group: str, resource: str) -> bool:
        """May this user do this, by RBAC? Raises RefusedError where that can't be asked."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
            "resourceAttributes": attributes,
        }
        key = hashlib.sha256(msgspec.json.encode(spec)).digest()
        if (kept := self._rights.get(key, self._monotonic())) is not None:
            return bool(kept)
        body, _ = await self._ask(
            ACCESS_REVIEWS, "authorization.k8s.io/v1", "SubjectAccessReview", spec, Lane.OPERATORS
        )
        may = _read(body, _AccessReview).status.allowed
        self._rights.put(key, self._monotonic(), may)
        return may

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()

    async def _ask(
        self, path: str, version: str, kind: str, spec: Mapping[str, Any], lane: Lane
    ) -> tuple[bytes, float]:
        """The body of the answer, and when it was given by the API server's clock."""
        if self._waiting[lane] >= sum(lane.value):
            raise not_now(f"{self._waiting[lane]:,} wait for an answer of the API server")
        content = msgspec.json.encode({"apiVersion": version, "kind": kind, "spec": spec})
        self._waiting[lane] += 1
        try:
            async with asyncio.timeout(self._answer_s), self._turns[lane]:
                answer = await self._sender.send("POST", path, content)
        except TimeoutError:
            raise _unanswered(kind, "no answer in time") from None
        except ApiError as error:
            raise _unanswered(kind, str(error)) from None
        finally:
            self._waiting[lane] -= 1
        if len(answer.content) > _MAX_ANSWER:
            refused = refusal(answer.status_code, answer.headers, answer.content[:_MAX_ANSWER], self._clock())
            raise _unanswered(kind, str(refused))
        return answer.content, self._server_time(answer.headers.get("date"))

    def _server_time(self, date: str | None) -> float:
        try:
            return parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return self._clock()


def _unanswered(kind: str, reason: str) -> RefusedError:
    return not_now(f"the API server gives no {kind}: {reason}")


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unanswered(kind.__name__.strip("_"), "its answer is not one") from None
