"""Which file systems the kernel is asked to tell errors of, and what is said of those that it cannot be asked about.

A mark is set by a path, and a path through a dead server never resolves. So only file systems on block devices of this
host are marked, by mount points to which nothing but local file systems leads, as the agent's own mountinfo has them;
nothing is asked of a mount point to find out.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nodetell.logs import event
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.kubelet import volume_of
from agent.collectors.mountinfo import MountLine, parse_mountinfo
from agent.events.fs_errors import PLACE, FsErrors
from agent.events.timer import Timer
from agent.host import Failure, Host, ReadError
from agent.hosts.files import printable
from agent.reading import Reading

MAX_MARKS = 512
_MOUNTINFO_BYTES = 64 << 20
_RETRY_S = 60.0
_PATHS = 4
"""Mount points of one file system that are tried: the first may be hidden under another mount."""
_NAMED = 3
_AGAIN_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""ext4 tells of an error before it counts it, and counts when it writes: at once, or when a slow device lets it."""
_LOGGED = 256

_TELLING = frozenset({"ext2", "ext3", "ext4", "xfs"})
"""ext4 serves the first three. FUSE and cluster file systems may be on block devices too, and hang all the same."""
_LOCAL = _TELLING | {
    "bcachefs", "btrfs", "devtmpfs", "erofs", "f2fs", "overlay", "proc", "ramfs", "rootfs", "squashfs", "sysfs",
    "tmpfs", "zfs",
}  # fmt: skip
"""A path may lead through these: looking up a name in them waits for no other machine and no process."""

_WORDS = {Failure.DENIED: "denied", Failure.ABSENT: "unreachable"}
_UNREACHABLE = "no mount point in the agent's own mount namespace leads to it through local file systems only"
_REACH = (
    "mount the host's file systems into the agent's container (the kubelet's directory with mountPropagation: "
    "HostToContainer)"
)

_log = logging.getLogger("nodetell.agent")


def wanted(mounts: Sequence[MountLine]) -> list[str]:
    """Device numbers of the file systems that could tell of errors: those of volumes first, then in mount order."""
    local = [mount for mount in mounts if mount.fs_type in _TELLING and not mount.dev.startswith("0:")]
    local.sort(key=lambda mount: volume_of(mount.mount_point) is None)
    return list(dict.fromkeys(mount.dev for mount in local))


def paths(mounts: Sequence[MountLine], devs: Sequence[str]) -> dict[str, list[str]]:
    """Mount points by which file systems can be named safely, a few of each; one that has none is left out.

    `mounts` are those of this process' own mount namespace.
    """
    elsewhere = {mount.mount_point for mount in mounts if mount.fs_type not in _LOCAL}
    sought, found = set(devs), dict[str, list[str]]()
    for mount in mounts:
        if mount.dev not in sought or "\ufffd" in mount.mount_point or elsewhere.intersection(_way(mount.mount_point)):
            continue
        known = found.setdefault(mount.dev, [])
        if len(known) < _PATHS and mount.mount_point not in known:
            known.append(mount.mount_point)
    return found


def _way(path: str) -> Iterator[str]:
    """A path and every directory above it."""
    while path != "/":
        yield path
        path = path.rpartition("/")[0] or "/"
    yield path


