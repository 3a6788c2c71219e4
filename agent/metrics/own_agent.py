"""The agent itself: its collectors, its budget, its stream to the aggregator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from nodetell.metrics import Kind, Metric, Told, one

from agent.ledger import Ledger
from agent.reading import Reading

_OF = ("collector",)
OK = Metric("nodetell_collector_ok", Kind.GAUGE, "1: the collector's last run ended well.", _OF)
HUNG = Metric("nodetell_collector_hung", Kind.GAUGE, "1: it is in a read that does not return.", _OF)
DURATION = Metric("nodetell_collector_run_seconds", Kind.GAUGE, "How long a run takes, mean of a minute.", _OF)
CPU = Metric("nodetell_collector_run_cpu_seconds", Kind.GAUGE, "CPU time of a run, likewise.", _OF)
INTERVAL = Metric("nodetell_collector_interval_seconds", Kind.GAUGE, "Time between two runs, at most.", _OF)
OVERRUNS = Metric("nodetell_collector_overruns_total", Kind.COUNTER, "Runs that the one before left no time for.", _OF)
BUDGET = Metric("nodetell_agent_cpu_budget_ratio", Kind.GAUGE, "CPU time that the agent may take, of one core.")
SHARE = Metric(
    "nodetell_agent_cpu_ratio",
    Kind.GAUGE,
    "CPU time that it takes, of one core, over a minute or so, without that of answers like this.",
)
CONNECTED = Metric("nodetell_stream_connected", Kind.GAUGE, "1: the stream to the aggregator stands.")
PROVEN = Metric("nodetell_stream_path_proven", Kind.GAUGE, "1: full-size packets have been seen to pass on it.")
UPDATES = Metric("nodetell_stream_updates_total", Kind.COUNTER, "Updates that the aggregator has acknowledged.")
COALESCED = Metric("nodetell_stream_updates_coalesced_total", Kind.COUNTER, "Updates that were merged into later ones.")
DROPPED = Metric(
    "nodetell_stream_samples_dropped_total", Kind.COUNTER, "Samples of counters whose own time was lost thereby."
)
METRICS = (
    OK, HUNG, DURATION, CPU, INTERVAL, OVERRUNS, BUDGET, SHARE, CONNECTED, PROVEN, UPDATES, COALESCED, DROPPED,
)  # fmt: skip


class Streams(Protocol):
    """What is asked of the stream. Plain attributes, which any thread may read."""

    @property
    def connected(self) -> bool:
        """A stream stands."""

    @property
    def proven(self) -> bool:
        """Full-size packets pass."""

    @property
    def ledger(self) -> Ledger:
        """What is told and owed."""


def tell(reading: Reading) -> Iterable[Told]:
    """Collectors and budget."""
    told = [Told(metric) for metric in (OK, HUNG, DURATION, CPU, INTERVAL, OVERRUNS)]
    for status in (item.collector for item in reading.items.values() if item.HasField("collector")):
        values = (
            status.ok,
            status.hung,
            status.duration_us / 1e6,
            status.cpu_us / 1e6,
            status.interval_ms / 1e3,
            status.overruns,
        )
        for each, value in zip(told, values, strict=True):
            each.add(value, status.name)
    yield from told
    agent = reading.items["agent"].agent
    yield one(BUDGET, agent.cpu_budget_mpercent / 1e5)
    if agent.HasField("cpu_mpercent"):
        yield one(SHARE, agent.cpu_mpercent / 1e5)


def tell_stream(stream: Streams) -> Iterable[Told]:
    """The way to the aggregator."""
    ledger = stream.ledger
    yield one(CONNECTED, stream.connected)
    yield one(PROVEN, stream.proven)
    yield one(UPDATES, ledger.last_acknowledged)
    yield one(COALESCED, ledger.coalesced_updates)
    yield one(DROPPED, ledger.dropped_samples)
