"""What wakes the collector of volumes: real mounts, and what is done where something cannot be listened to."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import cast

import pytest

from agent.collectors.disks import DisksCollector
from agent.collectors.volumes import VolumesCollector
from agent.events.mounts import MountEvents
from agent.events.storage_log import StorageTrouble
from agent.host import Failure, Host, ReadError
from agent.hosts.live import LiveHost, live_host
from tests import needs
from tests.recorded import host_of, write_files


def ready(source: MountEvents, within_s: float) -> bool:
    poll = select.poll()
    poll.register(source, source.mask)
    return bool(poll.poll(within_s * 1000))


@pytest.mark.needs_root
def test_a_mount_and_its_end_are_told(tmp_path: Path) -> None:
    needs.loop_devices()
    needs.mounts_of_pid_1()
    host = live_host("here")
    with contextlib.closing(host.network), contextlib.closing(MountEvents(host)) as events:
        began = time.time()
        subprocess.run(["mount", "-t", "tmpfs", "nt-test", tmp_path], check=True)
        try:
            assert ready(events, 5)
            assert events.take()
            assert events.happened_at is not None
            assert began - 1 < events.happened_at <= time.time()
        finally:
            subprocess.run(["umount", tmp_path], check=True)
        assert ready(events, 5)


def fake_host(tmp_path: Path, *mountinfo: str) -> LiveHost:
    """A live host made of files."""
    write_files(tmp_path, {"sys/class/net/": b"", **{f"proc/{name}/mountinfo": b"" for name in mountinfo}})
    places = {name: str(tmp_path / name) for name in ("proc", "sys", "kubelet", "dev", "udev")}
    return live_host("n", **places)


def test_where_pid_1_is_hidden_the_agents_own_mounts_are_watched(tmp_path: Path) -> None:
    with contextlib.closing(MountEvents(fake_host(tmp_path, "self"))) as events:
        assert os.readlink(f"/proc/self/fd/{events.fileno()}").endswith("/proc/self/mountinfo")


def test_without_either_the_first_error_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"proc/1/mountinfo: pid 1 is hidden"):
        MountEvents(fake_host(tmp_path))


def test_a_recorded_host_has_nothing_to_wait_for(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/1/mountinfo": b""})
    with pytest.raises(ReadError) as caught:
        host.descriptor("proc/1/mountinfo")
    assert caught.value.failure is Failure.ABSENT


def test_a_path_out_of_the_host_is_refused_for_waiting_too(tmp_path: Path) -> None:
    host = fake_host(tmp_path, "1")
    for path in ("proc/../etc/passwd", "etc/passwd", "/etc/passwd"):
        with pytest.raises(ReadError):
            host.descriptor(path)


def test_what_cannot_be_listened_to_is_named_and_the_rest_is_listened_to(tmp_path: Path) -> None:
    opened = VolumesCollector().sources(fake_host(tmp_path, "1"))
    for source in opened.sources:
        source.close()
    (problem,) = (each for each in opened.problems if each.place.endswith("kmsg"))
    assert "CAP_SYSLOG" in problem.remedy
    assert any(isinstance(source, MountEvents) for source in opened.sources)


def test_a_device_may_have_changed_without_its_statistics_telling(tmp_path: Path) -> None:
    files = {"proc/diskstats": b" 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n", "sys/block/sda/device/serial": b"one\n"}
    host, collector = host_of(tmp_path, files), DisksCollector()

    class Told:
        told = False

        def looked_at(self) -> list[str]:
            told, self.told = self.told, False
            return ["change"] if told else []

    collector._events = events = Told()  # type: ignore[assignment]  # what it does with events is the question
    assert collector.collect(host, 0.0).items["disk/8:0"].disk.serial == "one"
    (tmp_path / "nodes/n/sys/block/sda/device/serial").write_bytes(b"two\n")
    assert collector.collect(host, 1.0).items["disk/8:0"].disk.serial == "one"
    events.told = True
    assert collector.collect(host, 2.0).items["disk/8:0"].disk.serial == "two"


class LogHost:
    """A host whose kernel log is a pair of sockets: each read(2) gives a record."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def descriptor(self, path: str) -> int:
        assert path == "dev/kmsg"
        return self._descriptor


def test_of_the_kernels_log_only_storage_in_trouble_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "lseek", lambda *_: 0)  # sockets have no end to go to
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with theirs, contextlib.closing(StorageTrouble(cast(Host, LogHost(ours.detach())))) as trouble:
        numbers = itertools.count(1)

        def said(*texts: str, skip: int = 0) -> bool:
            for _ in range(skip):
                next(numbers)
            for text in texts:
                theirs.send(f"3,{next(numbers)},1000000,-;{text}\n".encode())
            return trouble.take()

        assert not said()
        assert not said("eth0: renamed", "etcd[1]: segfault at 0")
        assert trouble.happened_at is None
        for text in ("I/O error, dev sdb, sector 1", "EXT4-fs error (device sdb): x", "XFS (sdb): log I/O error -5"):
            trouble.happened_at = None
            assert said("noise", text)
            assert trouble.happened_at is not None
        assert said("noise after a gap", skip=40)
