"""Results of path-MTU probes between nodes: the agent's own, or those that a bundle holds.

The probing itself is agent.pathmtu's. It gets from here what interfaces there are, because they are read in this lane
anyway; a pod with a network namespace of its own probes from that one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents, gaps
from agent.collectors.base import NETWORK_LANE
from agent.collectors.keep import Kept
from agent.host import Host, Inventory, Network, ReadError
from agent.reading import Reading

_U32 = (1 << 32) - 1


def parse_path_mtu(document: object) -> tuple[list[pb.Item], list[str]]:
    """Items of path-mtu.json; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "path-mtu.json", 1_000_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    items: dict[str, pb.Item] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            item = _item(documents.entry(entry))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
            continue
        before = items.get(item.key)
        if before is None or before.path_mtu.at_unix_ms <= item.path_mtu.at_unix_ms:  # the newest counts
            items[item.key] = item
    return list(items.values()), problems


def _item(entry: documents.Entry) -> pb.Item:
    via = documents.text(entry, "via")
    if via not in {"underlay", "overlay"}:
        raise documents.OddError('"via" is neither "underlay" nor "overlay"')
    seen = entry.get("icmp_seen", False)
    if not isinstance(seen, bool):
        raise documents.OddError('"icmp_seen" is neither true nor false')
    source, target = documents.text(entry, "from"), documents.text(entry, "to")
    probe = pb.PathMtu(
        peer=documents.text(entry, "peer"),
        via=via,
        from_address=source,
        to_address=target,
        interface=documents.text(entry, "interface", optional=True),
        interface_mtu=documents.whole(entry.get("interface_mtu", 0), "interface_mtu", _U32),
        icmp_seen=seen,
        at_unix_ms=_at(documents.text(entry, "at")),
        rtt_us=round(1000 * documents.number(entry.get("rtt_ms") or 0, "rtt_ms", 1e6)),
    )
    if "path_mtu" not in entry:
        raise documents.OddError('"path_mtu" is missing (null: nothing arrived)')
    if entry["path_mtu"] is not None:
        probe.path_mtu = documents.whole(entry["path_mtu"], "path_mtu", _U32)
    return pb.Item(key=f"path_mtu/{via}/{probe.peer}/{source}/{target}", path_mtu=probe)


def _at(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
        return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise documents.OddError('"at" is no RFC 3339 time') from None


def path_mtu_document(reading: Reading) -> list[dict[str, object]]:
    """path-mtu.json of what a reading holds, so that parse_path_mtu gives the same items."""
    return [_entry(item.path_mtu) for item in reading.items.values() if item.HasField("path_mtu")]


def _entry(probe: pb.PathMtu) -> dict[str, object]:
    at = datetime.fromtimestamp(probe.at_unix_ms / 1000, UTC)
    return {
        "peer": probe.peer,
        "via": probe.via,
        "from": probe.from_address,
        "to": probe.to_address,
        "interface": probe.interface,
        "interface_mtu": probe.interface_mtu,
        "path_mtu": probe.path_mtu if probe.HasField("path_mtu") else None,
        "icmp_seen": probe.icmp_seen,
        "rtt_ms": probe.rtt_us / 1000,
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


class Prober(Protocol):
    """What probes paths from this host."""

    def observe(self, inventory: Inventory, *, host_network: bool) -> None:
        """These are the interfaces of the agent's network namespace. `host_network`: they are the node's."""
        ...

    def reading(self) -> Reading:
        """All that is known by probing."""
        ...


class PathMtuCollector:
    """Items "path_mtu/VIA/PEER/FROM/TO" and "probe_endpoint"; counters "path_mtu"."""

    name = "path_mtu"
    lane = NETWORK_LANE
    interval_s = 1.0

    def __init__(self, prober: Prober | None = None) -> None:
        self._kept = Kept()
        self._prober = prober
        self._own_network: Network | None = None

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # every result carries its own time
        """What probing has found, or the results that the host's document holds."""
        if self._prober is not None and host.live:
            return self._kept.settle(self._probed(self._prober, host))
        reading = Reading()
        try:
            document = host.document("path-mtu.json")
        except ReadError as error:
            gaps.add(reading, "path_mtu", error)
            return self._kept.settle(reading)
        if document is None:
            because = (
                "paths between nodes are probed by agents with an aggregator, and this is none"
                if host.live
                else "no path-mtu.json"
            )
            reading.gap("path_mtu", because)
            return self._kept.settle(reading)
        reading.source("path_mtu", "path-mtu.json")
        items, problems = parse_path_mtu(document)
        for item in items:
            reading.add(item)
        gaps.damage(reading, "path_mtu", "path-mtu.json", problems)
        return self._kept.settle(reading)

    def _probed(self, prober: Prober, host: Host) -> Reading:
        try:
            inventory = host.network.inventory()
            host_network = inventory.source == "rtnetlink"
            if not host_network:
                inventory = self._own().inventory()
        except ReadError as error:
            reading = prober.reading()
            gaps.add(reading, "path_mtu", error, detail="interfaces")
            return reading
        prober.observe(inventory, host_network=host_network)
        reading = prober.reading()
        if any(item.HasField("path_mtu") for item in reading.items.values()):
            reading.source("path_mtu", "probes")
        return reading

    def _own(self) -> Network:
        """The interfaces of this process's network namespace, where it is not the host's. Raises ReadError."""
        if self._own_network is None:
            from agent.network.live import NetlinkNetwork  # noqa: PLC0415  # most agents share the host's

            self._own_network = NetlinkNetwork()
        return self._own_network
