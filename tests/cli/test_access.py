"""How a command proves who asks, and what it says when that, or the other end, can't be believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from tests.cli.conftest import Run
from tests.trust import OPERATORS, Authority


class Operators(operator_pb2_grpc.OperatorServiceServicer):
    """Says who asks, in place of nodes."""

    def __init__(self, refuse: grpc.StatusCode | None = None) -> None:
        self.refuse = refuse
        self.bearer = ""
        self.shown = ""

    def ListNodes(self, request: object, context: Any) -> operator_pb2.ListNodesResponse:  # noqa: ARG002, N802
        self.bearer = dict(context.invocation_metadata()).get("authorization", "")
        self.shown = str(context.auth_context().get("x509_common_name", [b""])[0], "ascii")
        if self.refuse is not None:
            context.abort(self.refuse, "the test says no")
        return operator_pb2.ListNodesResponse(aggregator_version="0.1.0")


@contextmanager
def served(service: Operators, ca: Authority | None, *, demand: bool = False) -> Iterator[str]:
    """An aggregator with TLS, or without where there is no authority; its address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    if ca is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        own = ca.server()
        pair = (Path(own.key).read_bytes(), Path(own.certificate).read_bytes())
        clients = Path(ca.file).read_bytes() if demand else None
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair], clients, demand))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_token_is_shown_by_flag_or_by_environment(run: Run, ca: Authority, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s" * 1_300 + "\n")
    service = Operators()
    with served(service, ca) as address:
        done = run("nodes", "--format", "json", "--aggregator", address, "--ca", ca.file, "--token-file", token)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["aggregator_version"] == "0.1.0"
        assert service.bearer == "Bearer " + "s" * 1_300
        token.write_text("other")
        named = {"NODETELL_CA": ca.file, "NODETELL_TOKEN_FILE": str(token), "NODETELL_AGGREGATOR": address}
        assert run("nodes", **named).returncode == 0
        assert service.bearer == "Bearer other"


def test_a_certificate_is_shown_by_flag_or_by_environment(run: Run, ca: Authority) -> None:
    service, own = Operators(), ca.issued("alice", OPERATORS)
    with served(service, ca, demand=True) as address:
        shows = ("--certificate", own.certificate, "--key", own.key)
        assert run("nodes", "--aggregator", address, "--ca", ca.file, *shows).returncode == 0
        assert service.shown == "alice"
        bob = ca.issued("bob", OPERATORS)
        named = {"NODETELL_CA": ca.file, "NODETELL_CERTIFICATE": bob.certificate, "NODETELL_KEY": bob.key}
        assert run("nodes", "--aggregator", address, **named).returncode == 0
        assert service.shown == "bob"
        done = run("nodes", "--aggregator", address, "--ca", ca.file)
        assert done.returncode == 69
        assert done.stderr == (
            f"nodetell: aggregator {address}: it closed the connection at once, as one does that wants a client "
            "certificate; --certificate FILE and --key FILE show one\n"
        )


def test_a_server_by_another_name(run: Run, ca: Authority) -> None:
    with served(Operators(), ca) as address:
        done = run("nodes", "--aggregator", address, "--ca", ca.file, "--server-name", "elsewhere")
        assert done.returncode == 69
        assert "its certificate is not for this name; --server-name says which name it has to have" in done.stderr
        assert run("nodes", "--aggregator", address, "--ca", ca.file, "--server-name", "localhost").returncode == 0


def test_a_server_of_another_authority(run: Run, ca: Authority, tmp_path: Path) -> None:
    with served(Operators(), ca) as address:
        done = run("nodes", "--aggregator", address, "--ca", Authority(tmp_path, "other").file)
    assert done.returncode == 69
    assert "its certificate is of no authority in our file of them; is it the one you mean" in done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            grpc.StatusCode.UNAUTHENTICATED,
            (
                "it does not know who asks: the test says no; show a token (--token-file) or a client certificate "
                "(--certificate, --key)"
            ),
        ),
        (grpc.StatusCode.PERMISSION_DENIED, "it knows who asks, and that is not allowed: the test says no"),
    ],
)
def test_who_is_not_known_or_not_allowed(run: Run, ca: Authority, code: grpc.StatusCode, said: str) -> None:
    with served(Operators(code), ca) as address:
        done = run("nodes", "--aggregator", address, "--ca", ca.file)
    assert done.returncode == 77
    assert done.stderr == f"nodetell: aggregator {address}: {said}\n"


def test_plain_to_tls_and_the_reverse(run: Run, ca: Authority) -> None:
    with served(Operators(), ca) as address:
        done = run("nodes", "--aggregator", address, "--insecure")
        assert done.returncode == 69
        assert "as one does that wants TLS; --ca FILE is for one with TLS" in done.stderr
    with served(Operators(), None) as address:
        done = run("nodes", "--aggregator", address, "--ca", ca.file)
        assert done.returncode == 69
        assert "it does not speak TLS; is it one that `nodetell up` has started? (--insecure)" in done.stderr


def test_a_command_line_that_proves_nothing(run: Run, ca: Authority, tmp_path: Path) -> None:
    done = run("nodes")
    assert done.returncode == 78
    assert "which authority has signed the aggregator's certificate? --ca FILE (NODETELL_CA)" in done.stderr
    assert "--insecure" in done.stderr
    done = run("nodes", "--aggregator", "192.0.2.1:7443", "--insecure")
    assert done.returncode == 78
    assert "--insecure: 192.0.2.1:7443 is not on loopback" in done.stderr
    own = ca.issued("alice", OPERATORS)
    done = run("nodes", "--ca", ca.file, "--certificate", own.certificate)
    assert (done.returncode, "one without the other" in done.stderr) == (78, True)
    token = tmp_path / "token"
    token.write_bytes(b"not a tok\xc3\xa9n")
    done = run("nodes", "--ca", ca.file, "--token-file", token)
    assert (done.returncode, done.stderr) == (78, f"nodetell: {token}: is no token\n")
    done = run("nodes", "--ca", tmp_path / "none")
    assert (done.returncode, done.stderr) == (78, f"nodetell: {tmp_path / 'none'}: no such file or directory\n")


def test_a_client_certificate_of_another_authority(run: Run, ca: Authority, tmp_path: Path) -> None:
    own = Authority(tmp_path, "other").issued("mallory", OPERATORS)
    with served(Operators(), ca, demand=True) as address:
        shows = ("--certificate", own.certificate, "--key", own.key)
        done = run("nodes", "--aggregator", address, "--ca", ca.file, *shows)
    assert done.returncode == 69
    assert "as one does that does not take our client certificate; is it of an authority that the agg" in done.stderr
