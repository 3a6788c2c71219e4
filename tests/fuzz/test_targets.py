"""What fuzzing has found reaches the same places still, and cases near to it keep the same properties."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.netlink import wire
from fuzz import corpus, mutators, records
from fuzz.minimise import minimised
from fuzz.target import MutateBytes, Target, whole_property
from fuzz.targets import NAMES, load

_EXAMPLES = 100
_MUTATIONS = 4


def bytes_changed(chance: random.Random) -> MutateBytes:
    """In place of the engine's own mutation."""

    def mutate(case: bytes, most: int) -> bytes:
        changed = bytearray(case)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(changed) + 1)
            changed[at : at + chance.randrange(3)] = chance.choice((b"", b"\0", b"\xff", b"9", b" ", b'"', b"-", b"\n"))
        return bytes(changed[:most])

    return mutate


@cache
def known(name: str) -> tuple[Target, list[bytes]]:
    """A target with its seeds and its corpus."""
    target = load(name)
    return target, [*target.seeds(), *corpus.load(name)]


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_keeps_the_property(name: str) -> None:
    target, cases = known(name)
    assert cases
    with whole_property():
        for case in cases:
            target.check(case)


@pytest.mark.parametrize("name", NAMES)
def test_cases_near_the_corpus_keep_the_property(name: str) -> None:
    target, cases = known(name)

    @settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(cases), st.integers(0, 1 << 32))
    def holds(case: bytes, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # no secret
        for _ in range(_MUTATIONS):
            if target.mutate is not None:
                case = target.mutate(case, target.max_bytes, chance, bytes_changed(chance))[: target.max_bytes]
            else:
                case = bytes_changed(chance)(case, target.max_bytes)
        with whole_property():
            target.check(case)

    holds()


def test_a_corpus_is_small_and_each_target_has_one() -> None:
    files = {place.stem: place.stat().st_size for place in corpus.DIRECTORY.iterdir()}
    assert files.keys() == set(NAMES)
    assert max(files.values()) <= corpus.MOST_BYTES
    assert sum(files.values()) < 3_000_000


def test_a_corpus_is_kept_as_it_was(tmp_path: Path) -> None:
    cases = [b"a\0\n", bytes(range(256)), b"a"]
    assert corpus.save("x", cases, tmp_path) == 3
    assert sorted(corpus.load("x", tmp_path)) == sorted(cases)
    assert corpus.load("y", tmp_path) == []


def test_only_cases_that_add_something_are_kept() -> None:
    target, cases = known("netlink")
    kept = minimised(target.check, [*cases[:20], *cases[:20], b"\x10"])
    assert 0 < len(kept) < 20
    assert set(kept) <= {*cases, b"\x10"}


def test_a_defect_in_a_parser_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property of a target can fail."""
    target, cases = known("netlink")
    monkeypatch.setattr(wire, "ip_text", lambda payload: payload[5:6].decode("ascii"))

    def all_of_them() -> None:
        for case in cases:
            target.check(case)

    with pytest.raises((UnicodeDecodeError, AssertionError)):
        all_of_them()


def test_cases_of_several_files_and_of_records_are_what_they_were_made_of() -> None:
    files = {"proc/stat": b"btime 5\n", "-> sys/x": b"../y", "z": b""}
    assert mutators.files_of(mutators.case_of(files)) == files
    of_records = [(0, b"abc"), (7, b""), (2, bytes(300))]
    assert list(records.unpacked(records.packed(of_records))) == of_records
