"""One reading of all signals of a host: what `diagnose` and `collect` use in place of the agent's loop."""

from __future__ import annotations

from collections.abc import Iterable

from nodetell.v1 import facts_pb2 as pb

from agent.collectors.base import Collector
from agent.host import Host, ReadError
from agent.reading import Reading, merged


def sweep(host: Host, collectors: Iterable[Collector], now: float) -> Reading:
    """Everything that the collectors can read of the host at `now`, seconds since the epoch.

    For several snapshots of one host pass the same collectors again: some keep what they need to tell a share of time.
    A collector that raises becomes a coverage entry that names it, and the others are good.
    """
    return merged({collector.name: _one(host, collector, now) for collector in collectors})


def _one(host: Host, collector: Collector, now: float) -> Reading:
    try:
        return collector.collect(host, now)
    except ReadError as error:
        because, status = str(error), pb.COVERAGE_STATUS_MISSING
    except Exception as error:  # noqa: BLE001  # one collector's defect must not cost the others' signals
        because = f"collector {collector.name} failed: {type(error).__name__}: {error}".partition("\n")[0]
        status = pb.COVERAGE_STATUS_DAMAGED
    reading = Reading()
    reading.gap(collector.name, because, status=status)
    return reading
