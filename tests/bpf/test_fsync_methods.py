"""Each way to time fsync on this kernel: those that it allows count every sync, the others say why not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.bpf import programs
from agent.bpf.programs import Program, ProgramType
from agent.sensor.buckets import slot_of
from agent.sensor.chain import choose, counts_scratch_file
from agent.sensor.fsync import FsyncSensor, Latency
from agent.sensor.fsync_methods import MethodError, methods
from agent.sensor.fsync_programs import FileClass, FsyncMaps, begin_with_file, end, probing_reader, typed_reader
from agent.sensor.kernel import Kernel
from agent.sensor.losses import NOT_COUNTED, UNMATCHED, loss
from tests import needs
from tests.bpf import methods as m
from tests.bpf.slow_disk import slow_disk

pytestmark = pytest.mark.needs_root

WAL = "0000000000000002-0000000000000f2b.wal"
FILES = {
    WAL: (40, FileClass.WAL),
    "db": (25, FileClass.DATABASE),
    "0000000000000002-00000000000f2b.walk": (7, FileClass.OTHER),
}
SYNCS = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(15, sys.argv[1].encode(), 0, 0, 0)
for name, times in zip(sys.argv[2::2], sys.argv[3::2]):
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    for number in range(int(times)):
        os.pwrite(descriptor, b"x" * 300, 300 * number)
        (os.fsync, os.fdatasync)[number % 2](descriptor)
"""
"""Takes a name, then files and how often to sync each."""


@pytest.fixture(autouse=True)
def _machine() -> None:
    needs.bpf()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """With tracefs."""
    with m.kernel() as made:
        yield made


@pytest.fixture
def ext4(tmp_path: Path) -> Path:
    """A directory on ext4."""
    needs.file_system("ext4")
    places = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    status = os.stat(tmp_path).st_dev
    types = {words[words.index("-") + 1] for words in places if words[2] == f"{os.major(status)}:{os.minor(status)}"}
    if types != {"ext4"}:
        pytest.skip(f"needs: temporary files on ext4, and they are on {', '.join(types) or 'an unknown file system'}")
    return tmp_path


def unique(stem: str) -> str:
    """A process name that no other run of these tests has."""
    return f"nt-{stem}-{os.getpid()}"[:15]


def sync(name: str, directory: Path, **files: int) -> None:
    """Sync files from a process of this name."""
    words = [str(word) for file, times in files.items() for word in (directory / file, times)]
    subprocess.run([sys.executable, "-c", SYNCS, name, *words], check=True)


def refusal(kernel: Kernel, name: str) -> str:
    """Why a method cannot be used here; empty: it can."""
    method = m.method(kernel, name)
    try:
        method.load()
        method.attach()
    except MethodError as error:
        return str(error) or "no reason"
    finally:
        method.close()
    return ""


def allowed(kernel: Kernel) -> list[str]:
    """Methods that load and attach here."""
    found = []
    for name in m.NAMES:
        reason = refusal(kernel, name)
        assert "\n" not in reason
        if not reason:
            found.append(name)
    return found


def test_this_kernel_allows_some_method_and_the_others_say_why_not(kernel: Kernel) -> None:
    found = allowed(kernel)
    assert {m.EXT4_BTF, m.EXT4_RAW, m.EXT4_PERF, m.SYSCALLS} <= set(found) or not Path("/sys/fs/ext4").exists()


def total(rows: list[Latency]) -> int:
    return sum(sum(row.counts) for row in rows)


