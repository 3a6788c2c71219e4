"""A pool that is requested full while its machines are idle: nobody waits yet, and the next pod will.

What is requested is the API server's; what is used the agents measure on the nodes themselves. Where no node of such a
pool is measured, that is a gap of the diagnosis and no finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.model import Evidence, Gap, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.scheduler.codes import STUCK_WAITING
from aggregator.signatures.scheduler.pools import RESOURCES, Pool, pools
from aggregator.signatures.scheduler.words import counted
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_WORDS = {"cpu": "CPU", "memory": "memory"}
_NAMED = 4


@dataclass(slots=True)
class _Used:
    """What the agents of a pool measure of one resource."""

    used: float = 0.0
    """In units of `whole`."""
    whole: float = 0.0
    nodes: int = 0

    @property
    def share(self) -> float:
        return self.used / self.whole if self.whole else 1.0


def judge(view: ClusterView, thresholds: Thresholds) -> tuple[list[Case], list[Gap]]:
    """A case for each pool that is requested full and idle, and a gap for each of which nothing is measured. Nothing
    where nodes or pods are not known."""
    cases: list[Case] = []
    gaps: list[Gap] = []
    if not view.objects.knows("nodes", "pods"):
        return cases, gaps
    for _, pool in sorted(pools(view.objects).items()):
        full = [index for index in range(len(RESOURCES)) if pool.share(index) >= thresholds.pool_requested_ratio]
        measured = [
            (used.share, index, used) for index in full if (used := _measured(view, pool, index, thresholds)).nodes
        ]
        if full and not measured:
            gaps.append(_gap(pool, full[0]))
        elif measured:
            share, index, used = min(measured, key=lambda each: each[:2])
            if share <= thresholds.pool_used_ratio:
                cases.append(_case(view, pool, index, used, thresholds))
    return cases, gaps


def _gap(pool: Pool, index: int) -> Gap:
    requested = f"{_percent(pool.share(index))} of its {_WORDS[RESOURCES[index]]} is requested"
    because = f"pool {pool.name}: {requested}; what is used is not known"
    return Gap("", "usage", "missing", because, "run the agent on nodes of the pool")


def _measured(view: ClusterView, pool: Pool, index: int, thresholds: Thresholds) -> _Used:
    found = _Used()
    for name in pool.members:
        host = view.hosts.get(name)
        if host is not None and view.now - host.at <= thresholds.agent_silent_s:
            _add(found, host, index, pool.members[name].has[0])
    return found


def _add(found: _Used, host: NodeState, index: int, cpus: int) -> None:
    for item in host.of("usage"):
        usage = item.usage
        if index == 0 and usage.HasField("cpu_busy_bp"):
            found.used += usage.cpu_busy_bp / 10_000 * cpus
            found.whole += cpus
            found.nodes += 1
        elif index == 1 and usage.memory_total_bytes:
            found.used += usage.memory_total_bytes - usage.memory_available_bytes
            found.whole += usage.memory_total_bytes
            found.nodes += 1


def _case(view: ClusterView, pool: Pool, index: int, used: _Used, thresholds: Thresholds) -> Case:
    resource = RESOURCES[index]
    word = _WORDS[resource]
    measured = f"measured on {used.nodes:,} of {counted(len(pool.members))}"
    requested, busy = _percent(pool.share(index)), _percent(used.share)
    told = [
        api_evidence(
            "pods", pool.name, f"pool.requested.{resource}", round(100 * pool.share(index), 1), unit="%", at=view.now
        ),
        Evidence(
            "", f"pool.used.{resource}", pool.name, round(100 * used.share, 1), "%", f"agents, {measured}", view.now
        ),
    ]
    told += _by_node(view, pool, index, thresholds)
    return Case(
        STUCK_WAITING,
        (pool.name,),
        f"{requested} of the {word} of pool {pool.name} is requested, and {busy} is used ({measured}): "
        "the next pod waits beside idle machines",
        (),
        tuple(told),
        stage=Stage.RISK,
        weight=pool.share(index),
    )


def _by_node(view: ClusterView, pool: Pool, index: int, thresholds: Thresholds) -> Iterator[Evidence]:
    named = 0
    for name in sorted(pool.members):
        host = view.hosts.get(name)
        found = _Used()
        if named < _NAMED and host is not None and view.now - host.at <= thresholds.agent_silent_s:
            _add(found, host, index, pool.members[name].has[0])
        if host is not None and found.nodes:
            named += 1
            share = round(100 * found.share, 1)
            yield Evidence(name, f"used.{RESOURCES[index]}", name, share, "%", "/proc/stat, /proc/meminfo", host.at)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
