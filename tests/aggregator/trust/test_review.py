"""What the API server is asked of those who call, where it answers oddly, and what is kept of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from aggregator.trust import review
from aggregator.trust.caller import RefusedError
from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS, Lane, Reviewer, User
from tests.apiserver import ApiServer, Reply, Request, serving, status
from tests.entrance import AUDIENCE, Clock, Vouching, jwt, kubeconfig

Scene = Callable[[Reviewer, ApiServer], Coroutine[Any, Any, None]]


def asking(folder: Path, scene: Scene, answer: Callable[[Request, Reply], Any], **how: Any) -> None:
    """Run a scene against an API server that answers like this."""

    async def run() -> None:
        async with serving(answer) as server:
            reviewer = Reviewer(kubeconfig(folder, server.url), {}, audience=AUDIENCE, **({"answer_s": 10.0} | how))
            try:
                await scene(reviewer, server)
            finally:
                await reviewer.aclose()

    asyncio.run(run())


async def refusal(reviewer: Reviewer) -> str:
    with pytest.raises(RefusedError) as refused:
        await reviewer.of_agent(jwt())
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE
    return str(refused.value)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"status": []}', b'{"status": {"authenticated": "yes"}}', b"\xff", b"[" * 5_000]
)
def test_an_answer_that_is_none_is_an_api_server_away(tmp_path: Path, body: bytes) -> None:
    async def answer(_request: Request, reply: Reply) -> None:
        await reply.whole(201, body)

    async def scene(reviewer: Reviewer, _server: ApiServer) -> None:
        assert await refusal(reviewer) == "the API server gives no TokenReview: its answer is not one"

    asking(tmp_path, scene, answer)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": {}},
        {"status": {"user": {"username": "system:admin"}}},
        {"status": {"authenticated": False, "audiences": [AUDIENCE], "user": {"username": "system:admin"}}},
        {"status": {"authenticated": True, "audiences": ["x"], "user": {"username": "system:admin"}}},
    ],
)
def test_an_answer_that_says_nothing_vouches_for_nobody(tmp_path: Path, body: dict[str, Any]) -> None:
    async def answer(_request: Request, reply: Reply) -> None:
        await reply.whole(201, body)

    async def scene(reviewer: Reviewer, _server: ApiServer) -> None:
        assert (await reviewer.of_agent(jwt())).user is None
        assert not await reviewer.allowed(User("ada"), "get", "nodetell.dev", "findings")

    asking(tmp_path, scene, answer)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async def answer(_request: Request, reply: Reply) -> None:
        await reply.whole(307, {}, {"Location": "http://127.0.0.1:1/elsewhere"})

    async def scene(reviewer: Reviewer, server: ApiServer) -> None:
        assert "HTTP 307" in await refusal(reviewer)
        assert [request.path for request in server.requests] == [TOKEN_REVIEWS]

    asking(tmp_path, scene, answer)


def test_credentials_that_rotate_are_used_at_once(tmp_path: Path) -> None:
    known = Vouching()
    accepted = ["t0ken"]

    async def answer(request: Request, reply: Reply) -> None:
        if request.headers["authorization"] != f"Bearer {accepted[0]}":
            await reply.whole(401, status(401, "Unauthorized", "Unauthorized"))
        else:
            await known.answer(request, reply)

    async def scene(reviewer: Reviewer, _server: ApiServer) -> None:
        assert (await reviewer.of_agent(known.token("a"))).user is not None
        accepted[0] = "n3w"
        assert "HTTP 401" in await refusal(reviewer)
        path = tmp_path / "kubeconfig"
        path.write_text(path.read_text().replace("t0ken", "n3w"))
        assert (await reviewer.of_agent(known.token("a"))).user is not None
        path.write_text("{")  # half written
        assert (await reviewer.of_agent(known.token("a"))).user is not None

    asking(tmp_path, scene, answer)


def test_only_the_two_questions_are_ever_sent_and_only_so_many_at_once(tmp_path: Path) -> None:
    known = Vouching()
    known.allowed.add("ada")
    going, most = [0], [0]

    async def answer(request: Request, reply: Reply) -> None:
        going[0] += 1
        most[0] = max(most[0], going[0])
        await asyncio.sleep(0.002)
        await known.answer(request, reply)
        going[0] -= 1

    async def scene(reviewer: Reviewer, server: ApiServer) -> None:
        tokens = [known.token(f"n{number}") for number in range(200)]
        answers = await asyncio.gather(*(reviewer.of_agent(token) for token in tokens))
        assert all(each.user is not None for each in answers)
        assert await reviewer.allowed(User("ada"), "get", "nodetell.dev", "findings")
        assert {(request.method, request.path) for request in server.requests} == {
            ("POST", TOKEN_REVIEWS),
            ("POST", ACCESS_REVIEWS),
        }
        assert 1 < most[0] <= Lane.AGENTS.value[0]

    asking(tmp_path, scene, answer)


def test_operators_calls_with_made_up_tokens_keep_no_agent_waiting(tmp_path: Path) -> None:
    known, going = Vouching(), asyncio.Event()
    mine = known.token("a")

    async def answer(request: Request, reply: Reply) -> None:
        if json.loads(request.body)["spec"]["token"] != mine:
            await going.wait()
        await known.answer(request, reply)

    async def scene(reviewer: Reviewer, _server: ApiServer) -> None:
        made_up = [asyncio.create_task(reviewer.of_operator(jwt(number=number))) for number in range(300)]
        await asyncio.sleep(0)
        refused = [each for each in made_up if each.done()]
        assert len(made_up) - len(refused) == sum(Lane.OPERATORS.value)
        assert "208 wait for an answer of the API server" in str(refused[0].exception())
        assert all(isinstance(each.exception(), RefusedError) for each in refused)
        assert (await reviewer.of_agent(mine)).user is not None
        assert not going.is_set()
        going.set()
        answers = await asyncio.gather(*(each for each in made_up if each not in refused))
        assert all(each.user is None for each in answers)

    asking(tmp_path, scene, answer, answer_s=30.0)


def test_no_more_than_so_many_answers_are_kept_and_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "KEPT", 10)
    known, clock = Vouching(), Clock()

    async def scene(reviewer: Reviewer, _server: ApiServer) -> None:
        tokens = [known.token(f"n{number}") for number in range(30)]
        for token in tokens:
            await reviewer.of_agent(token)
        kept = reviewer._tokens.answers
        assert len(kept) == 10
        assert not any(token in repr(kept) for token in tokens)
        await reviewer.of_agent(tokens[-1])
        assert len(known.asked) == 30
        clock.ahead_s = review.KEPT_S + 1
        await reviewer.of_agent(tokens[0])
        assert len(kept) == 1

    asking(tmp_path, scene, known.answer, monotonic=clock)


def test_what_is_asked_is_what_the_api_server_knows_by_that_name(tmp_path: Path) -> None:
    known = Vouching()

    async def scene(reviewer: Reviewer, server: ApiServer) -> None:
        await reviewer.of_agent(known.token("a"))
        (request,) = server.requests
        document = json.loads(request.body)
        assert (document["apiVersion"], document["kind"]) == ("authentication.k8s.io/v1", "TokenReview")
        assert request.headers["content-type"] == "application/json"

    asking(tmp_path, scene, known.answer)
