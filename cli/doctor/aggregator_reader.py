"""What the aggregator itself says: the nodes that it knows, and the certificate that it shows."""

from __future__ import annotations

import argparse
import socket
import ssl

from cli.access import access
from cli.client import operator
from cli.doctor.model import Aggregator, Known, Unread
from cli.exits import CliError


def read_aggregator(arguments: argparse.Namespace) -> Aggregator | Unread:
    """All nodes that it knows; or why it did not say."""
    try:
        with operator(access(arguments), arguments.timeout) as asked:
            answer = asked.nodes()
    except CliError as error:
        return Unread(str(error))
    nodes = tuple(
        Known(
            each.node,
            each.connected,
            each.agent_version,
            each.heard_at_unix_ms / 1000,
            each.clock_offset_us / 1e6 if each.HasField("clock_offset_us") else None,
            each.clock_bound_us / 1e6,
            each.coverage_gaps,
        )
        for each in answer.nodes
    )
    return Aggregator(answer.aggregator_version, nodes)


def shown_certificate(address: str, server_name: str, timeout_s: float) -> bytes | Unread:
    """The certificate at an address, DER, whoever has signed it: nothing is sent there but the handshake's first words.

    Whether it is to be trusted is for a check to say, which has more words for it than a handshake that fails.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, int(port)), timeout=timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=server_name or host) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""
    except ssl.SSLError as error:
        return Unread(f"aggregator {address}: no TLS handshake: {error.reason or error}")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "no connection"
        return Unread(f"aggregator {address}: {reason}")
