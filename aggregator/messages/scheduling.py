"""What the scheduler says, by structure: which reason stops how many nodes, in old wordings and new ones.

"0/5 nodes are available: 3 node(s) had untolerated taint {key: }, 2 Insufficient cpu. preemption: ..." (kube-scheduler
since 1.10, framework.FitError), "No nodes are available that match all of the predicates: Insufficient cpu (4)"
(before), and the lists of cluster-autoscaler and Karpenter. What follows the list (preemption, claims to deallocate) is
no reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from aggregator.messages.text import HEAD, plain


class Kind(StrEnum):
    """Why a node, or the whole pod, is refused."""

    RESOURCES = "resources"
    PODS = "pods"
    TAINT = "taint"
    NODE_AFFINITY = "node_affinity"
    POD_AFFINITY = "pod_affinity"
    SPREAD = "spread"
    HOST_PORT = "host_port"
    VOLUME_ZONE = "volume_zone"
    VOLUME_LIMIT = "volume_limit"
    VOLUME_IN_USE = "volume_in_use"
    UNBOUND_CLAIM = "unbound_claim"
    CORDONED = "cordoned"
    RESOURCE_CLAIM = "resource_claim"
    NOT_READY = "not_ready"
    DISK_PRESSURE = "disk_pressure"
    MEMORY_PRESSURE = "memory_pressure"
    GATED = "gated"
    OTHER = "other"


CODES = {
    Kind.RESOURCES: "sched.insufficient_resources",
    Kind.PODS: "sched.too_many_pods",
    Kind.TAINT: "sched.taint",
    Kind.NODE_AFFINITY: "sched.node_affinity",
    Kind.POD_AFFINITY: "sched.pod_anti_affinity",
    Kind.SPREAD: "sched.topology_spread",
    Kind.HOST_PORT: "sched.host_port",
    Kind.VOLUME_ZONE: "sched.volume_zone",
    Kind.VOLUME_LIMIT: "sched.volume_limit",
    Kind.VOLUME_IN_USE: "storage.multi_attach",
    Kind.UNBOUND_CLAIM: "sched.unbound_pvc",
    Kind.CORDONED: "sched.unschedulable_cordoned",
    Kind.RESOURCE_CLAIM: "sched.resource_claim",
    Kind.NOT_READY: "node.not_ready",
    Kind.DISK_PRESSURE: "node.disk_pressure",
    Kind.MEMORY_PRESSURE: "node.memory_pressure",
    Kind.GATED: "",
    Kind.OTHER: "",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of the list."""

    count: int
    """Nodes it stops; 0: said of the pod as a whole."""
    kind: Kind
    text: str
    """Verbatim, without the count."""
    resource: str | None = None
    """The resource that is short: "cpu", "nvidia.com/gpu"."""
    taint: str | None = None
    """Key of the taint, where it is said."""

    @property
    def code(self) -> str:
        """Code of the cause family; empty: none."""
        return CODES[self.kind]


@dataclass(frozen=True, slots=True)
class SchedulerSays:
    """A FailedScheduling message taken apart."""

    total: int = 0
    """Nodes of the cluster; 0: not said. The old wording counts a node once for each reason, the new one once."""
    reasons: tuple[Reason, ...] = ()

    @property
    def main(self) -> Reason | None:
        """The reason that stops the most of the nodes that were meant for the pod. None: there is none."""
        known = [reason for reason in self.reasons if reason.code]
        known = [reason for reason in known if _NO_LARGER not in reason.text] or known
        everywhere = [reason for reason in known if reason.count in (0, self.total)]
        if not self.total:  # the old wording counts a node for each of its reasons: the greatest count is all nodes
            return max(everywhere or known, key=_weight, default=None)
        meant = [reason for reason in known if _hits_the_meant(reason)]
        pools = [reason for reason in known if not _of_control_plane(reason)]
        # A taint without a key, or another pool's, says no more of whom a node is for than a selector does.
        only_pools = all(reason.kind is Kind.TAINT for reason in meant)
        return max(everywhere or (pools if only_pools else meant) or known, key=_weight, default=None)


