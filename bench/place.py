"""A network namespace with a given number of interfaces, and traffic that moves all their counters."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HEADER = bytes(12) + b"\x88\xb5"
"""Ethernet, type "local experimental" (IEEE 802): nobody answers it."""


def inside(module: str, arguments: list[str]) -> int:
    """Run a module of ours in network and mount namespaces of its own; exit status.

    A /sys of the new namespace is mounted, for sysfs shows the interfaces of the namespace it was mounted in.
    """
    script = (
        'keep=$1 && shift && mount --rbind /sys/fs/cgroup "$keep" && mount -t sysfs sysfs /sys &&'
        ' mount --rbind "$keep" /sys/fs/cgroup && ip link set lo up && exec "$@"'
    )
    with tempfile.TemporaryDirectory(prefix="nodetell-bench-") as keep:  # a mount point in the new namespace only
        command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh", keep]
        return subprocess.run([*command, sys.executable, "-m", module, *arguments], check=False).returncode


def populate(count: int) -> None:
    """Interfaces until there are `count` with loopback: of ten, eight ends of veth pairs, an ifb and a macvlan."""
    lines = []
    have = 1
    for number in itertools.count():
        if count - have >= 10:
            lines += [f"link add v{number}x{pair}a type veth peer name v{number}x{pair}b" for pair in range(4)]
            lines += [f"link add i{number} type ifb", f"link add link v{number}x0a name m{number} type macvlan"]
            have += 10
        elif count - have >= 2:
            lines.append(f"link add v{number}a type veth peer name v{number}b")
            have += 2
        else:
            if count > have:
                lines.append(f"link add i{number} type ifb")
            break
    with tempfile.NamedTemporaryFile("w", suffix=".batch") as batch:
        batch.write("\n".join(lines) + "\n")
        batch.flush()
        subprocess.run(["ip", "-batch", batch.name], check=True)
        names = [name for _, name in socket.if_nameindex()]
        batch.truncate(0)
        batch.seek(0)
        # Without IPv6 nothing moves by itself, so that quiet is quiet.
        for name in names:
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1" if name != "lo" else "0")
        batch.write("\n".join(f"link set {name} up" for name in names) + "\n")
        batch.flush()
        subprocess.run(["ip", "-batch", batch.name], check=True)
    assert len(socket.if_nameindex()) == count


@contextlib.contextmanager
def traffic(interval_s: float) -> Iterator[None]:
    """A process that sends one to three frames of random length through every interface, each interval.

    Random, because increments that are all alike compress to nothing. What it costs is its own.
    """
    sender = subprocess.Popen([sys.executable, "-m", "bench.place", str(interval_s)])
    try:
        yield
    finally:
        sender.terminate()
        sender.wait()


def _send_forever(interval_s: float) -> None:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    parent = os.getppid()
    chance = random.Random(1)  # noqa: S311 - lengths of packets
    while os.getppid() == parent:
        began = time.monotonic()
        for name in names:
            for _ in range(chance.randint(1, 3)):
                with contextlib.suppress(OSError):
                    raw.sendto(HEADER + bytes(chance.randint(46, 1400)), (name, 0))
        time.sleep(max(0.0, interval_s - (time.monotonic() - began)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _send_forever(float(sys.argv[1]))
