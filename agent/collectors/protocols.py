"""What the protocol stack counted: fragmentation, ICMP, retransmissions, backlog drops; conntrack and pressure.

Of some 250 counters those are kept that a diagnosis uses, in blocks whose schemas are short enough for one message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.keep import Kept, percent_steps
from agent.host import Failure, Host, ReadError
from agent.reading import Block, Reading

_MAX = (1 << 64) - 1

KEPT: dict[str, frozenset[str]] = {
    block: frozenset(names.split())
    for block, names in {
        "Ip": "InReceives InHdrErrors InDiscards InDelivers ForwDatagrams OutRequests OutDiscards OutNoRoutes "
        "OutTransmits ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
        "Icmp": "InMsgs InErrors InDestUnreachs InTimeExcds OutMsgs OutErrors OutDestUnreachs OutTimeExcds "
        "OutRateLimitGlobal OutRateLimitHost",
        "Tcp": "ActiveOpens PassiveOpens AttemptFails EstabResets InSegs OutSegs RetransSegs InErrs OutRsts",
        "Udp": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors",
        "TcpExt": "TCPTimeouts TCPLostRetransmit TCPFastRetrans TCPSlowStartRetrans TCPSpuriousRTOs TCPLossProbes "
        "TCPSynRetrans TCPRetransFail TCPMTUPFail TCPMTUPSuccess TCPAbortOnTimeout TCPBacklogDrop TCPRcvQDrop "
        "TCPOFODrop TCPZeroWindowDrop TCPReqQFullDrop ListenOverflows ListenDrops TCPMemoryPressures PFMemallocDrop",
        "IpExt": "InNoRoutes InTruncatedPkts InCsumErrors InOctets OutOctets ReasmOverlaps",
        "Ip6": "InReceives InHdrErrors InTooBigErrors InNoRoutes InDiscards InDelivers OutForwDatagrams OutRequests "
        "OutDiscards OutNoRoutes OutTransmits ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails "
        "FragCreates InTruncatedPkts",
        "Icmp6": "InMsgs InErrors InDestUnreachs InPktTooBigs InTimeExcds OutMsgs OutErrors OutDestUnreachs "
        "OutPktTooBigs OutTimeExcds OutRateLimitHost",
    }.items()
}
"""Counters that are reported, by block, under the kernel's own names (net/ipv4/proc.c, net/ipv6/proc.c)."""

_SNMP6 = {f"{block}{name}".encode(): (block, name) for block in ("Ip6", "Icmp6") for name in KEPT[block]}
"""Block and name of a counter in /proc/net/snmp6, by how that file calls it."""

Blocks = dict[str, Block]


def _counter(token: bytes) -> int | None:
    """An unsigned 64-bit decimal; None for anything else (Tcp.MaxConn is -1)."""
    if not token.isdigit() or len(token) > 20:
        return None
    value = int(token)
    return value if value <= _MAX else None


@lru_cache(maxsize=64)
def _columns(header: bytes) -> tuple[str, int, tuple[tuple[str, int], ...]]:
    """Block, number of columns, and (name, column) of those that are kept, of "Ip: Forwarding DefaultTTL ..."."""
    words = header.decode("utf-8", "replace").split()
    block = words[0].removesuffix(":")
    kept = KEPT.get(block, frozenset())
    positions = {name: column for column, name in enumerate(words[1:]) if name in kept}
    return block, len(words) - 1, tuple(positions.items())


