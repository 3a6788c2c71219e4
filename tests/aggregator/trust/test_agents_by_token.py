"""Agents that prove their node by a service account's token, over real TLS and against a real HTTP server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from nodetell.v1 import agent_pb2

from aggregator.trust import standing
from aggregator.trust.review import TOKEN_REVIEWS
from aggregator.trust.standing import GRACE_S
from aggregator.trust.token import MAX_PIECES, MAX_TOKEN_BYTES
from tests.entrance import ACCOUNT, AUDIENCE, NODE_NAME, POD_NAME, POD_UID, Caller, Entrance, jwt, pieces_of, through
from tests.wire import until


async def refused(at: Entrance, token: str, node: str = "a") -> str:
    """How an agent with this token is refused; nobody's place was taken."""
    async with at.agent(node) as agent:
        ended = await agent.hello(token)
    assert at.sink.hellos == []
    return ended


def test_a_token_of_its_node_lets_an_agent_in_and_is_sent_in_pieces(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        token = at.api.token("a", padding=1_400)
        assert len(pieces_of(token.encode())) > 2
        async with at.agent("a") as agent:
            assert await agent.hello(token) == "welcome"
            assert await agent.heartbeat() == "ack"
        ((path, spec),) = at.api.asked
        assert path == TOKEN_REVIEWS
        assert spec == {"token": token, "audiences": [AUDIENCE]}

    through(tmp_path, scene, api=True)


def test_nothing_to_go_by_is_not_enough(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        assert await refused(at, "") == (
            "UNAUTHENTICATED: the agent shows no certificate and sends no token: there is nothing to go by"
        )

    through(tmp_path, scene, api=True)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"audience": "https://kubernetes.default.svc"}, 'UNAUTHENTICATED: the token is for "https://kubernetes.de'),
        ({"user": "system:serviceaccount:nodetell:other"}, 'PERMISSION_DENIED: the token is of "system:serviceaccount'),
        ({"user": "system:serviceaccount:other:nodetell-agent"}, 'PERMISSION_DENIED: the token is of "system:servicea'),
        ({"node": "b"}, 'PERMISSION_DENIED: the token is of node "b", and the agent says that it is a'),
        ({"node": ""}, "PERMISSION_DENIED: the token is bound to no pod, so nothing says which node it is of"),
        ({"left_s": -5.0}, "UNAUTHENTICATED: the token has expired"),
    ],
)
def test_a_token_of_somebody_else_lets_nobody_in(tmp_path: Path, claims: dict[str, Any], reason: str) -> None:
    async def scene(at: Entrance) -> None:
        assert (await refused(at, at.api.token(**({"node": "a"} | claims)))).startswith(reason)
        # What a token does not even claim need not be asked about.
        assert bool(at.api.asked) != bool({"audience", "user"} & set(claims))

    through(tmp_path, scene, api=True)


def test_what_the_api_server_does_not_vouch_for_is_refused_and_never_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(at: Entrance) -> None:
        forged = jwt()
        ended = await refused(at, forged)
        assert ended == "UNAUTHENTICATED: the API server does not vouch for the token: invalid bearer token"
        assert forged not in caplog.text
        assert forged.split(".")[1] not in caplog.text

    through(tmp_path, scene, api=True)


