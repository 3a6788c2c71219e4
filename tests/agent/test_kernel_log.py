"""The kernel's log: what its messages tell, what they never may, and the log of this very host."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.kernel_log import MAX_SUBJECTS, OTHERS, KernelLogCollector
from agent.events.kmsg import KernelLog, LogRecord, parse_log, parse_record
from agent.events.patterns import WORDS, Classifier
from agent.host import Failure, ReadError
from agent.hosts.live import live_host
from agent.reading import Reading
from tests.recorded import host_of

UID = "74144af8-4695-4c2c-9d81-1aba358643c0"
OOM = (
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-0123.scope,mems_allowed=0,"
    f"oom_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice,"
    f"task_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice/"
    "cri-containerd-0123.scope,task=java,pid=4711,uid=1000"
)
KILLED = "Memory cgroup out of memory: Killed process 4711 (java) total-vm:1kB, anon-rss:1kB, UID:1000 pgtables:5"


def record(text: str, *, from_kernel: bool = True) -> LogRecord:
    return LogRecord(1.0, from_kernel, text)


def tell(*texts: str) -> list[tuple[str, ...]]:
    """What messages tell, one after another: class, subject and pod."""
    classifier = Classifier()
    found = [classifier.sighting(record(text)) for text in texts]
    return [(WORDS[each.of_class], each.subject, each.pod_uid) for each in found if each is not None]


@pytest.mark.parametrize(
    ("text", "word", "subject"),
    [
        ("I/O error, dev nvme1n1, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1", "io_error", "nvme1n1"),
        ("blk_update_request: I/O error, dev sdb, sector 0 op 0x0:(READ) flags 0x0", "io_error", "sdb"),
        ("print_req_error: critical medium error, dev sdb, sector 77", "io_error", "sdb"),
        ("critical space allocation error, dev dm-3, sector 1 op 0x1:(WRITE)", "io_error", "dm-3"),
        ("Buffer I/O error on dev dm-1, logical block 5, lost async page write", "io_error", "dm-1"),
        ("Buffer I/O error on device sda1, logical block 0", "io_error", "sda1"),
        ("sd 3:0:0:2: [sdc] tag#18 FAILED Result: hostbyte=DID_NO_CONNECT driverbyte=DRIVER_OK", "io_error", "sdc"),
        ("nvme nvme1: I/O 832 QID 3 timeout, aborting", "io_error", "nvme1"),
        ("nvme nvme1: I/O tag 832 (100c) opcode 0x1 (I/O Cmd) QID 3 timeout, aborting", "io_error", "nvme1"),
        ("EXT4-fs error (device sdb1): ext4_lookup:1855: inode #2: comm ls: deleted inode", "fs_error", "sdb1"),
        ("Aborting journal on device sdb1-8.", "fs_error", "sdb1"),
        ("XFS (dm-0): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll", "fs_error", "dm-0"),
        ("XFS (loop1): User initiated shutdown received.", "fs_error", "loop1"),
        ("XFS (sdb1): log I/O error -5", "fs_error", "sdb1"),
        ("BTRFS error (device sdb1 state EA): unable to fixup (regular) error at logical 1", "fs_error", "sdb1"),
        ("BTRFS: error (device sdb1) in btrfs_commit_transaction:2494: errno=-5 IO failure", "fs_error", "sdb1"),
        ("BTRFS critical (device sdb1): corrupt leaf", "fs_error", "sdb1"),
        ("EXT4-fs (sdb1): Remounting filesystem read-only", "remount_read_only", "sdb1"),
        ("BTRFS info (device sdb1): forced readonly", "remount_read_only", "sdb1"),
        ("BTRFS info (device sdb1 state E): forced readonly", "remount_read_only", "sdb1"),
        ("INFO: task jbd2/sdb1-8:412 blocked for more than 120 seconds.", "hung_task", "jbd2/sdb1-8"),
        ("INFO: task a b: c:1:9 blocked for more than 241 seconds.", "hung_task", "a b: c:1"),
        ("NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out", "nic_reset", "eth0"),
        ("igb 0000:01:00.0 eth1: NETDEV WATCHDOG: CPU: 3: transmit queue 1 timed out 5004 ms", "nic_reset", "eth1"),
        ("e1000e 0000:00:19.0 eno1: Detected Hardware Unit Hang:", "nic_reset", "eno1"),
        ("mlx5_core 0000:5e:00.0 ens1f0np0: TX timeout detected", "nic_reset", "ens1f0np0"),
        ("ena 0000:00:05.0: Keep alive watchdog timeout.", "nic_reset", "0000:00:05.0"),
        ("Out of memory: Killed process 99 (tmux: server) total-vm:1kB, anon-rss:1kB", "oom_kill", "tmux: server"),
        ("etcd[1234]: segfault at 0 ip 00007f1 sp 00007ff error 4 in libc.so.6[7f+1]", "segfault", "etcd"),
        ("traps: node[77] general protection fault ip:55d sp:7ff error:0", "segfault", "node"),
        ("traps: node[77] trap invalid opcode ip:55d sp:7ff error:0", "segfault", "node"),
        ("nfs: server 10.0.0.5 not responding, still trying", "nfs_not_responding", "10.0.0.5"),
        ("md/raid1:md0: Disk failure on sdb1, disabling device.", "md_dm_error", "md0"),
        ("device-mapper: multipath: 253:3: Failing path 8:16.", "md_dm_error", "8:16"),
        ("device-mapper: thin: 253:4: switching pool to read-only mode", "md_dm_error", "253:4"),
    ],
)  # fmt: skip
def test_messages_by_class_and_subject(text: str, word: str, subject: str) -> None:
    assert tell(text) == [(word, subject, "")]


@pytest.mark.parametrize(
    "text",
    [
        "EXT4-fs (sda1): mounted filesystem 0f-4 r/w with ordered data mode. Quota mode: none.",
        "EXT4-fs (sda1): re-mounted 0f-4 ro.",
        "XFS (sda1): Ending clean mount",
        "nfs: server 10.0.0.5 OK",
        "eth0: Link is Up - 1Gbps/Full",
        "audit: type=1400 msg=EXT4-fs error (device sda1)",
        "oom_reaper: reaped process 4711 (java), now anon-rss:0kB",
        "nvme nvme1: 4/0/0 default/read/poll queues",
        "BTRFS info (device sdb1): disk space caching is enabled",
        "md: super_written gets error=-5",
        "",
    ],
)
def test_what_is_no_trouble_or_only_quotes_some(text: str) -> None:
    assert tell(text) == []


def test_a_server_that_answers_again_is_no_trouble(tmp_path: Path) -> None:
    lines = [
        "<4>[1.000000] nfs: server 10.0.0.5 not responding, still trying",
        "<4>[2.000000] nfs: server 10.0.0.6 not responding, timed out",
        "<4>[3.000000] nfs: server 10.0.0.5 OK",
        "<4>[4.000000] nfs: server 10.0.0.7 not responding, still trying",
        "<4>[5.000000] nfs: server 10.0.0.7 OK",
        "<4>[6.000000] nfs: server 10.0.0.7 not responding, still trying",
    ]
    host = host_of(tmp_path, {"kmsg": "\n".join(lines).encode(), "proc/uptime": b"10.0 1.0\n"})
    events = [item.kernel_event for item in KernelLogCollector().collect(host, 1_000.0).items.values()]
    told = {event.subject: (event.count, event.last_unix_ms) for event in events if event.subject}
    assert told == {"10.0.0.6": (1, 992_000), "10.0.0.7": (1, 996_000)}
    assert Classifier().concerns(record("nfs: server 10.0.0.5 OK")), "a collected log must hold it, too"


def test_what_a_process_writes_to_the_log_is_not_believed() -> None:
    assert Classifier().sighting(record("I/O error, dev sda, sector 1", from_kernel=False)) is None


def test_a_kill_is_counted_once_and_with_its_pod() -> None:
    assert tell(OOM, KILLED) == [("oom_kill", "java", UID)]
    static = OOM.replace(UID.replace("-", "_"), "0123456789abcdef0123456789abcdef")
    assert tell(static, KILLED) == [("oom_kill", "java", "0123456789abcdef0123456789abcdef")]


def test_a_kill_of_another_process_is_not_the_pods() -> None:
    assert tell(OOM, KILLED.replace("4711", "4712")) == [("oom_kill", "java", "")]
    assert tell(KILLED) == [("oom_kill", "java", "")]


def test_subjects_are_printable_and_not_endless() -> None:
    ((_, subject, _),) = tell("nfs: server " + "\x1b\u202e" * 120 + " not responding")
    assert subject.isprintable()
    assert len(subject) <= 64


@given(st.text(max_size=300), st.sampled_from(["", OOM[:90], "INFO: task ", "XFS (", "a b eth0: ", "traps: "]))
def test_no_message_raises(text: str, start: str) -> None:
    tell(start + text, text)


@given(st.binary(max_size=300))
def test_no_record_and_no_log_raises(raw: bytes) -> None:
    parse_record(raw)
    parse_record(b"6,1,2,-;" + raw)
    parse_log(raw + b"\n<6>[    1.000000] " + raw)


HARD = [
    "a " * 60_000, "INFO: task " + ":1" * 60_000, "traps: " + "[1]" * 40_000, "[1]" * 40_000, "x" * 120_000,
    "oom-kill:constraint=" + ",task_memcg=pod" * 9_000, "XFS (" + "-" * 120_000, "sd " + "1:" * 60_000,
    "oom-kill:constraint=,task_memcg=" + "pod01234567_0123_" * 7_000 + ",pid=1,",
]  # fmt: skip


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[:16])
def test_ten_times_the_line_takes_no_more_than_some_twenty_times_as_long(text: str) -> None:
    """Quadratic would be a hundred times, and the backtracking of nested repetitions would not end."""

    def seconds(length: int) -> float:
        return min(_timed(record(text[:length])) for _ in range(5))

    assert len(text) >= 100_000
    assert seconds(100_000) < max(25 * seconds(10_000), 0.002)


def _timed(what: LogRecord) -> float:
    classifier = Classifier()
    began = time.perf_counter()
    for _ in range(3):
        classifier.sighting(what)
    return time.perf_counter() - began


def test_both_forms_of_a_recorded_log() -> None:
    text = (
        b"6,339,5140900,-;NET: Registered PF_INET6 protocol family\n"
        b" SUBSYSTEM=net\n DEVICE=+x:y\n"
        b"30,340,5690716,-,caller=T7;systemd[1]: hello\n"
        b"<6>[    0.000000] Linux version 6.18\n"
        b"<28>[  311.000021] systemd[1]: I/O error, dev sda\n"
        b"<4>[   12.345678][  T123] etcd[1]: segfault at 0\n"
        b"[ 3415.323519] v4x0a: left promiscuous mode\n"
        b"no record\n"
    )
    records, strange = parse_log(text)
    assert strange == 1
    assert [(each.at, each.from_kernel) for each in records] == [
        (5.1409, True), (5.690716, False), (0.0, True), (311.000021, False), (12.345678, True), (3415.323519, True),
    ]  # fmt: skip
    assert records[4].text == "etcd[1]: segfault at 0"


# -- the collector -----------------------------------------------------------------------------------------------------


def events(reading: Reading) -> dict[str, pb.KernelEvent]:
    return {key: item.kernel_event for key, item in reading.items.items() if item.HasField("kernel_event")}


def test_a_recorded_log_is_counted_with_times(tmp_path: Path) -> None:
    lines = [f"<3>[  {100 + n}.500000] I/O error, dev sdb, sector {n} op 0x0" for n in range(5)]
    lines += [f"<4>[  200.000000] {OOM}", f"<3>[  200.250000] {KILLED}", "<5>[ 1.0] what is this", "neither this"]
    host = host_of(tmp_path, {"kmsg": "\n".join(lines).encode(), "proc/uptime": b"300.00 500.00\n"})
    collector = KernelLogCollector()
    for _ in range(2):  # a second snapshot is counted by itself
        reading = collector.collect(host, 10_000.0)
        found = events(reading)
        assert set(found) == {"kernel/io_error/sdb", f"kernel/oom_kill/java/{UID}"}
        disk = found["kernel/io_error/sdb"]
        assert (disk.count, disk.first_unix_ms, disk.last_unix_ms) == (5, 9_800_500, 9_804_500)
        assert (disk.subject, disk.pod_uid) == ("sdb", "")
        assert found[f"kernel/oom_kill/java/{UID}"].pod_uid == UID
        assert reading.items["coverage/kernel_log/damaged"].coverage.because.startswith("kmsg: 2 lines")


def test_without_uptime_the_time_of_boot_serves_and_without_both_there_is_no_time(tmp_path: Path) -> None:
    log = b"<3>[  100.000000] I/O error, dev sdb, sector 1"
    with_boot = host_of(tmp_path / "a", {"kmsg": log, "proc/stat": b"cpu 1\nbtime 5000\n", "proc/uptime": b"?"})
    assert events(KernelLogCollector().collect(with_boot, 9_000.0))["kernel/io_error/sdb"].last_unix_ms == 5_100_000
    without = host_of(tmp_path / "b", {"kmsg": log})
    assert events(KernelLogCollector().collect(without, 9_000.0))["kernel/io_error/sdb"].last_unix_ms == 0


def test_no_log_is_a_gap(tmp_path: Path) -> None:
    reading = KernelLogCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0.0)
    assert set(reading.items) == {"coverage/kernel_log"}


def test_too_many_subjects_share_one_place(tmp_path: Path) -> None:
    lines = b"".join(b"<6>[    1.000000] evil%d[1]: segfault at 0\n" % n for n in range(1000))
    found = events(KernelLogCollector().collect(host_of(tmp_path, {"kmsg": lines}), 0.0))
    assert len(found) == MAX_SUBJECTS + 1
    assert found[f"kernel/segfault/{OTHERS}"].count == 1000 - MAX_SUBJECTS


class FakeLog:
    """/dev/kmsg as a pipe of records: each read(2) gives one, as the kernel does."""

    def __init__(self) -> None:
        import socket

        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.descriptor = ours.detach()

    def say(self, seq: int, at: float, text: str) -> None:
        self._theirs.send(f"3,{seq},{round(at * 1e6)},-;{text}\n".encode())

    def close(self) -> None:
        self._theirs.close()


class FakeHost:
    """A live host with such a log, or one that refuses."""

    live = True

    def __init__(self, log: FakeLog | None) -> None:
        self._log = log

    def descriptor(self, path: str) -> int:
        assert path == "dev/kmsg"
        if self._log is None:
            raise ReadError(Failure.DENIED, "/dev/kmsg", "operation not permitted", "CAP_SYSLOG")
        return self._log.descriptor


def test_a_live_log_is_followed_looks_back_a_little_and_tells_what_it_missed() -> None:
    with contextlib.closing(FakeLog()) as log:
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        log.say(1, now - 5000, "I/O error, dev old, sector 1")
        log.say(2, now - 60, "I/O error, dev sdb, sector 1")
        host, collector = FakeHost(log), KernelLogCollector()
        (source,) = collector.sources(host).sources  # type: ignore[arg-type]  # the part of a host that is asked
        with contextlib.closing(source):
            first = collector.collect(host, 1e9)  # type: ignore[arg-type]
            assert set(events(first)) == {"kernel/io_error/sdb"}
            assert events(first)["kernel/io_error/sdb"].first_unix_ms == pytest.approx((1e9 - 60) * 1000, abs=2000)
            assert collector.collect(host, 1e9 + 1).items.keys() == first.items.keys()  # type: ignore[arg-type]
            log.say(40, now, "I/O error, dev sdb, sector 2")
            later = collector.collect(host, 1e9 + 2)  # type: ignore[arg-type]
            assert events(later)["kernel/io_error/sdb"].count == 2
            assert "at least 10 messages" in later.items["coverage/kernel_log/overrun"].coverage.because


def test_a_log_that_may_not_be_read_is_told_with_what_would_enable_it() -> None:
    collector, host = KernelLogCollector(), FakeHost(None)
    assert not collector.sources(host).sources  # type: ignore[arg-type]
    gap = collector.collect(host, 0.0).items["coverage/kernel_log"].coverage  # type: ignore[arg-type]
    assert "operation not permitted" in gap.because
    assert gap.remedy == "CAP_SYSLOG"


def test_what_was_overwritten_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(FakeLog()) as log:
        log.say(1, 1.0, "first")
        with contextlib.closing(KernelLog(FakeHost(log))) as kernel_log:  # type: ignore[arg-type]
            real, trouble = os.read, [OSError(errno.EPIPE, "overwritten")] * 3

            def read(descriptor: int, most: int) -> bytes:
                if trouble:
                    raise trouble.pop()
                return real(descriptor, most)

            log.say(9, 2.0, "later")
            monkeypatch.setattr(os, "read", read)
            assert [each.seq for each in kernel_log.records()] == [1, 9]
            assert kernel_log.lost == 7


def test_a_log_that_fails_while_it_is_followed_is_told_and_not_asked_for_ever() -> None:
    with contextlib.closing(FakeLog()) as log:
        host, collector = FakeHost(log), KernelLogCollector()
        (source,) = collector.sources(host).sources  # type: ignore[arg-type]
        source.close()
        gap = collector.collect(host, 0.0).items["coverage/kernel_log"].coverage  # type: ignore[arg-type]
        assert gap.because.startswith("/dev/kmsg: Bad file descriptor")
        with pytest.raises(OSError, match="Bad file descriptor"):
            source.take()


def test_a_log_that_opens_and_refuses_to_be_read_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _most: int) -> bytes:
        raise OSError(errno.EPERM, "Operation not permitted")

    with contextlib.closing(FakeLog()) as log:
        monkeypatch.setattr(os, "read", refuse)
        with pytest.raises(ReadError, match="/dev/kmsg: Operation not permitted") as caught:
            KernelLog(FakeHost(log))  # type: ignore[arg-type]
        assert caught.value.failure is Failure.DENIED


@pytest.mark.needs_root
def test_the_log_of_this_host() -> None:
    if os.geteuid() != 0 or not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("needs: root and /dev/kmsg")
    host, collector = live_host("here"), KernelLogCollector()
    try:
        (source,) = collector.sources(host).sources
        with contextlib.closing(source):
            Path("/dev/kmsg").write_text(f"<3>I/O error, dev forged{os.getpid()}, sector 1\n")
            found = events(collector.collect(host, time.time()))
            assert not [key for key in found if "forged" in key]
            assert all(event.last_unix_ms <= time.time() * 1000 + 1000 for event in found.values())
    finally:
        host.network.close()
