"""The probe responder: whatever datagram comes to its port, and what the prober takes for answers and quotes."""

from __future__ import annotations

import random
from collections.abc import Iterable

from agent.pathmtu import datagram
from agent.pathmtu.answers import BURST_PER_KEY, Answers
from agent.pathmtu.datagram import Key
from fuzz.target import MutateBytes, Target

KEYS = tuple(Key(bytes([number] * 8), bytes([0x40 + number] * 16)) for number in (1, 2, 3))
"""The first two are granted."""


def datagrams_of(case: bytes) -> Iterable[tuple[float, bytes]]:
    """(seconds since the one before, datagram), each behind two bytes of time and one of length in units of 4 bytes."""
    at = 0
    while at + 3 <= len(case):
        length = case[at + 2] * 4
        yield int.from_bytes(case[at : at + 2], "big") / 1000, case[at + 3 : at + 3 + length]
        at += 3 + length


def check(case: bytes) -> None:
    """Nothing is answered but a granted key's probe, once, within the rate; and never with more than came."""
    answers = Answers()
    answers.grant(KEYS[:2], 0.0)
    now, came, answered = 0.0, 0, set()
    for after, received in datagrams_of(case):
        now, came = now + after, came + 1
        answer = answers.answer(received, now, ipv6=False)
        for key in KEYS:
            datagram.read_answer(received, key)
            datagram.read_quote(received, key)
        if answer is None:
            continue
        assert len(answer) == datagram.HEADER_BYTES <= len(received)
        key = next(key for key in KEYS[:2] if key.id == datagram.key_id(received))
        told = datagram.read_probe(received, key, ipv6=False)
        assert told is not None
        assert datagram.read_answer(answer, key) == told
        assert (key.id, told[0]) not in answered
        answered.add((key.id, told[0]))
    tally = answers.tally
    assert tally.answered == len(answered) <= 2 * BURST_PER_KEY + 50 * now + 1
    assert tally.answered + tally.foreign + tally.repeated + tally.limited == came


def packed(datagrams: Iterable[tuple[int, bytes]]) -> bytes:
    """The case of these (milliseconds, datagram)."""
    return b"".join(
        (after & 0xFFFF).to_bytes(2, "big") + bytes([min(255, (len(raw) + 3) // 4)]) + raw + bytes(-len(raw) % 4)
        for after, raw in datagrams
        if len(raw) <= 1020
    )


def _seeds() -> Iterable[bytes]:
    probes = [datagram.probe(key, number, 60 + 4 * number, bytes(900), ipv6=False) for key in KEYS for number in (1, 2)]
    yield packed((1, probe) for probe in probes)
    yield packed((0, probe) for probe in (*probes, *probes))
    yield packed([(5, datagram.answer(KEYS[0], 1, 64)), (5, probes[0][:24])])
    yield packed((3, datagram.probe(KEYS[0], 2**64 - 1 - n, 64, bytes(900), ipv6=False)) for n in range(3))


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """Bytes, or another order, or one more probe that is signed as it should be."""
    found = [(round(after * 1000), raw) for after, raw in datagrams_of(case)]
    step = chance.randrange(5)
    if step == 0 or not found:
        return mutate_bytes(case, most)
    at = chance.randrange(len(found))
    if step == 1:
        found.insert(chance.randrange(len(found) + 1), found[at])
    elif step == 2:
        found[at] = found[at][0], mutate_bytes(found[at][1], 1000)
    elif step == 3:
        found[at] = chance.choice((0, 1, 1000, 65_535)), found[at][1]
    else:
        number = chance.choice((0, 1, 2, 1023, 1024, 1025, 5000, (1 << 64) - 1, chance.randrange(1 << 64)))
        size = chance.randrange(60, 200)
        found.append((0, datagram.probe(chance.choice(KEYS), number, size, bytes(200), ipv6=False)))
    return packed(found)


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=1_024)