def test_the_api_server_has_the_last_word_on_whose_token_it_is(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        claimed = jwt(ACCOUNT)
        at.api.tokens[claimed] = ("system:serviceaccount:nodetell:other", {NODE_NAME: ["a"]})
        assert (await refused(at, claimed)).startswith("PERMISSION_DENIED")

    through(tmp_path, scene, api=True)


def test_an_api_server_that_knows_no_audiences_vouches_for_nothing(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        at.api.aware = False
        assert (await refused(at, at.api.token("a"))).endswith(f'does not vouch for the token: not for "{AUDIENCE}"')

    through(tmp_path, scene, api=True)


@pytest.mark.parametrize("raw", ["no token", "a.b.c", "..", "e30.e30.e30", "a" * 900, "ä.ö.ü"])
def test_what_is_no_token_is_not_asked_about(tmp_path: Path, raw: str) -> None:
    async def scene(at: Entrance) -> None:
        assert (await refused(at, raw)).startswith("UNAUTHENTICATED: the token is no service account's")
        assert at.api.asked == []

    through(tmp_path, scene, api=True)


# -- before Kubernetes 1.30: the node of the pod ---------------------------------------------------------------------


def test_a_token_without_a_node_counts_for_the_node_of_its_pod(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        at.pods["uid-1"] = ("nodetell/agent-x", "a")
        token = at.api.bound({POD_NAME: ["agent-x"], POD_UID: ["uid-1"]})
        assert await refused(at, token, "b") == (
            'PERMISSION_DENIED: the token is of node "a", and the agent says that it is b'
        )
        async with at.agent("a") as agent:
            assert await agent.hello(token) == "welcome"

    through(tmp_path, scene, api=True)


def test_a_pod_that_is_not_known_yet_is_asked_for_again_and_one_of_another_name_is_refused(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        token = at.api.bound({POD_NAME: ["agent-x"], POD_UID: ["uid-1"]})
        assert (await refused(at, token)).startswith("UNAVAILABLE: pod agent-x of the token is not among the pods")
        at.pods["uid-1"] = ("other/agent-x", "a")
        assert (await refused(at, token)).startswith("PERMISSION_DENIED: the token is of pod agent-x, and pod other/")
        at.pods["uid-1"] = ("nodetell/agent-x", "")
        assert (await refused(at, token)).startswith("PERMISSION_DENIED")

    through(tmp_path, scene, api=True)


# -- pieces ----------------------------------------------------------------------------------------------------------


async def greet(agent: Caller, announced: int, *pieces: agent_pb2.Credential, **last: Any) -> str:
    """How Hello with these pieces ends."""
    try:
        hello = agent_pb2.Hello(protocol=1, node=agent.node, instance=agent.instance, credential_bytes=announced)
        await agent.say(hello=hello)
        for piece in pieces:
            await agent.say(credential=piece)
        if last:
            await agent.say(**last)
    except Exception:  # noqa: BLE001  # however it ended
        return await agent.ended()
    return "goes on"


@pytest.mark.parametrize(
    ("announced", "pieces", "reason"),
    [
        (MAX_TOKEN_BYTES + 1, [], "at most 16,384 are allowed"),
        (900, [(b"x" * 850, False), (b"x" * 60, True)], "910 of 900 announced bytes of a token"),
        (900, [(b"x" * 850, True)], "850 of 900 announced bytes of a token, and this is the last piece"),
        (850, [(b"x" * 850, False)], "850 of 850 announced bytes of a token, and this is not the last piece"),
        (900, [(b"x" * 851, False)], "1 to 850 are allowed"),
        (900, [(b"", False)], "a piece of a token of 0 bytes"),
        (900, [(b"x", False)] * (MAX_PIECES + 1), f"in more than {MAX_PIECES} pieces"),
    ],
)
def test_pieces_that_do_not_fit_end_the_stream(
    tmp_path: Path, announced: int, pieces: list[tuple[bytes, bool]], reason: str
) -> None:
    async def scene(at: Entrance) -> None:
        async with at.agent("a") as agent:
            ended = await greet(agent, announced, *(agent_pb2.Credential(data=d, last=end) for d, end in pieces))
        assert ended.startswith("INVALID_ARGUMENT")
        assert reason in ended
        assert at.api.asked == []

    through(tmp_path, scene, api=True)


def test_nothing_else_comes_between_hello_and_the_last_piece(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        first = agent_pb2.Credential(data=b"x" * 850)
        beat = agent_pb2.Heartbeat(now_unix_ms=1)
        for more in ({"heartbeat": beat}, {"chunk": agent_pb2.Chunk(update=1, data=b"x")}):
            async with at.agent("a") as agent:
                assert (await greet(agent, 900, first, **more)).startswith("INVALID_ARGUMENT: after 2 messages a piece")
        async with at.agent("a") as agent:
            agent.seq = 0
            await agent.say(hello=agent_pb2.Hello(protocol=1, node="a", instance=b"i" * 16, credential_bytes=900))
            agent.seq = 7  # a piece was left out
            with pytest.raises(grpc.aio.AioRpcError):
                await agent.say(credential=first)
            assert (await agent.ended()).startswith("INVALID_ARGUMENT")
        assert at.sink.hellos == []

    through(tmp_path, scene, api=True)


# -- one node for one identity ---------------------------------------------------------------------------------------


def test_a_stolen_token_speaks_for_its_node_alone_and_reads_nothing(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        stolen = at.api.token("a")
        at.api.allowed.add(ACCOUNT)  # RBAC gone wrong: whoever grants it to all service accounts
        async with at.agent("b") as right, at.agent("b") as thief:
            assert await right.hello(at.api.token("b")) == "welcome"
            assert (await thief.hello(stolen)).startswith("PERMISSION_DENIED")
            assert await right.heartbeat() == "ack"
        reason = f'PERMISSION_DENIED: "{ACCOUNT}" is what agents run as, and no operator'
        assert await at.nodes(token=stolen) == reason
        assert [hello.node for hello in at.sink.hellos] == ["b"]

    through(tmp_path, scene, api=True)


def test_where_both_are_shown_both_must_be_of_the_node(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        a, b = at.ca.agent("a"), at.ca.agent("b")
        for shows, token in ((b, at.api.token("a")), (a, at.api.token("b"))):
            async with at.agent("a", shows) as agent:
                assert (await agent.hello(token)).startswith("PERMISSION_DENIED")
        async with at.agent("a", a) as agent:
            assert await agent.hello(at.api.token("a")) == "welcome"

    through(tmp_path, scene, clients=True, api=True)


def test_what_access_agents_asks_for_is_asked_for(tmp_path: Path) -> None:
    async def token_wanted(at: Entrance) -> None:
        async with at.agent("a", at.ca.agent("a")) as agent:
            assert await agent.hello() == ("UNAUTHENTICATED: the agent sends no token, and access.agents asks for one")

    through(tmp_path, token_wanted, clients=True, api=True, agents="token")

    async def certificate_wanted(at: Entrance) -> None:
        async with at.agent("a") as agent:
            assert await agent.hello(at.api.token("a")) == (
                "UNAUTHENTICATED: the agent shows no certificate, and access.agents asks for one"
            )
        async with at.agent("a", at.ca.agent("a"), address=at.certificate_address) as agent:
            assert await agent.hello() == "welcome"

    through(tmp_path, certificate_wanted, both=True, api=True, agents="certificate")


# -- while the stream stands -----------------------------------------------------------------------------------------


async def resend(agent: Caller, token: str) -> None:
    """A token that was renewed, piece by piece between other messages."""
    for piece in pieces_of(token.encode()):
        assert (await agent.say(credential=piece)).ack.seq == agent.seq
        assert await agent.heartbeat() == "ack"


def test_a_stream_ends_with_its_token_and_a_minute_unless_another_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "ASK_S", 0.0)

    async def scene(at: Entrance) -> None:
        async with at.agent("a") as renewed, at.agent("b") as forgotten:
            assert await renewed.hello(at.api.token("a", left_s=600)) == "welcome"
            assert await forgotten.hello(at.api.token("b", left_s=600)) == "welcome"
            at.clock.ahead_s = 600 + GRACE_S - 30
            assert await forgotten.heartbeat() == "ack"
            await resend(renewed, at.api.token("a", left_s=7_200, padding=900))
            await until(lambda: len(at.api.asked) == 3)
            at.clock.ahead_s = 600 + GRACE_S + 30
            assert await forgotten.heartbeat() == ("UNAUTHENTICATED: the token has expired, and no good one has come")
            assert await renewed.heartbeat() == "ack"

    through(tmp_path, scene, api=True)


def test_a_token_of_another_node_that_follows_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "ASK_S", 0.0)

    async def scene(at: Entrance) -> None:
        async with at.agent("a") as agent:
            assert await agent.hello(at.api.token("a")) == "welcome"
            for piece in pieces_of(at.api.token("b").encode()):
                assert (await agent.say(credential=piece)).ack.seq == agent.seq
            ended = "ack"
            async with asyncio.timeout(20):
                while ended == "ack":
                    ended = await agent.heartbeat()
            assert ended.startswith('PERMISSION_DENIED: the token is of node "b"')

    through(tmp_path, scene, api=True)


def test_while_the_api_server_is_away_streams_go_on_and_nobody_new_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "ASK_S", 0.0)

    async def scene(at: Entrance) -> None:
        async with at.agent("a") as agent:
            assert await agent.hello(at.api.token("a", left_s=600)) == "welcome"
            await at.server.stop()
            async with at.agent("b") as other:
                ended = await other.hello(at.api.token("b"))
                assert ended.startswith("UNAVAILABLE: the API server gives no TokenReview: Connection refused")
            assert await agent.heartbeat() == "ack"
            await resend(agent, at.api.token("a", left_s=7_200))
            assert await agent.heartbeat() == "ack"
            await at.server.start()
            asked = len(at.api.asked)
            await until(lambda: len(at.api.asked) > asked)  # the token that has come is not forgotten
            at.clock.ahead_s = 600 + GRACE_S + 30
            await asyncio.sleep(0.05)
            assert await agent.heartbeat() == "ack"

    through(tmp_path, scene, api=True)


@pytest.mark.parametrize("how", ["hang", "denied"])
def test_an_api_server_that_does_not_answer_is_named(tmp_path: Path, how: str) -> None:
    async def scene(at: Entrance) -> None:
        at.api.hang, at.api.refuse = how == "hang", 403 if how == "denied" else 0
        ended = await refused(at, at.api.token("a"))
        wanted = {"hang": "no answer in time", "denied": "HTTP 403: it is refused"}[how]
        assert ended == f"UNAVAILABLE: the API server gives no TokenReview: {wanted}"

    through(tmp_path, scene, api=True, answer_s=0.3 if how == "hang" else 10.0)


def test_the_expiry_goes_by_the_api_server_s_clock(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        at.server.ahead_s = -7_200.0  # ours is two hours fast
        async with at.agent("a") as agent:
            assert await agent.hello(at.api.token("a", left_s=-3_600)) == "welcome"
            at.clock.ahead_s = 3_500
            assert await agent.heartbeat() == "ack"
            at.clock.ahead_s = 3_700
            assert (await agent.heartbeat()).startswith("UNAUTHENTICATED")

    through(tmp_path, scene, api=True)


def test_an_answer_is_kept_for_a_short_while(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        token = at.api.token("a")
        for _ in range(3):
            async with at.agent("a") as agent:
                assert await agent.hello(token) == "welcome"
        assert len(at.api.asked) == 1
        at.clock.ahead_s = 31
        del at.api.tokens[token]  # its pod is gone
        async with at.agent("a") as agent:
            assert (await agent.hello(token)).startswith("UNAUTHENTICATED")
        assert len(at.api.asked) == 2

    through(tmp_path, scene, api=True)
