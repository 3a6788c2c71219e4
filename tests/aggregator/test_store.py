"""What is on disk: after a kill, on a disk that refuses, in a file that is damaged or of another version."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aggregator import store as store_module
from aggregator.database import StoreError
from aggregator.findings import Kind, Record, Transition
from aggregator.model import Evidence, Finding, Severity, Stage
from aggregator.store import DATABASE, MIGRATIONS, Store

ROOT = Path(__file__).resolve().parents[2]


def record(key: str, first_seen: float = 1.0, text: str = "é 😀", resolved: float | None = None) -> Record:
    evidence = Evidence("a", "link.mtu", "eth0", 1500, "bytes", "rtnetlink", 1.25)
    finding = Finding(key, "mtu.x", "mtu_mismatch", Stage.RISK, Severity.INFO, text, ("a",), (evidence,), "never")
    return Record(finding, "mtu", first_seen, first_seen, resolved=resolved, because="cleared" if resolved else "")


def appeared(key: str, at: float = 1.0, text: str = "é 😀") -> Transition:
    return Transition(Kind.APPEARED, record(key, at, text), at)


def resolved(key: str, at: float = 2.0) -> Transition:
    return Transition(Kind.RESOLVED, record(key, resolved=at), at)


@contextmanager
def opened(directory: Path | None, **options: Any) -> Iterator[tuple[Store, list[Record], list[Record]]]:
    store = Store(directory, **options)
    standing, over = store.open()
    try:
        yield store, standing, over
    finally:
        store.close()


def commit(store: Store, *transitions: Transition) -> None:
    asyncio.run(store.commit(transitions))


def kinds(directory: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        return connection.execute("SELECT kind, id FROM transitions ORDER BY seq").fetchall()


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "state") as (store, standing, over):
        assert (standing, over) == ([], [])
        commit(store, appeared("f"), appeared("g"))
        commit(store, Transition(Kind.CHANGED, record("f", text="worse"), 3), resolved("g"))
    with opened(tmp_path / "new" / "state") as (_, standing, over):
        assert standing == [record("f", text="worse")]
        assert over == [record("g", resolved=2.0)]
    assert kinds(tmp_path / "new" / "state") == [
        ("appeared", "f"),
        ("appeared", "g"),
        ("changed", "f"),
        ("resolved", "g"),
    ]
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


def test_many_commits_at_once_all_return(tmp_path: Path) -> None:
    async def burst(store: Store) -> None:
        await asyncio.gather(*(store.commit([appeared(f"f{number}")]) for number in range(500)))

    with opened(tmp_path) as (store, _, _):
        asyncio.run(burst(store))
    with opened(tmp_path) as (_, standing, _):
        assert len(standing) == 500


def test_without_a_directory_nothing_is_kept_and_nothing_waits() -> None:
    with opened(None) as (store, standing, _):
        commit(store, appeared("f"))
        assert (standing, store.problem) == ([], "")


def test_what_waits_when_the_store_is_closed_is_written(tmp_path: Path) -> None:
    async def leave(store: Store) -> None:
        waiting = [asyncio.ensure_future(store.commit([appeared(f"f{number}")])) for number in range(20)]
        await asyncio.sleep(0)
        for each in waiting:
            each.cancel()

    with opened(tmp_path) as (store, _, _):
        asyncio.run(leave(store))
    with opened(tmp_path) as (_, standing, _):
        assert len(standing) == 20


def test_a_second_aggregator_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(StoreError, match="another aggregator uses"):
        Store(tmp_path).open()
    with opened(tmp_path):
        pass


# -- kill -9 -----------------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys, time
from pathlib import Path
from typing import Any
sys.path[:0] = [{root!r}, {root!r} + "/proto", {here!r}]
from test_store import Store, appeared, resolved

async def main(life):
    store = Store(Path({directory!r}), retention_s=1e12)
    store.open()
    print("up", flush=True)
    number = 0
    while True:
        number += 1
        key = f"{{life}}-{{number}}"
        await store.commit([appeared(key)])
        print("appeared", key, flush=True)
        if number % 3 == 0:
            await store.commit([resolved(key)])
            print("resolved", key, flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_nothing_acknowledged_is_lost_by_kill_9_at_any_moment(tmp_path: Path) -> None:
    program = WRITER.format(root=str(ROOT), here=str(Path(__file__).parent), directory=str(tmp_path))
    chance = random.Random(9)  # noqa: S311  # moments, not secrets
    standing: set[str] = set()
    over: set[str] = set()
    for life in range(20):
        writer = subprocess.Popen([sys.executable, "-c", program, str(life)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "up\n"
        begun = [writer.stdout.readline() for _ in range(chance.randrange(7))]
        time.sleep(chance.uniform(0, 0.01))
        os.kill(writer.pid, signal.SIGKILL)
        said = [*begun, *writer.stdout.read().splitlines(keepends=True)]
        lines = [line.split() for line in said if line.endswith("\n")]
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        for word, key in lines:
            (standing.add if word == "appeared" else over.add)(key)
        with opened(tmp_path, retention_s=1e12) as (store, found, found_over):
            assert (store.notice, store.problem) == ("", "")
            # What was under way when it was killed may be there or not.
            under_way = {each.finding.id for each in found if each.finding.id.startswith(f"{life}-")} - standing
            assert len(under_way) <= 1
            ended = {each.finding.id for each in found_over}
            assert over <= ended
            assert standing - over - ended <= {each.finding.id for each in found}
            assert not ended & {each.finding.id for each in found}
            standing |= {each.finding.id for each in found}
            over |= ended
    assert len(standing) > 40
    assert len(over) > 10


# -- damage ------------------------------------------------------------------------------------------------------------


def fill(directory: Path) -> None:
    with opened(directory) as (store, _, _):
        commit(store, *(appeared(f"f{number}", text="x" * 500) for number in range(200)))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(0, b"\x00" * 200), (4096, b"\xff" * 4096), (20_000, random.Random(1).randbytes(60_000))],  # noqa: S311
)
def test_a_damaged_database_is_moved_aside_and_said_so(tmp_path: Path, offset: int, damage: bytes) -> None:
    fill(tmp_path)
    overwrite(tmp_path / DATABASE, offset, damage)
    with opened(tmp_path, clock=lambda: 1_795_341_660) as (store, standing, _):
        assert standing == []
        assert f"was moved to {DATABASE}.damaged-20261122T100100Z" in store.notice
        assert store.problem == ""
        commit(store, appeared("new"))
    aside = (tmp_path / f"{DATABASE}.damaged-20261122T100100Z").read_bytes()
    assert aside[offset : offset + len(damage)] == damage
    with opened(tmp_path) as (store, standing, _):
        assert ([each.finding.id for each in standing], store.notice) == (["new"], "")


@pytest.mark.parametrize("keep", [0, 1, 5_000, 50_000])
def test_a_torn_database_never_stops_the_start(tmp_path: Path, keep: int) -> None:
    fill(tmp_path)
    os.truncate(tmp_path / DATABASE, keep)
    with opened(tmp_path) as (store, standing, _):
        assert standing == []
        # An empty file is an empty database, and the mark tells that it was not.
        assert ("was damaged" if keep else "its last 200 transitions") in store.notice
        commit(store, appeared("new"))


def test_a_torn_log_loses_what_was_torn_off_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / f"{DATABASE}-wal").write_bytes(random.Random(2).randbytes(9_000))  # noqa: S311
    with opened(tmp_path) as (store, standing, _):
        assert (len(standing), store.notice) == (200, "")


def test_a_row_that_cannot_be_understood_is_damage(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("UPDATE findings SET body = '{}' WHERE id = 'f7'")
        connection.commit()
    with opened(tmp_path) as (store, standing, _):
        assert standing == []
        assert "a row can't be understood" in store.notice


def test_a_byte_that_changed_within_a_row_is_damage(tmp_path: Path) -> None:
    fill(tmp_path)
    data = (tmp_path / DATABASE).read_bytes()
    overwrite(tmp_path / DATABASE, data.index(b"x" * 400) + 7, b"y")
    with opened(tmp_path) as (store, standing, _):
        assert standing == []
        assert "its checksum does not fit" in store.notice


def test_commits_that_are_missing_from_the_log_are_said_to_be(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _, _):
        for number in range(10):
            commit(store, appeared(f"f{number}", text="x" * 6_000))
        for suffix in ("", "-wal"):
            (tmp_path / f"copy{suffix}").write_bytes((tmp_path / f"{DATABASE}{suffix}").read_bytes())
        mark = (tmp_path / store_module.MARK).read_bytes()
    for torn in (30_000, 0):
        for suffix in ("", "-wal"):
            (tmp_path / f"{DATABASE}{suffix}").write_bytes((tmp_path / f"copy{suffix}").read_bytes())
        os.truncate(tmp_path / f"{DATABASE}-wal", torn)
        (tmp_path / store_module.MARK).write_bytes(mark)
        with opened(tmp_path) as (store, standing, _):
            assert len(standing) < 10
            assert (
                f"its last {10 - len(standing)} transitions of findings, which were on disk, are missing"
                in store.notice
            )
            commit(store, appeared("new"))
        with opened(tmp_path) as (store, standing, _):
            assert store.notice == ""


def test_damage_that_shows_while_it_runs_costs_the_history_and_not_what_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.01)
    with opened(tmp_path) as (store, _, _):
        commit(store, appeared("f"))
        with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        real = store_module._put

        def once(*_: object) -> None:
            monkeypatch.setattr(store_module, "_put", real)
            overwrite(tmp_path / DATABASE, 0, b"\x00" * 4096)
            raise sqlite3.DatabaseError("database disk image is malformed")

        monkeypatch.setattr(store_module, "_put", once)
        commit(store, appeared("g"))
        assert "was damaged" in store.notice
        assert store.problem == ""
    with opened(tmp_path) as (_, standing, _):
        assert {each.finding.id for each in standing} == {"f", "g"}


# -- versions ----------------------------------------------------------------------------------------------------------


def test_a_newer_version_s_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(StoreError, match=r"schema version is 99, and this nodetell knows up to 2; run the newer"):
        Store(tmp_path).open()
    assert (tmp_path / DATABASE).read_bytes() == before
    with pytest.raises(StoreError, match="schema version"):  # and the directory is not held on to
        Store(tmp_path).open()
    assert sorted(path.name for path in tmp_path.iterdir()) == [store_module.MARK, DATABASE, store_module.LOCK]


def test_the_first_version_s_database_is_brought_up_to_date_and_read_where_that_cannot_be(
    tmp_path: Path,
) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        for statement in (*MIGRATIONS[0], "PRAGMA user_version = 1"):
            connection.execute(statement)
        old = store_module._body(record("old"))
        connection.execute("INSERT INTO findings VALUES ('old', 'mtu', ?)", (old,))
        connection.commit()
        assert store_module._load(connection)[0] == [record("old")]
    with opened(tmp_path) as (store, standing, _):
        assert (standing, store.notice) == ([record("old")], "")
        commit(store, appeared("new"))
    with opened(tmp_path) as (_, standing, _):
        assert {each.finding.id for each in standing} == {"old", "new"}


def test_an_older_version_s_database_is_brought_up_to_date_with_all_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    step = ("ALTER TABLE transitions ADD COLUMN cluster TEXT NOT NULL DEFAULT ''",)
    monkeypatch.setattr(store_module, "MIGRATIONS", (*MIGRATIONS, step))
    with opened(tmp_path) as (store, standing, _):
        assert len(standing) == 200
        commit(store, appeared("new"))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT count(cluster) FROM transitions").fetchone() == (201,)


# -- a disk that refuses -----------------------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_is_a_problem_that_ends_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.02)
    obstacle = tmp_path / "state"
    obstacle.write_text("a file where the directory should be")

    async def scene(store: Store) -> None:
        storing = asyncio.ensure_future(store.commit([appeared("f")]))
        await asyncio.sleep(0.15)
        assert not storing.done()
        assert "state" in store.problem
        obstacle.unlink()
        await asyncio.wait_for(storing, 5)
        assert store.problem == ""

    with opened(obstacle) as (store, standing, _):
        assert standing == []
        assert store.problem
        asyncio.run(scene(store))
    with opened(obstacle) as (_, standing, _):
        assert [each.finding.id for each in standing] == ["f"]


def test_closing_does_not_wait_for_a_disk_that_refuses(tmp_path: Path) -> None:
    obstacle = tmp_path / "state"
    obstacle.write_text("")
    store = Store(obstacle)
    store.open()

    async def leave() -> None:
        storing = asyncio.ensure_future(store.commit([appeared("f")]))
        await asyncio.sleep(0.05)
        storing.cancel()

    asyncio.run(leave())
    begun = time.monotonic()
    store.close()
    assert time.monotonic() - begun < 2


def mount(kind: str, directory: Path, options: str) -> None:
    result = subprocess.run(
        ["mount", "-t", kind, "-o", options, "none", str(directory)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        pytest.skip(f"mount -t {kind}: {result.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    directory = tmp_path / "disk"
    directory.mkdir()
    mount("tmpfs", directory, "size=4m")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_holds_up_until_there_is_room(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.02)

    async def scene(store: Store) -> None:
        await store.commit([appeared("first")])
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        storing = asyncio.ensure_future(store.commit([appeared(f"f{n}", text="x" * 4_000) for n in range(20)]))
        await asyncio.sleep(0.2)
        assert not storing.done()
        assert "full" in store.problem or "I/O" in store.problem
        ballast.unlink()
        await asyncio.wait_for(storing, 5)
        assert store.problem == ""

    with opened(small_disk) as (store, _, _):
        asyncio.run(scene(store))
    with opened(small_disk) as (_, standing, _):
        assert len(standing) == 21


@pytest.mark.needs_root
def test_a_read_only_disk_is_read_and_served_from(small_disk: Path) -> None:
    fill(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with opened(small_disk) as (store, standing, _):
        assert len(standing) == 200
        assert "ead-only" in store.problem


# -- retention ---------------------------------------------------------------------------------------------------------


def test_what_is_over_is_forgotten_after_its_time_and_what_stands_is_not(tmp_path: Path) -> None:
    now = 1_000_000.0
    with opened(tmp_path, retention_s=100.0, clock=lambda: now) as (store, _, _):
        commit(store, appeared("old", 10), resolved("old", 20), appeared("stands", 10))
        commit(store, appeared("new", now - 20), resolved("new", now - 10))
    with opened(tmp_path, retention_s=100.0, clock=lambda: now) as (store, standing, _):
        commit(store, appeared("next", now))
        assert [each.finding.id for each in standing] == ["stands"]
    assert kinds(tmp_path) == [("appeared", "stands"), ("appeared", "new"), ("resolved", "new"), ("appeared", "next")]


def test_the_database_stays_below_its_limit_and_keeps_what_stands(tmp_path: Path) -> None:
    clock = iter(range(0, 10**9, 1000))
    with opened(tmp_path, max_bytes=1 << 20, clock=lambda: float(next(clock))) as (store, _, _):
        for life in range(30):
            text = "x" * 1_000
            commit(store, *(appeared(f"f{life}-{n}", life, text) for n in range(100)))
            commit(store, *(resolved(f"f{life}-{n}", life) for n in range(1, 100)))
    assert (tmp_path / DATABASE).stat().st_size < 2 << 20
    with opened(tmp_path) as (_, standing, over):
        assert {each.finding.id for each in standing} == {f"f{life}-0" for life in range(30)}
        assert over[-1].finding.id == "f29-99"
