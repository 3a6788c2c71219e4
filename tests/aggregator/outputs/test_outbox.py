"""The outbox's file: a kill, damage, a disk that refuses."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.database import StoreError
from aggregator.outputs.outbox import Outbox
from aggregator.outputs.rows import Row

ROW = Row("k", "mtu-1", {"summary": "zu groß"}, "digest", 7)
OVER = replace(ROW, key="o", number=8, over=1_790_000_000.5, due=False, told=True)


def written(path: Path, *rows: Row) -> None:
    outbox = Outbox(path)
    outbox.open(["r"])
    outbox.save("r", {row.key: row for row in rows})
    outbox.close()


def test_what_was_saved_is_there_again_and_what_is_gone_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "webhook.sqlite"
    written(path, ROW, OVER)
    outbox = Outbox(path)
    assert outbox.open(["r"]) == {"r": [ROW, OVER]}
    outbox.save("r", {"k": None})
    outbox.close()
    assert Outbox(path).open(["r", "s"]) == {"r": [OVER], "s": []}


def test_rows_of_a_receiver_that_is_not_named_any_more_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "webhook.sqlite"
    written(path, ROW)
    assert Outbox(path).open(["s"]) == {"s": []}
    assert Outbox(path).open(["r"]) == {"r": []}


def test_nowhere_is_nowhere(tmp_path: Path) -> None:
    outbox = Outbox(None)
    outbox.open(["r"])
    outbox.save("r", {"k": ROW})
    outbox.close()
    assert (list(tmp_path.iterdir()), outbox.problem, outbox.notice) == ([], "", "")


@pytest.mark.parametrize("harm", ["garbage", "byte", "json"])
def test_a_damaged_file_is_moved_aside_and_said_and_what_is_whole_is_kept(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "webhook.sqlite"
    written(path, ROW, OVER)
    if harm == "garbage":
        path.write_bytes(b"no database at all" * 500)
    else:
        with sqlite3.connect(path) as connection:
            body = '\'{"summary": "zu gross"}\'' if harm == "byte" else "'no json'"
            connection.execute(f"UPDATE notices SET body = {body} WHERE key = 'k'")  # noqa: S608  # constants
        connection.close()
    outbox = Outbox(path)
    assert outbox.open(["r"]) == {"r": [] if harm == "garbage" else [OVER]}
    assert "was damaged" in outbox.notice
    assert [each.name for each in tmp_path.iterdir() if "damaged-" in each.name]
    outbox.save("r", {"k": ROW})
    outbox.close()
    again = Outbox(path)
    assert again.open(["r"]) == {"r": [ROW] if harm == "garbage" else [ROW, OVER]}
    assert again.notice == ""
    again.close()


def test_damage_that_shows_while_it_is_used_loses_nothing_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "webhook.sqlite"
    outbox = Outbox(path)
    outbox.open(["r"])
    outbox.save("r", {"o": OVER})
    outbox.close()
    path.write_bytes(b"no database at all" * 500)
    outbox.save("r", {"k": ROW})
    assert "was damaged" in outbox.notice
    outbox.close()
    assert Outbox(path).open(["r"]) == {"r": [ROW, OVER]}


def test_a_newer_version_s_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "webhook.sqlite"
    written(path, ROW)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version is 99"):
        Outbox(path).open(["r"])
    assert [each.name for each in tmp_path.iterdir() if "damaged-" in each.name] == []


def test_a_disk_that_refuses_is_told_and_written_to_once_it_takes_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "file" / "webhook.sqlite")
    (tmp_path / "file").write_text("in the way of the directory")
    assert outbox.open(["r"]) == {"r": []}
    outbox.save("r", {"k": ROW})
    assert outbox.problem
    (tmp_path / "file").unlink()
    outbox.save("r", {"o": OVER})
    assert outbox.problem == ""
    outbox.close()
    assert Outbox(tmp_path / "file" / "webhook.sqlite").open(["r"]) == {"r": [ROW, OVER]}
