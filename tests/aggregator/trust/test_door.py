"""What the settings make of the door: which do not open it, and that nothing is open that they do not open."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from nodetell.settings import SettingsError, load

from aggregator.ingest import server_options
from aggregator.segments import SEGMENT
from aggregator.settings import AccessSettings, AggregatorSettings, TlsSettings, start_problem
from aggregator.trust.door import DoorError, ListenError, door
from aggregator.trust.standing import Anybody
from tests.entrance import Entrance, through
from tests.trust import Authority

PREFIX = "NODETELL_AGGREGATOR_"


def tls(folder: Path, *, clients: bool = False) -> TlsSettings:
    ca = Authority(folder)
    own = ca.server()
    return TlsSettings(own.certificate, own.key, ca.file if clients else "")


def nobody(_uid: str) -> None:
    """There are no pods."""


@pytest.mark.parametrize(
    ("access", "clients", "reason"),
    [
        ({"agents": "token"}, True, "no API server is asked"),
        ({"agents": "certificate"}, False, "tls.client_ca is not set"),
        ({}, False, "no agent could prove who it is"),
        ({"operator_tokens_file": "/nowhere/tokens"}, True, "/nowhere/tokens: no such file"),
    ],
)
def test_a_door_that_nobody_could_use_is_not_built(
    tmp_path: Path, access: dict[str, Any], clients: bool, reason: str
) -> None:
    settings = AggregatorSettings(tls=tls(tmp_path, clients=clients), access=AccessSettings(**access))
    with pytest.raises(DoorError, match=reason):
        door(settings, None, nobody)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    made = tls(tmp_path, clients=True)
    Path(made.key).write_text("no key")
    with pytest.raises(DoorError, match=r"aggregator\.key: no private key"):
        door(AggregatorSettings(tls=made), None, nobody)


def test_without_tls_nobody_is_asked_and_that_takes_a_word(tmp_path: Path) -> None:
    opened = door(AggregatorSettings(insecure=True), None, nobody)
    assert isinstance(opened.agents, Anybody)
    assert (opened.operators, opened.interceptors) == (None, ())
    assert "insecure = true does without" in start_problem(AggregatorSettings())
    assert start_problem(AggregatorSettings(insecure=True)) == ""
    assert start_problem(AggregatorSettings(listen="0.0.0.0:7443", tls=tls(tmp_path))) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("insecure = true\nlisten = '0.0.0.0:1'", 'listen: "0.0.0.0:1" is not loopback, where insecure = true is not'),
        ("insecure = true\n[tls]\ncertificate = 'a'\nkey = 'b'", "insecure: true, and tls.certificate is set"),
        ("[tls]\ncertificate = 'a'", "certificate and key: one without the other"),
        ("[tls]\nclient_ca = 'a'", "client_ca: set, but certificate is not"),
        ("[tls]\ncertificate = 'a'\nkey = 'b'\ncertificate_listen = ':1'", 'certificate_listen: ":1" is not "host'),
        ("[tls]\ncertificate = 'a'\nkey = 'b'\ncertificate_listen = 'h:1'", "certificate_listen: set, but client_ca"),
        ("[access]\nagents = 'nobody'", '"nobody"'),
        ("[access]\nagent_service_account = 'agent'", 'agent_service_account: "agent" is not "namespace/name"'),
        ("[access]\ntoken_audience = ''", 'token_audience: "" is no name'),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "aggregator.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(AggregatorSettings, path, {}, {}, PREFIX)
    assert problem in str(refused.value)


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            settings = AggregatorSettings(listen=address, tls=tls(tmp_path, clients=True))
            server = grpc.aio.server(options=server_options())
            with pytest.raises(ListenError) as refused:
                door(settings, None, nobody).listeners[0].add_to(server)
            assert refused.value.address == address

    asyncio.run(run())


def test_what_a_handshake_sends_fits_into_packets_that_every_path_carries(tmp_path: Path) -> None:
    async def scene(at: Entrance) -> None:
        for address in (at.address, at.certificate_address):
            host, _, port = address.rpartition(":")
            with socket.create_connection((host, int(port)), 10) as connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= SEGMENT

    through(tmp_path, scene, both=True, api=True)
