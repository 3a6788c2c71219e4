"""A small private authority for agents, operators and the aggregator, where there is no cert-manager.

Certificates are ECDSA P-256, for TLS 1.3, and short enough for any path. Whose they are stands in the subject as the
aggregator reads it: the organization says the role, the common name the node or the operator. Files hold the
certificate alone: the authority is known to whoever checks it.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

EARLY = datetime.timedelta(hours=1)
"""A certificate counts so long before it was made: clocks of nodes differ."""


class Role(Enum):
    """Whose certificate it is; the value is the organization of its subject."""

    AUTHORITY = "nodetell"
    AGGREGATOR = "nodetell:aggregators"
    AGENT = "nodetell:agents"
    OPERATOR = "nodetell:operators"


DAYS = {Role.AUTHORITY: 3650, Role.AGGREGATOR: 365, Role.AGENT: 365, Role.OPERATOR: 90}
"""How long a certificate counts unless told otherwise: operators carry theirs about."""


class AuthorityError(Exception):
    """A certificate or a key can't be used: why, one line."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """The private key, not encrypted: a process reads it by itself."""
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def new_authority(name: str, days: int, now: datetime.datetime) -> Signed:
    """An authority that may sign certificates of others, and no further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(Role.AUTHORITY, name)
    builder = _builder(subject, key, now, now + datetime.timedelta(days=days)).issuer_name(subject)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Signed(builder.sign(key, hashes.SHA256()), key)


def issue(
    by: Signed, role: Role, name: str, alternatives: Sequence[str], *, days: int, now: datetime.datetime
) -> Signed:
    """A certificate of an aggregator, an agent or an operator, with a key of its own. It ends with its authority.

    `alternatives`: DNS names and IP addresses that an aggregator is reached by. Raises AuthorityError.
    """
    end = by.certificate.not_valid_after_utc
    if end <= now:
        raise AuthorityError(f"the authority has expired on {end:%Y-%m-%d}")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_subject(role, name), key, now, min(now + datetime.timedelta(days=days), end))
    builder = builder.issuer_name(by.certificate.subject)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if role is Role.AGGREGATOR else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    builder = builder.add_extension(signer, critical=False)
    if alternatives:
        names = x509.SubjectAlternativeName([_alternative(each) for each in alternatives])
        builder = builder.add_extension(names, critical=False)
    return Signed(builder.sign(by.key, hashes.SHA256()), key)


def load_authority(certificate: bytes, key: bytes) -> Signed:
    """An authority from its two files. Raises AuthorityError."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise AuthorityError("is no certificate of an authority with its key, or the key is encrypted") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise AuthorityError("its key is none of an elliptic curve")
    if found.public_key() != private.public_key():
        raise AuthorityError("the key is not the one of the certificate")
    try:
        may_sign = found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        may_sign = False
    if not may_sign:
        raise AuthorityError("the certificate is of no authority")
    return Signed(found, private)


@dataclass(frozen=True, slots=True)
class Described:
    """What a certificate says."""

    role: Role | None
    """None: of none that an aggregator knows."""
    name: str
    alternatives: tuple[str, ...]
    subject: str
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime

    @property
    def is_authority(self) -> bool:
        """It signs others."""
        return self.role is Role.AUTHORITY


def describe(certificate: x509.Certificate) -> Described:
    """What it says. Raises AuthorityError."""
    try:
        extensions = certificate.extensions
        with _names_of_any_length():
            subject = certificate.subject
    except ValueError as error:
        raise AuthorityError("a certificate in it is damaged") from error
    organizations = {_text(each) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    named = [_text(each) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    roles = [each for each in (Role.AGENT, Role.OPERATOR) if each.value in organizations]
    alternatives: tuple[str, ...] = ()
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            roles = [Role.AUTHORITY]
        elif isinstance(value, x509.SubjectAlternativeName):
            alternatives = tuple(str(each.value) for each in value)
        elif isinstance(value, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.SERVER_AUTH in value and not roles:
            roles = [Role.AGGREGATOR]
    return Described(
        roles[0] if len(roles) == 1 else None,
        named[0] if len(named) == 1 else "",
        alternatives,
        subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a file. Raises AuthorityError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise AuthorityError("holds no certificate in PEM") from error


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """The authority has signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(end)
    )


def _subject(role: Role, name: str) -> x509.Name:
    with _names_of_any_length():
        common = x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, role.value), common])


@contextlib.contextmanager
def _names_of_any_length() -> Iterator[None]:
    """A node's name may be longer than the 64 characters that X.520 foresees for a common name. Nobody minds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute's length must be")
        yield


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _text(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
