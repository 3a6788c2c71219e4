"""The families of metrics that the diagnosis uses, out of the thousands that an API server and an etcd have.

For each: what its series add up to, over which labels, and what other versions call it. Adding one is a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

REQUEST_SECONDS = "apiserver_request_duration_seconds"
"""Latency by (verb): GET, LIST, POST, ..., and apart from them WATCH, CONNECT (with all that stream logs, or are a
terminal or proxy) and NON_RESOURCE (health, discovery, OpenAPI, metrics)."""
REQUESTS = "apiserver_request_total"
"""Requests by (verb, resource, code). A resource outside the core group has its group behind it:
"leases.coordination.k8s.io"."""
SYSTEM_CLIENTS = "apiserver_request_total/system_client"
"""Requests by (system_client): the components of the control plane, where the server tells them apart."""
TERMINATED = "apiserver_request_terminations_total"
"""Requests that the server ended in self-defence, by (code)."""
INFLIGHT = "apiserver_current_inflight_requests"
"""Most requests at a time in the last second, by (kind: "mutating", "readOnly")."""
ETCD_SECONDS = "etcd_request_duration_seconds"
"""Latency of the server's own calls of etcd, by (operation)."""
WEBHOOK_SECONDS = "apiserver_admission_webhook_admission_duration_seconds"
"""Latency by (webhook)."""
WEBHOOK_REJECTIONS = "apiserver_admission_webhook_rejection_count"
"""Requests refused by or for a webhook, by (webhook, error type)."""
WEBHOOK_FAILED_OPEN = "apiserver_admission_webhook_fail_open_count"
"""Calls that failed and were let pass, by (webhook)."""
APF_REJECTED = "apiserver_flowcontrol_rejected_requests_total"
"""By (priority level, flow schema, reason)."""
APF_DISPATCHED = "apiserver_flowcontrol_dispatched_requests_total"
"""By (priority level)."""
APF_WAIT_SECONDS = "apiserver_flowcontrol_request_wait_duration_seconds"
"""Time in the queue by (priority level)."""
APF_INQUEUE = "apiserver_flowcontrol_current_inqueue_requests"
"""By (priority level)."""
APF_SEATS = "apiserver_flowcontrol_current_executing_seats"
"""Seats in use by (priority level)."""
APF_SEATS_LIMIT = "apiserver_flowcontrol_current_limit_seats"
"""Seats there are by (priority level)."""
OBJECTS = "apiserver_storage_objects"
"""Objects stored, by (resource)."""
STORAGE_BYTES = "apiserver_storage_size_bytes"
"""Size of the largest database behind the server."""
WORKQUEUE_DEPTH = "workqueue_depth"
"""By (queue)."""
LEADER = "leader_election_master_status"
"""1 where this process holds the lease, by (lease)."""
WAL_FSYNC_SECONDS = "etcd_disk_wal_fsync_duration_seconds"
COMMIT_SECONDS = "etcd_disk_backend_commit_duration_seconds"
DATABASE_BYTES = "etcd_mvcc_db_total_size_in_bytes"
DATABASE_USED_BYTES = "etcd_mvcc_db_total_size_in_use_in_bytes"
QUOTA_BYTES = "etcd_server_quota_backend_bytes"
HAS_LEADER = "etcd_server_has_leader"
LEADER_CHANGES = "etcd_server_leader_changes_seen_total"
PROPOSALS_FAILED = "etcd_server_proposals_failed_total"
PROPOSALS_PENDING = "etcd_server_proposals_pending"
HEARTBEATS_FAILED = "etcd_server_heartbeat_send_failures_total"

WATCH, CONNECT, NON_RESOURCE = "WATCH", "CONNECT", "non-resource"
_STREAMING = frozenset({"exec", "attach", "portforward", "proxy", "log"})

START = "process_start_time_seconds"
"""When the process began, seconds since the epoch: a later one has counters that began at 0."""

Labels = tuple[str, ...]
_Key = Callable[[Mapping[str, str]], Labels | None]


class Kind(Enum):
    """How the series of a family add up, and whether they can be compared over time."""

    COUNTER = auto()
    SUM = auto()
    """A level; series that differ in labels that do not matter are added."""
    MAX = auto()
    """A level; the largest of such series counts."""
    HISTOGRAM = auto()


@dataclass(frozen=True, slots=True)
class Family:
    """Something that is kept, and what it is called in the text."""

    name: str
    kind: Kind
    key: _Key
    sources: tuple[str, ...]
    """Names in the text, of the newest version first; the first that is there is taken."""