def parse_pairs(raw: bytes) -> tuple[Blocks, list[str]]:
    """/proc/net/snmp and /proc/net/netstat: lines in pairs, names and values, each beginning with "Block:".

    A pair that does not match is a problem and the others are good. Names may move and come and go between kernels.
    """
    blocks: Blocks = {}
    problems: list[str] = []
    header = b""
    for number, line in enumerate(raw.split(b"\n"), 1):
        prefix, colon, rest = line.partition(b":")
        if not line.strip():
            continue
        if not colon:
            problems.append(f"line {number}: no block name in {gaps.excerpt(line)}")
            header = b""
        elif _is_header(rest):
            if header:
                problems.append(f"line {number - 1}: names without values in {gaps.excerpt(header)}")
            header = line
        elif header.partition(b":")[0] != prefix or not header:
            problems.append(f"line {number}: values without names in {gaps.excerpt(line)}")
            header = b""
        else:
            _pair(header, rest.split(), number, blocks, problems)
            header = b""
    if header:
        problems.append(f"ends after the names {gaps.excerpt(header)}")
    return blocks, problems


def _is_header(rest: bytes) -> bool:
    return rest.lstrip()[:1].isalpha()


def _pair(header: bytes, values: list[bytes], number: int, blocks: Blocks, problems: list[str]) -> None:
    block, width, kept = _columns(header)
    if len(values) != width:
        problems.append(f"line {number}: {width} names and {len(values)} values of {block:.20}")
        return
    subject = f"protocol/{block}"
    if subject in blocks:
        problems.append(f"line {number}: {block:.20} for the second time")
        return
    found = [(name, _counter(values[column])) for name, column in kept]
    problems.extend(f"line {number}: {block}.{name} is no counter" for name, value in found if value is None)
    _add(blocks, subject, [(name, value) for name, value in found if value is not None])


def _add(blocks: Blocks, subject: str, counters: list[tuple[str, int]]) -> None:
    if counters:
        blocks[subject] = Block(tuple(name for name, _ in counters), tuple(value for _, value in counters))


