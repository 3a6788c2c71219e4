"""A token as it comes from an agent, in pieces, and what it says of itself before anybody is asked if that is true.

A service account's token is a JWT (RFC 7519). Nothing is believed of it here: the API server checks its signature. But
what it does not even claim need not be asked about, its expiry is told nowhere else, and a refusal that names the wrong
audience is one that can be mended. No part of a token gets into a message.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nodetell.limits import CHUNK_BYTES
from nodetell.v1 import agent_pb2

from aggregator.reassembly import ProtocolError

MAX_TOKEN_BYTES = 16 << 10
"""A service account's token is of about 1,200 bytes; with many audiences or a long issuer, of some more."""


MAX_PIECES = 2 * MAX_TOKEN_BYTES // CHUNK_BYTES
"""More of them are so small that somebody only wants to be listened to."""


@dataclass(slots=True)
class TokenPieces:
    """The pieces of the tokens of one stream, one token after the other."""

    announced: int = 0
    """Length of the first one, by Hello; 0: it was not told."""
    parts: list[bytes] = field(default_factory=list, repr=False)
    length: int = 0

    def __post_init__(self) -> None:
        """Raises ProtocolError."""
        if self.announced > MAX_TOKEN_BYTES:
            raise ProtocolError(f"a token of {self.announced:,} bytes: at most {MAX_TOKEN_BYTES:,} are allowed")

    def take(self, piece: agent_pb2.Credential) -> bytes | None:
        """The whole token with its last piece, else None. Raises ProtocolError."""
        if not 0 < len(piece.data) <= CHUNK_BYTES:
            raise ProtocolError(f"a piece of a token of {len(piece.data):,} bytes: 1 to {CHUNK_BYTES} are allowed")
        self.length += len(piece.data)
        self.parts.append(piece.data)
        if self.length > MAX_TOKEN_BYTES or len(self.parts) > MAX_PIECES:
            raise ProtocolError(f"a token of more than {MAX_TOKEN_BYTES:,} bytes, or in more than {MAX_PIECES} pieces")
        if self.announced and piece.last != (self.length == self.announced):
            what = f"{self.length:,} of {self.announced:,} announced bytes of a token"
            raise ProtocolError(f"{what}, and this is {'' if piece.last else 'not '}the last piece")
        if not piece.last:
            return None
        whole = b"".join(self.parts)
        self.parts, self.length, self.announced = [], 0, 0
        return whole


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself."""

    audiences: tuple[str, ...]
    subject: str
    expires: float
    """Seconds since the epoch."""


def claims_of(token: str) -> Claims | None:
    """What it says, believed by nobody; None: it is no JWT that has an audience, a subject and an end."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = parts[1].encode("ascii")
        found = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        return _claims(found) if isinstance(found, dict) else None
    except (binascii.Error, ValueError, OverflowError, RecursionError):
        return None


def _claims(found: Mapping[str, Any]) -> Claims | None:
    audience, subject, expires = found.get("aud"), found.get("sub"), found.get("exp")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        return None
    if not isinstance(subject, str) or isinstance(expires, bool) or not isinstance(expires, int | float):
        return None
    return Claims(tuple(audiences), subject, float(expires)) if math.isfinite(expires) else None
