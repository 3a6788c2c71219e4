"""A token before anybody is asked about it: whatever comes in its place neither crashes anything nor counts."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2

from aggregator.reassembly import ProtocolError
from aggregator.trust.caller import RefusedError, Role
from aggregator.trust.certificate import certified
from aggregator.trust.token import MAX_PIECES, MAX_TOKEN_BYTES, Claims, TokenPieces, claims_of
from tests.entrance import jwt, pieces_of


def of(claims: Any) -> str:
    return f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"


def test_what_a_token_claims_is_read() -> None:
    claims = claims_of(of({"aud": "one", "sub": "me", "exp": 5}))
    assert claims == Claims(("one",), "me", 5.0)
    found = claims_of(jwt("me", ["a", "b"]))
    assert found is not None
    assert found.audiences == ("a", "b")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        [],
        "aud",
        {"aud": "a", "sub": "b"},
        {"aud": "a", "sub": "b", "exp": "5"},
        {"aud": "a", "sub": "b", "exp": True},
        {"aud": "a", "sub": "b", "exp": float("inf")},
        {"aud": "a", "sub": "b", "exp": float("nan")},
        {"aud": ["a", 1], "sub": "b", "exp": 5},
        {"aud": {"a": 1}, "sub": "b", "exp": 5},
        {"aud": "a", "sub": ["b"], "exp": 5},
    ],
)
def test_what_claims_too_little_claims_nothing(claims: Any) -> None:
    assert claims_of(of(claims)) is None


def test_deep_and_huge_claims_are_no_claims() -> None:
    deep = base64.urlsafe_b64encode(b"[" * 10_000).decode()
    assert claims_of(f"h.{deep}.s") is None
    for digits in (400, 4_000, 9_000):
        huge = b'{"aud": "a", "sub": "b", "exp": 1' + b"0" * digits + b"}"
        assert claims_of(f"h.{base64.urlsafe_b64encode(huge).decode()}.s") is None


@given(st.text(max_size=300))
def test_any_text_is_read_or_is_none(text: str) -> None:
    claims_of(text)
    claims_of(f"a.{text}.b")


def within(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(each) | st.dictionaries(st.sampled_from(["aud", "sub", "exp"]), each)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), within, max_leaves=8))
def test_any_claims_are_read_or_are_none(claims: Any) -> None:
    found = claims_of(of(claims))
    assert found is None or found.expires == float(claims["exp"])


@given(st.binary(min_size=1, max_size=5_000), st.integers(200, 850))
def test_a_token_is_what_its_pieces_were(token: bytes, size: int) -> None:
    pieces = TokenPieces(len(token))
    for _ in range(2):  # and the next one on the same stream
        wholes = [pieces.take(piece) for piece in pieces_of(token, size)]
        assert wholes == [None] * (len(wholes) - 1) + [token]


@given(st.lists(st.tuples(st.binary(max_size=900), st.booleans()), max_size=60), st.integers(0, 20_000))
def test_whatever_pieces_come_no_more_is_held_than_is_allowed(pieces: list[tuple[bytes, bool]], announced: int) -> None:
    try:
        held = TokenPieces(announced)
        for data, last in pieces:
            whole = held.take(agent_pb2.Credential(data=data, last=last))
            assert whole is None or len(whole) <= MAX_TOKEN_BYTES
            assert sum(map(len, held.parts)) == held.length <= MAX_TOKEN_BYTES
            assert len(held.parts) <= MAX_PIECES
    except ProtocolError:
        pass


def test_a_token_that_follows_is_held_to_the_same_length() -> None:
    held = TokenPieces()  # how long it will be is not announced
    for _ in range(MAX_TOKEN_BYTES // 850):
        assert held.take(agent_pb2.Credential(data=b"x" * 850)) is None
    with pytest.raises(ProtocolError, match="more than 16,384 bytes"):
        held.take(agent_pb2.Credential(data=b"x" * 850))


@given(st.text(max_size=200))
def test_any_subject_is_somebody_or_refused(subject: str) -> None:
    shown = {
        "transport_security_type": [b"ssl"],
        "x509_pem_cert": [b"-"],
        "x509_subject": [subject.encode("utf-8", "surrogatepass")],
    }
    try:
        found = certified(shown)
    except RefusedError as refused:
        code = refused.code
    else:
        code = grpc.StatusCode.OK
        assert found is not None
        assert found.role in (Role.AGENT, Role.OPERATOR)
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
