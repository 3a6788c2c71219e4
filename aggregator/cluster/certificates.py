"""How long a certificate is valid, by a walk over as much of its DER as stands before those two dates (RFC 5280, 4.1).

Nothing else of it is looked at, and no key: that is less than any library does with what it is given.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import NamedTuple

_PEM = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END ")
_INTEGER, _SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x02, 0x30, 0x17, 0x18, 0xA0
_MOST_LENGTH_BYTES = 4


class Validity(NamedTuple):
    """When a certificate is valid, seconds since the epoch."""

    since: float
    until: float


def validity_of_pem(pem: bytes) -> Validity | None:
    """Of the first certificate, which is the holder's own where its issuers follow; None: there is none that can be
    read."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        return validity(base64.b64decode(found[1]))
    except binascii.Error:
        return None


def validity(der: bytes) -> Validity | None:
    """Of a certificate in DER; None: it is not one."""
    try:
        certificate = _Reader(der).enter(_SEQUENCE)
        signed = certificate.enter(_SEQUENCE)
        if signed.tag() == _VERSION:
            signed.skip(_VERSION)
        signed.skip(_INTEGER)  # the serial number
        signed.skip(_SEQUENCE)  # the signature's algorithm
        signed.skip(_SEQUENCE)  # the issuer
        dates = signed.enter(_SEQUENCE)
        return Validity(_seconds(*dates.take()), _seconds(*dates.take()))
    except (IndexError, ValueError, OverflowError):
        return None


class _Reader:
    """Values one after the other. Raises IndexError or ValueError where they are not as expected."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def tag(self) -> int:
        """Of the next value."""
        return self._data[self._at]

    def take(self) -> tuple[int, bytes]:
        """The next value, and its tag."""
        tag, at = self.tag(), self._at + 2
        length = self._data[self._at + 1]
        if length & 0x80:
            count = length & 0x7F
            if not 1 <= count <= _MOST_LENGTH_BYTES:
                raise ValueError("a length that no certificate has")
            length, at = int.from_bytes(self._data[at : at + count], "big"), at + count
        if at + length > len(self._data):
            raise IndexError
        self._at = at + length
        return tag, self._data[at : at + length]

    def skip(self, tag: int) -> None:
        """Go past the next value, which has this tag."""
        if self.take()[0] != tag:
            raise ValueError("another value")

    def enter(self, tag: int) -> _Reader:
        """Go past the next value, which has this tag; returns what is in it."""
        found, content = self.take()
        if found != tag:
            raise ValueError("another value")
        return _Reader(content)


def _seconds(tag: int, content: bytes) -> float:
    """A UTCTime (of 1950 to 2049) or a GeneralizedTime, both to the second and in UTC as RFC 5280 has them."""
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("no time")
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
