"""A small authority in memory for tests, with the names and the sizes of what `nodetell certs` makes."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AGENTS, OPERATORS = "nodetell:agents", "nodetell:operators"
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate and its key, as files."""

    certificate: str
    key: str

    def copy_from(self, other: Files) -> None:
        """Rotate: the same names, another certificate."""
        Path(self.certificate).write_bytes(Path(other.certificate).read_bytes())
        Path(self.key).write_bytes(Path(other.key).read_bytes())


class Authority:
    """Signs ECDSA P-256 certificates and writes them below a directory."""

    def __init__(
        self, directory: Path, name: str = "ca", *, begins_s: float = -_HOUR, ends_s: float = 24 * _HOUR
    ) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("nodetell", name)
        self._signed(self._key, self._name, [x509.BasicConstraints(ca=True, path_length=0)], (begins_s, ends_s), name)
        self.file = str(directory / f"{name}.crt")
        """Its own certificate."""

    def issued(
        self, common: str, organisation: str = "nodetell", names: Sequence[str] = (), *, begins_s: float = -_HOUR,
        ends_s: float = 24 * _HOUR, file: str = "",
    ) -> Files:  # fmt: skip
        """A certificate, valid from and until so many seconds from now; `names`: DNS names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        more: list[x509.ExtensionType] = [x509.BasicConstraints(ca=False, path_length=None)]
        if organisation in (AGENTS, OPERATORS):
            more.append(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]))
        if names:
            more.append(x509.SubjectAlternativeName([_alternative(each) for each in names]))
        return self._signed(key, _name(organisation, common), more, (begins_s, ends_s), file or common)

    def server(self, *names: str, file: str = "aggregator") -> Files:
        """An aggregator's; by default for loopback."""
        return self.issued("nodetell-aggregator", names=names or ("localhost", "127.0.0.1"), file=file)

    def agent(self, node: str, **more: float) -> Files:
        """An agent's."""
        return self.issued(node, AGENTS, **more)  # type: ignore[arg-type]  # only times

    def aggregator_flags(self, *names: str) -> tuple[str, ...]:
        """For an aggregator of these names that asks everybody for a certificate."""
        own = self.server(*names)
        return ("--tls.certificate", own.certificate, "--tls.key", own.key, "--tls.client-ca", self.file)

    def agent_flags(self, node: str) -> tuple[str, ...]:
        """For the agent of a node, with a certificate."""
        own = self.agent(node)
        return ("--tls.ca", self.file, "--tls.certificate", own.certificate, "--tls.key", own.key)

    def operator_flags(self, name: str = "tester") -> tuple[str, ...]:
        """For commands that ask an aggregator, with a certificate."""
        own = self.issued(name, OPERATORS)
        return ("--ca", self.file, "--certificate", own.certificate, "--key", own.key)

    def _signed(
        self,
        key: ec.EllipticCurvePrivateKey,
        subject: x509.Name,
        extensions: list[x509.ExtensionType],
        valid_s: tuple[float, float],
        file: str,
    ) -> Files:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(seconds=valid_s[0]))
            .not_valid_after(now + datetime.timedelta(seconds=valid_s[1]))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        files = Files(str(self._directory / f"{file}.crt"), str(self._directory / f"{file}.key"))
        made = builder.sign(self._key, hashes.SHA256())
        Path(files.certificate).write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        Path(files.key).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
        return files


def _name(organisation: str, common: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
