"""Certificates and keys from files: read anew whenever they are needed, and checked before gRPC sees them.

gRPC tells of a damaged file no more than that a handshake failed. So the files are looked at with what the standard
library has, and the error names the file and the reason, never what is in it.
"""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

MAX_FILE_BYTES = 1 << 20
"""A bundle of all authorities that browsers trust takes a quarter of it."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_EXPLICIT_0, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18


class PemError(Exception):
    """A file that cannot be used: which, and why, in one line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, with what leads to its authority, and its private key: PEM both."""

    certificate: bytes
    key: bytes = field(repr=False)


def read_authorities(path: str, *, now: float | None = None) -> bytes:
    """The certificates of authorities in a file, PEM. `now`: seconds since the epoch. Raises PemError.

    One that has expired does no harm beside one that has not: so they are renewed.
    """
    raw = read(path)
    certificates = _certificates(path, raw)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata="\n".join(certificates))
    except (ssl.SSLError, ValueError):
        raise PemError(f"{path}: a certificate in it is damaged") from None
    ends = [_validity(path, each)[1] for each in certificates]
    if max(ends) < (time.time() if now is None else now):
        raise PemError(f"{path}: expired on {_day(max(ends))}, by this host's clock")
    return raw


def read_pair(certificate: str, key: str, *, now: float | None = None) -> Pair:
    """A certificate and the key that belongs to it. `now`: seconds since the epoch. Raises PemError."""
    pair = Pair(read(certificate), read(key))
    leaf = _certificates(certificate, pair.certificate)[0]
    begin, end = _validity(certificate, leaf)
    at = time.time() if now is None else now
    if end < at:
        raise PemError(f"{certificate}: expired on {_day(end)}, by this host's clock")
    if begin > at:
        raise PemError(f"{certificate}: not valid before {_day(begin)}, by this host's clock")
    if b"ENCRYPTED" in pair.key:
        raise PemError(f"{key}: is encrypted, and nobody is here to ask for the passphrase")
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise PemError(f"{key}: is not the key of the certificate in {certificate}") from None
        raise PemError(f"{key}: no private key that can be used with {certificate}") from None
    return pair


def expires(certificate: bytes) -> float:
    """When the first certificate of a PEM text expires, seconds since the epoch. Raises PemError."""
    return _validity("certificate", _certificates("certificate", certificate)[0])[1]


def read(path: str) -> bytes:
    """What is in a file of credentials. Raises PemError."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PemError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise PemError(f"{path!a}: no name of a file") from None
    if len(raw) > MAX_FILE_BYTES:
        raise PemError(f"{path}: longer than {MAX_FILE_BYTES:,} bytes")
    return raw


def _certificates(path: str, raw: bytes) -> list[str]:
    """The certificates of a PEM text, with text between them left out."""
    found = []
    for part in raw.decode("ascii", "replace").split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if not end:
            raise PemError(f"{path}: breaks off within a certificate")
        found.append(f"{_BEGIN}{body}{_END}\n")
    if not found:
        raise PemError(f"{path}: no certificate in it")
    return found


def load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    """Have OpenSSL use the pair. It takes files only; memory with a name makes sure that what was checked is used.

    Raises ssl.SSLError.
    """
    names = []
    try:
        for raw in (pair.certificate, pair.key):
            names.append(os.memfd_create("pem"))
            os.write(names[-1], raw)
        certificate, key = (f"/proc/self/fd/{each}" for each in names)
        context.load_cert_chain(certificate, key, password="")  # never asks for one
    finally:
        for each in names:
            os.close(each)


def _validity(path: str, certificate: str) -> tuple[float, float]:
    """From when until when it is valid, seconds since the epoch (RFC 5280, 4.1)."""
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate)
        _, at, _ = _element(der, 0)  # Certificate
        _, at, _ = _element(der, at)  # TBSCertificate
        tag, _, end = _element(der, at)
        for _ in range(4 if tag == _EXPLICIT_0 else 3):  # version, where there is one; serial, algorithm, issuer
            at = end
            _, inside, end = _element(der, at)
        _, _, middle = _element(der, inside)
        return _time(der, inside), _time(der, middle)
    except (ValueError, IndexError):
        raise PemError(f"{path}: a certificate in it is damaged") from None


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the element at `at`, where its content begins, and where it ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + size]), begin + size
    if begin + length > len(der):
        raise ValueError("longer than what holds it")
    return tag, begin, begin + length


def _time(der: bytes, at: int) -> float:
    tag, begin, end = _element(der, at)
    text = der[begin:end].decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
