"""A case that is a row of records: of each a byte that says what it is, two bytes of length, and its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def unpacked(case: bytes) -> Iterator[tuple[int, bytes]]:
    """(what it is, its bytes) of each; of the last what there is."""
    at = 0
    while at + 3 <= len(case):
        length = int.from_bytes(case[at + 1 : at + 3], "little")
        yield case[at], case[at + 3 : at + 3 + length]
        at += 3 + length


def packed(records: Iterable[tuple[int, bytes]]) -> bytes:
    """The case of these."""
    return b"".join(
        bytes([kind]) + len(data).to_bytes(2, "little") + data for kind, data in records if len(data) < 1 << 16
    )
