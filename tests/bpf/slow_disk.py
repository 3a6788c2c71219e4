"""A disk of any slowness: a file served by FUSE whose fsync waits, and whose writes may too, and a loop device over it.

As a program (`python -m tests.bpf.slow_disk MOUNT BACKING SIZE DELAY_MS BYTES_PER_S`) it is the FUSE server, written to
include/uapi/linux/fuse.h because that is shorter than what a library asks for. It serves one file, "disk".
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_FORGET, _BATCH_FORGET, _INTERRUPT = 2, 42, 36
_LOOKUP, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _RELEASE, _FSYNC, _FLUSH, _INIT = 1, 3, 4, 14, 15, 16, 18, 20, 25, 26
_MAX_WRITE = 128 << 10
_FILE = 2
_THREADS = 4
_NAME = "disk"


class Server:
    """Answers the kernel's requests for the one file."""

    def __init__(self, device: int, backing: int, delay_s: float, bytes_per_s: float) -> None:
        self._device = device
        self._backing = backing
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s
        self._one_at_a_time = threading.Lock()
        self._size = os.fstat(backing).st_size

    def run(self) -> None:
        """Until the file system is unmounted."""
        threads = [threading.Thread(target=self._serve) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, _MAX_WRITE + 4096)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.ENOENT:  # the request was taken back
                    continue
                return  # ENODEV: unmounted
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
                continue
            try:
                number, answer = 0, self._answer(opcode, node, request[_IN.size :])
            except OSError as error:
                number, answer = error.errno or errno.EIO, b""
            with contextlib.suppress(OSError):
                os.write(self._device, _OUT.pack(_OUT.size + len(answer), -number, unique) + answer)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:  # noqa: PLR0911  # one for each kind of request
        if opcode == _INIT:
            major, minor, read_ahead, _ = struct.unpack_from("<IIII", body)
            head = struct.pack("<IIIIHHII", major, min(minor, 31), read_ahead, 0, 16, 12, _MAX_WRITE, 1)
            return head.ljust(64, b"\0")
        if opcode == _LOOKUP:
            if body.rstrip(b"\0").decode() != _NAME:
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", _FILE, 0, 3600, 3600, 0, 0) + self._attributes(_FILE)
        if opcode in (_GETATTR, _SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes(node)
        if opcode == _OPEN:
            return struct.pack("<QII", 0, 0, 0)
        if opcode == _READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self._backing, size, offset)
        if opcode == _WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            if self._bytes_per_s:
                with self._one_at_a_time:
                    time.sleep(size / self._bytes_per_s)
            return struct.pack("<II", os.pwrite(self._backing, body[40 : 40 + size], offset), 0)
        if opcode == _FSYNC:
            time.sleep(self._delay_s)
            return b""
        if opcode in (_FLUSH, _RELEASE):
            return b""
        raise OSError(errno.ENOSYS, "")

    def _attributes(self, node: int) -> bytes:
        mode, size = (stat.S_IFREG | 0o600, self._size) if node == _FILE else (stat.S_IFDIR | 0o700, 0)
        return _ATTR.pack(node, size, (size + 511) // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def main(mount: str, backing: str, size: int, delay_ms: float, bytes_per_s: float) -> None:
    """Mount and serve."""
    held = os.open(backing, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(held, size)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"nodetell-slow", mount.encode(), b"fuse", 0, options):
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    Server(device, held, delay_ms / 1000, bytes_per_s).run()


@contextlib.contextmanager
def slow_disk(directory: Path, delay_ms: float, size: int = 300 << 20, *, bytes_per_s: float = 0.0) -> Iterator[Path]:
    """Where an ext4 on a device is mounted whose flushes take `delay_ms`; gone afterwards.

    `bytes_per_s`: how much it writes, for all who write together; 0: as much as comes.
    """
    below, above = directory / "fuse", directory / "disk"
    below.mkdir(parents=True)
    above.mkdir()
    words = [sys.executable, "-m", "tests.bpf.slow_disk", below, directory / "backing", size, delay_ms, bytes_per_s]
    with contextlib.ExitStack() as undo:
        server = subprocess.Popen([str(word) for word in words], cwd=Path(__file__).parents[2])
        undo.callback(_end, server)
        undo.callback(_quietly, "umount", "-l", below)
        until = time.monotonic() + 10
        while not os.path.ismount(below):
            assert server.poll() is None, "the FUSE server ended"
            assert time.monotonic() < until, "the FUSE server does not mount"
            time.sleep(0.02)
        loop = _run("losetup", "-f", "--show", below / _NAME)
        undo.callback(_quietly, "losetup", "-d", loop)
        _run("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1", loop)
        _run("mount", "-o", "noinit_itable", loop, above)  # nothing writes there by itself
        undo.callback(_quietly, "umount", above)
        yield above


def _end(server: subprocess.Popen[bytes]) -> None:
    """An unmounted server ends by itself; one that could not mount is ended."""
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(5)


def _run(*words: object) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout.strip()


def _quietly(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=False, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
