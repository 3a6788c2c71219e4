"""Every number a signature compares with, in one place, each with its unit and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Defaults of the diagnosis. Minimum counts are per window; a longer window asks for proportionally more."""

    window_s: float = field(default=60.0, metadata={"unit": "s", "min": 5.0, "max": 900.0})
    """How far back counters are compared. A counter finding clears once a whole window is clean."""
    mtu_drops_min: int = field(default=5, metadata={"unit": "packets", "min": 1})
    """Packets too large for the path before a finding is active: a single one may be healthy path-MTU discovery."""
    mtu_discovery_burst: int = field(default=12, metadata={"unit": "packets", "min": 1})
    """... and at least so many, however short the window, where senders may learn the size: a connection of the node's
    own loses its whole initial window (ten segments, RFC 6928) and a probe of its tail before it goes on, healthily."""
    counters_agree_ratio: float = field(default=0.1, metadata={"min": 0.0, "max": 0.5})
    """How far counters that one fault moves together may differ: other traffic moves them too."""
    counters_agree_slack: int = field(default=5, metadata={"unit": "packets", "min": 0})
    """... or so many packets, whichever is more."""
    overlay_drops_min: int = field(default=50, metadata={"unit": "packets", "min": 1})
    """Drops on an overlay interface worth a finding. An idle one drops a few by itself: multicast has nowhere to go."""
    overlay_drops_ratio: float = field(default=1e-4, metadata={"min": 0.0, "max": 1.0})
    """... and at least this share of the packets it sent."""
    nic_errors_min: int = field(default=10, metadata={"unit": "packets", "min": 1})
    """Errors of a network device (CRC, ring overrun, missed, carrier) worth a finding."""
    softnet_drops_min: int = field(default=10, metadata={"unit": "packets", "min": 1})
    """Packets dropped because a CPU's backlog was full, worth a finding."""
    conntrack_full_ratio: float = field(default=0.98, metadata={"min": 0.5, "max": 1.0})
    """Share of the connection tracking table in use that counts as full: new connections are refused in bursts then."""
    fragments_min: int = field(default=20, metadata={"unit": "fragments", "min": 1})
    """Fragments made, before an overlay counts as living on fragmentation."""
    fragments_arrive_ratio: float = field(default=0.05, metadata={"min": 0.0, "max": 1.0})
    """Fewer arriving fragments than this share of those sent: they are lost on the way."""
    reassembly_failures_min: int = field(default=10, metadata={"unit": "packets", "min": 1})
    """Failed reassemblies worth a finding ..."""
    reassembly_failures_ratio: float = field(default=0.05, metadata={"min": 0.0, "max": 1.0})
    """... and at least this share of the fragments that arrived: random loss stays below it."""
    timeouts_in_a_row_min: int = field(default=3, metadata={"unit": "time-outs", "min": 2})
    """Retransmission time-outs in a row of one connection's large segments: random loss was measured to show none."""
    probe_max_age_s: float = field(default=900.0, metadata={"unit": "s", "min": 10.0})
    """A path probe older than this says nothing about now."""
    fsync_warning_ms: float = field(default=10.0, metadata={"unit": "ms", "min": 0.1})
    """99th percentile of fsync latency worth a finding: etcd's own guidance for its write-ahead log."""
    fsync_critical_ms: float = field(default=100.0, metadata={"unit": "ms", "min": 0.1})
    """... and where etcd's heartbeats (100 ms) begin to be missed."""
    fsync_probe_window_s: float = field(default=300.0, metadata={"unit": "s", "min": 30.0, "max": 900.0})
    """Window for the agent's own probe, which makes one call a second: a tail of 60 calls is their maximum."""
    claim_failing_min_s: float = field(default=120.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """How long a claim's volume has been refused, or its expansion failed, before it is worth a finding: drivers try
    again after seconds, then twice as long each time (external-provisioner: 1 s up to 5 min)."""
    claim_silent_min_s: float = field(default=600.0, metadata={"unit": "s", "min": 60.0, "max": 86400.0})
    """How long a provisioner or resizer may say nothing at all: its slowest retry is after five minutes."""
    mount_failing_min_s: float = field(default=120.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """How long a pod's volume has failed to mount: the kubelet's retries are two minutes apart at most, and the first
    ones fail healthily, before a device is there or a driver has come up."""
    driver_starting_s: float = field(default=300.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """A node that has been ready for less may still be starting its drivers."""
    node_away_min_s: float = field(default=60.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """A node that has not been ready for so long is out of reach for volumes; one whose kubelet restarts is not."""
    what_if_every_s: float = field(default=60.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """How often what a loss would strand is worked out anew, at most: it looks at every node."""
    attach_slow_s: float = field(default=120.0, metadata={"unit": "s", "min": 10.0, "max": 3600.0})
    """An attachment or detachment that takes longer is stuck: clouds need seconds, at worst about a minute."""
    attach_handover_s: float = field(default=360.0, metadata={"unit": "s", "min": 30.0, "max": 7200.0})
    """How long a volume may be refused because its last node still has it: after six minutes Kubernetes detaches it
    from a node that does not answer (maxWaitForUnmountDuration of the attach-detach controller)."""
    agent_silent_s: float = field(default=120.0, metadata={"unit": "s", "min": 15.0, "max": 3600.0})
    """What an agent said longer ago proves nothing about its host now."""
    storage_error_recent_s: float = field(default=900.0, metadata={"unit": "s", "min": 60.0, "max": 86400.0})
    """An error of a device or a file system that is older is history: the I/O that met it was tried again since."""
    nfs_silent_recent_s: float = field(default=300.0, metadata={"unit": "s", "min": 30.0, "max": 3600.0})
    """The kernel repeats every minute or so that an NFS server does not answer; if it has not for so long, it does."""
    orphan_seen_min_s: float = field(default=360.0, metadata={"unit": "s", "min": 0.0, "max": 86400.0})
    """How long a device that nobody accounts for has been seen before that is a warning: no detachment takes longer."""
    crash_window_s: float = field(default=600.0, metadata={"unit": "s", "min": 60.0, "max": 3600.0})
    """A container that has run for so long without ending is out of its loop: the kubelet forgets its back-off then."""
    crash_restarts_min: int = field(default=3, metadata={"unit": "restarts", "min": 2})
    """Restarts before a container that comes and goes, and is not backed off from, is in a loop."""
    image_wait_min_s: float = field(default=120.0, metadata={"unit": "s", "min": 0.0, "max": 3600.0})
    """A pod younger than this may still be waiting for its image as it should: a pull that failed is tried again."""
    identity_together_s: float = field(default=600.0, metadata={"unit": "s", "min": 60.0, "max": 3600.0})
    """Workloads that share an identity and began to fail within so long of each other fail for one reason."""
    identity_changed_before_s: float = field(default=1800.0, metadata={"unit": "s", "min": 60.0, "max": 86400.0})
    """A Secret or ServiceAccount that was changed no longer ago than this, when a workload began to fail, may be why: a
    mounted Secret reaches its pods within two minutes, one in the environment with their next start."""
    credential_expiry_warning_s: float = field(default=86400.0, metadata={"unit": "s", "min": 60.0, "max": 2592000.0})
    """How long before a credential expires that is worth a finding: time for somebody to renew it by day ..."""
    credential_expiry_share: float = field(default=0.1, metadata={"min": 0.01, "max": 1.0})
    """... or, where this is less, so much of its life: cert-manager renews after two thirds, tokens of some hours are
    renewed when most of their time is over."""
    clock_offset_s: float = field(default=5.0, metadata={"unit": "s", "min": 0.5, "max": 300.0})
    """A clock that is off by more makes tokens come from the future or be out of date."""
    pending_warning_s: float = field(default=300.0, metadata={"unit": "s", "min": 0.0, "max": 86400.0})
    """How long a pod waits for a node before that is a finding: roll-outs and new nodes take minutes ..."""
    pending_critical_s: float = field(default=900.0, metadata={"unit": "s", "min": 0.0, "max": 86400.0})
    """... and before it is critical."""
    scale_up_help_s: float = field(default=600.0, metadata={"unit": "s", "min": 0.0, "max": 7200.0})
    """How long an autoscaler that has begun to make a node is waited for: cluster-autoscaler gives a node 15 minutes,
    clouds need two to five."""
    failed_create_recent_s: float = field(default=1200.0, metadata={"unit": "s", "min": 60.0, "max": 86400.0})
    """A refused attempt to make a pod that is older says nothing about now: controllers try again after at most 1,000 s
    (client-go's work queue)."""
    pool_requested_ratio: float = field(default=0.95, metadata={"min": 0.5, "max": 1.0})
    """Share of a pool's CPU or memory that is requested, from which on the next pod will wait ..."""
    pool_used_ratio: float = field(default=0.5, metadata={"min": 0.0, "max": 1.0})
    """... though no more than this share is used."""
    headroom_percentile: float = field(default=0.95, metadata={"min": 0.5, "max": 1.0})
    """Of a pool's pods in order of their size, the one that must still fit somewhere in the pool."""
    headroom_pods_min: int = field(default=2, metadata={"unit": "pods", "min": 1})
    """Fewer pods tell no usual size."""
    drain_blocked_min_s: float = field(default=300.0, metadata={"unit": "s", "min": 0.0, "max": 86400.0})
    """How long a budget has allowed no disruption on a node that is to be drained: pods that are replaced one after the
    other need that long."""
    api_slower_ratio: float = field(default=2.0, metadata={"min": 1.1, "max": 100.0})
    """A 99th percentile of the API server so many times its own past has climbed ..."""
    api_slow_min_ms: float = field(default=50.0, metadata={"unit": "ms", "min": 1.0, "max": 60000.0})
    """... if it is at least so long: whoever waits for less does not notice (the API's own objective is 1 s)."""
    api_very_slow_ms: float = field(default=1000.0, metadata={"unit": "ms", "min": 1.0, "max": 60000.0})
    """A 99th percentile that breaks Kubernetes' own objective for calls of single objects."""
    api_traffic_ratio: float = field(default=1.2, metadata={"min": 1.01, "max": 100.0})
    """Requests per second so many times their own past are more traffic."""
    api_past_s: float = field(default=3600.0, metadata={"unit": "s", "min": 600.0, "max": 3600.0})
    """How much of its past a figure of the API server is compared with ..."""
    api_past_min_s: float = field(default=600.0, metadata={"unit": "s", "min": 60.0, "max": 3600.0})
    """... and without so much of it, it is compared with nothing."""
    api_errors_ratio: float = field(default=0.01, metadata={"min": 0.0, "max": 1.0})
    """Share of requests answered with 5xx that is worth a finding ..."""
    api_errors_min: int = field(default=5, metadata={"unit": "requests", "min": 1})
    """... if it is so many in a window: one restart of an API server fails a few."""
    api_outage_min_s: float = field(default=30.0, metadata={"unit": "s", "min": 1.0, "max": 3600.0})
    """How long the API server has not answered: a load balancer needs so long to leave out one that restarts."""
    webhook_share: float = field(default=0.5, metadata={"min": 0.1, "max": 1.0})
    """A webhook that accounts for this share of the slow requests, and of their time, is what makes them slow."""
    webhook_failures_min: int = field(default=5, metadata={"unit": "calls", "min": 1})
    """Calls of a webhook that fail in a window, worth a finding."""
    apf_rejected_min: int = field(default=5, metadata={"unit": "requests", "min": 1})
    """Requests that priority and fairness rejects in a window, worth a finding."""
    apf_wait_min_ms: float = field(default=500.0, metadata={"unit": "ms", "min": 1.0, "max": 60000.0})
    """A 99th percentile of waiting in its queues, worth a finding where it has climbed."""
    node_lease_late_s: float = field(default=20.0, metadata={"unit": "s", "min": 10.0, "max": 3600.0})
    """A node's lease that is older has been missed once at least: kubelets renew it every 10 s."""
    node_leases_late_ratio: float = field(default=0.1, metadata={"min": 0.0, "max": 1.0})
    """More than this share of late node leases, with the nodes' agents alive, is not the nodes' fault."""
    lease_abandoned_s: float = field(default=86400.0, metadata={"unit": "s", "min": 600.0, "max": 2592000.0})
    """A leader's lease that nobody has renewed for so long is of something that is gone."""
    leader_changes_min: int = field(default=3, metadata={"unit": "changes", "min": 2})
    """Changes of a leader within `leader_changes_window_s` that are too many: a roll-out makes one or two."""
    leader_changes_window_s: float = field(default=900.0, metadata={"unit": "s", "min": 60.0, "max": 900.0})
    """How far back changes of leaders are counted."""
    etcd_space_warning_ratio: float = field(default=0.8, metadata={"min": 0.1, "max": 1.0})
    """Share of etcd's quota that its database takes, worth a finding ..."""
    etcd_space_critical_ratio: float = field(default=0.95, metadata={"min": 0.1, "max": 1.0})
    """... and from which on there are hours left, not days."""
    neighbour_growth_ratio: float = field(default=2.0, metadata={"min": 1.1, "max": 100.0})
    """A neighbour on a device whose work is so many times what it was has grown."""
    neighbour_share: float = field(default=0.2, metadata={"min": 0.01, "max": 1.0})
    """... and matters if it waits for the device for this share of the time, or calls half as often as who suffers."""
