"""The codes of incident 5: what each means, when it clears, what to do first. docs/findings.md must agree."""

from __future__ import annotations

from aggregator.model import Severity
from aggregator.signatures.code import Code

_INCIDENT = "control_plane_saturation"

ETCD_SLOW_FSYNC = "cp.etcd_slow_fsync"
SLOW_FSYNC = "disk.slow_fsync"
NOISY_NEIGHBOUR = "disk.noisy_neighbour"
SATURATION = "cp.saturation"
LATENCY = "cp.apiserver_latency"
SURGE = "cp.api_traffic_surge"
WEBHOOK = "cp.webhook_timeout"
THROTTLED = "cp.apf_throttled"
TIMEOUT = "cp.apiserver_timeout"
RENEW_FAILED = "cp.lease_renew_failed"
LEADER_LOST = "cp.leader_lost"
NO_SPACE = "cp.no_space"

_WHO_ELSE = "See who else writes to the device, and whether its cloud limits (IOPS, throughput, burst) are reached."
_FSYNC_CLEARS = "the 99th percentile of a whole window is at most the threshold"

CODES = {
    entry.code: entry
    for entry in (
        Code(
            ETCD_SLOW_FSYNC,
            _INCIDENT,
            "the 99th percentile of etcd's own fsyncs is high",
            _FSYNC_CLEARS,
            (
                "Give etcd a disk of its own with low fsync latency (local NVMe, or a class with provisioned IOPS).",
                _WHO_ELSE,
            ),
        ),
        Code(
            SLOW_FSYNC,
            _INCIDENT,
            "the 99th percentile of a process's fsyncs on one device is high",
            _FSYNC_CLEARS,
            (_WHO_ELSE,),
        ),
        Code(
            NOISY_NEIGHBOUR,
            _INCIDENT,
            "something else on the same device keeps it so busy that fsyncs wait",
            "the fsyncs that waited are fast again for a whole window, or the other one's work is down to what it was",
            (
                "Move the neighbour to another disk, or etcd to one of its own.",
                "Until then limit the neighbour's writes (io.max of its control group), or run it at another time.",
            ),
        ),
        Code(
            SATURATION,
            _INCIDENT,
            "the API server is slow because etcd is, not because of traffic",
            "the 99th percentiles of the API server's verbs are back below twice what they were before",
            (
                "Begin with etcd's disk: the API server and its clients only wait for it.",
                "On a managed control plane, show the provider these figures: etcd cannot be seen from here.",
                "Do not restart controllers: each of them lists everything anew when it starts.",
            ),
        ),
        Code(
            LATENCY,
            _INCIDENT,
            "the API server's latency has climbed without traffic",
            "the 99th percentiles of the API server's verbs are back below twice what they were before",
            (
                "See the API servers' CPU and memory, and the network between them and etcd.",
                "Where LIST alone is slow: see who lists what without a limit, and how many objects there are of it.",
            ),
        ),
        Code(
            SURGE,
            _INCIDENT,
            "the API server's latency has climbed together with the number of requests",
            "the request rate or the 99th percentiles are back to what they were before",
            (
                "Find the client: the audit log, or the API server's priority-and-fairness metrics by flow schema.",
                "Have it watch instead of list, use a limit, or back off; hold it with a FlowSchema until then.",
            ),
        ),
        Code(
            WEBHOOK,
            _INCIDENT,
            "an admission webhook makes requests wait, or fails them",
            "the webhook answers as fast as before, and no call of it fails for a whole window",
            (
                "See the pods behind the webhook's Service: ready, not throttled, reachable from the API servers.",
                "Narrow its rules and namespaceSelector, and shorten its timeoutSeconds.",
                "While it is down, its failurePolicy decides whether requests fail: Ignore lets them pass.",
            ),
        ),
        Code(
            THROTTLED,
            _INCIDENT,
            "priority and fairness rejects requests or makes them wait",
            "no request of the priority level was rejected for a whole window, and none waits longer than before",
            (
                "See which flow schema fills the queues, and whose requests those are.",
                "Give a busy client a priority level of its own; raise shares only where the server has room.",
            ),
        ),
        Code(
            TIMEOUT,
            _INCIDENT,
            "the API server does not answer, or fails requests",
            "the API server answers, and fewer than 1 % of its requests fail for a whole window",
            (
                "From a control-plane node: see whether the process runs, what /readyz?verbose says, and its log.",
                "See whether etcd has a leader, and whether its disk is full.",
            ),
        ),
        Code(
            RENEW_FAILED,
            _INCIDENT,
            "leases are not renewed in time: whoever holds them cannot write to the API server, or is gone",
            "the leases are renewed within their duration again",
            (
                "See whether the holder runs, and what it logs: it ends itself when it cannot renew its lease.",
                "See whether writes to the API server are slow or fail: renewing a lease is a write.",
            ),
        ),
        Code(
            LEADER_LOST,
            _INCIDENT,
            "nobody leads, or the leader changes again and again",
            "there is a leader, and it has changed fewer than three times in 15 minutes",
            (
                "See why the leaders give up: slow writes to etcd, a starved CPU, or a network that loses heartbeats.",
                "Where it is etcd: see its members' round-trip times and fsyncs before touching election timeouts.",
            ),
        ),
        Code(
            NO_SPACE,
            _INCIDENT,
            "etcd's database is about to reach its quota: from then on every write is refused",
            "the database is smaller than 80 % of its quota",
            (
                "Find what grew: events, custom resources, or objects that nobody cleans up (count keys by prefix).",
                "Compact and defragment the members one after the other; then clear a NOSPACE alarm if there is one.",
                "Raise --quota-backend-bytes only up to the 8 GiB that etcd is made for.",
            ),
            active=Severity.CRITICAL,
        ),
    )
}
