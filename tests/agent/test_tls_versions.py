"""TLS 1.3 and nothing older, whichever module of ours comes first."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading

import pytest

from tests.cli.conftest import environment
from tests.trust import Authority

CALL = """
import sys, importlib
importlib.import_module(sys.argv[1])
import grpc
credentials = grpc.ssl_channel_credentials(open(sys.argv[3], "rb").read())
with grpc.secure_channel(sys.argv[2], credentials) as channel:
    try:
        channel.unary_unary("/x/y")(b"", timeout=5)
    except grpc.RpcError as error:
        print(error.details())
"""
SERVE = """
import sys, importlib
importlib.import_module(sys.argv[1])
import grpc
from concurrent.futures import ThreadPoolExecutor
server = grpc.server(ThreadPoolExecutor(1))
pair = tuple(open(name, "rb").read() for name in sys.argv[2:4])
print(server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair])), flush=True)
server.start()
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def python(source: str, *words: str, stdin: int | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", source, *words]
    return subprocess.Popen(command, env=environment(), stdin=stdin, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("module", ["agent.main", "cli.client", "cli.watch"])
def test_what_connects_offers_nothing_older(module: str, ca: Authority) -> None:
    own = ca.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    errors: list[str] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, pytest.raises(ssl.SSLError) as caught:
            context.wrap_socket(connection, server_side=True)
        errors.append(str(caught.value))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with python(CALL, module, f"localhost:{listener.getsockname()[1]}", ca.file) as client:
            said = client.communicate(timeout=30)[0]
        thread.join(10)
    assert "HANDSHAKE_FAILURE" in said
    assert len(errors) == 1
    assert "no shared cipher" in errors[0].lower() or "unsupported protocol" in errors[0].lower()


@pytest.mark.parametrize("module", ["aggregator.main"])
def test_what_listens_takes_nothing_older(module: str, ca: Authority) -> None:
    own = ca.server()
    with python(SERVE, module, own.key, own.certificate, stdin=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        tried = {}
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=ca.file)
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2"])
            try:
                with (
                    socket.create_connection(("127.0.0.1", port), 10) as plain,
                    context.wrap_socket(plain, server_hostname="localhost") as connection,
                ):
                    tried[version] = connection.version()
            except (ssl.SSLError, ConnectionError):
                tried[version] = None
        server.communicate("", timeout=30)
    assert tried == {ssl.TLSVersion.TLSv1_2: None, ssl.TLSVersion.TLSv1_3: "TLSv1.3"}


def test_the_setting_is_what_does_it(ca: Authority) -> None:
    """Without it gRPC speaks 1.2, so the tests above can fail."""
    own = ca.server()
    source = SERVE.replace("importlib.import_module(sys.argv[1])", "")
    with python(source, "-", own.key, own.certificate, stdin=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        context = ssl.create_default_context(cafile=ca.file)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            assert connection.version() == "TLSv1.2"
        server.communicate("", timeout=30)


def test_the_environment_cannot_open_it_again() -> None:
    """An operator's environment can't open what is closed here."""
    asked = [sys.executable, "-c", "import nodetell, os; print(os.environ['GRPC_SSL_CIPHER_SUITES'])"]
    said = subprocess.run(
        asked, env=environment(GRPC_SSL_CIPHER_SUITES="ALL"), capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "ECDHE-PSK-CHACHA20-POLY1305"
