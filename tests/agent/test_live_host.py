"""The live host: over fixture trees that stand for /proc and /sys, and over this machine's own kernel."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.host import ClockState, Failure, ReadError
from agent.hosts import live
from agent.hosts.files import KeptFiles, failure_of
from agent.hosts.live import LiveHost, clock_state, kernel_clock, live_host
from tests import needs
from tests.recorded import write_files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "proc/1/net/snmp": b"host's",
        "proc/1/mountinfo": b"host's mounts",
        "proc/net/snmp": b"agent's",
        "proc/sys/net/netfilter/nf_conntrack_count": b"agent's\n",
        "proc/stat": b"btime 1\n",
        "sys/class/net/eth0/ifindex": b"77777\n",
        "sys/class/net/eth0/mtu": b"1500\n",
        "sys/class/net/eth0/iflink": b"77777\n",
        "sys/class/net/eth0/flags": b"0x1003\n",
        "sys/class/net/eth0/type": b"1\n",
        "sys/class/net/eth0/operstate": b"up\n",
        "sys/class/net/eth0/uevent": b"INTERFACE=eth0\nIFINDEX=77777\n",
        "kubelet/pods/": b"",
    }
    write_files(tmp_path, files)
    return tmp_path


def host_at(tree: Path) -> LiveHost:
    return live_host("n", str(tree / "proc"), str(tree / "sys"), str(tree / "kubelet"))


def test_a_mounted_proc_is_read_as_pid_1_sees_it(tree: Path) -> None:
    host = host_at(tree)
    assert (host.name, host.live, host.proc) == ("n", True, str(tree / "proc"))
    assert host.read("proc/net/snmp") == b"host's"
    assert host.read("proc/1/mountinfo") == b"host's mounts"
    assert host.read("sys/class/net/eth0/mtu") == b"1500\n"
    assert host.entries("kubelet/pods") == []
    assert host.document("fsync.json") is None


def test_another_network_namespace_is_read_by_sysfs_and_sysctls_are_not_the_hosts(tree: Path) -> None:
    """No interface of this machine has that index: the sysfs that was mounted is of another namespace."""
    host = host_at(tree)
    inventory = host.network.inventory()
    assert inventory.source == "sysfs"
    assert [link.name for link in inventory.links.values()] == ["eth0"]
    with pytest.raises(ReadError, match="only the agent's own network namespace") as denied:
        host.read("proc/sys/net/netfilter/nf_conntrack_count")
    assert denied.value.failure is Failure.DENIED
    assert "hostNetwork" in denied.value.remedy


def test_the_same_interfaces_mean_the_same_namespace(tmp_path: Path) -> None:
    """As with /sys of the host mounted into a container that shares its network."""
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "net").symlink_to("/sys/class/net")
    host = live_host("n", "/proc", str(tmp_path))
    try:
        assert host.network.inventory().source == "rtnetlink"
    finally:
        host.network.close()


def test_where_netlink_is_forbidden_sysfs_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "a seccomp profile without AF_NETLINK")

    monkeypatch.setattr("agent.netlink.connection.socket.socket", refuse)
    host = live_host("n")
    assert host.network.inventory().source == "sysfs"
    host.network.close()


def test_an_unreadable_sysfs_is_a_read_error_of_the_network_and_no_crash(tmp_path: Path) -> None:
    host = live_host("n", str(tmp_path / "proc"), str(tmp_path / "sys"))
    with pytest.raises(ReadError):
        host.network.inventory()


def test_hidden_pid_1_is_told_from_a_kernel_without_the_file(tree: Path) -> None:
    host = host_at(tree)
    with pytest.raises(ReadError) as absent:
        host.read("proc/1/io_uring")
    assert absent.value.failure is Failure.ABSENT
    shutil.rmtree(tree / "proc" / "1")
    for path in ("proc/1/mountinfo", "proc/net/snmp"):
        with pytest.raises(ReadError, match="hidepid") as denied:
            host.read(path)
        assert denied.value.failure is Failure.DENIED
        assert denied.value.remedy


@pytest.mark.parametrize("path", ["etc/passwd", "proc/../etc/passwd", "/proc/stat", "proc", "sys//x", "proc/\0"])
def test_paths_outside_are_refused(tree: Path, path: str) -> None:
    with pytest.raises(ReadError):
        host_at(tree).read(path)


def test_reads_are_bounded_and_never_wait(tree: Path) -> None:
    host = host_at(tree)
    with pytest.raises(ReadError, match="more than 3 bytes"):
        host.read("proc/stat", 3)
    os.mkfifo(tree / "proc" / "pipe")
    with pytest.raises(ReadError, match="not a regular file") as failed:
        host.read("proc/pipe")
    assert failed.value.failure is Failure.FAILED
    with pytest.raises(ReadError, match="is a directory"):
        host.read("sys/class")
    with pytest.raises(ReadError):
        host.entries("proc/stat")
    with pytest.raises(ReadError):
        host.link_target("proc/stat")


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ENOENT, Failure.ABSENT),
        (errno.EOPNOTSUPP, Failure.ABSENT),
        (errno.EACCES, Failure.DENIED),
        (errno.EPERM, Failure.DENIED),
        (errno.ENODEV, Failure.FAILED),
        (errno.EINVAL, Failure.FAILED),
        (errno.EIO, Failure.FAILED),
    ],
)
def test_what_errors_mean(number: int, failure: Failure) -> None:
    assert failure_of(OSError(number, os.strerror(number))) is failure


def test_denied_files_name_a_remedy(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, _limit: int) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    host = host_at(tree)
    monkeypatch.setattr(live, "read_bounded", refuse)
    with pytest.raises(ReadError, match="permission denied") as denied:
        host.read("kubelet/pods/x/vol_data.json")
    assert "root" in denied.value.remedy
    with pytest.raises(ReadError, match=f"{tree}/sys/block/sda/size: permission denied"):
        host.read("sys/block/sda/size")


def test_this_machine() -> None:
    host = live_host("here")
    try:
        assert b"Ip:" in host.read("proc/net/snmp")
        assert b"btime" in host.read("proc/stat")
        assert "lo" in {link.name for link in host.network.inventory().links.values()}
        assert host.entries("sys/class/net")
        clock = host.clock()
        assert clock.max_error_us is not None
        assert clock.max_error_us >= 0
    finally:
        host.network.close()


def test_adjtimex_changes_nothing_and_agrees_with_itself() -> None:
    first, second = kernel_clock(), kernel_clock()
    assert first.synchronized == second.synchronized
    assert ctypes.sizeof(live._Timex) == (208 if ctypes.sizeof(ctypes.c_long) == 8 else 128)


@pytest.mark.parametrize(
    ("raw", "state"),
    [
        ((0, 0x2001, -4_200_400, 1500), ClockState(True, -4200, 1500)),
        ((0, 0x0001, -4200, 1500), ClockState(True, -4200, 1500)),
        ((0, 0x2000, 0, 1500), ClockState(True, None, 1500)),  # chrony: the loop is off, the offset is not told
        ((5, 0x2040, 0, 16_000_000), ClockState(False, None, 16_000_000)),
        ((5, 0x2000, 0, 7), ClockState(False, None, 7)),
        ((0, 0x0040, 0, 7), ClockState(False, None, 7)),
    ],
)
def test_clock_states(raw: tuple[int, int, int, int], state: ClockState) -> None:
    assert clock_state(*raw) == state


def test_a_refused_adjtimex_is_denied_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def adjtimex(self, _timex: object) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(live, "_libc", Refusing)
    with pytest.raises(ReadError, match="adjtimex") as denied:
        kernel_clock()
    assert denied.value.failure is Failure.DENIED
    assert "seccomp" in denied.value.remedy


HIDEPID = """
import os, sys
from agent.collectors.protocols import ProtocolsCollector
from agent.collectors.volumes import VolumesCollector
from agent.hosts.live import live_host
from nodetell.v1 import facts_pb2 as pb
host = live_host("n", proc=sys.argv[1])
volumes = VolumesCollector().collect(host, 0).items
gap = volumes["coverage/volumes"].coverage
assert gap.status == pb.COVERAGE_STATUS_DEGRADED, gap
assert "hidepid" in gap.because and "own mount namespace" in gap.because, gap
protocols = ProtocolsCollector().collect(host, 0).items
assert "hidepid" in protocols["coverage/protocols/snmp"].coverage.because
print("told")
"""


@pytest.mark.needs_root
def test_a_real_hidepid_as_an_ordinary_user(tmp_path: Path) -> None:
    needs.root_netns()
    proc = tmp_path / "proc"
    proc.mkdir()
    above = [each for each in tmp_path.parents if each.name.startswith(("pytest-", "popen-"))]
    for directory in (tmp_path, *above):
        directory.chmod(0o755)
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    probe = subprocess.run([*user, sys.executable, "-c", "import google.protobuf"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("needs: setpriv, and a Python that user 65534 may run")
    code = tmp_path / "code.py"
    code.write_text(HIDEPID)
    # The shell stays, as pid 1 of its own namespace and root's: before Linux 5.8 hidepid was the whole namespace's.
    command = shlex.join([*user, sys.executable, str(code), str(proc)])
    mount = f"mount -t proc -o hidepid=2 proc {proc} && {command}; exit $?"
    path = os.pathsep.join([str(ROOT), str(ROOT / "proto")])
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", mount],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout == "told\n", done.stderr


# -- files that are read often -----------------------------------------------------------------------------------------


def test_a_file_that_is_read_often_is_opened_once_and_shows_the_present(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    path.write_bytes(b"1")
    kept = KeptFiles()
    assert kept.read(str(path), 100) == b"1"
    for contents in (b"22", b"", b"x" * 100_000):
        path.write_bytes(contents)
        assert kept.read(str(path), 200_000) == contents
    with pytest.raises(OSError, match="more than 10 bytes"):
        kept.read(str(path), 10)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        kept.read(str(path), 200_000)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    del kept
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_file_that_went_away_is_told_and_found_when_it_is_back(tmp_path: Path) -> None:
    """As sysctls do with their module: a descriptor that was kept says that there is none any more."""
    kept, path = KeptFiles(), tmp_path / "file"
    path.write_bytes(b"old")
    assert kept.read(str(path), 100) == b"old"
    descriptor = kept._files[str(path)]._descriptor  # no module can be unloaded here
    assert descriptor is not None
    broken = os.open(tmp_path, os.O_RDONLY)
    os.dup2(broken, descriptor)  # reading a directory fails
    os.close(broken)
    path.write_bytes(b"new")
    assert kept.read(str(path), 100) == b"new"
    assert kept.read(str(path), 100) == b"new"


def _times_open(path: Path) -> int:
    """By how many names this process has the file open."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    return found


def test_kept_files_are_safe_from_several_threads(tmp_path: Path) -> None:
    kept, path = KeptFiles(), tmp_path / "file"
    path.write_bytes(b"x" * 70_000)
    with ThreadPoolExecutor(8) as pool:
        for contents in pool.map(lambda _: kept.read(str(path), 100_000), range(200)):
            assert contents == b"x" * 70_000
    assert _times_open(path) == 1
