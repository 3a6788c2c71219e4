"""Results of path-MTU probes between nodes, as a bundle holds them. An agent of this version does not probe itself."""

from __future__ import annotations

from datetime import UTC, datetime

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents, gaps
from agent.collectors.keep import Kept
from agent.host import Host, ReadError
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


class PathMtuCollector:
    """Items "path_mtu/VIA/PEER/FROM/TO"."""

    name = "path_mtu"
    lane = "path_mtu"
    interval_s = 300.0

    def __init__(self) -> None:
        self._kept = Kept()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # every result carries its own time
        """The results that the host's document holds."""
        reading = Reading()
        try:
            document = host.document("path-mtu.json")
        except ReadError as error:
            gaps.add(reading, "path_mtu", error)
            return self._kept.settle(reading)
        if document is None:
            because = (
                "paths between nodes are not probed by this version: MTUs are judged by configuration and counters"
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