def test_every_method_that_attaches_counts_every_sync(kernel: Kernel, ext4: Path) -> None:
    device = os.stat(ext4).st_dev
    for number, name in enumerate(allowed(kernel)):
        process = unique(f"{number}")
        with m.counting(kernel, name) as (sensor,):
            sync(process, ext4, **{file: times for file, (times, _) in FILES.items()})
            rows = m.of_process(sensor, process)
            assert total(rows) == sum(times for times, _ in FILES.values()), name
            assert {row.device for row in rows} == {(os.major(device), os.minor(device))}
            assert {row.cgroup_id for row in rows} != {0}
            if name != m.EXT4_PERF:  # which knows no names
                assert {row.file_class: sum(row.counts) for row in rows} == {
                    file_class: times for times, file_class in FILES.values()
                }
            for row in rows:
                assert 0 < row.sum_ns / sum(row.counts) <= row.max_ns
                assert max(place for place, count in enumerate(row.counts) if count) == slot_of(row.max_ns)
            assert sensor.lost()[1] == 0


def test_without_names_the_log_is_told_by_length(kernel: Kernel, ext4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "agent.sensor.fsync_programs.typed_reader", lambda types, **_: typed_reader(types, by_name=False)
    )
    with m.counting(kernel, m.EXT4_BTF) as (sensor,):
        sync(unique("nl"), ext4, **{WAL: 3, "db": 5, "dc": 2})
        rows = m.of_process(sensor, unique("nl"))
    assert {row.file_class: sum(row.counts) for row in rows} == {
        FileClass.WAL: 3,
        FileClass.DATABASE: 5,
        FileClass.OTHER: 2,
    }


def test_the_programs_of_kprobes_pass_the_verifier(kernel: Kernel) -> None:
    """Also where the kernel has no kprobes to attach them to."""
    maps, types = FsyncMaps(), kernel.types
    reader = probing_reader(types)
    register = types.offset("pt_regs", "di" if "di" in types.structs["pt_regs"] else "regs")
    try:
        for code in (end(maps, types, reader.memory), begin_with_file(maps, reader, register)):
            os.close(programs.load(Program(ProgramType.KPROBE, code, "nt_try")))
    finally:
        maps.close()


def test_system_calls_see_every_file_system(kernel: Kernel) -> None:
    with m.counting(kernel, m.SYSCALLS) as (sensor,):
        sync(unique("mem"), Path("/dev/shm"), **{"nodetell-test": 9})
        os.unlink("/dev/shm/nodetell-test")
        rows = m.of_process(sensor, unique("mem"))
    device = os.stat("/dev/shm").st_dev
    assert [(row.device, sum(row.counts)) for row in rows] == [((os.major(device), os.minor(device)), 9)]


def test_a_bad_descriptor_is_no_sync_of_a_device(kernel: Kernel) -> None:
    with m.counting(kernel, m.SYSCALLS) as (sensor,):
        code = "import os\nfor n in (1000, 99999, 2**31 - 1):\n try: os.fsync(n)\n except OSError: pass"
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import ctypes; ctypes.CDLL(None).prctl(15, {unique('bad').encode()!r}, 0, 0, 0)\n{code}",
            ],
            check=True,
        )
        assert m.of_process(sensor, unique("bad")) == []


def test_a_thread_counts_for_its_process(kernel: Kernel, ext4: Path) -> None:
    code = """
import ctypes, os, sys, threading
libc = ctypes.CDLL(None)
libc.prctl(15, sys.argv[2].encode(), 0, 0, 0)
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
def worker():
    libc.prctl(15, sys.argv[3].encode(), 0, 0, 0)
    os.fsync(descriptor)
thread = threading.Thread(target=worker); thread.start(); thread.join()
"""
    with m.counting(kernel, m.EXT4_BTF) as (sensor,):
        subprocess.run([sys.executable, "-c", code, ext4 / "file", unique("lead"), unique("work")], check=True)
        assert total(m.of_process(sensor, unique("lead"))) == 1
        assert m.of_process(sensor, unique("work")) == []