@dataclass(slots=True)
class FsWatch:
    """Marks that follow the mounts."""

    errors: FsErrors | None = None
    """None: there is nothing to wait for, or it could not be had."""
    problem: ReadError | None = None
    """Why it could not be had."""
    timer: Timer | None = None
    """Wakes whoever the errors wake."""
    _refused: dict[str, ReadError] = field(default_factory=dict)
    """By device number, as of the last try."""
    _tried_at: float = -math.inf
    _logged: set[tuple[str, int]] = field(default_factory=set)
    _counted: dict[str, int] = field(default_factory=dict)
    """Errors by file system, as read last."""
    _awaited: int = 0
    """Errors that were told of and are not counted yet."""
    _tries: int = 0
    """How often that was looked for."""

    def follow(self, reading: Reading, host: Host, mounts: Sequence[MountLine], now: float, *, changed: bool) -> bool:
        """Mark what is not marked yet, and tell what cannot be. True: errors of every local file system are told.

        `mounts` are the host's; `changed`: they are others than at the last call. The kernel takes marks off itself.
        """
        devs = wanted(mounts)
        if self.errors is None:
            self._refused = dict.fromkeys(devs, self.problem) if self.problem is not None else {}
        else:
            self._take_in(self.errors)
            self._mark(self.errors, host, devs[:MAX_MARKS], now, changed=changed)
        _tell(reading, self._refused, devs[MAX_MARKS:])
        return self.errors is not None and bool(devs) and not self._refused and len(devs) <= MAX_MARKS

    def _mark(self, errors: FsErrors, host: Host, devs: Sequence[str], now: float, *, changed: bool) -> None:
        try:
            held = errors.marked()
            missing = [dev for dev in devs if dev not in held]
            due = changed or not 0 <= now - self._tried_at < _RETRY_S
            if not due and all(dev in self._refused for dev in missing):
                self._refused = {dev: self._refused[dev] for dev in missing}
                return
            self._refused = {}
            if missing:
                self._tried_at = now
                own, _ = parse_mountinfo(host.read("proc/self/mountinfo", _MOUNTINFO_BYTES))
                self._refused = _marked(errors, missing, paths(own, missing))
        except ReadError as error:
            self._refused = dict.fromkeys(devs, error)

    def settle(self, counted: Mapping[str, pb.Filesystem]) -> None:
        """Have it looked again soon if the file systems, as read just now, have not counted all that was told."""
        before, self._counted = self._counted, {fs.device: fs.errors for fs in counted.values()}
        risen = sum(max(0, errors - before.get(device, errors)) for device, errors in self._counted.items())
        self._awaited = max(0, self._awaited - risen)
        if not self._awaited or self._tries >= len(_AGAIN_S):  # some may be of one that was unmounted, or counts none
            self._awaited = self._tries = 0
        elif self.timer is not None:
            with contextlib.suppress(ReadError):  # it is looked again at the latest when it is due
                self.timer.set(_AGAIN_S[self._tries])
            self._tries += 1

    def _take_in(self, errors: FsErrors) -> None:
        """Log each sort of error of each file system once: how many there were is in the facts."""
        for told in errors.looked_at():
            self._awaited += max(1, told.count)
            sort = (told.fsid, told.error)
            if sort not in self._logged and len(self._logged) < _LOGGED:
                self._logged.add(sort)
                event(_log, logging.WARNING, "file_system_error", fsid=told.fsid, errno=told.error, count=told.count)


def _marked(errors: FsErrors, missing: Sequence[str], by_dev: Mapping[str, Sequence[str]]) -> dict[str, ReadError]:
    """Mark these file systems; why not, of those that could not be. Raises ReadError if it is not known what is."""
    refused = dict.fromkeys(missing, ReadError(Failure.ABSENT, PLACE, _UNREACHABLE, _REACH))
    for attempt in range(_PATHS):
        for dev, path in [(dev, by_dev[dev][attempt]) for dev in refused if len(by_dev.get(dev, ())) > attempt]:
            try:
                errors.mark(path)
            except ReadError as error:
                refused[dev] = error
        for dev in errors.marked():  # one over which another is mounted is not among them
            refused.pop(dev, None)
    return refused


def _tell(reading: Reading, refused: Mapping[str, ReadError], beyond: Sequence[str]) -> None:
    by_word: dict[str, list[str]] = {}
    for dev, error in refused.items():
        by_word.setdefault(_WORDS.get(error.failure, "refused"), []).append(dev)
    for word, devs in by_word.items():
        error = refused[devs[0]]
        denied = error.failure is Failure.DENIED
        reading.gap(
            "fs_errors",
            printable(f"{error}; {_later(devs)}", 1000),
            detail=f"events/{word}",
            status=pb.COVERAGE_STATUS_DENIED if denied else pb.COVERAGE_STATUS_DEGRADED,
            remedy=error.remedy,
        )
    if beyond:
        because = f"{PLACE}: more than {MAX_MARKS} file systems, the others are not watched; {_later(beyond)}"
        reading.gap("fs_errors", because, detail="events/many", status=pb.COVERAGE_STATUS_DEGRADED)


def _later(devs: Sequence[str]) -> str:
    more = f" and {len(devs) - _NAMED} more" if len(devs) > _NAMED else ""
    return f"errors on {', '.join(devs[:_NAMED])}{more} are seen when the kernel's log tells, else at the next look"
