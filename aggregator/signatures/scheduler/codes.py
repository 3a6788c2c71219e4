"""The codes of incident 2: what each means, when it clears, what to do first. docs/findings.md must agree."""

from __future__ import annotations

from aggregator.model import Severity
from aggregator.scheduling import stops
from aggregator.scheduling.cause import FRAGMENTATION
from aggregator.signatures.code import Code

INCIDENT = "scheduler_stuck"

QUOTA = "sched.quota"
UNKNOWN = "sched.unknown"
STUCK_WAITING = "sched.stuck_waiting"
HEADROOM_LOW = "sched.headroom_low"
PDB_DEADLOCK = "sched.pdb_deadlock"

_PLACED = "the pods have a node, or are gone"

CODES = {
    entry.code: entry
    for entry in (
        Code(
            stops.TOO_LARGE,
            INCIDENT,
            "no node that was meant for the pod could ever hold it, not even an empty one",
            "a node is there that could hold it, or the pod asks for less, or is gone",
            ("Ask for less, or add a pool of larger nodes: waiting does not help.",),
        ),
        Code(
            FRAGMENTATION,
            INCIDENT,
            "what is free would do in sum, but no single node has it",
            _PLACED,
            (
                "Make room on one node (move or reschedule a smaller pod), or add one node: the cluster is not full.",
                "A descheduler, or scoring by MostAllocated, keeps room in one piece.",
            ),
        ),
        Code(
            stops.INSUFFICIENT,
            INCIDENT,
            "what is free is short on every node that was meant for the pod",
            _PLACED,
            ("Add nodes to the pool, or lower requests that are far above what is used.",),
        ),
        Code(
            stops.TOO_MANY_PODS,
            INCIDENT,
            "the nodes have as many pods as they take",
            _PLACED,
            (
                "Raise the kubelet's maxPods where addresses suffice (AWS: prefix delegation), or add nodes.",
                "See whether finished or failed pods pile up that could be many fewer.",
            ),
        ),
        Code(
            stops.TAINT,
            INCIDENT,
            "a taint that the pod does not tolerate is on every node that was meant for it",
            _PLACED,
            ("Find out who put the taint there, and what for, before it is tolerated or taken off.",),
        ),
        Code(
            stops.NODE_AFFINITY,
            INCIDENT,
            "no node meets the pod's node selector or affinity",
            _PLACED,
            ("Correct the selector in the pod's template, or label the nodes that are meant.",),
        ),
        Code(
            stops.POD_AFFINITY,
            INCIDENT,
            "affinity or anti-affinity between pods leaves no node",
            _PLACED,
            ("Add a node in another domain, or make the rule a preference (preferredDuringScheduling...).",),
        ),
        Code(
            stops.SPREAD,
            INCIDENT,
            "topology spread leaves no node",
            _PLACED,
            (
                "Make room in the domain that has the fewest of these pods, or set whenUnsatisfiable: ScheduleAnyway.",
                "See whether a domain counts that can take no pod (nodeTaintsPolicy: Honor leaves tainted nodes out).",
            ),
        ),
        Code(
            stops.HOST_PORT,
            INCIDENT,
            "the port of the host that the pod asks for is taken on every node that was meant for it",
            _PLACED,
            ("Let a Service lead to the pod rather than a host port, or run at most one such pod a node.",),
        ),
        Code(
            stops.VOLUME_ZONE,
            INCIDENT,
            "the pod's volume can only be used where no node takes the pod",
            _PLACED,
            ("Bring a schedulable node to the volume's place; the volume itself cannot move.",),
        ),
        Code(
            stops.UNBOUND_CLAIM,
            INCIDENT,
            "the pod's claim has no volume",
            "the claim is bound, or the pod has a node or is gone",
            ("Look at the claim's events (kubectl describe pvc): its class, its provisioner, what the cloud says.",),
        ),
        Code(
            stops.VOLUME_IN_USE,
            INCIDENT,
            "the pod's claim is for one pod at a time, and another has it",
            _PLACED,
            ("Let the other pod end first: strategy Recreate, or a StatefulSet; or give each pod its own claim.",),
        ),
        Code(
            stops.VOLUME_LIMIT,
            INCIDENT,
            "the nodes have as many volumes as they take",
            _PLACED,
            ("Add nodes, or use instance types that take more volumes; look for attachments nobody uses.",),
        ),
        Code(
            stops.CORDONED,
            INCIDENT,
            "the nodes that were meant for the pod are cordoned",
            _PLACED,
            ("Uncordon the nodes whose maintenance is over (kubectl uncordon NODE).",),
        ),
        Code(
            stops.RESOURCE_CLAIM,
            INCIDENT,
            "the pod's resource claims (DRA) cannot be allocated",
            _PLACED,
            ("Look at the claims and at the drivers' ResourceSlices (kubectl describe resourceclaim).",),
        ),
        Code(
            QUOTA,
            INCIDENT,
            "a quota of the namespace keeps pods from being made at all",
            "the controller has all its pods, or its attempts are no longer refused",
            ("Raise the quota, or lower or remove what uses it up (kubectl describe quota).",),
        ),
        Code(
            UNKNOWN,
            INCIDENT,
            "pods wait for a node and nothing that is known says why",
            _PLACED,
            (
                "See that the scheduler named in spec.schedulerName runs, and what it logs about the pod.",
                "Look for what is not followed here: extenders, plug-ins of its own, labels of namespaces, devices.",
            ),
        ),
        Code(
            STUCK_WAITING,
            INCIDENT,
            "a pool is requested full while its machines are idle: the next pod will wait",
            "less of the pool is requested, or more of it is used",
            (
                "Lower requests towards what is used (the largest gaps first); a recommender (VPA) shows them.",
                "Until then, add a node before the next roll-out.",
            ),
            spreads=False,
        ),
        Code(
            HEADROOM_LOW,
            INCIDENT,
            "a pod of the size that is usual in the pool fits on none of its nodes",
            "one of the pool's nodes has room for such a pod",
            ("Add a node to the pool, or keep room with a low-priority placeholder pod.",),
            risk=Severity.INFO,
            spreads=False,
        ),
        Code(
            PDB_DEADLOCK,
            INCIDENT,
            "a disruption budget that allows none keeps a node from being drained",
            "the budget allows a disruption, or the node is drained or schedulable again",
            ("Run one replica more than the budget needs, or heal those that are not ready; then drain again.",),
            spreads=False,
        ),
    )
}
