"""What becomes of a history whose disk refuses, whose file is damaged, or that another version wrote."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from nodetell.v1 import agent_pb2

from aggregator.database import NotStoredError, StoreError
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.history import journal as journal_module
from aggregator.history import keeper as keeper_module
from aggregator.history.journal import DATABASE, MARK, MIGRATIONS
from aggregator.history.keeper import History
from aggregator.history.reading import HistoryError
from aggregator.store import DATABASE as FINDINGS
from aggregator.store import Store
from tests.aggregator.history.hosts import EPOCH, Host, Scene, play, scene
from tests.aggregator.test_store import appeared, commit, mount, opened, overwrite

TELLS = 12


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "REST_S", 0.0)
    monkeypatch.setattr(journal_module, "RETRY_S", 0.01)


def hosts() -> list[Host]:
    return [Host("a"), Host("b")]


async def fill(there: Scene, known: list[Host], times: int = TELLS) -> None:
    chance = random.Random(3)  # noqa: S311  # figures, not secrets
    for _ in range(times):
        for host in known:
            host.move(chance)
            await there.tell(host)
        there.now += 20


def filled(directory: Path, *, based: bool = False) -> list[Host]:
    """A history of two hosts, as a kill would leave it: all in the log; with `based`, bases and hours, too."""
    known = hosts()

    async def script() -> None:
        live = directory / "live"
        with scene(live) as there:
            await fill(there, known)
            if based:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(keeper_module, "BASE_AFTER_S", 0.0)
                    there.history.step()
                await fill(there, known, 3)
            for name in (DATABASE, f"{DATABASE}-wal", MARK):
                shutil.copy(live / name, directory / name)
        shutil.rmtree(live)

    directory.mkdir(exist_ok=True)
    play(script)
    return known


def into_the_file(directory: Path) -> None:
    """Everything from the log into the file itself."""
    with closing(sqlite3.connect(directory / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def gaps(there: Scene) -> str:
    return "\n".join(f"{gap.node} {gap.signal} {gap.because}" for gap in there.history.gaps())


def after(there: Scene, known: list[Host]) -> dict[str, int]:
    """Number of the update that each node is known up to; its counters are right if it is its last one."""
    there.rebuild()
    for host in known:
        kept = there.kept.get(host.name)
        if kept is not None and kept.number == host.number:
            assert {s: list(block.values) for s, block in kept.state.counters.items()} == host.counters
    return {host.name: there.kept[host.name].number if host.name in there.kept else 0 for host in known}


async def go_on(there: Scene, known: list[Host]) -> None:
    """Agents come back: with a delta where they may, else with everything; then all is as they tell."""
    numbers = after(there, known)
    for host in known:
        await there.tell(host, full=numbers[host.name] != host.number)
    await fill(there, known, 3)
    for host in known:
        counters = {s: list(block.values) for s, block in there.kept[host.name].state.counters.items()}
        assert counters == host.counters
    now = there.now
    there.history.close()
    again = Scene(there.directory, now)
    assert after(again, known) == {host.name: host.number for host in known}
    again.history.close()


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("based", [False, True])
def test_a_kill_leaves_nothing_to_be_said(tmp_path: Path, based: bool) -> None:
    known = filled(tmp_path, based=based)

    async def script() -> None:
        with scene(tmp_path, EPOCH + 400) as there:
            assert after(there, known) == {host.name: host.number for host in known}
            assert gaps(there) == ""
            await go_on(there, known)

    play(script)


@pytest.mark.parametrize("page", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("based", [False, True])
def test_a_page_of_the_file_that_is_garbage_is_never_taken_for_truth(tmp_path: Path, page: int, based: bool) -> None:
    known = filled(tmp_path, based=based)
    into_the_file(tmp_path)
    size = (tmp_path / DATABASE).stat().st_size
    where = min(page * journal_module.PAGE_BYTES, size - journal_module.PAGE_BYTES)
    overwrite(tmp_path / DATABASE, where, random.Random(page).randbytes(journal_module.PAGE_BYTES))  # noqa: S311

    async def script() -> None:
        with scene(tmp_path, EPOCH + 400) as there:
            if after(there, known) != {host.name: host.number for host in known}:
                assert "was damaged" in gaps(there) or "are damaged and left out" in gaps(there)
            await go_on(there, known)

    play(script)


def test_every_byte_that_changes_in_a_row_is_noticed(tmp_path: Path) -> None:
    """Of rows, of bases and of hours: SQLite itself finds none of these."""
    filled(tmp_path / "one", based=True)
    into_the_file(tmp_path / "one")
    chance = random.Random(4)  # noqa: S311  # places, not secrets
    for table, column in (("journal", "body"), ("bases", "body"), ("journal", "number"), ("hours", "body")):
        copy = tmp_path / f"{table}-{column}"
        shutil.copytree(tmp_path / "one", copy)
        with closing(sqlite3.connect(copy / DATABASE)) as connection:
            latest = f"SELECT rowid, {column} FROM {table} ORDER BY rowid DESC LIMIT 1"  # noqa: S608
            key, value = connection.execute(latest).fetchone()
            if isinstance(value, bytes):
                place = chance.randrange(len(value))
                value = value[:place] + bytes([value[place] ^ 1 << chance.randrange(8)]) + value[place + 1 :]
            else:
                value += 1
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, key))  # noqa: S608
            connection.commit()

        async def script(copy: Path = copy, table: str = table) -> None:
            with scene(copy, EPOCH + 400) as there:
                if table == "hours":
                    with pytest.raises(HistoryError, match="is damaged"):
                        await there.history.read("b", "link/1/rx_packets", EPOCH, EPOCH + 400)
                else:
                    assert "are damaged and left out" in gaps(there)
                    there.rebuild()
                    assert "b" not in there.kept or there.kept["b"].number == 0

        play(script)


@pytest.mark.parametrize("keep", [0, 20, 5_000, 60_000])
def test_a_log_that_was_cut_off_is_said_to_be(tmp_path: Path, keep: int) -> None:
    known = filled(tmp_path)
    assert (tmp_path / f"{DATABASE}-wal").stat().st_size > keep
    os.truncate(tmp_path / f"{DATABASE}-wal", keep)

    async def script() -> None:
        with scene(tmp_path, EPOCH + 400) as there:
            numbers = after(there, known)
            assert all(numbers[host.name] < host.number for host in known)
            assert "updates, which were on disk, are missing: its log was damaged" in gaps(there)
            await go_on(there, known)

    play(script)


def test_a_log_of_garbage_is_said_to_be(tmp_path: Path) -> None:
    known = filled(tmp_path)
    size = (tmp_path / f"{DATABASE}-wal").stat().st_size
    (tmp_path / f"{DATABASE}-wal").write_bytes(random.Random(5).randbytes(size))  # noqa: S311

    async def script() -> None:
        with scene(tmp_path, EPOCH + 400) as there:
            after(there, known)
            assert "missing: its log was damaged" in gaps(there)
            await go_on(there, known)

    play(script)


def test_damage_of_the_history_takes_no_findings_with_it_and_the_reverse(tmp_path: Path) -> None:
    known = filled(tmp_path)
    into_the_file(tmp_path)
    with opened(tmp_path) as (store, _, _):
        commit(store, appeared("f"))
    whole = {name: (tmp_path / name).read_bytes() for name in (DATABASE, FINDINGS)}
    overwrite(tmp_path / DATABASE, 0, b"\0" * 4096)
    with opened(tmp_path) as (store, standing, _), scene(tmp_path, EPOCH + 400) as there:
        assert ([each.finding.id for each in standing], store.notice) == (["f"], "")
        assert "was damaged" in gaps(there)
    (tmp_path / DATABASE).write_bytes(whole[DATABASE])
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"{DATABASE}{suffix}").unlink(missing_ok=True)
    overwrite(tmp_path / FINDINGS, 0, b"\0" * 4096)
    with opened(tmp_path) as (store, standing, _), scene(tmp_path, EPOCH + 400) as there:
        assert standing == []
        assert "was damaged" in store.notice
        assert after(there, known) == {host.name: host.number for host in known}


def test_damage_that_shows_while_it_runs_costs_neither_live_state_nor_what_follows(tmp_path: Path) -> None:
    known = hosts()

    async def script() -> None:
        with scene(tmp_path) as there:
            await fill(there, known)
            into_the_file(tmp_path)
            size = (tmp_path / DATABASE).stat().st_size
            overwrite(tmp_path / DATABASE, 0, random.Random(6).randbytes(size))  # noqa: S311
            for _ in range(20):
                for host in known:
                    try:
                        await there.tell(host)
                    except NotStoredError:
                        continue
                if "was moved to" in gaps(there):
                    break
            assert "was moved to" in gaps(there)
            await go_on(there, known)

    play(script)


def test_an_agent_that_was_acknowledged_more_than_is_known_is_believed(tmp_path: Path) -> None:
    """An older copy was put in the place of the files, its mark included: only the agents know."""
    known = filled(tmp_path)[0]

    async def script() -> None:
        history = History(tmp_path)
        history.open()
        fleet = Fleet(Store(None), FindingBook([], []), history=history)
        greeting = agent_pb2.Hello(node="a", instance=known.instance, last_update=known.number + 5)
        assert not fleet.connect(greeting, "peer")
        said = [gap.because for gap in fleet.gaps() if gap.signal == "history"]
        assert said == ["5 updates that had been acknowledged are missing: the file was damaged, or an older one"]
        history.close()

    asyncio.run(script())


# -- versions ----------------------------------------------------------------------------------------------------------


def test_a_newer_version_s_history_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    into_the_file(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(StoreError, match=r"schema version is 99, and this nodetell knows up to 1; run the newer"):
        History(tmp_path).open()
    assert (tmp_path / DATABASE).read_bytes() == before


def test_an_older_version_s_history_is_brought_up_to_date_with_all_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = filled(tmp_path)
    step = ("ALTER TABLE hours ADD COLUMN note TEXT NOT NULL DEFAULT ''",)
    monkeypatch.setattr(journal_module, "MIGRATIONS", (*MIGRATIONS, step))

    async def script() -> None:
        with scene(tmp_path, EPOCH + 400) as there:
            assert after(there, known) == {host.name: host.number for host in known}
            await go_on(there, known)

    play(script)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


# -- a disk that refuses -----------------------------------------------------------------------------------------------


async def refused(there: Scene, host: Host) -> None:
    """What it tells is known, and not acknowledged."""
    with pytest.raises(NotStoredError):
        await there.tell(host)
    assert there.kept[host.name].state.counters["link/1"].values[0] == host.counters["link/1"][0]


async def until_taken(there: Scene, host: Host) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await there.tell(host)
            except NotStoredError:
                await asyncio.sleep(0.02)
            else:
                return


def test_a_disk_that_refuses_for_a_while_costs_nothing_that_was_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = hosts()
    host = known[0]
    first = list(host.counters["link/1"])

    async def script() -> None:
        with scene(tmp_path) as there:
            await there.tell(host)
            await fill(there, known)
            real = journal_module.Journal._put

            def no(*_: object) -> str:
                raise sqlite3.OperationalError("disk I/O error")

            monkeypatch.setattr(journal_module.Journal, "_put", no)
            for _ in range(5):
                host.counters["link/1"][0] += 100
                await refused(there, host)
                there.now += 20
            assert "can't be stored, and is not acknowledged" in gaps(there)
            monkeypatch.setattr(journal_module.Journal, "_put", real)
            await until_taken(there, host)
            assert gaps(there) == ""
            rose = host.counters["link/1"][0] - first[0]
            assert await there.total("a", "link/1/rx_packets") == rose
            await go_on(there, known)

    play(script)


def test_a_disk_that_hangs_holds_up_nobody_for_long_and_nothing_is_queued_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "HANGS_S", 0.05)
    known = hosts()
    goes_on = threading.Event()

    async def script() -> None:
        with scene(tmp_path) as there:
            await fill(there, known)
            real = journal_module.Journal._put

            def slow(self: journal_module.Journal, *each: object) -> str:
                goes_on.wait(30)
                return real(self, *each)  # type: ignore[arg-type]

            monkeypatch.setattr(journal_module.Journal, "_put", slow)
            hung = asyncio.ensure_future(there.tell(known[0]))
            await asyncio.sleep(0.3)
            await refused(there, known[1])
            assert not hung.done()
            assert "the disk has not answered" in gaps(there)
            assert there.history._journal is not None
            assert there.history._journal._queue.qsize() == 0
            goes_on.set()
            await hung
            await until_taken(there, known[1])
            assert gaps(there) == ""
            await go_on(there, known)

    play(script)


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
def test_a_full_disk_is_told_and_nothing_that_was_acknowledged_is_lost(small_disk: Path) -> None:
    known = hosts()
    host = known[0]

    async def script() -> None:
        with scene(small_disk) as there:
            await fill(there, known)
            ballast = small_disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 1024)
                except OSError:
                    pass
            problem = ""
            while not problem:  # until what the log has room for is used up
                host.move(random.Random(host.number))  # noqa: S311
                acknowledged = host.number
                try:
                    await there.tell(host)
                except NotStoredError as error:
                    problem = str(error)
            assert "full" in problem or "I/O" in problem
            assert "can't be stored, and is not acknowledged" in gaps(there)
            copy = small_disk.parent / "copy"
            shutil.copytree(small_disk, copy, ignore=shutil.ignore_patterns("ballast"))
            with scene(copy, there.now) as killed:
                assert killed.rebuild()["a"].number == acknowledged
            ballast.unlink()
            await until_taken(there, host)
            assert gaps(there) == ""
            await go_on(there, known)

    play(script)


@pytest.mark.needs_root
def test_a_read_only_disk_is_read_from_and_what_is_told_is_known_and_not_acknowledged(small_disk: Path) -> None:
    known = filled(small_disk)
    into_the_file(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    async def script() -> None:
        with scene(small_disk, EPOCH + 400) as there:
            assert after(there, known) == {host.name: host.number for host in known}
            assert "ead-only" in gaps(there) or "readonly" in gaps(there)
            await refused(there, known[0])
            await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,rw", str(small_disk)], check=True)
            for host in known:
                await until_taken(there, host)
            await go_on(there, known)

    play(script)
