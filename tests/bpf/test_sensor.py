"""The sensor as a process: it answers its agent's user, survives everybody else, and can go and come back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import sensor_pb2

from agent.collectors.drops import DropsCollector
from agent.collectors.fsync import FsyncCollector
from agent.collectors.retransmits import RetransmitsCollector
from agent.host import Failure, ReadError
from agent.hosts.live import LiveHost, live_host
from agent.sensor import client as client_module
from agent.sensor.client import SensorClient
from agent.sensor.wire import LENGTH, REQUEST
from tests import needs

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@contextlib.contextmanager
def sensor(path: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """`nodetell sensor`, ready."""
    words = [sys.executable, "-m", "cli.main", "sensor", "--socket", str(path), *flags]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "event=sensor_start" in line:
                break
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def at(tmp_path: Path) -> Path:
    """Where the socket is to be; others may look into the directory."""
    needs.bpf()
    for directory in (tmp_path, *tmp_path.parents):
        if directory.owner() == "root" and directory != Path("/tmp") and str(directory).startswith("/tmp"):
            directory.chmod(0o755)
    return tmp_path / "run" / "sensor.sock"


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_KEEP_S", 0.0)


def connect(path: Path) -> socket.socket:
    """A client that behaves as it likes."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(5)
    made.connect(str(path))
    return made


def in_child_as(uid: int, path: Path) -> str:
    """What a process of this user gets for an answer."""
    code = f"""
import os, socket
os.setgroups([]); os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})
s = socket.socket(socket.AF_UNIX)
try:
    s.connect({str(path)!r}); s.send(b"\\x01"); print(len(s.recv(4)))
except OSError as error:
    print(error.strerror)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.needs_root
def test_it_answers_the_agents_user_only(at: Path) -> None:
    with sensor(at, "--agent-uid", str(NOBODY)):
        assert oct(at.stat().st_mode & 0o777) == "0o660"
        assert at.stat().st_gid == NOBODY
        assert in_child_as(NOBODY, at) == "4"
        assert in_child_as(12345, at) == "Permission denied"
        at.chmod(0o666)  # not even then
        assert in_child_as(12345, at) in ("0", "Connection reset by peer", "Broken pipe")
        assert in_child_as(NOBODY, at) == "4"
    assert not at.exists()


@pytest.mark.needs_root
def test_hostile_clients_cost_nobody_else(at: Path) -> None:
    with sensor(at, "--max-clients", "3") as process, contextlib.ExitStack() as undo:
        for noise in (b"\x02", b"GET / HTTP/1.1\r\n\r\n", b"\x01" * 50_000, os.urandom(4096)):
            hostile = undo.enter_context(connect(at))
            with contextlib.suppress(OSError):
                hostile.sendall(noise)  # and never reads
        time.sleep(0.2)
        silent = [undo.enter_context(connect(at)) for _ in range(6)]
        time.sleep(0.2)
        for each in silent:
            each.close()
        undo.close()
        time.sleep(0.2)
        reader = SensorClient(str(at))
        assert reader.report().methods
        assert process.poll() is None
        reader.close()


@pytest.mark.needs_root
def test_more_clients_than_allowed_are_turned_away(at: Path) -> None:
    with sensor(at, "--max-clients", "2"), contextlib.ExitStack() as undo:
        answers = []
        for _ in range(4):
            asking = undo.enter_context(connect(at))
            try:
                asking.sendall(REQUEST)
                answers.append(len(asking.recv(LENGTH.size)))
            except OSError:
                answers.append(0)
        assert answers == [4, 4, 0, 0]


@pytest.mark.needs_root
def test_a_second_sensor_is_refused_and_a_dead_ones_socket_taken_over(at: Path) -> None:
    with sensor(at) as first:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "sensor", "--socket", str(at)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode not in (0, None)
        assert "another sensor listens there" in done.stderr
        first.kill()
        first.wait(10)
    assert at.exists()
    with sensor(at), contextlib.closing(SensorClient(str(at))) as reader:
        assert reader.report().methods


@pytest.mark.needs_root
def test_an_agent_reads_a_sensor_that_comes_goes_and_comes_back(at: Path) -> None:
    host = live_host("n")
    source = SensorClient(str(at))
    fsync, drops, again = FsyncCollector(sensor=source), DropsCollector(source), RetransmitsCollector(source)
    before = fsync.collect(host, 0)
    assert set(before.items) == {"coverage/fsync"}
    gap = before.items["coverage/fsync"].coverage
    assert gap.because == f"{at}: the sensor is not running; and no directory to probe is set"
    assert "nodetell sensor" in gap.remedy
    with sensor(at):
        there = fsync.collect(host, 0)
        coverage = there.items["coverage/fsync/sensor"].coverage
        assert coverage.status == pb.COVERAGE_STATUS_DEGRADED
        assert "blind to throttling of control groups" in coverage.because
        assert "by " in coverage.because
        first_start = source.report().started_unix_ms
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody_listens:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    nobody_listens.sendto(b"x", ("127.0.0.1", 1))
        time.sleep(0.3)
        dropped = drops.collect(host, 0)
        key = next(key for key, item in dropped.items.items() if item.drop_reason.reason == "NO_SOCKET")
        assert dropped.items[key].drop_reason.interface == "lo"
        assert dropped.items[key].drop_reason.host_network
        assert dropped.blocks[key].values[0] >= 50
        assert "coverage/retransmits/sensor" in again.collect(host, 0).items
    assert set(fsync.collect(host, 0).items) == {"coverage/fsync"}
    with sensor(at):
        assert source.report().started_unix_ms > first_start
        assert "coverage/fsync/sensor" in fsync.collect(host, 0).items
    source.close()
    host.network.close()


@pytest.mark.needs_root
def test_without_capabilities_it_runs_and_says_what_it_lacks() -> None:
    needs.bpf()
    code = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "proto")!r}]
from agent.sensor.report import Sensor
from agent.sensor.settings import SensorSettings
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
sensor = Sensor(SensorSettings())
sensor.start()
for method in sensor.report().methods:
    print(method.signal, method.running, method.refused)
sensor.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in lines} == {"fsync", "drops", "retransmits"}
    assert all(line.split()[1] == "False" and len(line.split()) > 3 for line in lines)
    assert any("EPERM" in line for line in lines)


@pytest.mark.needs_root
def test_two_capabilities_are_enough(at: Path) -> None:
    """CAP_PERFMON and CAP_BPF, as an ordinary user, without tracefs."""
    code = f"""
