"""The host this process runs on, or the one whose /proc and /sys are mounted into its container.

Nothing here needs a privilege; what a missing one costs is told by the ReadError, with what would enable it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Sequence
from functools import cache

from agent.host import ClockState, Failure, Network, ReadError
from agent.hosts.files import KeptFiles, components, failure_of, read_bounded, read_error

_HIDDEN = "mount the host's /proc without hidepid, or let the agent's group see it (mount option gid=)"
_KUBELET = "run the agent as root, or with CAP_DAC_READ_SEARCH, and mount the kubelet's directory read-only"
_HOST_NETWORK = "run the agent in the host's network namespace (hostNetwork)"
_KERNEL_LOG = "let the agent open the host's /dev/kmsg, and give it CAP_SYSLOG where kernel.dmesg_restrict is 1"
_NOT_READABLE = "run the agent as root, or let its user read this file"


_OFTEN = ("proc/net/", "proc/pressure/", "proc/sys/net/", "proc/diskstats", "proc/stat", "proc/meminfo")
"""Files that are read every few seconds and are the same file for as long as the kernel runs."""


class LiveHost:
    """agent.host.Host, read from the kernel now."""

    def __init__(self, name: str, proc: str, sys: str, kubelet: str, *, dev: str, udev: str, logs: str) -> None:
        self._name = name
        self._proc = proc
        self._kept = KeptFiles()
        self._roots = {"proc": proc, "sys": sys, "kubelet": kubelet, "dev": dev, "udev": udev, "logs": logs}
        self._network, self._shares_network = _network(self, sys)

    @property
    def name(self) -> str:
        """Node name."""
        return self._name

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def proc(self) -> str:
        """Directory that holds the host's /proc."""
        return self._proc

    @property
    def sys(self) -> str:
        """Directory that holds the host's /sys."""
        return self._roots["sys"]

    @property
    def kubelet(self) -> str:
        """The kubelet's root directory."""
        return self._roots["kubelet"]

    @property
    def dev(self) -> str:
        """Directory that holds the host's /dev."""
        return self._roots["dev"]

    @property
    def udev(self) -> str:
        """Directory that holds the host's /run/udev."""
        return self._roots["udev"]

    @property
    def logs(self) -> str:
        """Directory that holds the host's /var/log/pods."""
        return self._roots["logs"]

    @property
    def shares_network(self) -> bool:
        """This process is in the network namespace that `sys` shows."""
        return self._shares_network

    @property
    def network(self) -> Network:
        """By rtnetlink where this process shares the host's network namespace, else by sysfs."""
        return self._network

    def read(self, path: str, limit: int = 8 << 20) -> bytes:
        """Contents of a file, at most `limit` bytes. Raises ReadError."""
        real = self._real(path)
        try:
            return self._kept.read(real, limit) if path.startswith(_OFTEN) else read_bounded(real, limit)
        except OSError as error:
            raise self._error(error, path, real) from error

    def entries(self, path: str) -> Sequence[str]:
        """Sorted names in a directory. Raises ReadError."""
        real = self._real(path)
        try:
            return sorted(os.listdir(real))
        except OSError as error:
            raise self._error(error, path, real) from error

    def link_target(self, path: str) -> str:
        """What a symbolic link points to. Raises ReadError."""
        real = self._real(path)
        try:
            return os.readlink(real)
        except OSError as error:
            raise self._error(error, path, real) from error

    def descriptor(self, path: str) -> int:
        """A file opened for reading without blocking; whoever asked closes it. Raises ReadError."""
        real = self._real(path)
        try:
            return os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise self._error(error, path, real) from error

    def document(self, name: str) -> object | None:  # noqa: ARG002  # the protocol's name; a live host has none
        """None: documents are what a bundle holds of an agent's own measurements."""
        return None

    def clock(self) -> ClockState:
        """adjtimex(2), read only. Raises ReadError."""
        return kernel_clock()

    def _real(self, path: str) -> str:
        root, *rest = components(path)
        if root not in self._roots:
            raise ReadError(Failure.FAILED, path, f"not below {'/, '.join(self._roots)}/")
        if root == "proc" and rest[:1] == ["net"]:
            # /proc/net shows this process' own namespace. thread-self is the thread's, as with its netlink sockets.
            rest[:1] = ["1", "net"] if self._proc != "/proc" else ["thread-self", "net"]
        if root == "proc" and rest[:2] == ["sys", "net"] and not self._shares_network:
            # The kernel shows the reader's own namespace below sys/net, whosever /proc it is.
            raise ReadError(Failure.DENIED, "/" + path, "shows only the agent's own network namespace", _HOST_NETWORK)
        return "/".join([self._roots[root], *rest])

    def _error(self, error: OSError, path: str, real: str) -> ReadError:
        failure = failure_of(error)
        if path.startswith(("proc/1/", "proc/net/")) and self._pid_1_hidden(real, failure):
            return ReadError(Failure.DENIED, real, "pid 1 is hidden from the agent's user (hidepid)", _HIDDEN)
        remedy = ""
        if path == "dev/kmsg":
            remedy = _KERNEL_LOG
        elif failure is Failure.DENIED:
            remedy = _KUBELET if path.startswith("kubelet/") else _NOT_READABLE
        return read_error(error, real, remedy)

    def _pid_1_hidden(self, real: str, failure: Failure) -> bool:
        """hidepid=2 hides the directory (ENOENT), hidepid=1 forbids its files; pid 1 always exists."""
        pid_1 = f"{self._proc}/1"
        if not real.startswith(pid_1 + "/"):
            return False
        if failure is Failure.ABSENT:
            return not os.path.exists(pid_1)
        return failure is Failure.DENIED and not os.access(pid_1, os.X_OK)


