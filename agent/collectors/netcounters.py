"""Parsing of /proc/net/snmp, netstat, snmp6 and softnet_stat, of which those counters are kept that a diagnosis uses.

They are read every second, and most of a file is as it was: a line that is the same to the byte is not parsed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from agent.collectors import gaps
from agent.reading import Block

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


def counter(token: bytes) -> int | None:
    """An unsigned 64-bit decimal; None for anything else (Tcp.MaxConn is -1)."""
    if not token.isdigit() or len(token) > 20:
        return None
    value = int(token)
    return value if value <= _MAX else None


def _counters(tokens: Sequence[bytes]) -> tuple[int, ...] | None:
    """All of them at once; None if one of them may be no counter."""
    if b"".join(tokens).isdigit() and all(tokens) and max(map(len, tokens)) < len(str(_MAX)):
        return tuple(map(int, tokens))
    return None


@dataclass(slots=True)
class Earlier:
    """What a file said before, so that only what differs is parsed. One for each file that is read again and again."""

    pairs: dict[bytes, tuple[bytes, str, Block]] = field(default_factory=dict)
    """By line of names: the line of values, and what it meant. Sound lines only."""
    names: list[bytes] = field(default_factory=list)
    """Of a sound snmp6, in its order."""
    columns: list[tuple[str, tuple[str, ...], list[int]]] = field(default_factory=list)
    """Of the same: subject, and names of the counters kept and where they stand."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is kept of a line of values."""

    block: str
    width: int
    names: tuple[str, ...]
    positions: tuple[int, ...]


@lru_cache(maxsize=64)
def _columns(header: bytes) -> _Columns:
    """Of "Ip: Forwarding DefaultTTL ..."."""
    words = header.decode("utf-8", "replace").split()
    block = words[0].removesuffix(":")
    kept = KEPT.get(block, frozenset())
    positions = {name: column for column, name in enumerate(words[1:]) if name in kept}
    return _Columns(block, len(words) - 1, tuple(positions), tuple(positions.values()))


def parse_pairs(raw: bytes, earlier: Earlier | None = None) -> tuple[Blocks, list[str]]:
    """/proc/net/snmp and /proc/net/netstat: lines in pairs, names and values, each beginning with "Block:".

    A pair that does not match is a problem and the others are good. Names may move and come and go between kernels. The
    block of a line that is as it was `earlier` is the same object.
    """
    known = {} if earlier is None else earlier.pairs
    blocks: Blocks = {}
    problems: list[str] = []
    header = b""
    for number, line in enumerate(raw.split(b"\n"), 1):
        was = known.get(header)
        if was is not None and was[0] == line and was[1] not in blocks:
            blocks[was[1]] = was[2]
            header = b""
            continue
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
            sound = len(problems)
            subject = _pair(header, rest.split(), number, blocks, problems)
            if subject in blocks and len(problems) == sound:
                known[header] = line, subject, blocks[subject]
            header = b""
    if header:
        problems.append(f"ends after the names {gaps.excerpt(header)}")
    return blocks, problems


def _is_header(rest: bytes) -> bool:
    return rest.lstrip()[:1].isalpha()


def _pair(header: bytes, values: list[bytes], number: int, blocks: Blocks, problems: list[str]) -> str:
    """Take in a pair; the subject that it is about."""
    columns = _columns(header)
    block, subject = columns.block, f"protocol/{columns.block}"
    if len(values) != columns.width:
        problems.append(f"line {number}: {columns.width} names and {len(values)} values of {block:.20}")
        return subject
    if subject in blocks:
        problems.append(f"line {number}: {block:.20} for the second time")
        return subject
    tokens = [values[position] for position in columns.positions]
    numbers = _counters(tokens) if tokens else ()
    if numbers is not None:
        if numbers:
            blocks[subject] = Block(columns.names, numbers)
        return subject
    found = [(name, counter(token)) for name, token in zip(columns.names, tokens, strict=True)]
    problems.extend(f"line {number}: {block}.{name} is no counter" for name, value in found if value is None)
    add(blocks, subject, [(name, value) for name, value in found if value is not None])
    return subject


def add(blocks: Blocks, subject: str, counters: list[tuple[str, int]]) -> None:
    """Add a block of these counters, if there are any."""
    if counters:
        blocks[subject] = Block(tuple(name for name, _ in counters), tuple(value for _, value in counters))


def parse_snmp6(raw: bytes, earlier: Earlier | None = None) -> tuple[Blocks, list[str]]:
    """/proc/net/snmp6: a name and a value per line, "Ip6FragFails  0"."""
    if earlier is not None and (quick := _same_names(raw, earlier)) is not None:
        return quick, []
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
        value = counter(words[1])
        if value is None:
            problems.append(f"line {number}: {block}.{name} is no counter")
        else:
            found[block][name] = value
    blocks: Blocks = {}
    for block, counters in found.items():
        add(blocks, f"protocol/{block}", list(counters.items()))
    if earlier is not None:
        earlier.names = [] if problems else raw.split()[::2]
        earlier.columns = [
            (
                f"protocol/{block}",
                tuple(counters),
                [earlier.names.index(f"{block}{name}".encode()) for name in counters],
            )
            for block, counters in found.items()
            if counters and not problems
        ]
    return blocks, problems


def _same_names(raw: bytes, earlier: Earlier) -> Blocks | None:
    """The blocks, where the file has the names that it had `earlier`; None: it must be looked at line by line."""
    words = raw.split()
    if not earlier.names or words[::2] != earlier.names or raw.count(b"\n") != len(earlier.names):
        return None
    values = words[1::2]
    blocks: Blocks = {}
    for subject, names, positions in earlier.columns:
        numbers = _counters([values[position] for position in positions]) if len(values) == len(earlier.names) else None
        if numbers is None:
            return None
        blocks[subject] = Block(names, numbers)
    return blocks


def parse_softnet(raw: bytes) -> tuple[Block, tuple[int, ...]]:
    """/proc/net/softnet_stat: hexadecimal columns, a line per online CPU. Sums, and the CPUs they are of.

    Raises ValueError for any damaged line, as a sum that lacks a CPU would jump when that CPU's line is back.
    Columns: processed, dropped, time_squeeze; the 13th is the CPU's number since Linux 5.10 (net/core/net-procfs.c).
    """
    sums = [0, 0, 0]
    cpus = []
    for number, line in enumerate(raw.splitlines(), 1):
        words = line.split()
        if len(words) < 3 or not all(len(word) == 8 and word.isalnum() for word in words):
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