import ctypes, os, struct, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "proto")!r}]
from agent.sensor.report import Sensor
from agent.sensor.settings import SensorSettings
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
high = 1 << 38 - 32 | 1 << 39 - 32
header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
data = ctypes.create_string_buffer(struct.pack("<6I", 0, 0, 0, high, high, 0))
assert libc.capset(header, data) == 0
sensor = Sensor(SensorSettings(scratch_directory={str(at.parent.parent)!r}))
sensor.start()
print(sorted({{method.signal for method in sensor.report().methods if method.running}}))
for method in sensor.report().methods: print(method, file=sys.stderr)
sensor.close()
"""
    scratch = at.parent.parent
    scratch.chmod(0o777)
    for above in list(scratch.parents)[:2]:  # pytest's own, closed to others
        above.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['drops', 'fsync', 'retransmits']", done.stderr


# -- the agent's end, against servers that are not what they should be ------------------------------------------------


@contextlib.contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A server that says this to whoever connects, once."""
    import threading

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.recv(1)
                connection.sendall(answer)
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "failure", "text"),
    [
        (b"", Failure.FAILED, "ended the connection"),
        (b"\0\0", Failure.FAILED, "ended the connection"),
        (LENGTH.pack(1 << 30), Failure.DAMAGED, "a report of 1073741824 bytes"),
        (LENGTH.pack(4) + b"\xff\xff\xff\xff", Failure.DAMAGED, "no report"),
        (LENGTH.pack(100) + b"short", Failure.FAILED, "ended the connection"),
    ],
)
def test_no_answer_raises_anything_but_a_read_error(tmp_path: Path, answer: bytes, failure: Failure, text: str) -> None:
    path = tmp_path / "s"
    with answering(path, answer), pytest.raises(ReadError) as caught:
        SensorClient(str(path)).report()
    assert caught.value.failure is failure
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_report_is_shared_and_a_new_connection_made_when_one_ends(tmp_path: Path) -> None:
    raw = sensor_pb2.SensorReport(version="9").SerializeToString()
    path = tmp_path / "s"
    with answering(path, LENGTH.pack(len(raw)) + raw):
        asking = SensorClient(str(path))
        assert asking.report().version == "9"
        assert asking.report().version == "9"
        asking.close()


def test_a_host_without_sensor_says_so(tmp_path: Path) -> None:
    host: LiveHost = live_host("n", str(tmp_path / "proc"), str(tmp_path / "sys"))
    absent = SensorClient(str(tmp_path / "none"))
    for collector in (DropsCollector(absent), RetransmitsCollector(absent)):
        (item,) = collector.collect(host, 0).items.values()
        assert item.coverage.signal == collector.name
        assert "the sensor is not running" in item.coverage.because
    host.network.close()
