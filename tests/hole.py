"""Agent, router, aggregator: a way on which the router silently drops every IP packet over a limit, both ways."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.netns import Namespace, join

ROOT = Path(__file__).resolve().parents[1]
SLOW = ("root", "tbf", "rate", "500kbit", "burst", "1600", "latency", "2s")
# struct ifreq with a pointer to struct ethtool_value {cmd, data}: include/uapi/linux/ethtool.h.
OFFLOADS_OFF = """
import ctypes, fcntl, socket, struct, sys
ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM, SIOCETHTOOL = 0x1F, 0x24, 0x2C, 0x17, 0x8946
with socket.socket() as handle:
    for name in sys.argv[1:]:
        for command in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM):
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            fcntl.ioctl(handle, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(value)))
"""


@dataclass(frozen=True)
class Way:
    """agent - router - aggregator."""

    agent: Namespace
    router: Namespace
    aggregator: Namespace

    def build(self, limit: int, *, slow: bool = False) -> None:
        """`limit`: bytes of an IP packet that still passes. `slow`: 500 kbit/s and many more interfaces, so that TCP
        has time and matter to join what it is given."""
        for end, side, net in ((self.agent, "to-agent", 1), (self.aggregator, "to-aggregator", 2)):
            join(self.router, side, end, "eth0")
            if slow:
                self.router.run("tc", "qdisc", "add", "dev", side, *SLOW)
            for where, name, address in ((self.router, side, 1), (end, "eth0", 2)):
                where.ip("addr", "add", f"10.77.{net}.{address}/24", "dev", name)
                where.ip("addr", "add", f"fd77:{net}::{address}/64", "dev", name, "nodad")
                where.run(sys.executable, "-c", OFFLOADS_OFF, name)
            end.ip("route", "add", "default", "via", f"10.77.{net}.1")
            end.ip("route", "add", "default", "via", f"fd77:{net}::1")
        self.router.sysctl("net/ipv4/ip_forward", 1)
        self.router.sysctl("net/ipv6/conf/all/forwarding", 1)
        for line in (
            "add table inet hole",
            "add chain inet hole forward { type filter hook forward priority 0 ; }",
            f"add rule inet hole forward meta length > {limit} counter drop",
        ):
            self.router.run("nft", *line.split())
        self._fill(600 if slow else 96)

    def _fill(self, count: int) -> None:
        """Interfaces as container networks make them: random names, addresses, packets counted."""
        names = [f"veth{secrets.token_hex(4)}" for _ in range(count)]
        pairs = list(zip(names[::2], names[1::2], strict=True))
        self.agent.batch(f"link add {name} type veth peer name {peer}" for name, peer in pairs)
        self.agent.batch(f"link set {name} up" for name in names)
        self.agent.batch(f"addr add 169.254.{n // 250}.{n % 250 + 1}/32 dev {name}" for n, name in enumerate(names))
        self.agent.batch(
            f"link add vx{n} mtu 1450 type vxlan id {n + 1} local 10.77.1.2 dstport {4800 + n}" for n in range(6)
        )

    def dropped(self) -> int:
        """Packets that the rule has dropped."""
        listing = json.loads(self.router.run("nft", "-j", "list", "chain", "inet", "hole", "forward"))
        rule = next(each["rule"] for each in listing["nftables"] if "rule" in each)
        return int(next(part["counter"]["packets"] for part in rule["expr"] if "counter" in part))


def start(where: Namespace, source: str, *words: str, **environment: str) -> subprocess.Popen[str]:
    """A Python program of this repository, in a namespace."""
    variables = {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", **environment}
    return where.start(
        "env", *(f"{name}={value}" for name, value in variables.items()), sys.executable, "-c", source, *words
    )


@contextlib.contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@dataclass
class Tap:
    """The sizes of all TCP packets that pass an interface, as the wire has them."""

    inside: Namespace
    device: str
    sizes: dict[int, list[int]] = field(default_factory=dict)
    """Bytes of IP packets with something in them, by the port that they go to."""

    def listen(self) -> None:
        """From now on, until the process ends or the namespace does."""
        with self.inside.entered():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
            tap.bind((self.device, 0))
        threading.Thread(target=self._read, args=(tap,), daemon=True).start()

    def _read(self, tap: socket.socket) -> None:
        with tap:
            while True:
                try:
                    packet = tap.recv(70_000)
                except OSError:
                    return
                if packet[:1] and packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_TCP:
                    header, size = (packet[0] & 15) * 4, int.from_bytes(packet[2:4])
                elif packet[:1] and packet[0] >> 4 == 6 and packet[6] == socket.IPPROTO_TCP:
                    header, size = 40, 40 + int.from_bytes(packet[4:6])
                else:
                    continue
                (port,) = struct.unpack_from("!H", packet, header + 2)
                if size > header + (packet[header + 12] >> 4) * 4:
                    self.sizes.setdefault(port, []).append(size)
