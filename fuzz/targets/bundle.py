"""Bundles that a stranger made: .tar.gz to a directory, to snapshots and hosts."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from agent.host import ReadError
from agent.hosts.archive import ArchiveError, Limits, extract, within
from agent.hosts.bundle import BundleError, open_bundle
from fuzz.target import MutateBytes, Target

GZIPPED = b"\x1f\x8b"
"""A case that begins so is the file itself; any other is the tar stream within it."""
LIMITS = Limits(unpacked_bytes=1 << 20, members=200, json_bytes=4_096)
_CANARY = b"not to be touched"
_BLOCK = tarfile.BLOCKSIZE


@cache
def _place() -> Path:
    """A directory in memory, with something beside where bundles go that none may touch."""
    above = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # memory, if there is such a place
    made = Path(tempfile.mkdtemp(prefix="nodetell-fuzz-", dir=above))
    import atexit

    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / "canary").write_bytes(_CANARY)
    return made


def check(case: bytes) -> None:
    """Nothing leaves the directory, is a device or is too much; what can be read is read, and never from elsewhere."""
    place = _place()
    packed = case if case.startswith(GZIPPED) else gzip.compress(case, 0)
    archive, into = place / "x.tar.gz", place / "into"
    archive.write_bytes(packed)
    into.mkdir()
    try:
        _extracted(archive, into)
        if zlib.crc32(case) % 8 == 0:
            _opened(archive)
    finally:
        _remove(into)
    assert sorted(os.listdir(place)) == ["canary", "x.tar.gz"]
    assert (place / "canary").read_bytes() == _CANARY


def _extracted(archive: Path, into: Path) -> None:
    try:
        problems = extract(archive, into, LIMITS)
    except (ArchiveError, OSError) as error:
        assert "\n" not in str(error)
        problems = []
    assert len(problems) <= 102
    for problem in problems:
        assert "\n" not in str(problem)
    total = members = 0
    real = os.path.realpath(into)
    for directory, folders, names in os.walk(into):
        for name in (*folders, *names):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            assert kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
            members += 1
            if kind == stat.S_IFLNK:
                assert within(real, Path(path))
                assert not os.path.isabs(os.readlink(path))
            elif kind == stat.S_IFREG:
                assert not status.st_mode & 0o7133
                total += status.st_size // status.st_nlink
    assert total <= LIMITS.unpacked_bytes
    assert members <= 2 * LIMITS.members


def _opened(archive: Path) -> None:
    usual, tempfile.tempdir = tempfile.tempdir, str(archive.parent)
    try:
        bundle = open_bundle(archive, LIMITS)
    except BundleError as error:
        assert "\n" not in str(error)
        return
    finally:
        tempfile.tempdir = usual
    with bundle:
        assert [each.at for each in bundle.snapshots] == sorted(each.at for each in bundle.snapshots)
        for snapshot in bundle.snapshots:
            assert snapshot.at > 0 or not snapshot.hosts
            for host in snapshot.hosts.values():
                with contextlib.suppress(ReadError):
                    assert host.read("canary") != _CANARY
                with contextlib.suppress(ReadError):
                    host.document("fsync.json")
                with contextlib.suppress(ReadError):
                    host.clock()
                with contextlib.suppress(ReadError):
                    host.network.inventory()


def _remove(into: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(into)


Member = tuple[str, bytes, str, bytes]
"""Name, type, where it links to, contents."""


def tar_of(members: Iterable[Member]) -> bytes:
    """A tar stream of these."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK) as tar:
        for name, kind, target, contents in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, len(contents)
            tar.addfile(info, io.BytesIO(contents))
    whole = held.getvalue()
    return whole[: (len(whole.rstrip(b"\0")) + _BLOCK - 1) // _BLOCK * _BLOCK + 2 * _BLOCK]


_FILE, _DIRECTORY, _SYMLINK, _HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
_BUNDLE = json.dumps(
    {"format": 1, "cluster": "c", "snapshots": [{"name": "t0", "at": "2026-01-02T03:04:05Z"}]}
).encode()
_MEMBERS: tuple[Member, ...] = (
    ("b/bundle.json", _FILE, "", _BUNDLE),
    ("b/t0/nodes/node-1/proc/stat", _FILE, "", b"btime 1790000000\ncpu0 1\n"),
    ("b/t0/nodes/node-1/clock.json", _FILE, "", b'{"synchronized": true}'),
    ("b/t0/nodes/node-1/canary", _SYMLINK, "../../../../../canary", b""),
    ("b/t0/kube/nodes.json", _FILE, "", b'{"kind":"List","items":[{"creationTimestamp":"2026-01-02T03:04:05Z"}]}'),
)
_HOSTILE: tuple[tuple[Member, ...], ...] = (
    (("../canary", _FILE, "", b"x"),),
    (("/canary", _FILE, "", b"x"), ("nodes/a/f", _FILE, "", b"x")),
    (("nodes", _SYMLINK, "..", b""), ("nodes/canary", _FILE, "", b"x")),
    (("nodes/a/l", _SYMLINK, "..", b""), ("nodes/a/l/l/canary", _SYMLINK, "../../canary", b"")),
    (("f", _FILE, "", b"x"), ("g", _HARD, "../canary", b""), ("h", _HARD, "f", b""), ("f", _FILE, "", b"y")),
    (
        ("nodes/d", tarfile.CHRTYPE, "", b""),
        ("nodes/p", tarfile.FIFOTYPE, "", b""),
        ("nodes/b", tarfile.BLKTYPE, "", b""),
    ),
    (("kube/pods.json", _FILE, "", b"[" * 1_100), ("nodes/n/clock.json", _FILE, "", b"[" * 1_500)),
    (("n" * 300, _FILE, "", b"x"), ("a/" * 20 + "z", _FILE, "", b""), ("kube", _DIRECTORY, "", b"")),
    (("nodes/n/proc/uptime", _FILE, "", b"5.0 1\n"), ("nodes/n/proc/stat", _FILE, "", b"btime 1\n")),
)


def _seeds() -> Iterable[bytes]:
    yield tar_of(_MEMBERS)
    for at in range(len(_MEMBERS)):
        yield tar_of(_MEMBERS[at : at + 1])
    for members in _HOSTILE:
        yield tar_of(members)
    yield gzip.compress(tar_of(_MEMBERS))
    yield gzip.compress(bytes(1 << 21))
    yield gzip.compress(tar_of(_MEMBERS))[:-20]


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """Members one by one: name, type, target, contents or order; or a header's field, its checksum made right again."""
    if case.startswith(GZIPPED) or chance.randrange(8) == 0:
        return mutate_bytes(case, most)
    if chance.randrange(3) == 0:
        return _header(case, chance, mutate_bytes)
    try:
        members = _members_of(case)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, IndexError):
        return mutate_bytes(case, most)
    if not members:
        return tar_of(_MEMBERS)
    with contextlib.suppress(ValueError, OverflowError, tarfile.TarError, IndexError):
        _change(members, chance, mutate_bytes)
        return tar_of(members)
    return case


