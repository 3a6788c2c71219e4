"""Unpacks a bundle's .tar.gz that a stranger may have made.

Nothing is written outside the target directory, no device or pipe is made, and neither memory nor disk fills up. A
member that is refused is told; the others are good. Links are made last, when nothing is written any more, so that no
member can be written through one; whoever reads checks where they lead.
"""

from __future__ import annotations

import errno
import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agent.host import Failure, ReadError
from agent.hosts.files import printable

_PIECE = 1 << 16
_HEADER_BYTES = 1 << 20
_TOLD = 100
_DEEP = 64
"""Folders within each other. Of more, whoever takes them away again may despair."""
_BEYOND = 100
"""Reads at the end of the stream. tarfile passes over a member by reading it, and does not look at what it gets."""
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may unpack to."""

    unpacked_bytes: int = 1 << 30
    members: int = 200_000
    """Likewise folders that members lie in and are none themselves."""
    json_bytes: int = 256 << 20
    """Of a single .json file; one that is longer is left out."""


LIMITS = Limits()


class ArchiveError(Exception):
    """The archive is refused or unreadable as a whole: why, one line."""


@dataclass(slots=True)
class _Unpacked:
    """The tar stream within the gzip, counted."""

    stream: gzip.GzipFile
    limit: int
    total: int = 0
    header_left: int = _HEADER_BYTES
    """How much may be read before the next member is known. tarfile holds names of any length in memory."""
    tail: bytes = b""
    beyond: int = 0
    """How often more was wanted than there is."""

    def read(self, size: int) -> bytes:
        """For tarfile, which reads in its own buffer's size."""
        data = self.stream.read(size)
        if not data and size:
            self.beyond += 1
            if self.beyond > _BEYOND:  # it would go on for as long as a header says that the member is
                raise tarfile.ReadError("the archive ends in the middle of a member")
        self.total += len(data)
        self.header_left -= len(data)
        if self.total > self.limit:
            raise ArchiveError(f"unpacks to more than {self.limit} bytes: refused")
        if self.header_left < 0:
            raise ArchiveError("a member's header of more than 1 MiB: refused")
        self.tail = (self.tail + data)[-2 * tarfile.RECORDSIZE :]
        return data

    def at(self, offset: int) -> bytes:
        """The 512-byte block at an offset that was read not long ago."""
        start = offset - (self.total - len(self.tail))
        return self.tail[start : start + tarfile.BLOCKSIZE] if start >= 0 else b""


@dataclass(slots=True)
class _Extraction:
    into: Path
    limits: Limits
    place: str
    problems: list[ReadError] = field(default_factory=list)
    untold: int = 0
    written: int = 0
    files: int = 0
    folders: int = 0
    links: list[tuple[Path, str]] = field(default_factory=list)

    def refuse(self, name: str, reason: str, failure: Failure = Failure.DAMAGED) -> None:
        if len(self.problems) < _TOLD:
            self.problems.append(ReadError(failure, f"{self.place}: {printable(name)}", reason))
        else:
            self.untold += 1


def extract(archive: Path, into: Path, limits: Limits = LIMITS) -> list[ReadError]:
    """Unpack into an empty directory; what was refused or damaged.

    Raises ArchiveError if it is no .tar.gz, exceeds a limit, or nothing in it can be read; OSError if it cannot be
    opened or the directory cannot be written to.
    """
    extraction = _Extraction(into, limits, archive.name)
    with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed, mode="rb") as plain:
        unpacked = _Unpacked(plain, limits.unpacked_bytes)
        try:
            _members(unpacked, extraction)
        except (
            *_BROKEN,
            ValueError,
            IndexError,
            OverflowError,
            RecursionError,
        ) as error:  # the latter four: senseless headers
            if not extraction.files:
                raise ArchiveError(f"not a readable .tar.gz: {error}") from error
            reason = f"damaged after {unpacked.total} unpacked bytes ({error}); what comes before is read"
            extraction.problems.append(ReadError(Failure.DAMAGED, archive.name, reason))
    _make_links(extraction)
    if extraction.untold:
        extraction.problems.append(
            ReadError(Failure.DAMAGED, archive.name, f"{extraction.untold} more members were refused")
        )
    return extraction.problems


