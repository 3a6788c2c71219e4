"""/proc/net/snmp, netstat, snmp6, softnet_stat, /proc/pressure and the fill of the connection tracking table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from agent.collectors import netcounters
from agent.collectors.netcounters import Earlier
from agent.collectors.protocols import ProtocolsCollector, parse_pressure
from fuzz import mutators
from fuzz.hosts import LATER, collected, recorded, times_of
from fuzz.target import Target, sometimes

_GOOD = b"Ip: ForwDatagrams FragFails\nIp: 5 6\n"
_NETSTAT = (
    b"TcpExt: SyncookiesSent TCPTimeouts ListenDrops TCPMTUPFail\nTcpExt: 0 7 1 2\n"
    b"IpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 18446744073709551615 9\nMPTcpExt: MPCapableSYNRX\nMPTcpExt: 0\n"
)
_SNMP6 = b"Ip6InReceives                   \t15\nIp6FragFails\t0\nIcmp6InPktTooBigs\t3\nUdp6InDatagrams\t8\n"
_PRESSURE = b"some avg10=0.50 avg60=1.00 avg300=2.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n"
_CONNTRACK = {
    "proc/sys/net/netfilter/nf_conntrack_count": b"250\n",
    "proc/sys/net/netfilter/nf_conntrack_max": b"262144\n",
}
_PARSERS = {
    "proc/net/snmp": netcounters.parse_pairs,
    "proc/net/netstat": netcounters.parse_pairs,
    "proc/net/snmp6": netcounters.parse_snmp6,
}


def check(case: bytes) -> None:
    """What is kept from an earlier reading changes nothing, a good block stays, and all can be told."""
    files = mutators.files_of(case)
    times = times_of(files)
    for path, raw in files.items():
        if path in _PARSERS:
            blocks, problems = _PARSERS[path](raw, None)
            assert all(0 <= value < 1 << 64 for block in blocks.values() for value in block.values)
            assert all("\n" not in problem for problem in problems)
        elif path.endswith("softnet_stat"):
            with contextlib.suppress(ValueError):
                netcounters.parse_softnet(raw)
        if path.startswith("proc/pressure/"):
            found, problems = parse_pressure(raw)
            assert len(found) + len(problems) == sum(1 for line in raw.splitlines() if line.split())
    if not sometimes(case, 8):
        return
    for path, parse in _PARSERS.items():
        earlier = Earlier()
        for each in times:
            if raw := each.get(path, b""):
                assert parse(raw, earlier) == parse(raw, None)
    raw = files.get("proc/net/snmp", b"")
    assert netcounters.parse_pairs(_GOOD + raw)[0]["protocol/Ip"].values == (5, 6)
    collected([ProtocolsCollector()], *times)


def _seeds() -> Iterable[bytes]:
    whole = {"proc/net/netstat": _NETSTAT, "proc/net/snmp6": _SNMP6, **_CONNTRACK}
    whole |= {f"proc/pressure/{resource}": _PRESSURE for resource in ("cpu", "io", "memory")}
    yield mutators.case_of(whole)
    yield mutators.case_of({"proc/net/snmp6": _SNMP6, LATER + "proc/net/snmp6": _SNMP6.replace(b"15", b"16")})
    yield mutators.case_of({"proc/net/netstat": _NETSTAT, LATER + "proc/net/netstat": _NETSTAT.replace(b" 7 ", b" 8 ")})
    for files in recorded("proc/net/", "proc/pressure/io"):
        yield mutators.case_of(files)


TARGET = Target(check, _seeds, mutate=mutators.files, max_bytes=1_200)
