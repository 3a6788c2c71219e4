"""Who gets in by a certificate, and who does not, over real TLS: every refusal, and certificates that rotate."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest
from nodetell.v1 import agent_pb2, agent_pb2_grpc, operator_pb2, operator_pb2_grpc

from aggregator.settings import TlsSettings
from aggregator.trust.caller import RefusedError, Role
from aggregator.trust.certificate import Certified, certified
from aggregator.trust.server import ServerCertificates
from tests.entrance import Entrance, through
from tests.trust import OPERATORS, Authority, Files


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def operator(ca: Authority, name: str = "ada") -> Files:
    return ca.issued(name, OPERATORS)


def test_an_agent_comes_in_with_the_certificate_of_its_node(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        async with at.agent("a", at.ca.agent("a")) as agent:
            assert await agent.hello() == "welcome"
            assert await agent.heartbeat() == "ack"

    through(tmp_path, scene, clients=True)


def handshake(address: str, ca: str, version: ssl.TLSVersion) -> str:
    """The version of TLS that a client which speaks no other gets; "refused"."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), 10) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            return str(tls.version())
    except (ssl.SSLError, ConnectionError):
        return "refused"


def test_tls_1_2_is_refused_and_1_3_is_taken(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        old = await asyncio.to_thread(handshake, at.address, at.ca.file, ssl.TLSVersion.TLSv1_2)
        new = await asyncio.to_thread(handshake, at.address, at.ca.file, ssl.TLSVersion.TLSv1_3)
        assert (old, new) == ("refused", "TLSv1.3")

    through(tmp_path, scene, api=True)


@pytest.mark.parametrize("who", ["no certificate", "another authority", "expired", "not yet"])
def test_whoever_shows_no_good_certificate_gets_no_connection(tmp_path: Path, who: str) -> None:
    async def scene(at: Entrance) -> None:
        (tmp_path / "other").mkdir()
        kinds: dict[str, Callable[[], Files | None]] = {
            "no certificate": lambda: None,
            "another authority": lambda: Authority(tmp_path / "other").agent("a"),
            "expired": lambda: at.ca.agent("a", begins_s=-7200, ends_s=-3600),
            "not yet": lambda: at.ca.agent("a", begins_s=3600, ends_s=7200),
        }
        shows = kinds[who]()
        async with at.agent("a", shows) as agent:
            assert (await agent.hello()).startswith("UNAVAILABLE")
        assert (await at.nodes(shows)).startswith("UNAVAILABLE")
        assert at.sink.hellos == []

    through(tmp_path, scene, clients=True)


def test_an_aggregator_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        (tmp_path / "other").mkdir()
        other = Authority(tmp_path / "other")
        assert (await at.nodes(operator(at.ca), ca=other.file)).startswith("UNAVAILABLE")

    through(tmp_path, scene, clients=True)


def test_an_agent_of_one_node_is_refused_for_another_and_does_not_take_its_place(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        async with at.agent("b", at.ca.agent("b")) as right, at.agent("b", at.ca.agent("a")) as wrong:
            assert await right.hello() == "welcome"
            refused = await wrong.hello()
            assert refused == 'PERMISSION_DENIED: the certificate is of node "a", and the agent says that it is b'
            assert await right.heartbeat() == "ack"
            assert [hello.node for hello in at.sink.hellos] == ["b"]

    through(tmp_path, scene, clients=True)


def test_an_operator_reads_and_reports_for_no_node(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        shows = operator(at.ca)
        assert await at.nodes(shows) == "here"
        async with at.agent("a", shows) as agent:
            assert "PERMISSION_DENIED: the certificate is of operator ada" in await agent.hello()
        assert at.sink.hellos == []

    through(tmp_path, scene, clients=True)


def test_an_agent_reads_nothing_not_even_with_an_operator_s_token_beside_it(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("ada 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n")

    async def scene(at: Entrance) -> None:
        shows = at.ca.agent("a")
        reason = "PERMISSION_DENIED: the certificate is of agent a, not of an operator"
        assert await at.nodes(shows) == reason
        assert await at.nodes(shows, "test") == reason
        async with at.channel(shows) as channel:
            stub = operator_pb2_grpc.OperatorServiceStub(channel)  # type: ignore[no-untyped-call]
            watch = stub.WatchFindings(operator_pb2.WatchFindingsRequest())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await watch.read()
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED

    through(tmp_path, scene, clients=True, operator_tokens_file=str(tokens))


def test_whoever_can_connect_may_prove_the_path(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        async with at.channel(at.ca.agent("a")) as channel:
            prove = agent_pb2_grpc.AgentServiceStub(channel).ProvePath  # type: ignore[no-untyped-call]
            padding = bytes(8_000)
            assert (await prove(agent_pb2.PathProof(padding=padding))).padding == padding

    through(tmp_path, scene, clients=True)


def test_certificates_and_tokens_each_have_their_door(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        assert at.certificate_address != at.address
        there = at.certificate_address
        async with at.agent("a", at.ca.agent("a"), address=there) as one, at.agent("b", address=there) as none:
            assert await one.hello() == "welcome"
            assert (await none.hello(at.api.token("b"))).startswith("UNAVAILABLE")
        async with at.agent("b") as two:
            assert await two.hello(at.api.token("b")) == "welcome"
        assert await at.nodes(operator(at.ca), address=there) == "here"

    through(tmp_path, scene, both=True, api=True)


def test_a_certificate_counts_for_a_day(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        async with at.agent("a", at.ca.agent("a")) as agent:
            assert await agent.hello() == "welcome"
            at.clock.ahead_s = 86_000
            assert await agent.heartbeat() == "ack"
            at.clock.ahead_s = 87_000
            assert await agent.heartbeat() == "UNAVAILABLE: the certificate has to be shown anew: connect again"

    through(tmp_path, scene, clients=True)


# -- rotation --------------------------------------------------------------------------------------------------------


def peer_certificate(address: str, ca: str) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_a_certificate_that_rotates_on_disk_is_shown_to_the_next_and_disturbs_nobody(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        own = Files(at.settings.tls.certificate, at.settings.tls.key)
        async with at.agent("a") as agent:
            assert await agent.hello(at.api.token("a")) == "welcome"
            first = await asyncio.to_thread(peer_certificate, at.address, at.ca.file)
            own.copy_from(at.ca.server(file="renewed"))
            second = await asyncio.to_thread(peer_certificate, at.address, at.ca.file)
            assert first != second == ssl.PEM_cert_to_DER_cert(read(own.certificate).decode())
            assert await agent.heartbeat() == "ack"

    through(tmp_path, scene, api=True)


def test_authorities_rotate_too(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        (tmp_path / "next").mkdir()
        later = Authority(tmp_path / "next", "later")
        before, after = at.ca.agent("a"), later.agent("a")
        async with at.agent("a", after) as agent:
            assert (await agent.hello()).startswith("UNAVAILABLE")
        old = read(at.ca.file)
        write(at.settings.tls.client_ca, old + read(later.file))
        for shows in (before, after):
            async with at.agent("a", shows) as agent:
                assert await agent.hello() == "welcome"
        write(at.settings.tls.client_ca, read(later.file))
        only = tmp_path / "old.crt"
        write(str(only), old)
        async with at.agent("a", before, ca=str(only)) as agent:
            assert (await agent.hello()).startswith("UNAVAILABLE")
        async with at.agent("a", after, ca=str(only)) as agent:
            assert await agent.hello() == "welcome"

    through(tmp_path, scene, clients=True)


@pytest.mark.parametrize("damage", ["empty", "cut", "another key", "gone", "expired"])
def test_damaged_files_leave_the_ones_before_in_use_and_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    ca = Authority(tmp_path)
    own = ca.server()
    settings = TlsSettings(own.certificate, own.key)
    certificates = ServerCertificates(settings, demand=False)
    used = certificates.current
    whole, key = Path(own.certificate).read_bytes(), Path(own.key).read_bytes()
    if damage == "empty":
        Path(own.certificate).write_bytes(b"")
    elif damage == "cut":
        Path(own.certificate).write_bytes(whole[:200])
    elif damage == "another key":
        Path(own.key).write_bytes(Path(ca.server(file="other").key).read_bytes())
    elif damage == "gone":
        Path(own.certificate).unlink()
    else:
        own.copy_from(ca.issued("x", names=("127.0.0.1",), begins_s=-7200, ends_s=-3600, file="old"))
    with caplog.at_level(logging.INFO, "nodetell.aggregator"):
        assert [certificates.renewed() for _ in range(3)] == [None] * 3
    assert certificates.current is used
    (said,) = [record.getMessage() for record in caplog.records]
    assert "event=certificate_not_renewed" in said
    assert str(tmp_path) in said
    assert "PRIVATE" not in said
    Path(own.certificate).write_bytes(whole + b"\n")
    Path(own.key).write_bytes(key)
    assert certificates.renewed() is certificates.current is not used
    assert certificates.renewed() is None


def test_a_certificate_that_nobody_renews_is_said_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Authority(tmp_path).server()  # good for a day
    at = [0.0]

    certificates = ServerCertificates(
        TlsSettings(own.certificate, own.key), demand=False, clock=lambda: time.time() + at[0]
    )
    with caplog.at_level(logging.WARNING, "nodetell.aggregator"):
        certificates.renewed()
        assert not caplog.records
        for at[0] in (70_000.0, 80_000.0, 156_500.0, 156_600.0):
            certificates.renewed()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert all("event=certificate_expires" in each for each in said)


# -- the subject -----------------------------------------------------------------------------------------------------


def shown(subject: str, **more: bytes) -> dict[str, list[bytes]]:
    facts = {
        "transport_security_type": b"ssl",
        "ssl_tls_version": b"TLSv1.3",
        "x509_pem_cert": b"-",
        "x509_subject": subject.encode(),
        **more,
    }
    return {key: [value] for key, value in facts.items()}


@pytest.mark.parametrize(
    ("subject", "who"),
    [
        ("CN=a,O=nodetell:agents", Certified(Role.AGENT, "a")),
        ("CN=ada,OU=ops,O=acme,O=nodetell:operators,C=FR", Certified(Role.OPERATOR, "ada")),
        ("CN=a", None),
        ("O=nodetell:agents", None),
        ("CN=,O=nodetell:agents", None),
        ("CN=a,CN=b,O=nodetell:agents", None),
        ("CN=a,O=nodetell:agents,O=nodetell:operators", None),
        ("CN=a,O=NODETELL:AGENTS", None),
        ("CN=a,O=nodetell:agents ", None),
        (r"CN=a\,O=nodetell:operators,O=nodetell:agents", None),
        ("CN=a+O=nodetell:operators,O=x", None),
        ('CN="a",O=nodetell:agents', None),
        ("CN=#0401,O=nodetell:agents", None),
        ("", None),
    ],
)
def test_a_role_is_one_organization_and_a_name_one_common_name(subject: str, who: Certified | None) -> None:
    if who is not None:
        assert certified(shown(subject)) == who
        return
    with pytest.raises(RefusedError) as refused:
        certified(shown(subject))
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_a_common_name_that_looks_like_a_subject_is_refused(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        sly = at.ca.issued("a,O=nodetell:operators", "nodetell:agents", file="sly")
        assert (await at.nodes(sly)).startswith("UNAUTHENTICATED: the subject of the client certificate holds")

    through(tmp_path, scene, clients=True)


@pytest.mark.parametrize("facts", [{"ssl_tls_version": b"TLSv1.2"}, {"ssl_session_reused": b"true"}])
def test_an_older_tls_and_a_resumed_session_show_nothing(facts: dict[str, bytes]) -> None:
    with pytest.raises(RefusedError):
        certified(shown("CN=a,O=nodetell:agents") | {key: [value] for key, value in facts.items()})
    for plain in ({}, {"ssl_tls_version": [b"TLSv1.3"]}, {"transport_security_type": [b"insecure"]}):
        with pytest.raises(RefusedError, match="is not encrypted"):
            certified(plain)


def test_no_certificate_is_nobody_s() -> None:
    assert certified({"transport_security_type": [b"ssl"], "ssl_tls_version": [b"TLSv1.3"]}) is None
    assert certified({"transport_security_type": [b"ssl"]}) is None