def test_a_full_table_is_told(kernel: Kernel, ext4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sensor.fsync_methods.FsyncMaps", lambda: FsyncMaps(64, 2))
    with m.counting(kernel, m.EXT4_BTF) as (sensor,):
        for number in range(4):
            sync(unique(f"m{number}"), ext4, file=5)
        counted = sum(total(m.of_process(sensor, unique(f"m{number}"))) for number in range(4))
        assert counted <= 10
        assert sensor.lost()[1] >= 20 - counted


def test_the_chain_passes_over_what_is_refused_and_counts_at_once(kernel: Kernel, ext4: Path) -> None:
    began = time.monotonic()
    choice = choose(methods(kernel), lambda method: counts_scratch_file(method, str(ext4)))
    took = time.monotonic() - began
    try:
        assert choice.method is not None
        assert list(choice.refused) == list(m.NAMES[: m.NAMES.index(choice.method.name)])
        assert all(choice.refused.values())
        assert took < 1.0
        assert loss(choice.method.maps.losses, NOT_COUNTED) == 0
        assert not [row for row in choice.method.maps.histograms.items() if row[0].startswith(b"python")]
        assert loss(choice.method.maps.losses, UNMATCHED) < 10
    finally:
        if choice.method is not None:
            choice.method.close()


def test_what_does_not_see_the_scratch_file_is_passed_over(kernel: Kernel) -> None:
    """ext4's tracepoints do not see tmpfs: the self-test finds out, and system calls are next."""
    choice = choose(methods(kernel), lambda method: counts_scratch_file(method, "/dev/shm"))
    try:
        assert choice.method is not None
        assert choice.method.name in (m.FENTRY, m.KPROBE, m.SYSCALLS)
        if choice.method.name == m.SYSCALLS:
            assert "counted 0 of 3 syncs of a scratch file in /dev/shm" in choice.refused[m.EXT4_BTF]
    finally:
        if choice.method is not None:
            choice.method.close()


def test_a_scratch_directory_that_is_missing_is_named(kernel: Kernel) -> None:
    sensor = FsyncSensor(methods(kernel), lambda method: counts_scratch_file(method, "/nowhere"))
    assert not sensor.start()
    assert "scratch_directory /nowhere: No such file or directory" in sensor.choice.refused.values()
    assert (sensor.latencies(0.0), sensor.lost()) == ([], (0, 0))
    sensor.close()


def test_a_taxing_method_is_on_for_a_share_of_the_time(kernel: Kernel) -> None:
    sensor = FsyncSensor([m.method(kernel, m.SYSCALLS)], lambda _: "", duty_percent=30.0, period_s=1.0)
    assert sensor.start()
    try:
        until = time.monotonic() + 3.3
        with open("/dev/shm/nodetell-duty", "wb") as file:
            calls = 0
            while time.monotonic() < until:
                os.fsync(file.fileno())
                calls += 1
                time.sleep(0.002)
        os.unlink("/dev/shm/nodetell-duty")
        own = Path("/proc/self/comm").read_text().strip()
        device = os.stat("/dev/shm").st_dev
        rows = [row for row in m.of_process(sensor, own) if row.device == (os.major(device), os.minor(device))]
        assert 150 <= sensor.observed_permille <= 550
        assert 0.15 * calls <= total(rows) <= 0.6 * calls
        assert sensor.choice.refused == {}
    finally:
        sensor.close()


def test_a_call_under_way_when_the_method_goes_off_is_seen_to_end(kernel: Kernel, tmp_path: Path) -> None:
    needs.fuse()
    needs.file_system("ext4")
    with m.counting(kernel, m.SYSCALLS) as (sensor,), slow_disk(tmp_path, 300.0) as disk:
        method = sensor.choice.method
        assert method is not None
        words = [sys.executable, "-c", SYNCS, unique("uw"), disk / "file", "1"]
        process = subprocess.Popen([str(word) for word in words])
        until = time.monotonic() + 10
        while not method.maps.calls.items() and time.monotonic() < until:
            time.sleep(0.005)
        method.hold()
        assert process.wait(20) == 0
        (row,) = m.of_process(sensor, unique("uw"))
        assert sum(row.counts) == 1
        assert row.max_ns > 250e6
        sync(unique("after"), disk, file=1)
        assert m.of_process(sensor, unique("after")) == []
