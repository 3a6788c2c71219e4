"""Uevents: the kernel's own, damaged and forged ones, and those of a real loop device."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events.uevents import BlockEvents, Uevent, parse_uevent
from tests import needs

LOOP = (
    b"change@/devices/virtual/block/loop0\0ACTION=change\0DEVPATH=/devices/virtual/block/loop0\0SUBSYSTEM=block\0"
    b"DISK_MEDIA_CHANGE=1\0MAJOR=7\0MINOR=0\0DEVNAME=loop0\0DEVTYPE=disk\0DISKSEQ=51\0SEQNUM=2210\0"
)
PARTITION = (
    b"add@/devices/pci0000:00/nvme/nvme1/nvme1n1/nvme1n1p1\0ACTION=add\0SUBSYSTEM=block\0MAJOR=259\0MINOR=5\0"
    b"DEVNAME=nvme1n1p1\0DEVTYPE=partition\0DISKSEQ=9\0PARTN=1\0SEQNUM=1\0"
)


def test_a_disk_and_a_partition() -> None:
    assert parse_uevent(LOOP) == Uevent("change", "loop0", "7:0", whole_disk=True, media_change=True, diskseq=51)
    event = parse_uevent(PARTITION)
    assert event == Uevent("add", "nvme1n1p1", "259:5", whole_disk=False, media_change=False, diskseq=9)


def test_before_disk_numbers_there_is_none() -> None:
    event = parse_uevent(LOOP.replace(b"DISKSEQ=51\0", b""))
    assert event is not None
    assert event.diskseq == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 100,
        b"libudev\0\xfe\xed\xca\xfe" + LOOP,
        LOOP.replace(b"SUBSYSTEM=block", b"SUBSYSTEM=net"),
        LOOP.replace(b"MAJOR=7", b"MAJOR=-7"),
        LOOP.replace(b"MAJOR=7", b"MAJOR=" + b"7" * 5000),
        LOOP.replace(b"DEVNAME=loop0\0", b""),
        LOOP.replace(b"ACTION=change", b"ACTION=explode"),
        LOOP[:60],
    ],
)
def test_what_is_no_event_of_a_block_device(raw: bytes) -> None:
    assert parse_uevent(raw) is None


def test_a_message_without_an_end_is_understood_as_far_as_it_goes() -> None:
    event = parse_uevent(LOOP[:-1] + b"\0" + b"X" * 60_000)
    assert event is not None
    assert event.name == "loop0"


def test_a_name_is_printable_and_not_endless() -> None:
    event = parse_uevent(LOOP.replace(b"DEVNAME=loop0", b"DEVNAME=" + b"\n\xff" * 4000))
    assert event is not None
    assert event.name.isprintable()
    assert len(event.name) <= 64


@given(st.binary(max_size=300))
def test_no_message_raises(raw: bytes) -> None:
    parse_uevent(raw)
    parse_uevent(b"add@/x\0SUBSYSTEM=block\0ACTION=add\0" + raw)


@given(st.lists(st.sampled_from([*LOOP.split(b"\0"), b"MAJOR=", b"=", b"MINOR=99999999999999999999"]), max_size=12))
def test_no_order_of_fields_raises(fields: list[bytes]) -> None:
    parse_uevent(b"\0".join(fields))


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A loop device with a file behind it."""
    needs.loop_devices()
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    device = subprocess.run(
        ["losetup", "-f", "--show", image], capture_output=True, text=True, check=True
    ).stdout.strip()
    yield device
    subprocess.run(["losetup", "-d", device], capture_output=True, check=False)


@pytest.mark.needs_root
def test_a_real_device_goes(loop: str) -> None:
    with contextlib.closing(BlockEvents()) as events:
        while events.take():
            pass
        events.looked_at()
        began = time.time()
        subprocess.run(["losetup", "-d", loop], check=True)
        poll = select.poll()
        poll.register(events, events.mask)
        found: list[Uevent] = []
        while not any(event.name == Path(loop).name and event.media_change for event in found):
            assert poll.poll(5000), found
            if events.take():
                assert events.happened_at is not None
                assert began - 1 < events.happened_at <= time.time()
                found += events.looked_at()
        assert events.happened_at is None


@pytest.mark.needs_root
def test_only_the_kernel_is_believed() -> None:
    needs.root_netns()
    with contextlib.closing(BlockEvents()) as events:
        while events.take():
            pass
        events.looked_at()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as forger:
            for forged in (LOOP, b"\xff" * 20_000):
                forger.sendto(forged, (0, 1))
                forger.sendto(forged, (events_port(events), 0))
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            events.take()
            time.sleep(0.02)
        assert all(event.diskseq != 51 for event in events.looked_at())


def events_port(events: BlockEvents) -> int:
    """Its address, which a forger could send to directly."""
    with socket.socket(fileno=socket.dup(events.fileno())) as same:
        port: int = same.getsockname()[0]
        return port


@pytest.mark.needs_root
def test_a_full_buffer_is_an_overrun_and_a_reason_to_look() -> None:
    needs.uevent_trigger()
    with contextlib.closing(BlockEvents(receive_buffer=1)) as events:
        trigger = next(Path("/sys/block").iterdir()) / "uevent"
        for _ in range(200):
            trigger.write_text("change")
        assert events.take()
        assert events.overruns >= 1
        trigger.write_text("change")
        assert events.take()
        assert events.looked_at()
