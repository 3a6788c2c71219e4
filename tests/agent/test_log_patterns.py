"""The ends of crashing containers' logs: what is told of them, and what is not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.log_patterns import LOG_PATTERNS

from agent.collectors.log_patterns import MOST_ITEMS, RECENT_S, TAIL_BYTES, LogPatternsCollector, patterns_in
from agent.hosts.live import LiveHost, live_host
from agent.reading import Reading

NOW = 1_790_000_000.0
UID = "0f0e0d0c-1111-2222-3333-444455556666"
REFUSED = '2026-11-22T10:00:00.1Z stderr F FATAL: Password authentication failed for user "secret-user"\n'


def log(
    root: Path, text: str, run: int = 3, *, container: str = "app", pod: str = f"shop_web-0_{UID}", ago: float = 30
) -> Path:
    path = root / pod / container / f"{run}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - ago, NOW - ago))
    return path


@contextlib.contextmanager
def host(root: Path) -> Iterator[LiveHost]:
    there = live_host("n1", logs=str(root))
    with contextlib.closing(there.network):
        yield there


def collect(root: Path, *, enabled: bool = True) -> Reading:
    with host(root) as there:
        return LogPatternsCollector(enabled).collect(there, NOW)


def told(reading: Reading) -> dict[str, int]:
    return {key: item.log_pattern.run for key, item in reading.items.items() if key.startswith("log_pattern/")}


def test_the_name_of_what_was_found_is_told_and_never_a_line(tmp_path: Path) -> None:
    log(tmp_path, f"starting\n{REFUSED}exit\n")
    reading = collect(tmp_path)
    assert told(reading) == {f"log_pattern/{UID}/app/password": 3}
    item = reading.items[f"log_pattern/{UID}/app/password"]
    assert item.log_pattern.at_unix_ms == (NOW - 30) * 1000
    assert b"secret-user" not in b"".join(each.SerializeToString() for each in reading.items.values())


def test_it_is_off_until_it_is_asked_for(tmp_path: Path) -> None:
    log(tmp_path, REFUSED)
    assert not collect(tmp_path, enabled=False).items


def test_the_last_two_runs_count_and_a_first_one_does_not(tmp_path: Path) -> None:
    log(tmp_path, REFUSED, 6)
    log(tmp_path, "fine\n", 7)
    log(tmp_path, "jwt expired\n", 5)
    log(tmp_path, REFUSED, 0, container="first")
    assert told(collect(tmp_path)) == {f"log_pattern/{UID}/app/password": 6}


def test_what_was_long_ago_or_far_up_is_not_told(tmp_path: Path) -> None:
    log(tmp_path, REFUSED, container="old", ago=RECENT_S + 1)
    log(tmp_path, REFUSED + "x" * 200 + "\n" * 100, container="lines")
    log(tmp_path, REFUSED + ("y" * 99 + "\n") * (TAIL_BYTES // 100 + 1), container="bytes")
    assert told(collect(tmp_path)) == {}


def test_other_names_are_nobodys_logs(tmp_path: Path) -> None:
    log(tmp_path, REFUSED, pod="lost+found")
    log(tmp_path, REFUSED, container="UPPER")
    (tmp_path / f"shop_web-0_{UID}" / "app").mkdir(parents=True)
    (tmp_path / f"shop_web-0_{UID}" / "app" / "3.log.20261122.gz").write_text(REFUSED)
    os.mkfifo(tmp_path / f"shop_web-0_{UID}" / "app" / "4.log")
    (tmp_path / f"shop_web-0_{UID}" / "app" / "5.log").symlink_to("/nowhere/at/all.log")
    assert told(collect(tmp_path)) == {}


def test_a_log_that_does_not_change_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log(tmp_path, REFUSED)
    reads: list[int] = []
    real = os.pread

    def counted(descriptor: int, length: int, begin: int) -> bytes:
        reads.append(begin)
        return real(descriptor, length, begin)

    monkeypatch.setattr(os, "pread", counted)
    collector = LogPatternsCollector(True)
    with host(tmp_path) as there:
        first = collector.collect(there, NOW)
        assert told(collector.collect(there, NOW)) == told(first) != {}
        assert len(reads) == 1
        path.write_text("all is well\n")
        os.utime(path, (NOW, NOW))
        assert told(collector.collect(there, NOW)) == {}
    assert len(reads) == 2


def test_a_directory_that_is_not_there_is_a_gap_with_a_remedy(tmp_path: Path) -> None:
    reading = collect(tmp_path / "none")
    (gap,) = [item.coverage for item in reading.items.values() if item.HasField("coverage")]
    assert "log_patterns = false" in gap.remedy
    assert gap.signal == "log_patterns"


def test_it_is_bounded(tmp_path: Path) -> None:
    everything = "\n".join(pattern.phrases[0] for pattern in LOG_PATTERNS.values())
    for number in range(MOST_ITEMS // len(LOG_PATTERNS) + 5):
        log(tmp_path, everything, container=f"c{number}")
    assert len(collect(tmp_path).items) == MOST_ITEMS


@pytest.mark.parametrize(("name", "phrase"), [(name, each) for name, of in LOG_PATTERNS.items() for each in of.phrases])
def test_every_phrase_is_found_in_any_case(name: str, phrase: str) -> None:
    assert phrase == phrase.lower()
    assert name in patterns_in(f"2026-11-22T10:00:00Z stdout F Error: {phrase.upper()} (28P01)\n".encode())


@given(st.binary(max_size=2_000))
@settings(max_examples=100)
def test_any_bytes_are_a_log(raw: bytes) -> None:
    assert set(patterns_in(raw)) <= set(LOG_PATTERNS)
    assert set(patterns_in(raw, cut=True)) <= set(patterns_in(raw))


def test_what_servers_write_of_their_clients_is_none() -> None:
    assert patterns_in(b'10.0.0.1 - - "GET /admin HTTP/1.1" 401 12\n10.0.0.1 - - "GET / HTTP/1.1" 403 9\n') == ()
