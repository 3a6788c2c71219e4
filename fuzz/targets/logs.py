"""The ends of containers' logs, of which no more is kept than the names of patterns."""

from __future__ import annotations

from collections.abc import Iterable

from nodetell.log_patterns import LOG_PATTERNS

from agent.collectors.log_patterns import TAIL_BYTES, patterns_in
from fuzz import mutators
from fuzz.target import Target


def check(case: bytes) -> None:
    """Nothing is found that does not stand there, and a phrase in the last line is."""
    for cut in (False, True):
        found = patterns_in(case, cut=cut)
        lowered = case.decode("utf-8", "replace").lower()
        assert list(found) == [name for name in LOG_PATTERNS if name in found]
        for name in found:
            assert any(phrase in lowered for phrase in LOG_PATTERNS[name].phrases)
    assert "password" in patterns_in(case + b"\nx WRONGPASS y")
    assert len(case) <= TAIL_BYTES


def _seeds() -> Iterable[bytes]:
    for pattern in LOG_PATTERNS.values():
        yield "\n".join(pattern.phrases).upper().encode()
        for phrase in pattern.phrases:
            yield f"2026-01-02T03:04:05.678Z stderr F error: {phrase} for x\n".encode()


TARGET = Target(check, _seeds, words=(b"\xe2\x80\xa8", b"\xc4\xb0", b"\x85"), mutate=mutators.lines, max_bytes=800)
