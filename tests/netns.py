"""Network namespaces for tests: make them, join them, run in them, be in them, and leave nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, by the name `ip netns` knows it by."""

    name: str

    def ip(self, *arguments: object) -> str:
        """`ip` within; what it prints. Raises CalledProcessError, with the error text in the message."""
        return _checked(["ip", "-n", self.name, *map(str, arguments)])

    def batch(self, lines: Iterable[str]) -> None:
        """Many `ip` commands in one process."""
        _checked(["ip", "-n", self.name, "-batch", "-"], "\n".join(lines))

    def run(self, *command: object) -> str:
        """A command within, with the namespace's own /sys; what it prints. Raises CalledProcessError."""
        return _checked(["ip", "netns", "exec", self.name, *map(str, command)])

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start a command within. The caller ends it."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sysctl(self, key: str, value: object) -> None:
        """Set a sysctl below net/ of the namespace, named with slashes ("net/ipv6/conf/all/disable_ipv6")."""
        with self.entered():
            Path(f"/proc/sys/{key}").write_text(str(value))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace meanwhile. Sockets made within stay in it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(inside)
            try:
                yield
            finally:
                _setns(before)
        finally:
            os.close(inside)
            os.close(before)


@contextlib.contextmanager
def namespace(*, loopback: bool = True) -> Iterator[Namespace]:
    """A new namespace, gone afterwards with all that is in it."""
    made = Namespace(f"nt-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    _checked(["ip", "netns", "add", made.name])
    try:
        if loopback:
            made.ip("link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], capture_output=True, check=False)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Several new namespaces."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(namespace()) for _ in range(count)]


def join(a: Namespace, name_a: str, b: Namespace, name_b: str, *, mtu: int = 1500) -> None:
    """A cable: a veth pair with an end in each namespace, both up."""
    a.ip("link", "add", name_a, "mtu", mtu, "type", "veth", "peer", "name", name_b, "mtu", mtu, "netns", b.name)
    a.ip("link", "set", name_a, "up")
    b.ip("link", "set", name_b, "up")


def veths(inside: Namespace, pairs: int, prefix: str = "p") -> None:
    """Many veth pairs with both ends in one namespace: twice as many links."""
    inside.batch(f"link add {prefix}{n}a type veth peer name {prefix}{n}b" for n in range(pairs))


def _checked(command: list[str], stdin: str | None = None) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
    )
    if done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr.strip())
        raise error
    return done.stdout


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