def live_host(
    name: str,
    proc: str = "/proc",
    sys: str = "/sys",
    kubelet: str = "/var/lib/kubelet",
    *,
    dev: str = "/dev",
    udev: str = "/run/udev",
    logs: str = "/var/log/pods",
) -> LiveHost:
    """The host whose file systems are seen at these places: "/proc", or where the host's is mounted elsewhere."""
    return LiveHost(name, proc, sys, kubelet, dev=dev, udev=udev, logs=logs)


def _network(host: LiveHost, sys: str) -> tuple[Network, bool]:
    """The way to the host's interfaces, and whether this process shares its network namespace."""
    from agent.network.live import NetlinkNetwork  # noqa: PLC0415  # a bundle is read without netlink

    def on_bus(interface: str) -> bool:
        """Kernels before 5.14 do not tell by netlink what hangs on a bus; sysfs does."""
        return os.path.exists(f"{sys}/class/net/{interface}/device")

    own = host.proc == "/proc" and sys == "/sys"  # nothing of another namespace is in sight
    with contextlib.suppress(ReadError, OSError), contextlib.ExitStack() as undo:
        netlink = NetlinkNetwork(on_bus=on_bus)
        undo.callback(netlink.close)
        if own or _same_interfaces(netlink, host):
            undo.pop_all()
            return netlink, True
    from agent.network.sysfs import SysfsNetwork  # noqa: PLC0415  # most hosts never need it

    return SysfsNetwork(host.read, host.entries, host.link_target), own


def _same_interfaces(netlink: Network, host: LiveHost) -> bool:
    """sysfs shows the namespace it was mounted in, netlink that of this process. Thrice, as interfaces come and go."""
    for _ in range(3):
        by_sysfs = set()
        for name in host.entries("sys/class/net"):
            with contextlib.suppress(ReadError, ValueError):
                by_sysfs.add(
                    (int(host.read(f"sys/class/net/{name}/ifindex")), os.fsencode(name).decode("utf-8", "replace"))
                )
        if by_sysfs == {(link.ifindex, link.name) for link in netlink.inventory().links.values()}:
            return True
    return False


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    """struct timex of include/uapi/linux/timex.h; ctypes pads it as C does on every 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


_STA_PLL = 0x0001
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000
_TIME_ERROR = 5


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def kernel_clock() -> ClockState:
    """State of the kernel's clock by adjtimex(2) with modes 0, which only reads. Raises ReadError."""
    timex = _Timex()
    state = _libc().adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        remedy = "let the container's seccomp profile pass adjtimex" if number == errno.EPERM else ""
        raise read_error(OSError(number, os.strerror(number)), "adjtimex(2)", remedy)
    return clock_state(state, timex.status, timex.offset, timex.maxerror)


def clock_state(state: int, status: int, offset: int, max_error: int) -> ClockState:
    """What adjtimex(2) returned, in our terms.

    `offset` is in nanoseconds under STA_NANO, else microseconds, and means something only while a daemon steers by the
    kernel's phase-locked loop (ntpd, systemd-timesyncd; not chrony). `max_error` is in microseconds.
    """
    offset_us = round(offset / 1000) if status & _STA_NANO else offset
    return ClockState(
        synchronized=state != _TIME_ERROR and not status & _STA_UNSYNC,
        offset_us=offset_us if status & _STA_PLL else None,
        max_error_us=max(0, max_error),
    )
