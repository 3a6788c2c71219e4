"""Both directions of a connection that the aggregator takes are cut into small segments."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import grpc.aio
import pytest

from aggregator.ingest import server_options
from aggregator.segments import SEGMENT, limit_segments


def segments_of(connection: socket.socket) -> int:
    """Payload of a segment that goes out at most, headers of IP and TCP without options left out."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_ends_of_a_connection_keep_to_it(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as listener, socket.socket(family) as other:
        listener.bind((address, 0))
        listener.listen()
        other.bind((address, 0))
        other.listen()
        assert limit_segments(listener.getsockname()[1]) == 1
        with socket.create_connection(listener.getsockname()[:2]) as near, listener.accept()[0] as far:
            assert 0 < segments_of(near) <= SEGMENT
            assert 0 < segments_of(far) <= SEGMENT
        with socket.create_connection(other.getsockname()[:2]) as near:
            assert segments_of(near) > SEGMENT  # loopback carries 64 kB; another port is as it was


async def _grpc_listens(address: str) -> int:
    server = grpc.aio.server(options=server_options())
    port = server.add_insecure_port(address)
    try:
        return limit_segments(port)
    finally:
        await server.start()
        await server.stop(0)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"])  # as in a pod
def test_the_sockets_of_grpc_are_found(address: str) -> None:
    assert asyncio.run(_grpc_listens(address)) >= 1


def test_where_nothing_listens_nothing_is_changed_and_no_file_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert limit_segments(nobody.getsockname()[1]) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_keep_their_locks(tmp_path: Path) -> None:
    """Closing another name of a file takes the process's locks on it: a database would lose its log to who looks in."""
    database = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE kept (number)")
        limit_segments(1)
        script = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM kept').connection.close()"
        subprocess.run([sys.executable, "-c", script, str(database)], check=True)
        assert (tmp_path / "a.sqlite-wal").exists()
        connection.execute("INSERT INTO kept VALUES (7)")
        copied = shutil.copytree(tmp_path, tmp_path / "as-after-a-kill")
    with closing(sqlite3.connect(copied / database.name)) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]
