"""Parsing of /proc/PID/mountinfo: which file systems are mounted where, and whether they have gone read-only."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
_DEV = re.compile(rb"\d{1,10}:\d{1,10}")

# Storage that is shared over a network or with a hypervisor: no device of this host is behind it.
_REMOTE = frozenset(
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ceph",
        "glusterfs",
        "9p",
        "virtiofs",
        "lustre",
        "gpfs",
        "beegfs",
        "afs",
        "ocfs2",
        "gfs2",
        "pvfs2",
        "orangefs",
    ]
)
# File systems on devices that show under an anonymous number ("0:N").
_ANONYMOUS = frozenset({"btrfs", "zfs", "bcachefs"})
_NO_STORAGE = frozenset({"devtmpfs", "tmpfs", "overlay", "proc", "sysfs", "cgroup", "cgroup2"})


@dataclass(frozen=True, slots=True)
class MountLine:
    """One line."""

    id: int
    dev: str
    """"major:minor"."""
    root: str
    mount_point: str
    options: tuple[str, ...]
    """Of this mount."""
    fs_type: str
    source: str
    fs_options: tuple[str, ...]
    """Of the file system itself: the words after " - TYPE SOURCE "."""

    @property
    def fs_read_only_word(self) -> str:
        """The word that says that the file system is read-only; empty: it is writable.

        An ext4 that hit an error under errors=remount-ro says "emergency_ro" since Linux 6.15 and leaves everything
        else "rw"; before 6.12 it says "ro" here and still "rw" among the mount's own options.
        """
        return next((word for word in ("emergency_ro", "ro") if word in self.fs_options), "")

    @property
    def read_only(self) -> bool:
        """This mount is read-only, whatever the file system is."""
        return "ro" in self.options

    @property
    def is_storage(self) -> bool:
        """A file system on a block device or over a network: what can fill up, fail or be attached elsewhere."""
        if self.fs_type in _NO_STORAGE:
            return False
        on_device = not self.dev.startswith("0:") or self.fs_type in _ANONYMOUS
        return (
            on_device or self.fs_type in _REMOTE or self.fs_type.startswith("fuse.") or self.source.startswith("/dev/")
        )


def parse_mountinfo(raw: bytes, known: dict[bytes, MountLine] | None = None) -> tuple[list[MountLine], list[str]]:
    """All mounts in the kernel's order: one over another comes after it.

    `known` holds the lines of the call before and then of this one: of a thousand lines few change at a time.
    A damaged line is a problem, and the others are good.
    Source: proc_pid_mountinfo(5), show_mountinfo() in fs/proc_namespace.c.
    """
    mounts: dict[int, MountLine] = {}
    problems = []
    before, lines = dict(known or {}), {} if known is None else known
    lines.clear()
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line:
            continue
        mount = before.get(line) or _mount(line)
        if mount is None:
            problems.append(f"line {number}: not a mount ({len(line):,} bytes)")  # may have a password in it
        elif mount.id in mounts:
            problems.append(f"line {number}: mount {mount.id} for the second time")
        else:
            mounts[mount.id] = lines[line] = mount
    return list(mounts.values()), problems


def _mount(line: bytes) -> MountLine | None:
    # Optional fields, any number of them, end with a lone "-". A source may be empty: two spaces, so split at each.
    own, separator, rest = line.partition(b" - ")
    words, after = own.split(b" "), rest.split(b" ")
    if not separator or len(words) < 6 or len(after) != 3:
        return None
    if not words[0].isdigit() or len(words[0]) > 9 or not words[1].isdigit() or not _DEV.fullmatch(words[2]):
        return None
    if not words[4].startswith(b"/"):
        return None
    return MountLine(
        id=int(words[0]),
        dev=words[2].decode(),
        root=_text(words[3]),
        mount_point=_text(words[4]),
        options=tuple(_text(words[5]).split(",")),
        fs_type=_text(after[0]),
        source=_text(after[1]),
        fs_options=tuple(_text(after[2]).split(",")),
    )


def _text(word: bytes) -> str:
    """Without the octal escapes that the kernel writes for space, tab, newline, backslash and "#"."""
    if b"\\" in word:
        word = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), word)
    return word.decode("utf-8", "replace")
