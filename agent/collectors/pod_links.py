"""Pods' own interfaces: asked of rtnetlink from outside where that is allowed, or as a bundle holds them."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent import bounds
from agent.collectors import documents, gaps
from agent.collectors.keep import Kept
from agent.host import Failure, Host, ReadError
from agent.reading import Reading

_U32 = (1 << 32) - 1
_ALL_S = 60.0
"""How often all of them are asked for: each costs two questions to the kernel."""
_STAND_IN = "the host-side ends of veths stand for pods' interfaces"
_REMEDY = "run the agent in the host's network namespace (hostNetwork), with CAP_NET_ADMIN"


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
    addresses = documents.words(entry.get("addresses", []), "addresses", 1000)
    return keyed(
        pb.PodLink(
            pod_uid=documents.text(entry, "pod_uid"),
            interface=documents.text(entry, "interface"),
            mtu=documents.whole(entry.get("mtu"), "mtu", _U32),
            host_interface=documents.text(entry, "host_interface", optional=True),
            addresses=[documents.text({"addresses": address}, "addresses") for address in addresses],
        )
    )


def keyed(link: pb.PodLink) -> pb.Item:
    """The item of a pod's link; where the pod is not known, its end on the host stands for it."""
    return pb.Item(key=f"pod_link/{link.pod_uid or link.host_interface}/{link.interface}", pod_link=link)


class PodLinksCollector:
    """Items "pod_link/UID/INTERFACE", with the name of the host's end for the UID where that is not known.

    The kernel tells of changes of our own links only. So a pod's link is asked for when its end here changes, and all
    of them once a minute; one that disagrees with its end here is asked again each time, until it agrees.
    """

    name = "pod_links"
    lane = "pod_links"
    interval_s = 2.0

    def __init__(self) -> None:
        self._kept = Kept()
        self._ends: dict[int, tuple[int, int, int]] = {}
        """Of our ends: MTU, and where the other end is; by ifindex."""
        self._far: dict[int, pb.PodLink] = {}
        """What is at the other end, by ifindex of ours."""
        self._all_at = 0.0

    def collect(self, host: Host, now: float) -> Reading:
        """The links of pods now, or those that the host's document holds."""
        reading = Reading()
        try:
            if host.live:
                self._observe(host, now)
                items = map(keyed, self._far.values())
                bounds.add_within(reading, items, "pod_links", "interfaces of pods", bounds.MOST_POD_LINKS)
                reading.source("pod_links", "rtnetlink")
            else:
                _recorded(reading, host)
        except ReadError as error:
            gaps.add(reading, "pod_links", error, lost=_STAND_IN)
        return self._kept.settle(reading)

    def _observe(self, host: Host, now: float) -> None:
        from agent.network.pods import pairs, pod_links  # noqa: PLC0415  # a bundle is read without netlink

        inventory = host.network.inventory()
        if inventory.source != "rtnetlink":
            raise ReadError(Failure.DENIED, inventory.source, "does not lead into pods' namespaces", _REMEDY)
        ours = pairs(inventory.links)
        ends = {ifindex: (link.mtu, link.peer_netnsid, link.peer_ifindex) for ifindex, link in ours.items()}
        everything = not 0 <= now - self._all_at < _ALL_S
        asked = {
            ifindex: link
            for ifindex, link in ours.items()
            if everything
            or self._ends.get(ifindex) != ends[ifindex]
            or (ifindex in self._far and self._far[ifindex].mtu != link.mtu)
        }
        told = pod_links(asked)
        self._far = {i: link for i, link in self._far.items() if i in ours and i not in asked} | told
        self._ends = ends
        if everything:
            self._all_at = now


def _recorded(reading: Reading, host: Host) -> None:
    document = host.document("pod-links.json")
    if document is None:
        reading.gap("pod_links", f"no pod-links.json: {_STAND_IN}")
        return
    reading.source("pod_links", "pod-links.json")
    items, problems = parse_pod_links(document)
    for item in items:
        reading.add(item)
    gaps.damage(reading, "pod_links", "pod-links.json", problems)


def pod_links_document(reading: Reading) -> list[dict[str, object]]:
    """pod-links.json of a reading."""
    return [
        {
            "pod_uid": item.pod_link.pod_uid,
            "interface": item.pod_link.interface,
            "mtu": item.pod_link.mtu,
            "host_interface": item.pod_link.host_interface,
            "addresses": list(item.pod_link.addresses),
        }
        for item in reading.items.values()
        if item.HasField("pod_link")
    ]
