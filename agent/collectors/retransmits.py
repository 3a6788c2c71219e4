"""TCP segments sent again, by peer: from the sensor, or recorded in a bundle's retransmits.json."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import sensor_pb2

from agent.collectors import documents, gaps, sensed
from agent.collectors.keep import Kept
from agent.host import Host, ReadError
from agent.reading import Reading
from agent.sensor.client import SensorClient

MOST_PEERS = 200
"""Rows told of a live host: those with most consecutive time-outs, then those with most segments."""
COUNTERS = ("large", "small")
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1


def _item(found: pb.Retransmits) -> pb.Item:
    return pb.Item(key=f"retransmits/{found.netns}/{found.pod_uid}/{found.peer}", retransmits=found)


def parse_retransmits(document: object) -> tuple[list[tuple[pb.Item, tuple[int, int]]], list[str]]:
    """Items of retransmits.json and their counters; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "retransmits.json", 100_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    found: dict[str, tuple[pb.Item, tuple[int, int]]] = {}
    problems = []
    for number, entry in enumerate(entries):
        try:
            item, counts = _entry(documents.entry(entry))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
            continue
        if found.setdefault(item.key, (item, counts))[0] is not item:
            problems.append(f"entry {number}: {item.retransmits.peer} for the second time")
    return list(found.values()), problems


def _entry(entry: documents.Entry) -> tuple[pb.Item, tuple[int, int]]:
    netns = documents.whole(entry.get("netns", 0), "netns", _U64)
    pod = documents.text(entry, "pod_uid", optional=True)
    found = pb.Retransmits(
        netns=netns,
        host_network=entry.get("host_network") is True,
        pod_uid=pod,
        peer=documents.text(entry, "peer"),
        consecutive_timeouts=documents.whole(entry.get("consecutive_timeouts"), "consecutive_timeouts", _U32),
    )
    large, small = (documents.whole(entry.get(name), name, _U64) for name in COUNTERS)
    return _item(found), (large, small)


class RetransmitsCollector:
    """Items and blocks "retransmits/NAMESPACE/POD/PEER"."""

    name = "retransmits"
    lane = "retransmits"
    interval_s = sensed.INTERVAL_S

    def __init__(self, sensor: SensorClient | None = None) -> None:
        """`sensor`: none is asked without."""
        self._sensor = sensor
        self._kept = Kept()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # counts have no time of their own
        """Counts so far."""
        reading = Reading()
        if not host.live:
            _recorded(reading, host)
        elif self._sensor is not None:
            try:
                _observed(reading, self._sensor.report())
            except ReadError as error:
                gaps.add(reading, "retransmits", error)
        return self._kept.settle(reading)


def _observed(reading: Reading, report: sensor_pb2.SensorReport) -> None:
    method = sensed.tell_methods(reading, "retransmits", report)
    if not method:
        return
    reading.source("retransmits", method)
    sensed.tell_losses(reading, "retransmits", {"segments": report.losses.retransmits_not_counted})
    rows = sorted(report.retransmits, key=lambda row: (-row.consecutive_timeouts, -row.large - row.small))
    sensed.tell_left_out(reading, "retransmits", len(rows) - MOST_PEERS, "peers")
    for row in rows[:MOST_PEERS]:
        found = pb.Retransmits(
            netns=row.netns,
            host_network=row.netns == report.own_netns,
            pod_uid=sensed.pod_of(row.cgroup_path),
            peer=row.peer,
            consecutive_timeouts=row.consecutive_timeouts,
        )
        sensed.put(reading, _item(found), COUNTERS, (row.large, row.small))


def _recorded(reading: Reading, host: Host) -> None:
    try:
        document = host.document("retransmits.json")
    except ReadError as error:
        gaps.add(reading, "retransmits", error)
        return
    if document is None:
        reading.gap("retransmits", "no retransmits.json")
        return
    rows, problems = parse_retransmits(document)
    reading.source("retransmits", "retransmits.json")
    for item, counts in rows:
        sensed.put(reading, item, COUNTERS, counts)
    gaps.damage(reading, "retransmits", "retransmits.json", problems)


def retransmits_document(reading: Reading) -> list[dict[str, object]]:
    """retransmits.json of a reading."""
    entries = []
    for key, item in reading.items.items():
        if not item.HasField("retransmits") or key not in reading.blocks:
            continue
        found = item.retransmits
        large, small = reading.blocks[key].values
        entry: dict[str, object] = {
            "pod_uid": found.pod_uid or None,
            "peer": found.peer,
            "large": large,
            "small": small,
            "consecutive_timeouts": found.consecutive_timeouts,
            "netns": found.netns,
        }
        entries.append(entry | {"host_network": True} if found.host_network else entry)
    return entries