def _change(members: list[Member], chance: random.Random, mutate_bytes: MutateBytes) -> None:
    """One of them, or their order."""
    at, step = chance.randrange(len(members)), chance.randrange(9)
    name, kind, target, contents = members[at]
    words = (
        name,
        target,
        *(each[0] for each in members),
        "..",
        ".",
        "/",
        "a",
        "nodes",
        "kube",
        "bundle.json",
        "x.json",
    )
    if step == 0:
        del members[at]
    elif step == 1:
        members.insert(chance.randrange(len(members) + 1), members[at])
    elif step == 2:
        members[at] = "/".join(chance.choice(words) for _ in range(chance.randrange(1, 4))), kind, target, contents
    elif step == 3:
        members[at] = name, _SYMLINK, "/".join(chance.choice(words) for _ in range(chance.randrange(1, 4))), b""
    elif step == 4:
        members[at] = name, _HARD, chance.choice(words), b""
    elif step == 5:
        members[at] = name, bytes([chance.randrange(0x30, 0x38)]), target, contents
    elif step == 6:
        members.append(chance.choice(chance.choice((_MEMBERS, *_HOSTILE))))
    elif step == 7:
        members[at] = name, kind, target, mutate_bytes(contents, 2_000) if contents else b"{}"
    else:
        text = mutate_bytes(name.encode("utf-8", "surrogateescape"), 120).decode("utf-8", "surrogateescape")
        members[at] = text, kind, target, contents


def _members_of(case: bytes) -> list[Member]:
    found: list[Member] = []
    with tarfile.open(fileobj=io.BytesIO(case), mode="r:") as tar:
        for info in tar:
            held = tar.extractfile(info) if info.isreg() and info.size < len(case) else None
            found.append((info.name, info.type, info.linkname, held.read() if held is not None else b""))
            if len(found) > 40:
                break
    return found


def _header(case: bytes, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One header of the stream, a field of it mutated."""
    if len(case) < _BLOCK:
        return case
    at = chance.randrange(len(case) // _BLOCK) * _BLOCK
    head = bytearray(case[at : at + _BLOCK])
    start, length = chance.choice(
        ((0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155), (136, 12), (124, 12))
    )
    piece = mutate_bytes(bytes(head[start : start + length]), length).ljust(length, b"\0")
    if length == 12 and chance.randrange(2):
        piece = chance.choice(
            (b"77777777777\0", b"\x80" + bytes(10) + b"\xff", b"-0000000001\0", b"\xff" * 12, b"00000001000\0")
        )
    head[start : start + length] = piece
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % (sum(head) & 0o777777)
    return case[:at] + bytes(head) + case[at + _BLOCK :]


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=4_608)
