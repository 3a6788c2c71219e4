"""What becomes of a Secret: its dates, and never a byte of what it holds."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster.certificates import validity, validity_of_pem
from aggregator.cluster.objects import Expiry, SecretDates
from aggregator.cluster.secret_dates import dates_of, registry_name

CANARY = "c4n4ry-s3cr3t"
EXPIRES, ISSUED = 1_790_043_200.0, 1_790_000_000.0
KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def token(**claims: Any) -> str:
    """A JSON web token, its padding left off as the standard has it."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"sub": CANARY} | claims)
    head = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*head, CANARY])


def ecr_password(expiration: float = EXPIRES) -> str:
    """As `aws ecr get-login-password` prints it."""
    password = {"payload": CANARY, "datakey": CANARY, "version": "2", "type": "DATA_KEY", "expiration": expiration}
    return encoded(json.dumps(password))


def certificate(since: datetime, until: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CANARY)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(until)
    return made.sign(KEY, hashes.SHA256())


def pem(until: float = EXPIRES, since: float = ISSUED) -> str:
    made = certificate(datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))
    return made.public_bytes(serialization.Encoding.PEM).decode()


def secret(kind: str, data: dict[str, str]) -> bytes:
    """As the API server gives it."""
    metadata = {"name": "s", "namespace": "shop", "resourceVersion": "7", "annotations": {"last": CANARY}}
    document = {"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "type": kind}
    return json.dumps(document | {"data": {key: encoded(value) for key, value in data.items()}}).encode()


def logins(**by_address: dict[str, str]) -> bytes:
    return secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": json.dumps({"auths": by_address})})


def expiries(document: bytes) -> tuple[Expiry, ...]:
    found = dates_of(document)
    assert found is not None
    assert CANARY not in repr(found)
    return found.expiries


@pytest.mark.parametrize(
    ("login", "issued"),
    [
        ({"auth": encoded(f"00000000:{token(exp=EXPIRES, iat=ISSUED)}")}, ISSUED),
        ({"username": "0", "password": token(exp=EXPIRES, nbf=ISSUED)}, ISSUED),
        ({"identitytoken": token(exp=EXPIRES)}, 0.0),
        ({"registrytoken": token(exp=EXPIRES, iat=EXPIRES + 1)}, 0.0),
        ({"auth": encoded(f"AWS:{ecr_password()}")}, 0.0),
        ({"auth": encoded(f"x:{token(exp=EXPIRES)}"), "password": token(exp=1.0)}, 0.0),
    ],
    ids=["acr", "password", "identity-token", "registry-token", "ecr", "auth-goes-first"],
)
def test_logins_whose_password_says_until_when_it_is_good(login: dict[str, str], issued: float) -> None:
    expected = Expiry("login", EXPIRES, issued, "registry.example.com")
    assert expiries(logins(**{"registry.example.com": login})) == (expected,)


@pytest.mark.parametrize(
    "login",
    [
        {"auth": encoded(f"robot$ci:{CANARY}")},
        {"auth": encoded(f"oauth2accesstoken:ya29.{CANARY}")},
        {"auth": encoded(f"x:{token()}")},
        {"auth": encoded(f"x:eyJ.{CANARY}.x")},
        {"auth": encoded("x:" + token(exp=-5))},
        {"auth": encoded("x:" + token(exp=1e300))},
        {"auth": encoded("x:" + encoded(json.dumps({"expiration": EXPIRES})))},
        {"auth": f"%{CANARY}"},
        {},
    ],
    ids=["robot", "gcp", "no-exp", "no-token", "before-1970", "never", "no-ecr-payload", "no-base64", "empty"],
)
def test_others_have_no_date(login: dict[str, str]) -> None:
    assert expiries(logins(**{"registry.example.com": login})) == ()


def test_each_registry_has_its_own_and_the_first_to_expire_comes_first() -> None:
    late, soon = ({"auth": encoded(f"x:{token(exp=at)}")} for at in (EXPIRES + 60, EXPIRES))
    found = expiries(logins(**{"https://index.docker.io/v1/": late, "ghcr.io": soon}))
    assert [(each.registry, each.at) for each in found] == [("ghcr.io", EXPIRES), ("docker.io", EXPIRES + 60)]


def test_the_older_form_of_a_pull_secret() -> None:
    content = json.dumps({"ghcr.io": {"auth": encoded(f"x:{token(exp=EXPIRES)}")}})
    document = secret("kubernetes.io/dockercfg", {".dockercfg": content})
    assert expiries(document) == (Expiry("login", EXPIRES, 0.0, "ghcr.io"),)


def test_a_certificate_of_a_server_or_client() -> None:
    document = secret("kubernetes.io/tls", {"tls.crt": pem() + pem(until=EXPIRES + 9), "tls.key": KEY_PEM})
    assert expiries(document) == (Expiry("certificate", EXPIRES, ISSUED),)


def test_tokens_of_service_accounts_and_of_anything() -> None:
    account = secret("kubernetes.io/service-account-token", {"token": token(exp=EXPIRES, iat=ISSUED), "ca.crt": pem()})
    assert expiries(account) == (Expiry("token", EXPIRES, ISSUED),)
    opaque = secret("Opaque", {"VAULT_TOKEN": f"{token(exp=EXPIRES)}\n", "PASSWORD": CANARY})
    assert expiries(opaque) == (Expiry("token", EXPIRES),)


def test_a_certificate_without_its_key_is_to_be_trusted_and_not_shown() -> None:
    assert expiries(secret("Opaque", {"ca.crt": pem()})) == ()
    shown = secret("Opaque", {"cert.pem": pem(), "ca.pem": pem(until=EXPIRES + 9), "key.pem": KEY_PEM})
    assert expiries(shown) == (Expiry("certificate", EXPIRES, ISSUED),)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b'{"kind": "Status"}', f'{{"data": {{"x": "{CANARY}"'.encode(), b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "list", "status", "cut", "no-utf-8", "deep"],
)
def test_what_is_no_secret_says_nothing(document: bytes) -> None:
    assert dates_of(document) is None


def test_a_secret_without_data_has_its_version() -> None:
    assert dates_of(b'{"metadata": {"resourceVersion": "3"}, "data": null}') == SecretDates("3")


def test_pull_secrets_that_are_none_have_no_dates() -> None:
    for content in ("", "[]", CANARY, '{"auths": {"x": null}}', '{"auths": [1]}'):
        assert expiries(secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": content})) == ()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("10.0.0.5:5000", "10.0.0.5:5000"),
        ("https://ghcr.io/acme", "ghcr.io"),
        ("a\nb", ""),
        ("x" * 400, ""),
    ],
)
def test_registries_are_called_as_images_call_them(address: str, name: str) -> None:
    assert registry_name(address) == name


# -- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1950, 1999, 2026, 2049, 2050, 9999])
def test_validity_is_what_others_read(year: int) -> None:
    since, until = datetime(1950, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    found = validity(certificate(since, until).public_bytes(serialization.Encoding.DER))
    assert found == (since.timestamp(), until.timestamp())


@settings(max_examples=200)
@given(st.data())
def test_damaged_certificates_are_none_or_have_other_dates(data: st.DataObject) -> None:
    der = bytearray(DER)
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    found = validity(bytes(der[: data.draw(st.integers(0, len(der)))]))
    assert found is None or len(found) == 2


DER = certificate(datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    "text",
    [b"", b"-----BEGIN CERTIFICATE-----", b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", b"\x30\x84"],
)
def test_what_is_no_certificate(text: bytes) -> None:
    assert validity_of_pem(text) is None
    assert validity(text) is None
