"""What etcd says, and who lost a lease or the lead."""

from __future__ import annotations

from aggregator.messages.rules import Rule

SLOW_FSYNC = "cp.etcd_slow_fsync"
API_TIMEOUT = "cp.apiserver_timeout"
LEADER_LOST = "cp.leader_lost"
LEASE_FAILED = "cp.lease_renew_failed"

ETCD_RULES: tuple[Rule, ...] = (
    Rule(
        "cp.no_space",
        ("database space exceeded", "alarm:nospace", "alarm nospace", "nospace", "etcdserver: no space"),
        why="etcd's database reached its quota: it takes no writes",
    ),
    Rule(
        "cp.no_space",
        ("no space left on device",),
        needs=("etcd", "wal"),
        also=("node.disk_pressure",),
        why="etcd's disk is full",
    ),
    Rule(
        SLOW_FSYNC,
        (
            "slow fdatasync",
            "slow fsync",
            "wal: sync duration",
            "sync duration of",
            "leader is overloaded likely from slow disk",
            "likely from slow disk",
            "failed to send out heartbeat on time",
            "apply request took too long",
            "apply entries took too long",
            "range request…took too long",
            "etcdserver: server is likely overloaded",
            "timed out waiting for read index response",
            "etcd_disk_wal_fsync_duration",
            "etcd_disk_backend_commit_duration",
            "etcdhighfsyncdurations",
            "etcdhighcommitdurations",
            "fsync durations",
            "fsync latency",
            "high fsync",
            "wal fsync",
            "snap: sync duration",
        ),
        why="etcd waits for its disk",
    ),
    Rule(
        LEADER_LOST,
        (
            "etcdserver: no leader",
            "no leader at term",
            "etcdserver: leader changed",
            "possibly due to previous leader failure",
            "lost leader",
            "lost the leader",
            "etcd cluster has no leader",
            "cluster has no leader",
            "changed leader",
            "leader changes",
            "has no leader",
            "stepped down to follower",
            "leader is lost",
            "is starting a new election",
            "losing leader",
        ),
        why="etcd is without a leader, or changes it",
    ),
)
"""What etcd says of itself, and clients of etcd."""

ETCD_OWN_RULES: tuple[Rule, ...] = (
    *ETCD_RULES,
    Rule(
        SLOW_FSYNC,
        ("took too long…to execute", "took too long", "server is likely overloaded", "slow disk"),
        why="etcd waits for its disk",
    ),
    Rule(
        SLOW_FSYNC,
        ("etcdserver: request timed out", "etcdserver: request timeout", "context deadline exceeded"),
        unless=("snapshot", "member", "dial tcp"),
        also=(API_TIMEOUT,),
        why="etcd waits for its disk, or for its peers",
    ),
)
"""Of etcd's own log, where less is enough."""

ELECTED_RULE = Rule(
    "",
    (
        "became leader",
        "became the leader",
        "successfully acquired lease",
        "successfully renewed lease",
        "attempting to acquire leader lease",
        "new leader elected",
    ),
    no_fault=True,
    why="a leader was chosen, or somebody waits to be one",
)
"""After all others: in a log, what follows may be worse."""

ELECTION_RULES: tuple[Rule, ...] = (
    Rule(
        LEADER_LOST,
        (
            "leaderelection lost",
            "leader election lost",
            "leader-election lost",
            "lost leader election",
            "lost leadership",
            "leadership lost",
            "stopped leading",
            "stopped being leader",
            "lost master",
            "lost lease",
            "lost the lease",
            "|lease lost",
            "leader lock lost",
            "leader lost",
            "lost leader",
            "leader changed",
            "no longer the leader",
            "no longer leader",
        ),
        also=(),
        why="a controller lost its leadership",
    ),
    Rule(
        LEASE_FAILED,
        (
            "failed to renew lease",
            "failed to update lock",
            "failed to update lease",
            "failed to update node lease",
            "failed to ensure lease exists",
            "failed to ensure node lease exists",
            "failed to renew the",
            "failed to renew leader",
            "failed renewing",
            "could not renew…lease",
            "cannot renew…lease",
            "unable to renew…lease",
            "error renewing…lease",
            "within the renew deadline",
            "error retrieving resource lock",
            "failed to get lease",
            "failed to acquire lease",
            "failed to tryacquireorrenew",
            "error initially creating leader election record",
            "failed to release lock",
            "couldn't update lease",
            "update lease…failed",
            "kube-node-lease…timeout",
            "kube-node-lease…deadline exceeded",
            "leases/…context deadline exceeded",
            "leases/…client.timeout",
            "leases/…timed out",
            "leases/…connection refused",
            "lease…renewal failed",
            "lease renewal failed",
        ),
        unless=("the object has been modified",),
        why="a lease could not be renewed in time",
    ),
)
