"""Pods' own interfaces, as a bundle holds them. An agent of this version does not look into pods' namespaces itself."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import documents, gaps
from agent.collectors.keep import Kept
from agent.host import Host, ReadError
from agent.reading import Reading

_U32 = (1 << 32) - 1


def parse_pod_links(document: object) -> tuple[list[pb.Item], list[str]]:
    """Items of pod-links.json; an odd entry is a problem and the others are good."""
    try:
        entries = documents.words(document, "pod-links.json", 1_000_000)
    except documents.OddError as odd:
        return [], [str(odd)]
    items: list[pb.Item] = []
    problems: list[str] = []
    for number, entry in enumerate(entries):
        try:
            items.append(_item(documents.entry(entry)))
        except documents.OddError as odd:
            problems.append(f"entry {number}: {odd}")
    return items, problems


def _item(entry: documents.Entry) -> pb.Item:
    link = pb.PodLink(
        pod_uid=documents.text(entry, "pod_uid"),
        interface=documents.text(entry, "interface"),
        mtu=documents.whole(entry.get("mtu"), "mtu", _U32),
        host_interface=documents.text(entry, "host_interface", optional=True),
    )
    return pb.Item(key=f"pod_link/{link.pod_uid}/{link.interface}", pod_link=link)


class PodLinksCollector:
    """Items "pod_link/UID/INTERFACE"."""

    name = "pod_links"
    lane = "pod_links"
    interval_s = 300.0

    def __init__(self) -> None:
        self._kept = Kept()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # what a document says has no time of its own
        """What the host's document holds."""
        reading = Reading()
        try:
            document = host.document("pod-links.json")
        except ReadError as error:
            gaps.add(reading, "pod_links", error)
            return self._kept.settle(reading)
        if document is None:
            because = (
                "pods' own interfaces are not read by this version: their host-side ends stand for them"
                if host.live
                else "no pod-links.json: the host-side ends of veths stand for pods' interfaces"
            )
            reading.gap("pod_links", because)
            return self._kept.settle(reading)
        reading.source("pod_links", "pod-links.json")
        items, problems = parse_pod_links(document)
        for item in items:
            reading.add(item)
        gaps.damage(reading, "pod_links", "pod-links.json", problems)
        return self._kept.settle(reading)