def parse_snmp6(raw: bytes) -> tuple[Blocks, list[str]]:
    """/proc/net/snmp6: a name and a value per line, "Ip6FragFails  0"."""
    found: dict[str, dict[str, int]] = {"Icmp6": {}, "Ip6": {}}
    problems: list[str] = []
    for number, line in enumerate(raw.split(b"\n"), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            problems.append(f"line {number}: not a name and a value: {gaps.excerpt(line)}")
            continue
        kept = _SNMP6.get(words[0])
        if kept is None or kept[1] in found[kept[0]]:
            continue
        block, name = kept
        value = _counter(words[1])
        if value is None:
            problems.append(f"line {number}: {block}.{name} is no counter")
        else:
            found[block][name] = value
    blocks: Blocks = {}
    for block, counters in found.items():
        _add(blocks, f"protocol/{block}", list(counters.items()))
    return blocks, problems


def parse_softnet(raw: bytes) -> tuple[Block, tuple[int, ...]]:
    """/proc/net/softnet_stat: hexadecimal columns, a line per online CPU. Sums, and the CPUs they are of.

    Raises ValueError for any damaged line, as a sum that lacks a CPU would jump when that CPU's line is back.
    Columns: processed, dropped, time_squeeze; the 13th is the CPU's number since Linux 5.10 (net/core/net-procfs.c).
    """
    sums = [0, 0, 0]
    cpus = []
    for number, line in enumerate(raw.splitlines(), 1):
        words = line.split()
        if len(words) < 3 or not all(len(word) == 8 for word in words):
            raise ValueError(f"line {number}: not hexadecimal columns: {gaps.excerpt(line)}")
        try:
            values = [int(word, 16) for word in words]
        except ValueError:
            raise ValueError(f"line {number}: not hexadecimal columns: {gaps.excerpt(line)}") from None
        for column in range(3):
            sums[column] += values[column]
        cpus.append(values[12] if len(values) > 12 else number - 1)
    if not cpus:
        raise ValueError("no line for any CPU")
    return Block(("processed", "dropped", "time_squeeze"), tuple(sums)), tuple(cpus)


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
        total = _counter(values.get(b"total", b""))
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
        self._cpus: tuple[int, ...] = ()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # nothing here depends on the time
        """Everything that can be read now."""
        reading = Reading()
        _file(reading, host, "snmp", parse_pairs)
        _file(reading, host, "netstat", parse_pairs)
        _file(reading, host, "snmp6", parse_snmp6, lost="IPv6 counters are not known, if it is in use")
        self._softnet(reading, host)
        _conntrack(reading, host)
        _pressure(reading, host)
        return self._kept.settle(reading)

    def _softnet(self, reading: Reading, host: Host) -> None:
        try:
            raw = host.read("proc/net/softnet_stat")
        except ReadError as error:
            gaps.add(reading, "protocols", error, detail="softnet_stat", lost="backlog drops are not seen")
            return
        try:
            block, cpus = parse_softnet(raw)
        except ValueError as error:
            gaps.damage(reading, "protocols", "/proc/net/softnet_stat", [str(error)], detail="softnet_stat")
            return
        # A CPU that comes online brings its history with it: leaving the block out once makes its sums start anew.
        if self._cpus in ((), cpus):
            reading.blocks["protocol/softnet"] = block
        self._cpus = cpus


def _file(
    reading: Reading, host: Host, name: str, parse: Callable[[bytes], tuple[Blocks, list[str]]], lost: str = ""
) -> None:
    try:
        blocks, problems = parse(host.read(f"proc/net/{name}"))
    except ReadError as error:
        gaps.add(reading, "protocols", error, detail=name, lost=lost)
        return
    for subject, block in blocks.items():
        reading.blocks.setdefault(subject, block)
    if not blocks and not problems:
        problems.append("empty")
    gaps.damage(reading, "protocols", f"/proc/net/{name}", problems, detail=name)


def _conntrack(reading: Reading, host: Host) -> None:
    values = []
    for name in ("nf_conntrack_count", "nf_conntrack_max"):
        path = f"proc/sys/net/netfilter/{name}"
        try:
            raw = host.read(path, 4096)
        except ReadError as error:
            gaps.add(reading, "conntrack", error, lost="the connection tracking table's fill is not known")
            return
        value = _counter(raw.strip())
        if value is None or value >= 1 << 32:
            gaps.damage(reading, "conntrack", f"/{path}", [f"no number: {gaps.excerpt(raw)}"])
            return
        values.append(value)
    count, most = values
    # To 1 % of the maximum: the exact count changes every second and decides nothing.
    steps = percent_steps(count, most) * most // 10_000
    reading.add(pb.Item(key="conntrack", conntrack=pb.Conntrack(count=steps, max=most)))


def _pressure(reading: Reading, host: Host) -> None:
    errors: dict[str, ReadError] = {}
    for resource in ("cpu", "io", "memory"):
        key = f"pressure/{resource}"
        try:
            found, problems = parse_pressure(host.read(f"proc/pressure/{resource}", 4096))
        except ReadError as error:
            errors[resource] = error
            continue
        gaps.damage(reading, "pressure", f"/proc/pressure/{resource}", problems, detail=resource)
        if found:
            averages = {kind: percent_steps(found[kind][0], 10_000) for kind in found}
            pressure = pb.Pressure(
                resource=resource, some_avg10_bp=averages.get("some", 0), full_avg10_bp=averages.get("full", 0)
            )
            reading.add(pb.Item(key=key, pressure=pressure))
            _add(
                reading.blocks,
                key,
                [(f"{kind}_total_us", found[kind][1]) for kind in ("some", "full") if kind in found],
            )
    if len(errors) == 3 and all(failed.failure is Failure.ABSENT for failed in errors.values()):
        remedy = "boot the kernel with psi=1 (Linux 4.20 or later, CONFIG_PSI)"
        gaps.add(reading, "pressure", errors["io"], lost="stalls are not measured", remedy=remedy)
    else:
        for resource, failed in errors.items():
            if failed.failure is not Failure.ABSENT:  # a bundle may hold that of one resource only
                gaps.add(reading, "pressure", failed, detail=resource)
