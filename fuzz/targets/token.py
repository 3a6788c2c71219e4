"""Who an agent says it is: its token in pieces, what that claims, and what its certificate says."""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from nodetell.v1 import agent_pb2

from aggregator.reassembly import ProtocolError
from aggregator.trust.caller import RefusedError
from aggregator.trust.certificate import certified
from aggregator.trust.token import MAX_TOKEN_BYTES, TokenPieces, claims_of
from fuzz import mutators, records
from fuzz.target import MutateBytes, Target

PIECE, CLAIMS, SUBJECT = 0, 1, 2
"""Kinds of records: a piece of a token, the claims of one as JSON, a certificate's subject."""


def check(case: bytes) -> None:
    """A token is what its pieces were, or refused; nothing of it is told; what it claims has an end."""
    together, sent = TokenPieces(), b""
    for kind, data in records.unpacked(case):
        if kind == CLAIMS:
            _claims(f"e30.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.x")
            _claims(data.decode("utf-8", "replace"))
        elif kind == SUBJECT:
            _certificate(data)
        else:
            try:
                piece = agent_pb2.Credential.FromString(data)
                whole = together.take(piece)
            except DecodeError:
                continue
            except ProtocolError as error:
                assert "\n" not in str(error)
                together, sent = TokenPieces(), b""
                continue
            sent += piece.data
            assert (whole is not None) == piece.last
            if whole is not None:
                assert whole == sent
                assert len(whole) <= MAX_TOKEN_BYTES
                _claims(whole.decode("utf-8", "replace"))
                sent = b""


def _claims(token: str) -> None:
    claims = claims_of(token)
    assert claims is None or math.isfinite(claims.expires)
    assert claims is None or all(isinstance(each, str) for each in (*claims.audiences, claims.subject))


def _certificate(subject: bytes) -> None:
    shown = {"transport_security_type": [b"ssl"], "x509_pem_cert": [b"x"], "x509_subject": [subject]}
    try:
        found = certified(shown)
    except RefusedError as error:
        assert "\n" not in str(error)
    else:
        assert found is not None
        assert found.name


def _seeds() -> Iterable[bytes]:
    claims = {"aud": ["nodetell"], "sub": "system:serviceaccount:nodetell:nodetell-agent", "exp": 1_790_000_000}
    text = json.dumps(claims).encode()
    token = b"e30." + base64.urlsafe_b64encode(text).rstrip(b"=") + b".sig"
    pieces = [agent_pb2.Credential(data=token[:40]), agent_pb2.Credential(data=token[40:], last=True)]
    yield records.packed((PIECE, piece.SerializeToString()) for piece in pieces)
    yield records.packed([(CLAIMS, text), (CLAIMS, token)])
    for subject in (b"O=nodetell:agents,CN=node-1", b"CN=ann,O=nodetell:operators", b"CN=a\\,O=nodetell:operators,O=x"):
        yield records.packed([(SUBJECT, subject)])


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One record by what it is, the order of records, or bytes."""
    found = list(records.unpacked(case))
    if not found or chance.randrange(10) == 0:
        return mutate_bytes(case, most)
    at, step = chance.randrange(len(found)), chance.randrange(8)
    kind, data = found[at]
    if step == 0:
        found.insert(chance.randrange(len(found) + 1), found[at])
    elif kind == CLAIMS and data.startswith(b"{"):
        found[at] = kind, mutators.document(data, most, chance, mutate_bytes)
    elif kind == SUBJECT:
        found[at] = kind, mutators.lines(data, most, chance, mutate_bytes)
    else:
        found[at] = kind, mutate_bytes(data, 900)
    return records.packed(found)


TARGET = Target(check, _seeds, words=(b"O=nodetell:agents", b"CN=", b'"exp":'), mutate=mutate, max_bytes=1_000)
