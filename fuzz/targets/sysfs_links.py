"""Interfaces as /sys/class/net and /proc/net/dev show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.delta import DeltaEncoder
from agent.host import Failure, ReadError
from agent.network.netdev import parse_columns, split_lines
from agent.network.sysfs import SysfsNetwork
from agent.reading import Block, Reading
from aggregator.node_state import NodeState
from fuzz import mutators
from fuzz.hosts import LATER, LINK, MemoryFolder, tell, times_of
from fuzz.target import Target, sometimes

_ROOT = "sys/class/net"


def check(case: bytes) -> None:
    """One odd link is a problem and the others are good; counters are those of the files, however often read."""
    files = mutators.files_of(case)
    now: dict[str, bytes] = {}
    folder = MemoryFolder(now)
    network = SysfsNetwork(lambda path: folder.read(path, 1 << 20), folder.entries, folder.link_target, refresh_s=0.0)
    encoder, state = DeltaEncoder(), NodeState("node-1")
    times = times_of(files)
    told = sometimes(case, 8)
    for number, each in enumerate((times[0], *times) if told else times):
        now.clear()
        now.update(each)
        try:
            inventory, counters = network.inventory(), network.counters()
        except ReadError as error:
            assert error.failure is Failure.ABSENT  # no interface at all
            return
        for index, link in inventory.links.items():
            assert link.ifindex == index
            link.SerializeToString()
        for problem in inventory.problems:
            assert "\n" not in str(problem)
        reading = Reading(blocks={f"link/{index}": Block(*row) for index, row in counters.items()})
        if told:
            tell(reading, encoder, state, 1_000_000 + number)
    for columns in split_lines(now.get("proc/net/dev", b"")).values():
        parsed = parse_columns(columns)
        assert parsed is None or all(0 <= value < 1 << 64 for value in parsed)


def _link(name: str, index: int, **more: str) -> dict[str, bytes]:
    plain = {
        "ifindex": str(index),
        "flags": "0x1003",
        "operstate": "up",
        "type": "1",
        "mtu": "1500",
        "uevent": "INTERFACE=x",
    }
    found = {f"{_ROOT}/{name}/{file}": f"{text}\n".encode() for file, text in (plain | more).items()}
    counters = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_dropped", "tx_dropped", "rx_nohandler")
    return found | {f"{_ROOT}/{name}/statistics/{counter}": b"7\n" for counter in counters}


def _dev(**rows: int) -> bytes:
    head = b"Inter-|   Receive |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes\n"
    return head + b"".join(f"{name}: {f'{value} ' * 16}\n".encode() for name, value in rows.items())


def _seeds() -> Iterable[bytes]:
    eth0, vxlan = _link("eth0", 2), _link("flannel.1", 5, mtu="1450", uevent="DEVTYPE=vxlan\nINTERFACE=flannel.1")
    links: Mapping[str, bytes] = {
        LINK + f"{_ROOT}/flannel.1/lower_eth0": b"../eth0",
        LINK + f"{_ROOT}/eth0/device": b"../../../0000:00:03.0",
        LINK + f"{_ROOT}/eth0/master": b"../br0",
    }
    yield mutators.case_of({**eth0, **vxlan, **links})
    yield mutators.case_of({**eth0, "proc/net/dev": _dev(eth0=7), LATER + "proc/net/dev": _dev(eth0=9)})
    yield mutators.case_of(eth0)


TARGET = Target(check, _seeds, words=(LATER.encode(), b"18446744073709551616", b"DEVTYPE=vxlan"), mutate=mutators.files)
