"""What a connection that could not be made means. gRPC quotes its TLS library; here is what an operator can act on."""

from __future__ import annotations

from enum import Enum


class Shown(Enum):
    """What we show of ourselves to the other end."""

    NOTHING = "nothing"
    """No TLS at all."""
    NO_CERTIFICATE = "no certificate"
    """TLS, and at most a token within."""
    CERTIFICATE = "certificate"


_MEANINGS = (
    ("certificate has expired", "its certificate has expired, by this host's clock"),
    ("certificate is not yet valid", "its certificate is not valid yet, by this host's clock"),
    ("unsupported certificate purpose", "its certificate is not one for a server"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is of no authority in our file of them"),
    ("Hostname Verification Check failed", "its certificate is not for this name"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
    ("HANDSHAKE_FAILURE", "it does not speak TLS 1.3"),
    ("PROTOCOL_VERSION", "it does not speak TLS 1.3"),
)
_CLOSED = {
    Shown.NOTHING: "it closed the connection at once, as one does that wants TLS",
    Shown.NO_CERTIFICATE: "it closed the connection at once, as one does that wants a client certificate",
    Shown.CERTIFICATE: "it closed the connection at once, as one does that does not take our client certificate",
}


def why_unavailable(details: str, shown: Shown) -> str:
    """Why no connection was made, of the details that gRPC gives with UNAVAILABLE; what is not known stays as it is."""
    for phrase, meaning in _MEANINGS:
        if phrase in details:
            return meaning
    last = details.rsplit(": ", 1)[-1] if "last error" in details else details  # the rest says it twice
    return _CLOSED[shown] if last == "Socket closed" and "failed to connect" in details else last
