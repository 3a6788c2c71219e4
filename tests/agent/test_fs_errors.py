"""Errors of file systems as the kernel tells them: what is parsed, what is marked, and a real ext4 that breaks."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors import fs_watch
from agent.collectors.fs_watch import FsWatch, paths, wanted
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from agent.collectors.volumes import VolumesCollector
from agent.events.fs_errors import FsError, FsErrors, parse_events, parse_marks
from agent.events.timer import Timer
from agent.events.waiter import Waiter
from agent.host import Failure, ReadError
from agent.hosts.live import LiveHost, live_host
from agent.reading import Reading
from tests import needs
from tests.recorded import host_of, write_files

ROOT = Path(__file__).resolve().parents[2]
RECORDED = bytes.fromhex(
    "38000000030018000080000000000000ffffffff511c000001001400610fd9c62cd37f9700000000ff00000005000c007500000003000000"
)
"""Of Linux 6.18, for three errors of an ext4 with the id c6d90f61977fd32c."""
TOLD = FsError("c6d90f61977fd32c", errno.EUCLEAN, 3)
OVERFLOW = struct.pack("=IBBHQii", 24, 3, 0, 24, 0x4000, -1, 0)


def test_an_event_as_the_kernel_sends_it() -> None:
    assert parse_events(RECORDED) == ([TOLD], False)
    assert parse_events(RECORDED * 3) == ([TOLD] * 3, False)


def test_what_was_lost_is_told() -> None:
    assert parse_events(RECORDED + OVERFLOW) == ([TOLD], True)


def test_an_event_without_particulars_is_an_error_all_the_same() -> None:
    bare = struct.pack("=IBBHQii", 24, 3, 0, 24, 0x8000, -1, 0)
    assert parse_events(bare + RECORDED)[0] == [FsError("", 0, 0), TOLD]
    endless = bytearray(RECORDED)
    endless[26:28] = b"\xff\xff"  # the first record says that it is longer than the event
    assert parse_events(bytes(endless))[0] == [FsError("", 0, 0)]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        RECORDED[:-1],
        b"\0" * 4 + RECORDED[4:],
        RECORDED[:4] + b"\x04" + RECORDED[5:],  # another version of the structure
        RECORDED[:6] + b"\x08\x00" + RECORDED[8:],  # shorter than its own head
        RECORDED[:8] + b"\x02" + RECORDED[9:10].replace(b"\x80", b"\0") + RECORDED[10:],  # something else happened
    ],
)
def test_what_is_no_error(raw: bytes) -> None:
    assert parse_events(raw) == ([], False)


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    parse_events(raw)
    parse_marks(raw)
    errors, _ = parse_events(RECORDED + raw)
    assert errors[0] == TOLD


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 4095), st.integers(1, 2**32 - 1), st.binary(max_size=40)),
        max_size=5,
    )
)
def test_events_with_records_of_unknown_kinds_between(told: list[tuple[int, int, int, bytes]]) -> None:
    raw, expected = b"", []
    for fsid, number, count, unknown in told:
        records = struct.pack("=BBHIIII", 1, 0, 20, fsid >> 32, fsid & 0xFFFFFFFF, 0, 0xFF)
        records += struct.pack("=BBH", 200, 0, 4 + len(unknown)) + unknown
        records += struct.pack("=BBHiI", 5, 0, 12, number, count)
        raw += struct.pack("=IBBHQii", 24 + len(records), 3, 0, 24, 0x8000, -1, 1) + records
        expected.append(FsError(f"{fsid:016x}", number, count))
    assert parse_events(raw) == (expected, False)


def test_marks_are_told_by_device_number() -> None:
    fdinfo = (
        b"pos:\t0\nflags:\t02004002\nfanotify flags:203 event-flags:8000\n"
        b"fanotify sdev:700001 mflags:0 mask:8000 ignored_mask:0\n"
        b"fanotify sdev:fe00000 mflags:0 mask:8000 ignored_mask:0\n"
        b"fanotify sdev:fe00001 mflags:0 mask:1 ignored_mask:0\n"
        b"fanotify ino:4f969 sdev:800013 mflags:0 mask:8000 ignored_mask:0\n"
    )
    assert parse_marks(fdinfo) == {"7:1", "254:0"}


# -- what is marked ----------------------------------------------------------------------------------------------------

POD = "/var/lib/kubelet/pods/74144af8-4695-4c2c-9d81-1aba358643c0/volumes/kubernetes.io~csi"
MOUNTS = f"""\
1 0 254:0 / / rw - ext4 /dev/vda rw
2 1 0:21 / /proc rw - proc proc rw
3 1 0:50 / /srv rw - nfs4 server:/srv rw
4 3 8:16 / /srv/scratch rw - ext4 /dev/sdb rw
5 1 8:32 / {POD}/pvc-1/mount rw - xfs /dev/sdc rw
6 1 8:48 / /mnt/windows rw - fuseblk /dev/sdd rw
7 1 0:60 / {POD}/pvc-2/mount rw - nfs4 server:/pvc rw
8 1 8:64 / /cluster rw - ocfs2 /dev/sde rw
9 1 8:80 / /auto rw - ext4 /dev/sdf rw
10 1 0:70 / /auto rw - autofs systemd-1 rw
11 1 8:80 /sub /opt/sub rw - ext4 /dev/sdf rw
12 1 0:80 / /var/lib/containers/overlay rw - overlay overlay rw
"""


def lines(text: str) -> list[MountLine]:
    mounts, problems = parse_mountinfo(text.encode())
    assert not problems
    return mounts


def test_only_local_file_systems_that_can_tell_are_wanted_and_volumes_come_first() -> None:
    assert wanted(lines(MOUNTS)) == ["8:32", "254:0", "8:16", "8:80"]


def test_no_path_leads_through_anything_that_may_hang() -> None:
    mounts = lines(MOUNTS)
    assert paths(mounts, wanted(mounts)) == {"254:0": ["/"], "8:32": [f"{POD}/pvc-1/mount"], "8:80": ["/opt/sub"]}


def test_below_a_root_on_a_network_nothing_is_marked() -> None:
    mounts = lines(MOUNTS.replace("254:0 / / rw - ext4", "0:9 / / rw - nfs4"))
    assert paths(mounts, wanted(mounts)) == {}


@dataclass
class Kernel:
    """Stands for FsErrors: what a mark leads to, by path."""

    leads_to: dict[str, str | ReadError]
    held: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    told: list[FsError] = field(default_factory=list)

    def mark(self, path: str) -> None:
        self.asked.append(path)
        found = self.leads_to[path]
        if isinstance(found, ReadError):
            raise found
        self.held.add(found)

    def marked(self) -> frozenset[str]:
        return frozenset(self.held)

    def looked_at(self) -> list[FsError]:
        told, self.told = self.told, []
        return told


def follow(
    watch: FsWatch, tmp_path: Path, mounts: str, own: str, now: float = 0.0, *, changed: bool = True
) -> tuple[bool, dict[str, pb.Coverage]]:
    reading = Reading()
    host = host_of(tmp_path, {"proc/self/mountinfo": own.encode()})
    complete = watch.follow(reading, host, lines(mounts), now, changed=changed)
    return complete, {key: item.coverage for key, item in reading.items.items()}


HOST = "1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 8:16 / /a rw - ext4 /dev/sdb rw\n"


def test_marks_follow_the_mounts(tmp_path: Path) -> None:
    kernel = Kernel({"/": "254:0", "/a": "8:16"})
    watch = FsWatch(cast(FsErrors, kernel))
    root = HOST.splitlines()[0]
    assert follow(watch, tmp_path, root, HOST) == (True, {})
    assert follow(watch, tmp_path, HOST, HOST) == (True, {})
    assert kernel.asked == ["/", "/a"]
    kernel.held.discard("8:16")  # unmounted, and mounted again so soon that it looks the same
    assert follow(watch, tmp_path, HOST, HOST, changed=False) == (True, {})
    assert kernel.asked == ["/", "/a", "/a"]


def test_what_the_agents_own_namespace_does_not_have_is_named(tmp_path: Path) -> None:
    kernel = Kernel({"/etc/hosts": "254:0"})
    watch = FsWatch(cast(FsErrors, kernel))
    own = "1 0 0:99 / / rw - overlay overlay rw\n2 1 254:0 /x/hosts /etc/hosts rw - ext4 /dev/vda rw\n"
    complete, told = follow(watch, tmp_path, HOST, own)
    assert not complete
    assert kernel.asked == ["/etc/hosts"]
    (coverage,) = told.values()
    assert "coverage/fs_errors/events/unreachable" in told
    assert "8:16" in coverage.because
    assert "254:0" not in coverage.because
    assert "HostToContainer" in coverage.remedy
    # It is told as long as it lasts, and looked for when mounts change or a minute has passed.
    kernel.leads_to["/a"] = "8:16"
    assert follow(watch, tmp_path, HOST, HOST, 10.0, changed=False)[1].keys() == told.keys()
    assert follow(watch, tmp_path, HOST, HOST, 61.0, changed=False) == (True, {})


def test_one_that_is_hidden_is_looked_for_where_else_it_is_mounted(tmp_path: Path) -> None:
    kernel = Kernel({"/": "254:0", "/a": "254:0", "/b": "8:16"})
    own = HOST + "3 1 254:0 / /a rw - ext4 /dev/vda rw\n4 1 8:16 / /b rw - ext4 /dev/sdb rw\n"
    assert follow(FsWatch(cast(FsErrors, kernel)), tmp_path, HOST, own) == (True, {})
    hidden = FsWatch(cast(FsErrors, Kernel({"/": "254:0", "/a": "254:0"})))
    assert follow(hidden, tmp_path, HOST, HOST)[1].keys() == {"coverage/fs_errors/events/unreachable"}


def test_what_the_kernel_refuses_is_told_by_what_would_help(tmp_path: Path) -> None:
    denied = ReadError(Failure.DENIED, "fanotify", "Operation not permitted", "give the agent CAP_SYS_ADMIN")
    old = ReadError(Failure.FAILED, "fanotify", "the kernel does not know FAN_FS_ERROR", "run Linux 5.16 or newer")
    kernel = Kernel({"/": denied, "/a": old})
    _, told = follow(FsWatch(cast(FsErrors, kernel)), tmp_path, HOST, HOST)
    assert told["coverage/fs_errors/events/denied"].status == pb.COVERAGE_STATUS_DENIED
    assert told["coverage/fs_errors/events/denied"].remedy == "give the agent CAP_SYS_ADMIN"
    assert told["coverage/fs_errors/events/refused"].status == pb.COVERAGE_STATUS_DEGRADED
    assert told["coverage/fs_errors/events/refused"].remedy == "run Linux 5.16 or newer"
    _, told = follow(FsWatch(problem=old), tmp_path, HOST, HOST)
    assert "254:0, 8:16" in told["coverage/fs_errors/events/refused"].because


def test_without_a_source_or_without_file_systems_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert follow(FsWatch(), tmp_path, HOST, HOST) == (False, {})
    denied = ReadError(Failure.DENIED, "fanotify", "Operation not permitted")
    assert follow(FsWatch(problem=denied), tmp_path, "1 0 0:9 / / rw - overlay overlay rw", HOST) == (False, {})


def test_the_number_of_marks_is_bounded_and_volumes_are_not_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fs_watch, "MAX_MARKS", 2)
    own = HOST + f"3 1 8:32 / {POD}/pvc-1/mount rw - ext4 /dev/sdc rw\n"
    kernel = Kernel({"/": "254:0", "/a": "8:16", f"{POD}/pvc-1/mount": "8:32"})
    complete, told = follow(FsWatch(cast(FsErrors, kernel)), tmp_path, own, own)
    assert not complete
    assert kernel.held == {"254:0", "8:32"}
    assert "8:16" in told["coverage/fs_errors/events/many"].because


@dataclass
class Clock:
    """Stands for Timer: what it was set to."""

    after: list[float] = field(default_factory=list)

    def set(self, after_s: float) -> None:
        self.after.append(after_s)


def test_errors_told_before_they_are_counted_are_looked_for_until_they_are(tmp_path: Path) -> None:
    kernel, clock = Kernel({"/": "254:0", "/a": "8:16"}), Clock()
    watch = FsWatch(cast(FsErrors, kernel), timer=cast(Timer, clock))

    def looks(errors: int, *told: FsError) -> list[float]:
        kernel.told += told
        follow(watch, tmp_path, HOST, HOST)
        clock.after.clear()
        watch.settle({"vda": pb.Filesystem(device="vda", errors=errors), "sda": pb.Filesystem(device="sda")})
        return clock.after

    assert looks(5) == []
    assert looks(5, TOLD) == [0.1]
    assert looks(7) == [0.2]
    assert looks(8) == []
    assert looks(8) == []
    assert looks(9, FsError("", 0, 0)) == []
    # One that is never counted is given up.
    assert looks(9, TOLD) == [0.1]
    waits = []
    while again := looks(9):
        waits += again
    assert waits == [0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    assert looks(9, TOLD) == [0.1]


def test_a_timer_wakes_once() -> None:
    timer = Timer()
    with contextlib.closing(Waiter()) as waiter:
        waiter.add(timer)
        assert not waiter.wait(0.05)
        timer.set(30.0)
        timer.set(0.1)
        began = time.monotonic()
        assert waiter.wait(5)
        assert 0.09 < time.monotonic() - began < 2
        assert not waiter.wait(0.2)
        assert not timer.take()
        timer.set(0.0)
        assert waiter.wait(5)
    with pytest.raises(ReadError):
        timer.set(1.0)


# -- for real ----------------------------------------------------------------------------------------------------------


@dataclass
class Disk:
    """A loop device with an ext4 on it, and where it is to be mounted: the volume of a pod."""

    device: Path
    mount_point: Path
    kubelet: Path

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "errors=continue", self.device, self.mount_point], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.mount_point], check=True)

    def breaks(self) -> None:
        Path(f"/sys/fs/ext4/{self.device.name}/trigger_fs_error").write_text("a test")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    needs.file_system("ext4")
    needs.mounts_of_pid_1()
    needs.file_system_errors()
    image, kubelet = tmp_path / "disk.img", tmp_path / "kubelet"
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    made = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True)
    mount_point = kubelet / POD.removeprefix("/var/lib/kubelet/") / "pvc-1/mount"
    mount_point.mkdir(parents=True)
    found = Disk(Path(made.stdout.strip()), mount_point, kubelet)
    try:
        yield found
    finally:
        subprocess.run(["umount", mount_point], capture_output=True, check=False)
        subprocess.run(["losetup", "-d", found.device], capture_output=True, check=False)


@contextlib.contextmanager
def deaf_host(tmp_path: Path, kubelet: Path) -> Iterator[LiveHost]:
    """This host without its kernel log, so that nothing but fanotify tells of errors."""
    write_files(tmp_path / "nothing", {})
    host = live_host("here", kubelet=str(kubelet), dev=str(tmp_path / "nothing"))
    with contextlib.closing(host.network):
        yield host


def told_by(collector: VolumesCollector, host: LiveHost) -> tuple[pb.Volume, Reading]:
    reading = collector.collect(host, time.time())
    (volume,) = (item.volume for item in reading.items.values() if item.HasField("volume"))
    return volume, reading


@pytest.mark.needs_root
def test_an_ext4_that_breaks_wakes_the_collector_at_once(disk: Disk, tmp_path: Path) -> None:
    collector = VolumesCollector()
    with deaf_host(tmp_path, disk.kubelet) as host, contextlib.closing(Waiter()) as waiter:
        for source in collector.sources(host).sources:
            if isinstance(source, FsErrors | Timer):
                waiter.add(source)
            else:
                source.close()
        collector._listened.mounts = collector._listened.devices = None

        def errors_seen(count: int) -> pb.Volume:
            """The volume once it shows so many, looked at only when woken: they may be counted after they are told."""
            while (volume := told_by(collector, host)[0]).errors != count:
                assert waiter.wait(5), volume
            return volume

        disk.mount()
        volume, reading = told_by(collector, host)
        assert volume.errors == 0
        assert not [key for key in reading.items if key.startswith("coverage/fs_errors")]
        assert reading.sources["fs_errors"] == "fanotify, /sys/fs"
        assert not waiter.wait(0.2)

        began = time.monotonic()
        disk.breaks()
        assert waiter.wait(5)
        assert errors_seen(1).last_error_func == "trigger_test_error"
        assert time.monotonic() - began < 1

        disk.unmount()  # the mark keeps nothing busy
        disk.mount()  # the same mount to whoever looks only now, and another file system to the kernel
        told_by(collector, host)
        disk.breaks()
        assert waiter.wait(5), "the mark did not follow"
        errors_seen(2)


@pytest.mark.needs_root
def test_of_a_storm_the_kernel_keeps_count(disk: Disk) -> None:
    with contextlib.closing(FsErrors()) as errors:
        disk.mount()
        errors.mark(str(disk.mount_point))
        for _ in range(50):
            disk.breaks()
        assert errors.take()
        (told,) = errors.looked_at()
        assert (told.error, told.count) == (errno.EUCLEAN, 50)
        printed = subprocess.run(["stat", "-f", "-c", "%i", disk.mount_point], capture_output=True, check=True)
        assert told.fsid == printed.stdout.decode().strip().zfill(16)
        assert errors.happened_at is not None
        assert not errors.take()


def test_what_is_not_there_is_not_marked(tmp_path: Path) -> None:
    needs.file_system_errors()
    with contextlib.closing(FsErrors()) as errors:
        with pytest.raises(ReadError) as caught:
            errors.mark(str(tmp_path / "gone"))
        assert caught.value.failure is Failure.ABSENT
        assert errors.marked() == frozenset()
    with pytest.raises(ReadError):
        errors.marked()


CONTAINED = """
import select, sys, time
from agent.collectors.volumes import VolumesCollector
from agent.events.fs_errors import FsErrors
from agent.hosts.live import live_host
collector, host = VolumesCollector(), live_host("here", kubelet=sys.argv[2])
errors = next(each for each in collector.sources(host).sources if isinstance(each, FsErrors))
print("ready", flush=True)
sys.stdin.readline()
reading = collector.collect(host, time.time())
told = [item.coverage.because for key, item in reading.items.items() if key.startswith("coverage/fs_errors/")]
print(sys.argv[1] in errors.marked(), *told, sep="|", flush=True)
sys.stdin.readline()
print(bool(select.select([errors], [], [], 1)[0]) and errors.take(), flush=True)
"""
"""An agent in a mount namespace of its own, which is older than the mount."""


@pytest.mark.needs_root
@pytest.mark.parametrize("propagation", ["slave", "private"])
def test_in_a_container_only_what_is_mounted_there_too_is_watched(disk: Disk, propagation: str) -> None:
    number = os.stat(disk.device).st_rdev
    dev = f"{os.major(number)}:{os.minor(number)}"
    subprocess.run(["mount", "--bind", disk.kubelet, disk.kubelet], check=True)
    try:
        subprocess.run(["mount", "--make-shared", disk.kubelet], check=True)
        with subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--propagation",
                propagation,
                "--",
                sys.executable,
                "-c",
                CONTAINED,
                dev,
                disk.kubelet,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as agent:

            def answer(to: str = "") -> str:
                assert agent.stdin is not None
                assert agent.stdout is not None
                if to:
                    agent.stdin.write(to)
                    agent.stdin.flush()
                return agent.stdout.readline().strip()

            assert answer() == "ready"
            disk.mount()
            marked, *told = answer("look\n").split("|")
            disk.breaks()
            woken = answer("wait\n")
        about = [because for because in told if dev in because]
        if propagation == "slave":
            assert (marked, about, woken) == ("True", [], "True")
        else:
            assert (marked, woken) == ("False", "False")
            assert len(about) == 1
            assert "no mount point in the agent's own mount namespace leads to it" in about[0]
    finally:
        subprocess.run(["umount", "--recursive", disk.kubelet], check=False)


ORDINARY = """
import os, time
from agent.collectors.volumes import VolumesCollector
from agent.hosts.live import live_host
import ctypes
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
collector, host = VolumesCollector(), live_host("here")
collector.sources(host)
reading = collector.collect(host, time.time())
for key, item in reading.items.items():
    if key.startswith("coverage/fs_errors/"):
        print(key, item.coverage.status, item.coverage.because, item.coverage.remedy, sep="|")
print(os.getuid(), reading.sources.get("fs_errors"))
"""


@pytest.mark.needs_root
def test_an_ordinary_user_is_told_what_would_enable_it(disk: Disk) -> None:
    disk.mount()
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    coverage, last = done.stdout.splitlines()
    key, status, because, remedy = coverage.split("|")
    assert (key, int(status)) == ("coverage/fs_errors/events/denied", pb.COVERAGE_STATUS_DENIED)
    assert because.startswith("fanotify: Operation not permitted; errors on ")
    assert "CAP_SYS_ADMIN" in remedy
    assert last == "65534 /sys/fs"
