"""What the kernel sends unasked: uevents, and fanotify's errors of file systems with the marks it says it has."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable

from agent.events.fs_errors import parse_events, parse_marks
from agent.events.uevents import parse_uevent
from fuzz import mutators
from fuzz.target import MutateBytes, Target

_FID = struct.pack("=BBHII", 1, 0, 12, 0xABCD, 0x1234)
_ERROR = struct.pack("=BBHiI", 5, 0, 12, 117, 3)
_EVENT = struct.pack("=IBBHQii", 24 + 24, 3, 0, 24, 0x8000, -1, 0) + _FID + _ERROR
_UEVENT = (
    b"add@/devices/pci0/block/nvme1n1\0ACTION=add\0DEVPATH=/devices/pci0/block/nvme1n1\0SUBSYSTEM=block\0"
    b"MAJOR=259\0MINOR=2\0DEVNAME=nvme1n1\0DEVTYPE=disk\0DISKSEQ=12\0DISK_MEDIA_CHANGE=1\0SEQNUM=4\0"
)
_MARKS = b"pos:\t0\nflags:\t02004002\nmnt_id:\t15\nfanotify flags:203 event-flags:80000\nfanotify sdev:800001 mflags:0 "
_MARKS += b"mask:8000 ignored_mask:0\nfanotify sdev:fe00000 mflags:0 mask:40008000 ignored_mask:0\n"


def check(case: bytes) -> None:
    """What cannot be understood ends a batch and loses nothing before it; a uevent is a block device's or none."""
    errors, lost = parse_events(case)
    assert len(errors) <= len(case) // 24
    before = parse_events(_EVENT)[0]
    assert parse_events(_EVENT + case) == (before + errors, lost)
    for error in errors:
        assert len(error.fsid) in (0, 16)
        assert error.error >= 0
        assert 0 <= error.count < 1 << 32
    event = parse_uevent(case)
    if event is not None:
        assert 0 < len(event.name) <= 64
        assert event.name.isprintable()
        major, _, minor = event.dev.partition(":")
        assert major.isdigit()
        assert minor.isdigit()
    assert all(mark.count(":") == 1 for mark in parse_marks(case))
    assert parse_marks(_MARKS + case) >= parse_marks(_MARKS)


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """Fields of a uevent as lines of a text, whole events, or bytes."""
    step = chance.randrange(4)
    if step == 0:
        return mutate_bytes(case, most)
    if step == 1:
        return case + chance.choice((_EVENT, _EVENT[: chance.randrange(48)], _EVENT[:24]))
    if b"\0" in case and b"=" in case:
        return mutators.lines(case.replace(b"\0", b"\n"), most, chance, mutate_bytes).replace(b"\n", b"\0")
    return mutators.lines(case, most, chance, mutate_bytes)


def _seeds() -> Iterable[bytes]:
    yield from (_EVENT, _EVENT + _EVENT, _UEVENT, _UEVENT.replace(b"block\0MAJOR", b"net\0MAJOR"), _MARKS)
    yield struct.pack("=IBBHQii", 24, 3, 0, 24, 0x4000, -1, 0)


TARGET = Target(check, _seeds, words=(b"SUBSYSTEM=block", b"MAJOR=", b"fanotify sdev:"), mutate=mutate, max_bytes=512)
