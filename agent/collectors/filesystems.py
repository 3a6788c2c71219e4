"""Errors that file systems themselves have counted."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.blockdevs import text
from agent.host import Failure, Host, ReadError
from agent.reading import Reading


def read_filesystems(reading: Reading, host: Host) -> dict[str, pb.Filesystem]:
    """Mounted file systems of the types that sysfs lists, by device; what could not be read is told in `reading`."""
    found: dict[str, pb.Filesystem] = {}
    for fs_type in ("ext4", "xfs"):
        try:
            devices = host.entries(f"sys/fs/{fs_type}")
        except ReadError as error:
            if error.failure is not Failure.ABSENT:  # absent: the type is not in use
                gaps.add(reading, "fs_errors", error, detail=fs_type)
            continue
        reading.source("fs_errors", "/sys/fs")
        for device in devices:
            fs = _filesystem(host, fs_type, device)
            if fs is not None:
                found[fs.device] = fs
    return found


def _filesystem(host: Host, fs_type: str, device: str) -> pb.Filesystem | None:
    """xfs counts its errors nowhere that can be read; ext4 in its superblock."""
    directory = f"sys/fs/{fs_type}/{device}"
    fs = pb.Filesystem(device=device.encode("utf-8", "replace").decode(), fs_type=fs_type)
    if fs_type == "xfs":
        return None if device == "stats" else fs  # the only entry that is no device
    errors = number(host, f"{directory}/errors_count")
    if errors is None:  # "features", or not to be read
        return None
    fs.errors = errors
    if errors:
        fs.first_error_time = number(host, f"{directory}/first_error_time") or 0
        fs.last_error_time = number(host, f"{directory}/last_error_time") or 0
        fs.last_error_func = text(host, f"{directory}/last_error_func")
    return fs


def number(host: Host, path: str) -> int | None:
    """A whole number in an attribute; None: there is none."""
    word = text(host, path)
    return int(word) if word.isascii() and word.isdigit() and len(word) < 20 else None