def _labels(*names: str | tuple[str, ...]) -> _Key:
    """The values of labels; a label that was called otherwise in other versions has all its names."""
    choices = [(name,) if isinstance(name, str) else name for name in names]
    return lambda labels: tuple(
        next((value for name in either if (value := labels.get(name))), "") for either in choices
    )


def _resource(labels: Mapping[str, str]) -> str:
    resource, group = labels.get("resource") or labels.get("type", ""), labels.get("group", "")
    return f"{resource}.{group}" if group else resource


def _verb(labels: Mapping[str, str]) -> str:
    verb = labels.get("verb", "")
    if verb in {WATCH, "WATCHLIST"}:
        return WATCH
    if verb == CONNECT or labels.get("subresource", "").partition("/")[0] in _STREAMING:
        return CONNECT
    return verb if labels.get("resource") else NON_RESOURCE


def _request(labels: Mapping[str, str]) -> Labels:
    return _verb(labels), _resource(labels), labels.get("code", "")


def _client(labels: Mapping[str, str]) -> Labels | None:
    client = labels.get("system_client")
    return (client,) if client else None


def _family(name: str, kind: Kind, key: _Key, *older: str, own: bool = True) -> Family:
    return Family(name, kind, key, (name, *older) if own else older)


_PRIORITY_LEVEL = ("priority_level", "priorityLevel")
_PRIORITY = _labels(_PRIORITY_LEVEL)
_NONE = _labels()

FAMILIES = (
    _family(REQUEST_SECONDS, Kind.HISTOGRAM, lambda labels: (_verb(labels),)),
    _family(REQUESTS, Kind.COUNTER, _request),
    _family(SYSTEM_CLIENTS, Kind.COUNTER, _client, REQUESTS, own=False),
    _family(TERMINATED, Kind.COUNTER, _labels("code")),
    _family(INFLIGHT, Kind.MAX, _labels(("request_kind", "requestKind"))),
    _family(ETCD_SECONDS, Kind.HISTOGRAM, _labels("operation")),
    _family(WEBHOOK_SECONDS, Kind.HISTOGRAM, _labels("name")),
    _family(WEBHOOK_REJECTIONS, Kind.COUNTER, _labels("name", "error_type")),
    _family(WEBHOOK_FAILED_OPEN, Kind.COUNTER, _labels("name")),
    _family(APF_REJECTED, Kind.COUNTER, _labels(_PRIORITY_LEVEL, ("flow_schema", "flowSchema"), "reason")),
    _family(APF_DISPATCHED, Kind.COUNTER, _PRIORITY),
    _family(APF_WAIT_SECONDS, Kind.HISTOGRAM, _PRIORITY),
    _family(APF_INQUEUE, Kind.SUM, _PRIORITY),
    _family(APF_SEATS, Kind.SUM, _PRIORITY, "apiserver_flowcontrol_request_concurrency_in_use"),
    _family(
        APF_SEATS_LIMIT,
        Kind.SUM,
        _PRIORITY,
        "apiserver_flowcontrol_nominal_limit_seats",
        "apiserver_flowcontrol_request_concurrency_limit",
    ),
    _family(
        OBJECTS,
        Kind.MAX,
        lambda labels: (_resource(labels),),
        "apiserver_resource_objects",
        "etcd_object_counts",
    ),
    _family(
        STORAGE_BYTES,
        Kind.MAX,
        _NONE,
        "apiserver_storage_db_total_size_in_bytes",
        "etcd_db_total_size_in_bytes",
    ),
    _family(WORKQUEUE_DEPTH, Kind.SUM, _labels("name")),
    _family(LEADER, Kind.MAX, _labels("name")),
    _family(WAL_FSYNC_SECONDS, Kind.HISTOGRAM, _NONE),
    _family(COMMIT_SECONDS, Kind.HISTOGRAM, _NONE),
    _family(DATABASE_BYTES, Kind.MAX, _NONE, "etcd_debugging_mvcc_db_total_size_in_bytes"),
    _family(DATABASE_USED_BYTES, Kind.MAX, _NONE),
    _family(QUOTA_BYTES, Kind.MAX, _NONE),
    _family(HAS_LEADER, Kind.MAX, _NONE),
    _family(LEADER_CHANGES, Kind.COUNTER, _NONE),
    _family(PROPOSALS_FAILED, Kind.COUNTER, _NONE),
    _family(PROPOSALS_PENDING, Kind.SUM, _NONE),
    _family(HEARTBEATS_FAILED, Kind.COUNTER, _NONE),
)
