"""What of the API server moves between a bundle's snapshots: its own metrics, and leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.hosts.bundle import Snapshot
from aggregator.cluster.api_metrics import MetricsError, MetricsParser
from aggregator.cluster.decode import Decoder
from aggregator.cluster.lists import load
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.state import ClusterState
from aggregator.model import Gap
from aggregator.signatures.control_plane import leases

METRICS = "apiserver.metrics"
_SIGNAL = "kube/metrics"
_NAMED = 3


@dataclass(slots=True)
class Metrics:
    """The API server's metrics over all snapshots."""

    history: MetricsHistory
    gaps: list[Gap] = field(default_factory=list)
    last_interval_s: float = 0.0
    """Between the last two snapshots that have some; 0 where there are no two."""


def metrics(snapshots: Sequence[Snapshot]) -> Metrics:
    """Each snapshot's own. Where the last has none, nothing is said of now."""
    found = Metrics(MetricsHistory(snapshots[-1].at - snapshots[0].at + 900.0))
    times: list[float] = []
    for snapshot in snapshots:
        data = snapshot.kube.get(METRICS)
        if data is None:
            continue
        where = f"{snapshot.name}/kube/{METRICS}"
        try:
            parser = MetricsParser(snapshot.at)
            parser.feed(data)
            sample = parser.finish()
        except MetricsError as error:
            found.gaps.append(Gap("", _SIGNAL, "damaged", f"{where}: {error}"))
            continue
        if sample.problems:
            more = f"; {len(sample.problems) - _NAMED} more" if len(sample.problems) > _NAMED else ""
            because = f"{where}: {'; '.join(sample.problems[:_NAMED])}{more}"
            found.gaps.append(Gap("", _SIGNAL, "damaged", because))
        found.history.add(sample)
        times.append(snapshot.at)
    if times and times[-1] < snapshots[-1].at:
        because = f"none of the last snapshot ({snapshots[-1].name}): nothing is said of the API server's latency now"
        found.gaps.append(Gap("", _SIGNAL, "missing", because))
        return Metrics(MetricsHistory(), found.gaps)
    if len(times) > 1:
        found.last_interval_s = times[-1] - times[-2]
    return found


def note_leases(snapshots: Sequence[Snapshot], objects: ClusterState, decoder: Decoder) -> None:
    """Take the leases of all snapshots through `objects`, so that it is known which were renewed and who led when."""
    for snapshot in snapshots:
        data = snapshot.kube.get("leases")
        if data is None or snapshot.kube_from.get("leases", snapshot.name) != snapshot.name:
            continue
        then = ClusterState()
        load(then, "leases", data, decoder)
        for key in [key for key in objects.leases if key not in then.leases]:
            objects.keep("leases", key, None)
        for key, lease in then.leases.items():
            objects.keep("leases", key, lease)
        leases.note(objects, snapshot.at)
