"""Pieces and updates: what is cut is put together again, and nothing else is."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.limits import CHUNK_BYTES
from nodetell.v1 import agent_pb2, facts_pb2

from agent.pieces import COMPRESS_FROM_BYTES, UpdateTooLargeError, pieces
from aggregator.node_items import UpdateError
from aggregator.reassembly import ProtocolError, Reassembler


def update_of(size: int, random: bool) -> agent_pb2.Update:
    text = os.urandom(size // 2).hex() if random else "a" * size
    return agent_pb2.Update(at_unix_ms=1, items=[facts_pb2.Item(key=text)])


@given(st.integers(1, 2**40), st.integers(0, 30_000), st.booleans())
def test_what_is_cut_is_put_together_again(number: int, size: int, random: bool) -> None:
    update = update_of(size, random)
    chunks = list(pieces(number, update))
    assert all(0 < len(chunk.data) <= CHUNK_BYTES for chunk in chunks)
    if not random and size > COMPRESS_FROM_BYTES:
        assert len(chunks) == 1
    target = Reassembler()
    results = [target.take(agent_pb2.Chunk.FromString(chunk.SerializeToString())) for chunk in chunks]
    assert results[:-1] == [None] * (len(chunks) - 1)
    assert results[-1] == (number, update)
    assert target.take(next(pieces(number + 1, agent_pb2.Update(at_unix_ms=2)))) is not None


@given(st.lists(st.builds(
    agent_pb2.Chunk,
    update=st.integers(0, 2),
    data=st.binary(max_size=12),
    last=st.booleans(),
    total_bytes=st.integers(0, 30),
    encoding=st.integers(0, 2),
), max_size=8))  # fmt: skip
def test_anything_else_is_refused_and_never_held_beyond_the_limit(chunks: list[agent_pb2.Chunk]) -> None:
    target = Reassembler(max_bytes=25)
    for chunk in chunks:
        try:
            target.take(chunk)
        except UpdateError:
            pass
        except ProtocolError:
            return
        assert len(target._data) <= 25


def test_an_update_that_nobody_takes_is_not_sent() -> None:
    with pytest.raises(UpdateTooLargeError, match=r"update 1 has 17,0\d\d,\d+ bytes \(1 items"):
        next(pieces(1, update_of(17_000_000, random=False)))
