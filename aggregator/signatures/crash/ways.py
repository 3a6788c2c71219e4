"""Whether a path that loses large packets makes somebody say what it says: it is asked before anybody is blamed.

Such a path lets small packets pass: names are found and connections stand, then the first large answer (a certificate,
a page) never comes. So a connection that is refused, or a name that is not known, is never its doing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aggregator.model import Evidence
from aggregator.node_state import NodeState
from aggregator.signatures.crash.peers import Directory, Peer, Where, hosts_in
from aggregator.signatures.mtu.paths import Probe, ends, pair_path, peer_path
from aggregator.signatures.mtu_mismatch import hosts_with_small_paths
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "crash.ways"
_HANGS = re.compile(
    r"time[sd]?[ -]?out|timeout|deadline exceeded|etimedout|handshake (?:failed|failure|error)|awaiting headers"
    r"|(?:eof|reset by peer)[^.]{0,40}handshake|handshake[^.]{0,40}(?:eof|reset by peer)",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    r"refused|no such host|no route to host|name or service not known|could not resolve|resolution|nxdomain"
    r"|server misbehaving|x509|certificate (?:has|is|signed|verify)|unknown authority",
    re.IGNORECASE,
)
_NEVER_STOOD = re.compile(
    r"\bdial (?:tcp|udp)\S* \S+: i/o timeout|connect: connection timed out|\bconnect time(?:d ?)?out|connecttimeout"
    r"|connectexception|timed out connecting|(?:could not|cannot|failed to|unable to) connect|lookup \S+(?: on \S+)?: ",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"denied|forbidden|unauthori[sz]ed|invalid|(?<!timeout )(?<!time-out )expired"
    r"|not authorized|\b40[13]\b"
    r"|authentication failed|rejected|incorrect|wrong password|bad credentials|accessdenied",
    re.IGNORECASE,
)
_MOST_FACTS = 4


@dataclass(frozen=True, slots=True)
class Way:
    """Over which paths somebody spoke, and what is known against them."""

    objects: tuple[str, ...]
    """"Path/NODE" and "Path/NODE/NODE": what findings about paths name, too."""
    evidence: tuple[Evidence, ...] = ()
    """Of paths that were proven to lose large packets; empty: of none."""
    statement: str = ""
    """The same as a clause."""


def hangs(text: str) -> bool:
    """It waited in vain for an answer: not that it was refused, or found nobody."""
    return _HANGS.search(text) is not None and _ANSWERED.search(text) is None


def is_refusal(text: str) -> bool:
    """Somebody has read the credentials and has said no: no lossy path says that."""
    return _REFUSED.search(text) is not None


@dataclass(slots=True)
class Ways:
    """The paths of one evaluation, looked at only once somebody hangs."""

    view: ClusterView
    limits: Thresholds
    _directory: Directory | None = None
    _lossy: dict[frozenset[str], list[Probe]] | None = None

    def of(self, node: str, text: str, namespace: str, *, pod_uid: str = "", host: str = "") -> Way | None:
        """How something on `node` spoke that says `text`; None: it does not hang, or its peer is on the same node.

        `host`: whom it spoke to, where that is known better. `pod_uid`: whose connections they are; empty: the host's.
        """
        if not node or not hangs(text):
            return None
        if self._directory is None:
            self._directory = Directory(self.view.objects, thorough=bool(self._known()))
        peer = self._directory.of_hosts([host] if host else hosts_in(text), namespace)
        if peer.where is Where.INSIDE and peer.nodes <= {node}:
            return None
        stood = _NEVER_STOOD.search(text) is None
        if not stood and peer.where is not Where.INSIDE:
            return None  # small packets were lost, too, or nobody was there
        pairs = self._pairs(node, peer)
        told = self._timing_out(node, pod_uid, peer)
        objects = dict.fromkeys(pair_path(*sorted(pair)) for pair in pairs)
        objects |= dict.fromkeys(peer_path(node, address) for address, _ in told)
        if peer.where is not Where.OUTSIDE:
            objects |= dict.fromkeys(f"Path/{each}" for each in sorted({node, *peer.nodes}))
        probes = [probe for pair in pairs for probe in self._known()[pair]]
        evidence = (*(probe.evidence for probe in probes), *(fact for _, fact in told))[:_MOST_FACTS]
        return Way(tuple(objects), evidence, _statement(probes, told)) if objects else None

    def timing_out(self, node: str, pod_uid: str) -> str:
        """That connections of a pod time out again and again, as a clause; empty: none is known to."""
        return _statement([], self._timing_out(node, pod_uid, Peer(Where.UNKNOWN)))

    def _pairs(self, node: str, peer: Peer) -> list[frozenset[str]]:
        """Pairs of nodes whose path loses large packets, among those that it may have spoken over."""
        lossy = self._known()
        here = sorted((pair for pair in lossy if node in pair), key=sorted)
        if peer.where is Where.UNKNOWN:
            return here
        if peer.where is Where.OUTSIDE:
            return here if self._all_of(node) else []
        found = [pair for pair in here if pair & (peer.nodes - {node})]
        if found:
            return found
        # No probe goes from the one to the other: then it takes an end all of whose paths are so.
        ends_ = [end for end in sorted({node, *peer.nodes}) if self._all_of(end)]
        return [pair for end in ends_ for pair in sorted((each for each in lossy if end in each), key=sorted)]

    def _all_of(self, node: str) -> bool:
        """All paths of the node that are probed lose large packets, and there are several."""
        host = self.view.hosts.get(node)
        others = (item.path_mtu for item in host.of("path_mtu")) if host is not None else ()
        fine = any(Probe(node, each).passed and self._is_young(Probe(node, each), node) for each in others)
        return not fine and sum(1 for pair in self._known() if node in pair) > 1

    def _known(self) -> dict[frozenset[str], list[Probe]]:
        """Probes of paths that lose large packets, by their ends."""
        if self._lossy is None:
            self._lossy = {}
            for name in hosts_with_small_paths(self.view):
                for probe in _lossy_probes(self.view.hosts.get(name)):
                    if self._is_young(probe, name):
                        self._lossy.setdefault(ends(probe), []).append(probe)
        return self._lossy

    def _is_young(self, probe: Probe, node: str) -> bool:
        return self.view.hosts[node].at - probe.result.at_unix_ms / 1000 <= self.limits.probe_max_age_s

    def _timing_out(self, node: str, pod_uid: str, peer: Peer) -> list[tuple[str, Evidence]]:
        """Connections of it that time out again and again, as the sensor sees them."""
        host = self.view.hosts.get(node)
        found = []
        for item in host.of("retransmits") if host is not None else ():
            seen = item.retransmits
            mine = seen.pod_uid == pod_uid if pod_uid else seen.host_network and peer.where is Where.OUTSIDE
            if mine and seen.consecutive_timeouts >= self.limits.timeouts_in_a_row_min:
                at = host.at if host is not None else 0.0
                value = seen.consecutive_timeouts
                fact = Evidence(node, "tcp.timeouts_in_a_row", seen.peer, value, "time-outs", "sensor", at)
                found.append((seen.peer, fact))
        return found


def _lossy_probes(host: NodeState | None) -> list[Probe]:
    """Probes of a host that got through below full size only, with nobody told. Kept with it until its items change."""
    if host is None:
        return []
    kept = host.derived.get(_NAME)
    if not isinstance(kept, list):
        probes = (Probe(host.name, item.path_mtu) for item in host.of("path_mtu") if item.path_mtu.interface_mtu)
        kept = host.derived[_NAME] = [probe for probe in probes if probe.too_small and not probe.sort[1]]
    return kept


def _statement(probes: Iterable[Probe], told: list[tuple[str, Evidence]]) -> str:
    for probe in probes:
        passed, full = probe.sizes
        between = f"the path between {probe.node} and {probe.peer}"
        return f"{between} passes {passed} bytes where {full} are sent, and tells nobody"
    for address, fact in told:
        return f"its connections to {address} timed out {fact.value} times in a row"
    return ""
