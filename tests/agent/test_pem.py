"""Files of certificates and keys: what is wrong with one is said before gRPC hides it, and never what is in it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from nodetell import pem

from tests.trust import Authority, Files

DAY = 86_400.0


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def good(ca: Authority) -> Files:
    return ca.agent("worker-1")


def problem_of_pair(certificate: str, key: str) -> str:
    with pytest.raises(pem.PemError) as caught:
        pem.read_pair(certificate, key)
    return str(caught.value)


def test_what_is_good_is_given_as_it_is(ca: Authority, good: Files) -> None:
    pair = pem.read_pair(good.certificate, good.key)
    assert (pair.certificate, pair.key) == (Path(good.certificate).read_bytes(), Path(good.key).read_bytes())
    assert "PRIVATE" not in repr(pair)
    assert pem.read_authorities(ca.file) == Path(ca.file).read_bytes()
    assert abs(pem.expires(pair.certificate) - time.time() - DAY) < 120


def test_files_that_cannot_be_read(good: Files, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.crt")
    assert problem_of_pair(missing, good.key) == f"{missing}: no such file or directory"
    assert problem_of_pair(good.certificate, str(tmp_path)) == f"{tmp_path}: is a directory"
    assert problem_of_pair("a\0b", good.key) == r"'a\x00b': no name of a file"
    long = tmp_path / "long.crt"
    long.write_bytes(bytes(pem.MAX_FILE_BYTES + 1))
    with pytest.raises(pem.PemError, match="longer than 1,048,576 bytes"):
        pem.read_authorities(str(long))


def test_a_key_of_another_certificate(ca: Authority, good: Files) -> None:
    other = ca.agent("worker-2")
    said = problem_of_pair(good.certificate, other.key)
    assert said == f"{other.key}: is not the key of the certificate in {good.certificate}"


def test_a_certificate_out_of_its_time(ca: Authority) -> None:
    old = ca.agent("old", begins_s=-2 * DAY, ends_s=-DAY)
    assert problem_of_pair(old.certificate, old.key).startswith(f"{old.certificate}: expired on 20")
    early = ca.agent("early", begins_s=DAY, ends_s=2 * DAY)
    assert problem_of_pair(early.certificate, early.key).startswith(f"{early.certificate}: not valid before 20")


def test_an_authority_that_has_expired_beside_one_that_has_not(tmp_path: Path) -> None:
    old = Authority(tmp_path, "old", begins_s=-2 * DAY, ends_s=-DAY)
    with pytest.raises(pem.PemError, match=r"old\.crt: expired on 20.* by this host's clock"):
        pem.read_authorities(old.file)
    both = tmp_path / "both.crt"
    both.write_bytes(Path(old.file).read_bytes() + b"# renewed\n" + Path(Authority(tmp_path, "new").file).read_bytes())
    assert pem.read_authorities(str(both)) == both.read_bytes()


def test_a_dozen_years_and_more_are_told_from_a_century_ago(tmp_path: Path) -> None:
    """From 2050 on a certificate's times are written in another form."""
    ca = Authority(tmp_path, ends_s=40 * 365 * DAY)
    long = ca.agent("long", ends_s=30 * 365 * DAY)
    assert pem.read_authorities(ca.file)
    assert abs(pem.expires(Path(long.certificate).read_bytes()) - time.time() - 30 * 365 * DAY) < 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no certificate in it"),
        (b"\xff\xfe\x00", "no certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", "breaks off within a certificate"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "a certificate in it is damaged"),
        (b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "a certificate in it is damaged"),
        (b"-----BEGIN CERTIFICATE-----\nMIIBIjANBg==\n-----END CERTIFICATE-----\n", "a certificate in it is damaged"),
    ],
)
def test_what_is_no_certificate(text: bytes, said: str, good: Files, tmp_path: Path) -> None:
    file = tmp_path / "x.crt"
    file.write_bytes(text)
    assert problem_of_pair(str(file), good.key) == f"{file}: {said}"
    with pytest.raises(pem.PemError, match=said):
        pem.read_authorities(str(file))


def test_any_byte_of_a_certificate_may_be_wrong(good: Files, tmp_path: Path) -> None:
    """An error that names the file, or a certificate that OpenSSL takes, and nothing else."""
    whole = Path(good.certificate).read_bytes()
    file = tmp_path / "x.crt"
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 or 1]) + whole[at + 1 :])
        try:
            pem.read_pair(str(file), good.key)
        except pem.PemError as error:
            assert str(file) in str(error)  # noqa: PT017  # either is right


def test_a_key_that_is_none_or_wants_a_passphrase(good: Files, tmp_path: Path) -> None:
    file = tmp_path / "x.key"
    file.write_bytes(b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n")
    assert (
        problem_of_pair(good.certificate, str(file))
        == f"{file}: no private key that can be used with {good.certificate}"
    )
    asked = ["openssl", "ec", "-in", good.key, "-aes256", "-passout", "pass:x", "-out", str(file)]
    subprocess.run(asked, check=True, capture_output=True)
    assert problem_of_pair(good.certificate, str(file)) == (
        f"{file}: is encrypted, and nobody is here to ask for the passphrase"
    )


def test_no_descriptor_is_left_open(good: Files) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        pem.read_pair(good.certificate, good.key)
        problem_of_pair(good.certificate, good.certificate)
    assert len(os.listdir("/proc/self/fd")) == before
