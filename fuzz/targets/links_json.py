"""iproute2's JSON in a bundle: ip-link.json, ip-addr.json and ip-route.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from agent import underlay
from agent.collectors.links import LinksCollector
from agent.collectors.pod_links import PodLinksCollector
from agent.collectors.routes import RoutesCollector
from agent.host import Inventory, ReadError
from agent.netlink.stats import Counters
from agent.network.ipjson import IpJsonNetwork, render
from fuzz import mutators
from fuzz.captures import NETLINK
from fuzz.hosts import MemoryFolder, collected
from fuzz.target import Target, sometimes

_NAMES = ("ip-link.json", "ip-addr.json", "ip-route.json")
_GOOD = {"ifindex": 2147483647, "ifname": "known-as-good", "mtu": 1500, "flags": ["UP"], "link_type": "ether"}


def check(case: bytes) -> None:
    """One odd element is a problem and the others are good; what was read is the same when written and read again."""
    files = mutators.files_of(case)
    read = _read(files)
    if read is not None:
        inventory, counters = read
        for problem in inventory.problems:
            assert "\n" not in str(problem)
        underlay.resolve(inventory)
    if not sometimes(case, 4):
        return
    if read is not None:
        again = _read({name: json.dumps(document).encode() for name, document in render(inventory, counters).items()})
        assert again is not None or not inventory.links
        if again is not None:
            assert again[0].links == inventory.links
            assert _routes(again[0]) == _routes(inventory)
            assert again[1] == counters
    collected([LinksCollector(), RoutesCollector(), PodLinksCollector()], files)
    _keeps_good(files)


def _routes(inventory: Inventory) -> list[bytes]:
    return [route.SerializeToString(deterministic=True) for route in inventory.routes]


def _read(files: Mapping[str, bytes]) -> tuple[Inventory, Mapping[int, Counters]] | None:
    folder = MemoryFolder(files)
    network = IpJsonNetwork(lambda name: folder.read(name, 1 << 20))
    try:
        return network.inventory(), network.counters()
    except ReadError:
        return None


def _keeps_good(files: Mapping[str, bytes]) -> None:
    """An element before all others is read, whatever comes after it."""
    text = files.get("ip-link.json", b"").lstrip()
    if text.startswith(b"["):
        read = _read({"ip-link.json": b"[" + json.dumps(_GOOD).encode() + b"," + text[1:]})
        assert read is not None
        assert read[0].links[2147483647].name == "known-as-good"


def _seeds() -> Iterable[bytes]:
    documents = {name: json.loads((NETLINK / name).read_bytes()) for name in _NAMES}
    for name, elements in documents.items():
        for at in range(0, len(elements), 2):
            yield mutators.case_of({"ip-link.json": b"[]", name: json.dumps(elements[at : at + 2]).encode()})
    short = {name: json.dumps(elements[:2]).encode() for name, elements in documents.items()}
    yield mutators.case_of(short)


TARGET = Target(check, _seeds, mutate=mutators.files, max_bytes=2_000)