_OF_NODES = re.compile(r"([0-9]{1,7})/([0-9]{1,7}) nodes? (?:are|is) available:?\s*")
_OLD = re.compile(
    r"(?:no nodes are available that match all of the (?:following )?predicates|fit failure summary on nodes)[ :]{1,4}",
    re.IGNORECASE,
)
_AUTOSCALER = re.compile(r"pod didn't trigger scale-up[^:]{0,80}:\s*")
_END = re.compile(
    r"\.? ?(?:no new claims to deallocate|preemption:|preemption not|still not schedulable|not all pods are|"
    r"no preemption victims|,? ?retry after)",
    re.IGNORECASE,
)
_TWICE = re.compile(r"\. not found\.?$")
"""How 1.36 ends what it says of a claim that is missing or unbound."""
_OLD_ITEM = re.compile(r"([A-Za-z][^(),]{0,120}?) \(([0-9]{1,7})\)")
_COUNTED = re.compile(r"([0-9]{1,7}) (?=[A-Za-z({])")
_NEXT = re.compile(r",\s*(?=[0-9]{1,7} [A-Za-z({])")
_TAINT_KEY = re.compile(r"taints? \{([^:{}=]{1,320})[:=}]")
_SHORT = re.compile(r"[Ii]nsufficient ([A-Za-z0-9][A-Za-z0-9./_-]{0,320}?)(?=[.,;]?(?:\s|$))")
_OF_THE_POD = re.compile(
    r"persistentvolumeclaim|PersistentVolumeClaims?|resourceclaim|resource claim|scheduling gates?|persistentvolume|"
    r"resource driver|\bPVC",
    re.IGNORECASE,
)

_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (Kind.GATED, ("scheduling gate", "schedulinggated")),
    (
        Kind.RESOURCE_CLAIM,
        (
            "resourceclaim",
            "resource claim",
            "allocate all claims",
            "resource driver",
            "dynamicresources",
            "deviceclass",
        ),
    ),
    (
        Kind.VOLUME_IN_USE,
        ("readwriteoncepod", "no available disk", "nodiskconflict", "disk conflict", "already in use by another pod"),
    ),
    (
        Kind.VOLUME_LIMIT,
        (
            "max volume count",
            "maxebsvolumecount",
            "maxgcepdvolumecount",
            "maxcsivolumecount",
            "maxazurediskvolumecount",
            "volume limit",
            "attachable-volumes",
            "maxcindervolumecount",
            "nodevolumelimits",
        ),
    ),
    (
        Kind.VOLUME_ZONE,
        (
            "volume node affinity",
            "persistentvolume's node affinity",
            "no available volume zone",
            "novolumezoneconflict",
            "volumenodeaffinityconflict",
            "novolumenodeconflict",
            "volume zone",
        ),
    ),
    (
        Kind.UNBOUND_CLAIM,
        (
            "persistentvolumeclaim",
            "persistent volumes to bind",
            "non-existent pv",
            "pvc(s)",
            "enough free storage",
            "volumebinding",
            "binding volumes",
            "persistentvolume ",
            "checkvolumebinding",
            "pvc ",
            'persistentvolume"',
        ),
    ),
    (
        Kind.CORDONED,
        ("were unschedulable", "was unschedulable", "nodeunschedulable", "node.kubernetes.io/unschedulable"),
    ),
    (Kind.PODS, ("too many pods", "insufficient pods")),
    (Kind.HOST_PORT, ("free ports", "podfitshostports", "host port", "hostport")),
    (
        Kind.TAINT,
        (
            "untolerated taint",
            "had taint",
            "podtoleratesnodetaints",
            "tainttoleration",
            "did not tolerate",
            "taint {",
            "taints that the pod",
            "not tolerate",
        ),
    ),
    (
        Kind.POD_AFFINITY,
        ("pod affinity", "anti-affinity", "matchinterpodaffinity", "interpodaffinity", "inter-pod affinity"),
    ),
    (Kind.SPREAD, ("topology spread", "podtopologyspread", "evenpodsspread", "spread constraints")),
    (
        Kind.NODE_AFFINITY,
        (
            "node selector",
            "node affinity",
            "matchnodeselector",
            "nodeaffinity",
            "requested hostname",
            "requested node name",
            "didn't match hostname",
            "incompatible requirements",
            "node(s) didn't match the requested",
        ),
    ),
    (Kind.DISK_PRESSURE, ("disk pressure", "diskpressure", "out of disk", "outofdisk")),
    (Kind.MEMORY_PRESSURE, ("memory pressure", "memorypressure")),
    (Kind.NOT_READY, ("not ready", "nodenotready", "network unavailable", "networkunavailable", "unknown condition")),
    (
        Kind.RESOURCES,
        (
            "insufficient ",
            "podfitsresources",
            "max node group size reached",
            "exceed limits for",
            "resource limits",
            "no instance type satisfied resources",
            "no instance type has enough resources",
            "max cluster cpu limit",
            "max cluster memory limit",
            "cannot fit",
        ),
    ),
)
_NO_LARGER = "max node group size reached"
"""What the autoscaler says of a group that is as large as it may be: of the pod, it says nothing."""
_CONTROL_PLANE = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node-role.kubernetes.io/etcd",
    "node-role.kubernetes.io/controlplane",
    "CriticalAddonsOnly",
)


