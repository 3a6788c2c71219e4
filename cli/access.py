"""How an aggregator is reached by an operator: its address, what it is known by, and what is shown to it."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log lines would stand between ours

import grpc
import grpc.aio
from nodetell.handshake import Shown
from nodetell.pem import PemError, read, read_authorities, read_pair

from cli.exits import CONFIG, CliError

if TYPE_CHECKING:
    from cli.remote.operator import Through

_TOKEN = re.compile(r"[\x21-\x7e]+")
_MAX_ANSWER_BYTES = 64 << 20
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class Access:
    """One aggregator, and who asks it."""

    address: str
    """"host:port"."""
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    """None: no TLS."""
    server_name: str = ""
    shown: Shown = Shown.NOTHING

    def channel(self) -> grpc.Channel:
        """A connection, made when first used."""
        if self.credentials is None:
            return grpc.insecure_channel(self.address, options=self._options())
        return grpc.secure_channel(self.address, self.credentials, options=self._options())

    def aio_channel(self) -> grpc.aio.Channel:
        """The same, for an event loop."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(self.address, options=self._options())
        return grpc.aio.secure_channel(self.address, self.credentials, options=self._options())

    def _options(self) -> list[tuple[str, int | str]]:
        named = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        return [*_OPTIONS, *named]


def on_this_host(address: str) -> Access:
    """To what listens on loopback without TLS."""
    return Access(address, None)


def reached(arguments: argparse.Namespace) -> Access | Through:
    """As the command line has it that was used: directly, or (`kubectl nodetell`) through the API server. Raises
    CliError."""
    through: Callable[[argparse.Namespace], Through] | None = getattr(arguments, "through", None)
    return access(arguments) if through is None else through(arguments)


def access(arguments: argparse.Namespace) -> Access:
    """As the flags and the environment have it. Raises CliError."""
    address: str = arguments.aggregator
    if arguments.insecure:
        if not _is_loopback(address):
            raise CliError(CONFIG, f"--insecure: {address} is not on loopback, and only there is it allowed")
        return on_this_host(address)
    if not arguments.ca:
        here = "; for one on this host without TLS, as `nodetell up` starts it: --insecure"
        raise CliError(
            CONFIG, f"which authority has signed the aggregator's certificate? --ca FILE (NODETELL_CA){here}"
        )
    if bool(arguments.certificate) != bool(arguments.key):
        raise CliError(CONFIG, "--certificate and --key (NODETELL_CERTIFICATE, NODETELL_KEY): one without the other")
    try:
        own = read_pair(arguments.certificate, arguments.key) if arguments.certificate else None
        authorities = read_authorities(arguments.ca)
        token = _token(arguments.token_file) if arguments.token_file else ""
    except PemError as error:
        raise CliError(CONFIG, str(error)) from error
    shows = (own.key, own.certificate) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(authorities, *shows)
    if token:
        bearer = grpc.access_token_call_credentials(token)
        credentials = grpc.composite_channel_credentials(credentials, bearer)
    shown = Shown.CERTIFICATE if own else Shown.NO_CERTIFICATE
    return Access(address, credentials, arguments.server_name or "", shown)


def _token(path: str) -> str:
    """The token in a file. Raises PemError, which does not quote it."""
    token = read(path).decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise PemError(f"{path}: {'is no token' if token else 'is empty'}")
    return token


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
