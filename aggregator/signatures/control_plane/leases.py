"""Leases as the tell of who can still write: leaders' by their own duration, nodes' by how many are late at once.

Holders write the time of renewal by their own clocks. A lease that is seen to be renewed is as old as that is ago,
whatever it says; only of one that has not moved yet since it is known does its own time count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from aggregator.cluster.lost import LEASE_S
from aggregator.cluster.objects import Lease
from aggregator.cluster.state import ClusterState
from aggregator.model import Evidence, Severity
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.facts import api_server
from aggregator.signatures.control_plane.late_leases import LateLeases
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "control_plane/leases"
_SYSTEM = "kube-system/"
_LEADERS = frozenset({"kube-controller-manager", "kube-scheduler", "cloud-controller-manager"})
"""Without a leader of these nothing is scheduled, repaired or attached."""
_IDENTITY = "apiserver-"
"""An API server's own lease: it tells that it runs, and nobody leads by it."""
_DURATION_S = 15.0
"""Of a leader's lease that does not say."""
_SLACK_S = 2.0
"""A renewal takes a moment to be heard of."""
_LATE_MIN = 2
"""A single late node is that node's kubelet."""
_NAMED = 5
_AGENT_S = 60.0
"""An agent whose newest facts are older may be silent: it reports every 5 s."""
_HEARTBEAT_S = 5.0


@dataclass(slots=True)
class _Leader:
    """A lease in kube-system, over time."""

    lease: Lease
    moved_at: float = 0.0
    """Its latest renewal was after this; 0: none has been seen."""
    changes: deque[tuple[float, int]] = field(default_factory=deque)
    """When its holder was seen to change, and how often at once."""


@dataclass(slots=True)
class _Book:
    objects: ClusterState
    revision: int = -1
    at: float = 0.0
    """When the leases were last taken notice of."""
    leaders: dict[str, _Leader] = field(default_factory=dict)
    nodes: LateLeases = field(default_factory=LateLeases)


def note(state: ClusterState, now: float) -> None:
    """Take notice of the leases as they are at `now`, seconds since the epoch; to be called as time passes."""
    _noted(state, now)


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """Leases that are not renewed, and leaders that change all the time."""
    if not view.objects.knows("leases"):
        return
    book = _noted(view.objects, view.now)
    for key, leader in sorted(book.leaders.items()):
        yield from _leader(view, key, leader, thresholds)
    yield from _nodes(view, book, thresholds)


def _noted(state: ClusterState, now: float) -> _Book:
    book = state.derived.get(_NAME)
    if not isinstance(book, _Book) or book.objects is not state:
        book = state.derived[_NAME] = _Book(state)
    before, book.at = book.at, now
    if book.revision == state.revision:
        return book
    changes = state.changes(book.revision) if book.revision >= 0 else None
    if changes is None:
        book.nodes.begin_anew()
        keys = [key for key in state.leases if key.startswith(_SYSTEM)]
        for gone in book.leaders.keys() - set(keys):
            del book.leaders[gone]
    else:
        changed = list(changes)
        book.nodes.take(changed)
        found = {change.key for change in changed if change.resource == "leases" and change.key.startswith(_SYSTEM)}
        keys = sorted(found)
    for key in keys:
        _take(book, key, state.leases.get(key), before)
    book.revision = state.revision
    return book


def _take(book: _Book, key: str, lease: Lease | None, before: float) -> None:
    """`before`: when they were last looked at: between then and now it has changed."""
    if lease is None or key.removeprefix(_SYSTEM).startswith(_IDENTITY):
        book.leaders.pop(key, None)
        return
    known = book.leaders.get(key)
    if known is None or known.lease.uid != lease.uid:
        book.leaders[key] = _Leader(lease)
        return
    if lease.renewed > known.lease.renewed:
        known.moved_at = before
    if lease.transitions > known.lease.transitions:
        known.changes.append((book.at, lease.transitions - known.lease.transitions))
    known.lease = lease


