"""Whom somebody spoke to, by what it says: addresses and names in a message, and on which node they may be found.

Services are not read, so a name is told by the pods of its namespace whose workload is called like it. What cannot be
told is said to be unknown, never guessed. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState

_NAME = "crash.peers"
_MOST = 4_000
"""Characters of a message that are looked at."""
_URL = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,15}://(?:[^\s/@\"']{1,100}@)?(\[[0-9a-f:.]+\]|[^\s/:?#\"'\])>,;]{1,253})", re.I
)
_ARROW = re.compile(r"->(\[[0-9a-f:.]+\]|[\d.]+):\d+", re.I)
_SPOKEN_TO = re.compile(
    r"\b(?:dial (?:tcp|udp)[46]?|connect(?:ing|ion)? to(?: (?:the )?server at)?|host|server at"
    r"|server|address|addr|endpoint|broker|lookup)"
    r"[ =:]{1,3}[\"'(]?(\[[0-9a-f:.]+\]|[\w-]{1,63}(?:\.[\w-]{1,63})*)(?=$|[:\s\"'),;]|\.(?:\s|$))",
    re.I,
)
_FILE = re.compile(r"\.(?:go|py|js|ts|java|rb|rs|c|cc|cpp|kt|php|cs)$", re.I)
_DOMAIN = re.compile(r"^(?P<rest>.{1,253})\.svc(?:\.[\w.-]{1,253})?$", re.I)
_WORDS = frozenset({"the", "a", "an", "at", "on", "is", "not", "to", "closed", "failed", "port", "server", "database"})


class Where(Enum):
    """Where a peer is."""

    UNKNOWN = "unknown"
    """Nobody says who it was, or it is in the cluster and cannot be found."""
    INSIDE = "inside"
    """On nodes that are known."""
    OUTSIDE = "outside"
    """Not in the cluster."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of what was said."""

    where: Where
    nodes: frozenset[str] = frozenset()
    """Nodes where it may be found; only of one inside."""


UNKNOWN = Peer(Where.UNKNOWN)


def hosts_in(text: str) -> list[str]:
    """Names and addresses that a message says it spoke to, those that are sure to be such first."""
    text = text[:_MOST]
    found = [match[1] for pattern in (_ARROW, _URL, _SPOKEN_TO) for match in pattern.finditer(text)]
    clean = (each.strip("[]").rstrip(".").lower() for each in found)
    return list(dict.fromkeys(each for each in clean if each and each not in _WORDS and not _FILE.search(each)))


@dataclass(slots=True)
class Directory:
    """Where in the cluster names and addresses are. For one evaluation: a walk over all pods is made at most once."""

    state: ClusterState
    thorough: bool = True
    """Find the nodes, too; without, only what is outside is told from the rest, at no cost."""
    _by_namespace: dict[str, list[Pod]] | None = None
    _addresses: dict[str, frozenset[str]] = field(default_factory=dict)

    def peer(self, text: str, namespace: str) -> Peer:
        """Who is spoken to in a message of something in this namespace."""
        return self.of_hosts(hosts_in(text), namespace)

    def of_hosts(self, hosts: Iterable[str], namespace: str) -> Peer:
        """The first that is found inside; else one that must be inside; else one outside."""
        found = [self._of_host(host, namespace) for host in hosts]
        inside = next((peer for peer in found if peer.where is Where.INSIDE), None)
        if inside is not None:
            return inside
        return next((peer for peer in found if peer.where is Where.UNKNOWN), found[0] if found else UNKNOWN)

    def _of_host(self, host: str, namespace: str) -> Peer:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return self._of_name(host, namespace)
        return self._of_address(address)

    def _of_address(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Peer:
        text = str(address)
        if not self.thorough:
            return UNKNOWN if address.is_private else Peer(Where.OUTSIDE)
        if text not in self._addresses:
            self._addresses[text] = frozenset(
                [name for name, node in self.state.nodes.items() if text in node.addresses.values()]
            ) or frozenset({pod.node for pods in self._pods().values() for pod in pods if pod.ip == text and pod.node})
        nodes = self._addresses[text]
        if nodes:
            return Peer(Where.INSIDE, nodes)
        return UNKNOWN if address.is_private else Peer(Where.OUTSIDE)  # it may be a Service's

    def _of_name(self, host: str, namespace: str) -> Peer:
        domain = _DOMAIN.match(host)
        labels = (domain["rest"] if domain else host).split(".")
        name = labels[-2] if len(labels) > 1 else labels[0]
        space = labels[-1] if len(labels) > 1 else namespace
        if not domain and (len(labels) > 2 or (len(labels) == 2 and not _namespaces(self.state)[space])):
            return Peer(Where.OUTSIDE)
        if not self.thorough:
            return UNKNOWN
        pods = self._pods().get(space, [])
        exact = [pod for pod in pods if len(labels) > 2 and pod.name == labels[-3]]
        nodes = frozenset(pod.node for pod in exact or pods if pod.node and (exact or _called(pod, name)))
        return Peer(Where.INSIDE, nodes) if nodes else UNKNOWN

    def _pods(self) -> dict[str, list[Pod]]:
        """Pods that have not ended, by namespace."""
        if self._by_namespace is None:
            self._by_namespace = {}
            for pod in self.state.pods.values():
                if not pod.terminal:
                    self._by_namespace.setdefault(pod.namespace, []).append(pod)
        return self._by_namespace


def _called(pod: Pod, service: str) -> bool:
    """The pod's workload is called like the service, or the one is the other with something added."""
    workload = pod.owner.name if pod.owner is not None else pod.name
    return workload == service or workload.startswith(f"{service}-") or service.startswith(f"{_stem(pod)}-")


def _stem(pod: Pod) -> str:
    """The workload's own name: that of a ReplicaSet without what its Deployment added."""
    if pod.owner is None:
        return pod.name
    return pod.owner.name.rpartition("-")[0] or pod.owner.name if pod.owner.kind == "ReplicaSet" else pod.owner.name


@dataclass(slots=True)
class _Namespaces:
    revision: int
    pods: Counter[str]


def _namespaces(state: ClusterState) -> Counter[str]:
    """How many pods each namespace has, brought up to date by what changed."""
    kept = state.derived.get(_NAME)
    changes = state.changes(kept.revision) if isinstance(kept, _Namespaces) else None
    if not isinstance(kept, _Namespaces) or changes is None:
        kept = state.derived[_NAME] = _Namespaces(state.revision, Counter(pod.namespace for pod in state.pods.values()))
        return kept.pods
    for change in changes:
        for each, step in ((change.before, -1), (change.after, 1)):
            if isinstance(each, Pod):
                kept.pods[each.namespace] += step
    kept.revision = state.revision
    return kept.pods
