"""Operators by token: those of the file, and those that the API server vouches for and RBAC allows to look."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from aggregator.trust import closed, operators
from aggregator.trust.closed import AGENTS_OWN, Closed
from aggregator.trust.operator_tokens import OperatorTokens, TokensFileError
from aggregator.trust.operators import OperatorTrust
from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS
from tests.entrance import Entrance, jwt, through

ADA = "system:serviceaccount:ops:ada"
T_ADA, GUESS = "t-ada", "guess"


def lines(*owners: tuple[str, str]) -> str:
    """The file for these names and tokens."""
    return "".join(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n" for name, token in owners)


def test_without_anything_nobody_reads(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        assert await at.nodes() == (
            "UNAUTHENTICATED: no operator's certificate is shown, and no token (authorization: Bearer ...)"
        )
        assert await at.nodes(token=GUESS) == "UNAUTHENTICATED: the token is of no operator"
        assert await at.nodes(token="x" * 7_000) == "UNAUTHENTICATED: the token is of no operator"
        async with at.channel() as channel:
            stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            for headers in (
                (("authorization", "Basic YWRhOmFkYQ=="),),
                (("authorization", "Bearer "),),
                (("authorization", "Bearer a"), ("authorization", "Bearer b")),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.ListNodes(operator_pb2.ListNodesRequest(), metadata=headers)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert at.api.asked == []

    through(tmp_path, scene, api=True)


def test_a_token_of_the_file_reads_and_the_file_is_read_again_as_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    file.write_text("# operators\n\n" + lines(("ada", "t-ada"), ("bob", "t-bob")))

    async def scene(at: Entrance) -> None:
        assert [await at.nodes(token=each) for each in ("t-ada", "t-bob")] == ["here", "here"]
        file.write_text(lines(("bob", "t-bob"), ("cleo", "t-cleo")))
        assert await at.nodes(token=T_ADA) == "UNAUTHENTICATED: the token is of no operator"
        assert [await at.nodes(token=each) for each in ("t-bob", "t-cleo")] == ["here", "here"]
        file.write_text(lines(("ada", "t-ada")) + "and so on\n")
        with caplog.at_level(logging.INFO, "nodetell.aggregator"):
            caplog.clear()
            assert [await at.nodes(token=each) for each in ("t-bob", "t-bob")] == ["here", "here"]
        (said,) = [each.getMessage() for each in caplog.records if "tokens" in each.getMessage()]
        assert "event=operator_tokens_not_renewed" in said
        assert f"{file}:2" in said
        assert "and so on" not in said

    through(tmp_path, scene, api=True, operator_tokens_file=str(file))


@pytest.mark.parametrize(
    "text", ["ada", "ada 1234", "ada " + "z" * 64, "a b " + "0" * 64, "ada " + "0" * 64 + " more", "-x " + "0" * 64]
)
def test_a_line_that_is_none_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(lines(("bob", "t")) + text + "\n")
    with pytest.raises(TokensFileError) as refused:
        OperatorTokens(file)
    assert str(refused.value) == f'{file}:2: is not "name sha256", the digest in 64 hexadecimal digits'
    with pytest.raises(TokensFileError, match="no such file"):
        OperatorTokens(tmp_path / "none")


def test_nobody_s_token_is_nobody_s(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(lines(("ada", "t-ada")))
    tokens = OperatorTokens(file)
    assert [tokens.name_of(each) for each in ("t-ada", "t-ad", "t-ada ", "", "T-ADA")] == ["ada", "", "", "", ""]


def test_a_service_account_reads_if_rbac_says_so(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        token = at.api.token(user=ADA)
        assert await at.nodes(token=token) == (
            f'PERMISSION_DENIED: "{ADA}" may not "get" "findings" of the group "nodetell.dev"'
        )
        assert [path for path, _ in at.api.asked] == [TOKEN_REVIEWS, ACCESS_REVIEWS]
        asked = at.api.asked[1][1]
        assert asked == {
            "user": ADA,
            "uid": "u",
            "groups": ["system:authenticated"],
            "extra": {},
            "resourceAttributes": {"verb": "get", "group": "nodetell.dev", "resource": "findings"},
        }
        at.api.allowed.add(ADA)
        at.clock.ahead_s = 31  # what was answered is kept for a short while
        assert [await at.nodes(token=token) for _ in range(3)] == ["here"] * 3
        assert len(at.api.asked) == 4
        at.api.allowed.clear()
        at.clock.ahead_s = 62
        assert (await at.nodes(token=token)).startswith("PERMISSION_DENIED")

    through(tmp_path, scene, api=True)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"audience": "https://kubernetes.default.svc"}, 'the token is for "https://kubernetes.default.svc", not for'),
        ({"left_s": -5.0}, "the token has expired"),
    ],
)
def test_a_token_for_something_else_or_of_yesterday_reads_nothing(
    tmp_path: Path, claims: dict[str, Any], reason: str
) -> None:
    async def scene(at: Entrance) -> None:
        at.api.allowed.add(ADA)
        assert (await at.nodes(token=at.api.token(user=ADA, **claims))).startswith(f"UNAUTHENTICATED: {reason}")
        assert (await at.nodes(token=jwt(ADA))).startswith("UNAUTHENTICATED: the API server does not vouch")

    through(tmp_path, scene, api=True)


def test_while_the_api_server_is_away_tokens_of_the_file_still_count(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(lines(("ada", "t-ada")))

    async def scene(at: Entrance) -> None:
        token = at.api.token(user=ADA)
        await at.server.stop()
        assert (await at.nodes(token=token)).startswith("UNAVAILABLE: the API server gives no TokenReview")
        assert await at.nodes(token=T_ADA) == "here"

    through(tmp_path, scene, api=True, operator_tokens_file=str(file))


def test_a_watch_ends_when_its_token_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "HOLDS_S", 0.3)
    monkeypatch.setattr(closed, "RECHECK_S", 0.05)
    file = tmp_path / "tokens"
    file.write_text(lines(("ada", T_ADA)))

    async def scene(at: Entrance) -> None:
        async with at.channel() as channel:
            stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            headers = (("authorization", f"Bearer {T_ADA}"),)
            watch = stub.WatchFindings(operator_pb2.WatchFindingsRequest(), metadata=headers)
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await asyncio.wait_for(watch.read(), 20) is not grpc.aio.EOF:
                    pass
            assert await watch.code() is grpc.StatusCode.UNAUTHENTICATED
            assert await watch.details() == "who watches has to be proved anew"

    through(tmp_path, scene, api=True, operator_tokens_file=str(file))


async def watching(stub: Any, token: str) -> Any:
    """A watch that stands."""
    headers = (("authorization", f"Bearer {token}"),)
    watch = stub.WatchFindings(operator_pb2.WatchFindingsRequest(), metadata=headers)
    assert (await asyncio.wait_for(watch.read(), 20)).kind == operator_pb2.FindingEvent.KIND_SYNCED
    return watch


async def how_it_ends(watch: Any) -> str:
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await asyncio.wait_for(watch.read(), 20) is not grpc.aio.EOF:
            pass
    return f"{(await watch.code()).name}: {await watch.details()}"


def test_a_watch_ends_when_the_right_to_it_does_and_not_because_the_api_server_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed, "RECHECK_S", 0.05)
    file = tmp_path / "tokens"
    file.write_text(lines(("ada", T_ADA)))

    async def scene(at: Entrance) -> None:
        at.api.allowed.add(ADA)
        async with at.channel() as channel:
            stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            by_file = await watching(stub, T_ADA)
            by_rbac = await watching(stub, at.api.token(user=ADA))
            file.write_text(lines(("bob", T_ADA[::-1])))
            assert await how_it_ends(by_file) == "UNAUTHENTICATED: the token is of no operator"
            await at.server.stop()
            at.clock.ahead_s = 31  # what it said is not kept for longer
            await asyncio.sleep(0.3)
            at.api.allowed.clear()
            await at.server.start()
            assert (await how_it_ends(by_rbac)).startswith(f'PERMISSION_DENIED: "{ADA}" may not "get" "findings"')

    through(tmp_path, scene, api=True, operator_tokens_file=str(file))


def test_a_service_that_nobody_thought_of_is_closed(tmp_path: Path) -> None:
    """Whatever is served beside the agents' two calls asks who calls, whether or not it was thought of."""

    async def scene(at: Entrance) -> None:
        assert isinstance(at.operators, OperatorTrust)

        async def handler(request: bytes, context: Any) -> bytes:  # noqa: ARG001
            return b"secret"

        new = grpc.method_handlers_generic_handler("New", {"Call": grpc.unary_unary_rpc_method_handler(handler)})
        server = grpc.aio.server(interceptors=(Closed(at.operators),))
        server.add_generic_rpc_handlers((new,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = channel.unary_unary("/New/Call")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub(b"")
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await server.stop(0)
        assert {"/nodetell.v1.AgentService/Connect", "/nodetell.v1.AgentService/ProvePath"} == AGENTS_OWN

    through(tmp_path, scene, api=True)
