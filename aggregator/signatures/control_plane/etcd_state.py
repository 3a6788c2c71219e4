"""What members of etcd say of themselves: room for their database, a leader, and how often that changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.metric_families import STORAGE_BYTES
from aggregator.model import Evidence, Severity, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.facts import api_server, fact
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

KEY = "etcd"
SOURCE = "etcd.metrics"
_MOST_BYTES = 8 << 30
"""What etcd is made for at most, and managed control planes allow."""
_FRAGMENTED = 0.5
_NAME = "etcd.space"


@dataclass(slots=True)
class _Seen:
    """Of a member's database, between evaluations."""

    below: bool = False
    """It has been smaller than what is worth a finding."""
    since: float = 0.0
    """When it was first seen not to be any more, seconds since the epoch."""


def of_host(view: ClusterView, state: NodeState, thresholds: Thresholds) -> list[Case]:
    """Of the member on one host; none where it says nothing."""
    item = state.items.get(KEY)
    if item is None or not item.HasField("etcd"):
        return []
    return [*_space(view, state, item.etcd, thresholds), *_leader(view, state, item.etcd, thresholds)]


def of_api(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """The size that the API server tells, where no member tells its own and its quota."""
    sizes = view.metrics.levels(STORAGE_BYTES, thresholds.window_s)
    size = max(sizes.values(), default=0.0)
    worth = thresholds.etcd_space_warning_ratio * _MOST_BYTES
    if size < worth:
        return
    if any(KEY in host.items for host in view.hosts.values()):
        return
    yield Case(
        codes.NO_SPACE,
        ("database",),
        f"etcd's database is {_gib(size)} by the API server's account; etcd is made for {_gib(_MOST_BYTES)} at most, "
        "and its quota cannot be seen",
        (api_server(view),),
        (fact("counter.etcd.database", "database", round(size), "bytes", view.metrics.at),),
        stage=Stage.RISK,
        weight=size,
        since=view.metrics.level_since(STORAGE_BYTES, worth),
    )


def _space(view: ClusterView, state: NodeState, etcd: pb.Etcd, thresholds: Thresholds) -> Iterator[Case]:
    size, quota = etcd.database_bytes, etcd.quota_bytes
    worth = thresholds.etcd_space_warning_ratio * quota
    seen = _seen(state, small=size < worth)
    if not quota or size < worth:
        return
    full, used = size >= quota, etcd.in_use_bytes
    told = [_fact(state, "counter.etcd.database", size, "bytes"), _fact(state, "etcd.quota", quota, "bytes")]
    inside = ""
    remedies: tuple[str, ...] = ()
    if etcd.HasField("in_use_bytes"):
        told.append(_fact(state, "counter.etcd.in_use", used, "bytes"))
        inside = f", of which {_gib(used)} are in use"
        if used < _FRAGMENTED * size:
            remedies = ("Defragment each member (etcdctl defrag), one after the other: more than half of it is empty.",)
    nearly = size >= thresholds.etcd_space_critical_ratio * quota
    yield Case(
        codes.NO_SPACE,
        ("database",),
        f"etcd's database on {state.name} is {_gib(size)}, {100 * size / quota:.0f} % of the {_gib(quota)} allowed"
        f"{inside}",
        (api_server(view),),
        tuple(told),
        nodes=(state.name,),
        stage=Stage.ACTIVE if full else Stage.RISK,
        severity=Severity.CRITICAL if nearly else None,
        weight=size / quota,
        remedies=remedies,
        since=view.metrics.level_since(STORAGE_BYTES, worth) or seen.since,
    )


def _seen(state: NodeState, *, small: bool) -> _Seen:
    """What was seen of the member's database, this time included."""
    seen = state.derived.get(_NAME)
    if not isinstance(seen, _Seen):
        seen = state.derived[_NAME] = _Seen()
    if small:
        seen.below, seen.since = True, 0.0
    elif seen.below and not seen.since:
        seen.since = state.at
    return seen


def _leader(view: ClusterView, state: NodeState, etcd: pb.Etcd, thresholds: Thresholds) -> Iterator[Case]:
    if etcd.HasField("has_leader") and not etcd.has_leader:
        yield Case(
            codes.LEADER_LOST,
            (KEY,),
            f"etcd on {state.name} knows no leader: it takes no writes",
            (api_server(view),),
            (_fact(state, "etcd.has_leader", False, ""),),
            nodes=(state.name,),
            severity=Severity.CRITICAL,
            weight=1e9,
        )
    changes = state.delta(KEY, "leader_changes", thresholds.leader_changes_window_s)
    if changes is not None and changes.increment >= thresholds.leader_changes_min:
        yield Case(
            codes.LEADER_LOST,
            (KEY,),
            f"etcd's leader has changed {changes.increment} times in {changes.seconds / 60:.0f} minutes, as "
            f"{state.name} saw it",
            (api_server(view),),
            (_fact(state, "counter.etcd.leader_changes", changes.increment, "changes"),),
            nodes=(state.name,),
            weight=changes.increment,
            since=state.at - changes.seconds,
        )


def _fact(state: NodeState, signal: str, value: int | bool, unit: str) -> Evidence:
    return Evidence(state.name, signal, KEY, value, unit, SOURCE, state.at)


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.2f} GiB" if size >= 1 << 30 else f"{size / (1 << 20):.0f} MiB"
