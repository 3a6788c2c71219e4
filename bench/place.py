"""A network namespace with a given number of interfaces, and traffic that moves all their counters."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HEADER = bytes(12) + b"\x88\xb5"
"""Ethernet, type "local experimental" (IEEE 802): nobody answers it."""
STOP_S = 30
"""Until what runs inside is killed if it does not stop."""
_NEW = "--net --mount --pid --fork --mount-proc --kill-child --propagation private"
_UNSHARE = ("unshare", *_NEW.split())


def obstacle() -> str:
    """Why no such place can be made here; empty: it can."""
    if os.geteuid() != 0:
        return "needs root: it makes network namespaces and interfaces in them"
    if shutil.which("ip") is None:
        return "needs ip: apt-get install iproute2"
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        return "needs network, mount and pid namespaces, and this kernel or container does not let it have them"
    return ""


def inside(module: str, arguments: list[str]) -> int:
    """Run a module of ours in network, mount and pid namespaces of its own; exit status. Ctrl-C stops it in order.

    A /sys of the new namespace is mounted, for sysfs shows the interfaces of the namespace it was mounted in; tracefs
    where there is one. With a pid namespace, nothing else on the machine is among the processes that are watched.
    """
    script = (
        'keep=$1 && shift && mount --rbind /sys/fs/cgroup "$keep" && mount -t sysfs sysfs /sys &&'
        ' mount --rbind "$keep" /sys/fs/cgroup &&'
        " { mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || :; } &&"
        ' ip link set lo up && exec "$@"'
    )
    with tempfile.TemporaryDirectory(prefix="nodetell-bench-") as keep:  # a mount point in the new namespace only
        command = [*_UNSHARE, "sh", "-c", script, "sh", keep, sys.executable, "-m", module, *arguments]
        # A session of its own: a signal reaches it once, from here, and it has its time to clean up.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            return process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            process.kill()
            process.wait()
            raise


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
