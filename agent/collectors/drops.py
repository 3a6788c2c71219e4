"""Packets that the kernel dropped, by its own reason and place: from the sensor, or recorded in a bundle.

A healthy host drops packets all the time (closed sockets, packets for others): reason and place make the difference.
"""

from __future__ import annotations

from collections import Counter

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import sensor_pb2

from agent.collectors import documents, gaps, sensed
from agent.collectors.keep import Kept
from agent.host import Host, ReadError
from agent.reading import Reading
from agent.sensor.client import SensorClient

MOST_PLACES = 200
"""Rows told of a live host, those with most packets; the others' packets are summed up by reason and site."""
COUNTERS = ("packets",)
NO_SITE = ""
"""Site of what drop-reasons.json counts: it has none."""
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1


def _item(drop: pb.DropReason) -> pb.Item:
    key = f"drop/{drop.reason}/{drop.site}/{drop.netns}/{drop.ifindex or drop.interface}"
    return pb.Item(key=key, drop_reason=drop)


def parse_drop_sites(document: object) -> tuple[list[tuple[pb.Item, int]], list[str]]:
    """Items of drop-sites.json and their packets; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "drop-sites.json", 100_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    found: dict[str, tuple[pb.Item, int]] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            item, packets = _site(documents.entry(entry))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
            continue
        known = found.get(item.key)
        found[item.key] = (item, packets + (known[1] if known else 0))
    return list(found.values()), problems


def _site(entry: documents.Entry) -> tuple[pb.Item, int]:
    netns = documents.whole(entry.get("netns", 0), "netns", _U64)
    drop = pb.DropReason(
        reason=documents.text(entry, "reason"),
        site=documents.text(entry, "site", optional=True),
        interface=documents.text(entry, "interface", optional=True),
        ifindex=documents.whole(entry.get("ifindex", 0), "ifindex", _U32),
        netns=netns,
        host_network=netns == 0,
    )
    return _item(drop), documents.whole(entry.get("count"), "count", _U64)


def parse_drop_reasons(document: object) -> tuple[list[tuple[pb.Item, int]], list[str]]:
    """Items of drop-reasons.json, without sites, and their packets."""
    try:
        entries = documents.entry(document)
    except documents.OddError as odd:
        return [], [str(odd)]
    found, problems = [], []
    for reason, count in entries.items():
        try:
            packets = documents.whole(count, reason[:100], _U64)
        except documents.OddError as odd:
            problems.append(str(odd))
            continue
        name = documents.text({"reason": reason}, "reason") if len(reason) <= 4096 else reason[:100]
        found.append((_item(pb.DropReason(reason=name, site=NO_SITE, host_network=True)), packets))
    return found, problems


class DropsCollector:
    """Items and blocks "drop/REASON/SITE/NAMESPACE/INTERFACE"."""

    name = "drops"
    lane = "drops"
    interval_s = sensed.INTERVAL_S

    def __init__(self, sensor: SensorClient | None = None) -> None:
        """`sensor`: none is asked without."""
        self._sensor = sensor
        self._kept = Kept()
        self._single: dict[tuple[str, str, int, int], bool] = {}
        """Whether a row is told by itself. It stays as it was first told, or a sum would fall when one leaves it."""

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # counts have no time of their own
        """Counts so far."""
        reading = Reading()
        if not host.live:
            _recorded(reading, host)
        elif self._sensor is not None:
            try:
                self._observed(reading, self._sensor.report())
            except ReadError as error:
                gaps.add(reading, "drops", error)
        return self._kept.settle(reading)

    def _observed(self, reading: Reading, report: sensor_pb2.SensorReport) -> None:
        method = sensed.tell_methods(reading, "drops", report)
        if not method:
            return
        reading.source("drops", method)
        sensed.tell_losses(reading, "drops", {"packets": report.losses.drops_not_counted})
        packets: Counter[str] = Counter()
        items: dict[str, pb.Item] = {}
        known, self._single = self._single, {}
        singles = sum(known.values())
        for row in sorted(report.drops, key=lambda row: -row.count):
            key = (row.reason, row.site, row.netns, row.ifindex)
            drop = pb.DropReason(reason=row.reason, site=row.site)
            if known.get(key, singles < MOST_PLACES):
                singles += key not in known
                drop.ifindex, drop.interface, drop.netns = row.ifindex, row.interface, row.netns
                drop.host_network = row.netns != 0 and row.netns == report.own_netns
            self._single[key] = bool(drop.netns or drop.ifindex) or known.get(key, False)
            item = _item(drop)
            items.setdefault(item.key, item)
            packets[item.key] += row.count
        for name, item in items.items():
            sensed.put(reading, item, COUNTERS, (packets[name],))


def _recorded(reading: Reading, host: Host) -> None:
    sites = _document(reading, host, "drop-sites.json")
    reasons = None if sites is not None else _document(reading, host, "drop-reasons.json")
    if sites is None and reasons is None:
        if not any(key.startswith("coverage/drops") for key in reading.items):
            reading.gap("drops", "neither drop-sites.json nor drop-reasons.json")
        return
    name = "drop-sites.json" if sites is not None else "drop-reasons.json"
    rows, problems = parse_drop_sites(sites) if sites is not None else parse_drop_reasons(reasons)
    reading.source("drops", name)
    for item, packets in rows:
        sensed.put(reading, item, COUNTERS, (packets,))
    gaps.damage(reading, "drops", name, problems)


def _document(reading: Reading, host: Host, name: str) -> object | None:
    try:
        return host.document(name)
    except ReadError as error:
        gaps.add(reading, "drops", error, detail=name)
        return None


def drop_sites_document(reading: Reading) -> list[dict[str, object]]:
    """drop-sites.json of a reading; "netns" and "ifindex" only outside the host's own network."""
    entries = []
    for drop, packets in _drops(reading):
        if drop.site == NO_SITE:
            continue
        entry: dict[str, object] = {
            "reason": drop.reason,
            "site": drop.site,
            "interface": drop.interface,
            "count": packets,
        }
        if not drop.host_network and drop.netns:
            entry |= {"netns": drop.netns, "ifindex": drop.ifindex}
        entries.append(entry)
    return entries


def drop_reasons_document(reading: Reading) -> dict[str, int]:
    """drop-reasons.json of a reading."""
    totals: Counter[str] = Counter()
    for drop, packets in _drops(reading):
        totals[drop.reason] += packets
    return dict(totals)


def _drops(reading: Reading) -> list[tuple[pb.DropReason, int]]:
    return [
        (item.drop_reason, reading.blocks[key].values[0])
        for key, item in reading.items.items()
        if item.HasField("drop_reason") and key in reading.blocks
    ]