def parse(message: str) -> SchedulerSays:
    """Take a message apart; without reasons where it is none of the scheduler's. Never fails."""
    message = _TWICE.sub("", plain(message[:HEAD]))
    if (opening := _OF_NODES.search(message)) is not None:
        before = message[: opening.start()]
        return SchedulerSays(int(opening[2]), tuple(_listed(before, message[opening.end() :])))
    if (opening := _OLD.search(message)) is not None:
        items = _OLD_ITEM.finditer(message, opening.end())
        return SchedulerSays(0, tuple(_reason(int(item[2]), item[1]) for item in items))
    if (opening := _AUTOSCALER.search(message)) is not None:
        return SchedulerSays(0, tuple(_listed("", message[opening.end() :])))
    if _COUNTED.match(message):  # the list alone
        return SchedulerSays(0, tuple(_listed("", message)))
    return SchedulerSays(0, tuple(_of_the_pod(message)))


def is_gated(says: SchedulerSays) -> bool:
    """The pod waits at a scheduling gate: nobody's fault."""
    return any(reason.kind is Kind.GATED for reason in says.reasons)


def _hits_the_meant(reason: Reason) -> bool:
    """Whether the nodes it stops may have been meant for the pod: none of the control plane's, nor another pool's."""
    return reason.kind is not Kind.NODE_AFFINITY and not _of_control_plane(reason)


def _of_control_plane(reason: Reason) -> bool:
    return reason.kind is Kind.TAINT and reason.taint is not None and reason.taint.startswith(_CONTROL_PLANE)


def _weight(reason: Reason) -> tuple[int, bool]:
    """How many nodes; of equals, the taint: it is looked at before anything else, so it may hide the rest."""
    return reason.count, reason.kind is Kind.TAINT


def _listed(before: str, rest: str) -> Iterator[Reason]:
    if _OF_THE_POD.search(before):
        yield from _of_the_pod(before)
    end = _END.search(rest)
    body = (rest[: end.start()] if end else rest).strip().rstrip(".,")
    for piece in _NEXT.split(body):
        piece = piece.strip().rstrip(".")  # noqa: PLW2901  # the same piece, bare
        counted = _COUNTED.match(piece)
        if counted is not None:
            yield _reason(int(counted[1]), piece[counted.end() :])
        elif piece:
            yield from _of_the_pod(piece)


def _of_the_pod(text: str) -> Iterator[Reason]:
    """A reason without a count: the scheduler refused the pod before it looked at any node, or after it chose one."""
    reason = _reason(0, text.strip().rstrip("."))
    if reason.kind is not Kind.OTHER:
        yield reason


def _reason(count: int, text: str) -> Reason:
    folded = text.lower()
    kind = next((kind for kind, phrases in _KINDS if any(phrase in folded for phrase in phrases)), Kind.OTHER)
    taint = found[1].strip() if kind in (Kind.TAINT, Kind.CORDONED) and (found := _TAINT_KEY.search(text)) else None
    short = found[1] if kind is Kind.RESOURCES and (found := _SHORT.search(text)) else None
    return Reason(count, kind, text, short, taint)