def _members(unpacked: _Unpacked, extraction: _Extraction) -> None:
    with tarfile.open(fileobj=unpacked, mode="r|", bufsize=tarfile.RECORDSIZE) as tar:  # type: ignore[call-overload]
        count = 0
        while True:
            unpacked.header_left = _HEADER_BYTES
            member = tar.next()
            if member is None:
                break
            count += 1
            if count > extraction.limits.members:
                raise ArchiveError(f"more than {extraction.limits.members} members: refused")
            unpacked.header_left = extraction.limits.unpacked_bytes
            tar.members.clear()  # it would remember them all
            _member(tar, member, extraction)
        # A damaged header ends tarfile's iteration like the end of the archive does, which is a block of zeros.
        if any(unpacked.at(tar.offset)):
            raise tarfile.ReadError(f"no valid header at offset {tar.offset}")


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, extraction: _Extraction) -> None:
    if extraction.written + member.size > extraction.limits.unpacked_bytes:  # a sparse file is longer than the stream
        raise ArchiveError(f"unpacks to more than {extraction.limits.unpacked_bytes} bytes: refused")
    target = _target(member.name, extraction)
    data = tar.extractfile(member) if member.isreg() else None
    if target is not None:
        try:
            _place(member, data, target, extraction)
        except (OSError, ValueError) as error:  # too long a name or a NUL in it, a file where a directory should be
            if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
                raise
            extraction.refuse(member.name, f"cannot be written: {getattr(error, 'strerror', None) or error}")
    if data is not None:
        while data.read(_PIECE):  # what was refused is read over in pieces
            pass


def _folder(path: Path, extraction: _Extraction) -> None:
    """Make a folder and those above it, however many. Raises ArchiveError, OSError."""
    missing = []
    while path != extraction.into and not path.is_dir():
        missing.append(path)
        path = path.parent
    extraction.folders += len(missing)
    if extraction.folders > extraction.limits.members:
        raise ArchiveError(f"more than {extraction.limits.members} folders: refused")
    for folder in reversed(missing):
        folder.mkdir()


def _target(name: str, extraction: _Extraction) -> Path | None:
    """Where a member goes; None if it may go nowhere."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/") or ".." in parts:
        extraction.refuse(name, "a path that leaves the bundle: refused")
        return None
    if len(parts) > _DEEP:
        extraction.refuse(name, f"more than {_DEEP} folders deep: refused")
        return None
    return extraction.into.joinpath(*parts)


def _place(member: tarfile.TarInfo, data: IO[bytes] | None, target: Path, extraction: _Extraction) -> None:
    if member.isdir():
        _folder(target, extraction)
    elif data is not None:
        _file(member, data, target, extraction)
    elif member.issym():
        extraction.links.append((target, member.linkname))
    elif member.islnk():
        source = _target(member.linkname, extraction)
        if source is not None:
            _folder(target.parent, extraction)
            os.link(source, target, follow_symlinks=False)
    else:
        extraction.refuse(member.name, "a device, pipe or unknown kind of member: refused")


def _file(member: tarfile.TarInfo, data: IO[bytes], target: Path, extraction: _Extraction) -> None:
    limits = extraction.limits
    if target.suffix == ".json" and member.size > limits.json_bytes:
        extraction.refuse(member.name, f"a JSON file of more than {limits.json_bytes} bytes: refused")
        return
    _folder(target.parent, extraction)
    target.unlink(missing_ok=True)  # a later member of the same name replaces, and a hard link's other name stays
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            while piece := data.read(_PIECE):
                file.write(piece)
                extraction.written += len(piece)
    except _BROKEN:
        target.unlink()  # half a file would be taken for a whole one
        extraction.refuse(member.name, "the archive ends in the middle of it")
        raise
    extraction.files += 1


def _make_links(extraction: _Extraction) -> None:
    root = os.path.realpath(extraction.into)
    made = []
    for target, points_to in extraction.links:
        name = str(target.relative_to(extraction.into))
        try:
            # Earlier links may lead this one elsewhere than its name says.
            inside = within(root, target.parent) and within(root, target.parent / points_to)
            if os.path.isabs(points_to) or not inside:
                extraction.refuse(name, "a link that leaves the bundle: refused")
                continue
            _folder(target.parent, extraction)
            target.symlink_to(points_to)
            if _leads_to_itself(target):  # of which realpath says what it likes, and of what leads through it
                target.unlink()
                extraction.refuse(name, "a link that leads nowhere: refused")
                continue
            made.append(target)
        except (OSError, ValueError) as error:
            extraction.refuse(name, f"cannot be linked: {getattr(error, 'strerror', None) or error}")
    for target in made:  # a later one may lead an earlier one elsewhere, too
        if not within(root, target):
            target.unlink()
            extraction.refuse(str(target.relative_to(extraction.into)), "a link that leaves the bundle: refused")


def _leads_to_itself(link: Path) -> bool:
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def within(root: str, path: Path) -> bool:
    """Whether a path, all links followed, lies in `root`, which is a real path itself."""
    real = os.path.realpath(path)
    return real == root or real.startswith(root + os.sep)