def _leader(view: ClusterView, key: str, leader: _Leader, thresholds: Thresholds) -> Iterator[Case]:
    lease, name = leader.lease, key.removeprefix(_SYSTEM)
    duration = lease.duration_s or _DURATION_S
    renewed = max(lease.renewed, leader.moved_at)
    age = max(0.0, view.now - renewed)
    late = duration + _SLACK_S < age < thresholds.lease_abandoned_s and lease.renewed > 0
    if late and (name in _LEADERS or _has_holder(view, lease)):
        yield Case(
            codes.RENEW_FAILED,
            ("leaders",),
            f"lease {key} ({duration:.0f} s) was last renewed {age:.0f} s ago by {lease.holder or 'nobody'}: nobody "
            "leads",
            (f"Lease/{key}", api_server(view)),
            (
                _age(view, key, age),
                api_evidence("leases", key, "lease.duration", duration, at=view.now, unit="s"),
                api_evidence("leases", key, "lease.holder", lease.holder, at=view.now),
            ),
            severity=Severity.CRITICAL if name in _LEADERS and age > 4 * duration else None,
            weight=age,
            since=renewed + duration,
        )
    while leader.changes and leader.changes[0][0] < view.now - thresholds.leader_changes_window_s:
        leader.changes.popleft()
    count = sum(number for _, number in leader.changes)
    if count >= thresholds.leader_changes_min:
        yield Case(
            codes.LEADER_LOST,
            (key,),
            f"the leader behind lease {key} has changed {count} times in {thresholds.leader_changes_window_s / 60:.0f} "
            f"minutes; now it is {lease.holder or 'nobody'}",
            (f"Lease/{key}", api_server(view)),
            (api_evidence("leases", key, "counter.leader_changes", count, at=view.now, unit="changes"),),
            weight=count,
            since=leader.changes[0][0],
        )


def _has_holder(view: ClusterView, lease: Lease) -> bool:
    """The pod whose name the holder's identity begins with is there: what it leads has not been taken away."""
    if not lease.holder or not view.objects.knows("pods"):
        return False
    return f"{_SYSTEM}{lease.holder.partition('_')[0]}" in view.objects.pods


def _nodes(view: ClusterView, book: _Book, thresholds: Thresholds) -> Iterator[Case]:
    if not view.hosts:
        return
    nodes = book.nodes
    found = nodes.late(view.objects, view.now, thresholds.node_lease_late_s)
    late = [lease for lease in found if _is_late(view, lease, thresholds)]
    if len(late) < _LATE_MIN or len(late) <= thresholds.node_leases_late_ratio * nodes.number:
        return
    late.sort(key=lambda lease: (lease.renewed, lease.name))
    named = ", ".join(lease.name for lease in late[:_NAMED])
    more = f" and {len(late) - _NAMED:,} more" if len(late) > _NAMED else ""
    oldest = view.now - late[0].renewed
    yield Case(
        codes.RENEW_FAILED,
        ("nodes",),
        f"{len(late):,} of {nodes.number:,} node leases are older than {thresholds.node_lease_late_s:.0f} s, the "
        f"oldest {oldest:.0f} s, while the agents of these nodes report: {named}{more}",
        (*(f"Lease/{lease.key}" for lease in late[:_NAMED]), api_server(view)),
        (
            api_evidence("leases", "kube-node-lease", "counter.leases_late", len(late), at=view.now, unit="leases"),
            api_evidence("leases", "kube-node-lease", "counter.leases", nodes.number, at=view.now, unit="leases"),
            *(_age(view, lease.key, view.now - lease.renewed) for lease in late[:_NAMED]),
        ),
        severity=Severity.CRITICAL if oldest > LEASE_S else None,
        weight=oldest,
        since=late[0].renewed + thresholds.node_lease_late_s,
    )


def _is_late(view: ClusterView, lease: Lease, thresholds: Thresholds) -> bool:
    """The node's agent is alive, and the lease is late by the node's own clock, which wrote it."""
    host = view.hosts.get(lease.name)
    return (
        host is not None
        and view.now - host.at < _AGENT_S
        and host.at - lease.renewed > thresholds.node_lease_late_s - _HEARTBEAT_S
    )


def _age(view: ClusterView, key: str, age: float) -> Evidence:
    return api_evidence("leases", key, "lease.age", round(age, 1), at=view.now, unit="s")
