"""Secrets are taken out of what is quoted, and what is no secret stays as it was."""

from __future__ import annotations

import time

import pytest
from nodetell.redact import without_secrets

WORD = "hunter2-CANARY"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{WORD}@dav.example/files",
        f"//user:{WORD}@server/share",
        f"user:{WORD}@host:/export",
        f"postgres://app:{WORD}@db:5432/x is not reachable",
        f"https://acct.blob.example/c?sv=1&sig={WORD}&se=2",
        f"password={WORD}",
        f"username=bob,password={WORD},vers=3.0",
        f'DB_PASSWORD="{WORD} with blanks"',
        f"could not log in (password: {WORD})",
        f'{{"api_key": "{WORD}"}}',
        f"mysqld --root-password {WORD} --port 3306",
        f"Authorization: Bearer {WORD}",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARY-signature",
        "-----BEGIN RSA PRIVATE KEY----- CANARY",
    ],
)
def test_a_secret_is_masked(text: str) -> None:
    assert "CANARY" not in without_secrets(text)
    assert "***" in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "/dev/nvme1n1",
        "10.0.0.5:/export/data",
        "[fd00::5]:/export",
        "//server/share",
        "user@host:/home",
        "host:/volumes/a@b",
        'secret "db-credentials" not found',
        "couldn't find key password in Secret default/db",
        "invalid token: expired",
        "password authentication failed for user postgres",
        'Failed to pull image "registry.example/app@sha256:0123456789abcdef": not found',
        "dial tcp 10.0.0.5:5432: connect: connection refused",
        "basic auth required",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_long_text_takes_time_in_proportion() -> None:
    for piece in ("a", "password", "token ", "//", "x:", "-password ", "eyJ" + "a" * 50, "password: ", "a.", "@"):
        took = []
        for length in (2_000, 20_000):
            text = piece * (length // len(piece))
            began = time.thread_time()
            without_secrets.__wrapped__(text)
            took.append(time.thread_time() - began)
        assert took[1] < 40 * max(took[0], 0.01), piece
