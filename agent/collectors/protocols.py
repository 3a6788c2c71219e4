"""What the protocol stack counted: fragmentation, ICMP, retransmissions, backlog drops; conntrack and pressure.

This is read every second, so a file that is as it was is not parsed again, and what it meant is the same object.
"""

from __future__ import annotations

from collections.abc import Callable

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept, percent_steps
from agent.collectors.netcounters import Blocks, Earlier, add, counter, parse_pairs, parse_snmp6, parse_softnet
from agent.host import Failure, Host, ReadError
from agent.reading import Reading

_U32 = (1 << 32) - 1


def parse_pressure(raw: bytes) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """/proc/pressure/RESOURCE: (avg10 in hundredths of a percent, total in microseconds) of "some" and "full"."""
    found: dict[str, tuple[int, int]] = {}
    problems: list[str] = []
    for number, line in enumerate(raw.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        kind = words[0].decode("utf-8", "replace")
        values = dict(word.split(b"=", 1) for word in words[1:] if b"=" in word)
        total = counter(values.get(b"total", b""))
        whole, point, cents = values.get(b"avg10", b"").partition(b".")
        sound = whole.isdigit() and len(whole) <= 3 and point and cents.isdigit() and len(cents) == 2
        if kind not in {"some", "full"} or total is None or not sound or kind in found:
            problems.append(f"line {number}: not a pressure line: {gaps.excerpt(line)}")
        else:
            found[kind] = (int(whole) * 100 + int(cents), total)
    return found, problems


class ProtocolsCollector:
    """Blocks "protocol/...", items "conntrack" and "pressure/RESOURCE"."""

    name = "protocols"
    lane = "protocols"
    interval_s = 1.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._files = [
            _File("snmp", parse_pairs),
            _File("netstat", parse_pairs),
            _File("snmp6", parse_snmp6, "IPv6 counters are not known, if it is in use"),
        ]
        self._cpus: tuple[int, ...] = ()
        self._pressures: dict[str, tuple[bytes, Reading]] = {}

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # nothing here depends on the time
        """Everything that can be read now."""
        reading = Reading()
        for file in self._files:
            file.read(reading, host)
        self._softnet(reading, host)
        _conntrack(reading, host)
        self._pressure(reading, host)
        return self._kept.settle(reading)

    def _softnet(self, reading: Reading, host: Host) -> None:
        try:
            raw = host.read("proc/net/softnet_stat")
        except ReadError as error:
            gaps.add(reading, "protocols", error, detail="softnet_stat", lost="backlog drops are not seen")
            return
        reading.texts["proc/net/softnet_stat"] = raw
        try:
            block, cpus = parse_softnet(raw)
        except ValueError as error:
            gaps.damage(reading, "protocols", "/proc/net/softnet_stat", [str(error)], detail="softnet_stat")
            return
        # A CPU that comes online brings its history with it: leaving the block out once makes its sums start anew.
        if self._cpus in ((), cpus):
            reading.blocks["protocol/softnet"] = block
        self._cpus = cpus

    def _pressure(self, reading: Reading, host: Host) -> None:
        errors: dict[str, ReadError] = {}
        for resource in ("cpu", "io", "memory"):
            try:
                raw = host.read(f"proc/pressure/{resource}", 4096)
            except ReadError as error:
                errors[resource] = error
                continue
            was = self._pressures.get(resource)
            if was is None or was[0] != raw:
                was = self._pressures[resource] = raw, _pressure(resource, raw)
            reading.texts[f"proc/pressure/{resource}"] = raw
            reading.items.update(was[1].items)
            reading.source("pressure", "/proc/pressure")
            reading.blocks.update(was[1].blocks)
        if len(errors) == 3 and all(failed.failure is Failure.ABSENT for failed in errors.values()):
            remedy = "boot the kernel with psi=1 (Linux 4.20 or later, CONFIG_PSI)"
            gaps.add(reading, "pressure", errors["io"], lost="stalls are not measured", remedy=remedy)
        else:
            for resource, failed in errors.items():
                if failed.failure is not Failure.ABSENT:  # a bundle may hold that of one resource only
                    gaps.add(reading, "pressure", failed, detail=resource)


class _File:
    """One file below /proc/net, and what it meant when it was read last."""

    def __init__(self, name: str, parse: Callable[[bytes, Earlier], tuple[Blocks, list[str]]], lost: str = "") -> None:
        self._name = name
        self._parse = parse
        self._lost = lost
        self._earlier = Earlier()
        self._raw = b""
        self._blocks: Blocks = {}
        self._problems = ["empty"]

    def read(self, reading: Reading, host: Host) -> None:
        """Add its blocks, or why there are none."""
        try:
            raw = host.read(f"proc/net/{self._name}")
        except ReadError as error:
            gaps.add(reading, "protocols", error, detail=self._name, lost=self._lost)
            return
        reading.texts[f"proc/net/{self._name}"] = raw
        if raw != self._raw:
            self._raw = raw
            self._blocks, self._problems = self._parse(raw, self._earlier)
            if not self._blocks and not self._problems:
                self._problems = ["empty"]
        if self._blocks:
            reading.source("protocols", "/proc/net/snmp and its like")
        for subject, block in self._blocks.items():
            reading.blocks.setdefault(subject, block)
        gaps.damage(reading, "protocols", f"/proc/net/{self._name}", self._problems, detail=self._name)


def _conntrack(reading: Reading, host: Host) -> None:
    values = []
    for name in ("nf_conntrack_count", "nf_conntrack_max"):
        path = f"proc/sys/net/netfilter/{name}"
        try:
            raw = host.read(path, 4096)
        except ReadError as error:
            gaps.add(reading, "conntrack", error, lost="the connection tracking table's fill is not known")
            return
        reading.texts[path] = raw
        value = counter(raw.strip())
        if value is None or value >= 1 << 32:
            gaps.damage(reading, "conntrack", f"/{path}", [f"no number: {gaps.excerpt(raw)}"])
            return
        values.append(value)
    count, most = values
    # To 1 % of the maximum: the exact count changes every second and decides nothing.
    steps = min(percent_steps(count, most) * most // 10_000, _U32)  # rounded, it may be more than was counted
    reading.source("conntrack", "/proc/sys/net/netfilter")
    reading.add(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=steps, max=most)))


def _pressure(resource: str, raw: bytes) -> Reading:
    """What one file tells."""
    reading = Reading()
    found, problems = parse_pressure(raw)
    gaps.damage(reading, "pressure", f"/proc/pressure/{resource}", problems, detail=resource)
    if found:
        key = f"pressure/{resource}"
        averages = {kind: percent_steps(found[kind][0], 10_000) for kind in found}
        pressure = pb.Pressure(
            resource=resource, some_avg10_bp=averages.get("some", 0), full_avg10_bp=averages.get("full", 0)
        )
        reading.add(pb.Item(key=key, pressure=pressure))
        totals = [(f"{kind}_total_us", found[kind][1]) for kind in ("some", "full") if kind in found]
        add(reading.blocks, key, totals)
    return reading
