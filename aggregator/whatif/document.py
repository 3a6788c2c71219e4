"""What would follow from a loss, as JSON: for the command and for the HTTP API alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aggregator.convert import iso_time
from aggregator.whatif.loss import Loss


def loss_json(cluster: str, at: float, zones: Sequence[str], loss: Loss) -> dict[str, Any]:
    """The answer as one object."""
    return {
        "cluster": cluster,
        "at": iso_time(at),
        "lost": {"zones": list(zones), "nodes": list(loss.nodes)},
        "moving": loss.moving,
        "stranded": [
            {
                "workload": each.workload,
                "cause": each.cause.value,
                "because": each.because,
                "needs": list(each.needs),
                "pods": list(each.pods),
                "claims": list(each.claims),
            }
            for each in loss.stranded
        ],
        "returning": [
            {"workload": each.workload, "pods": list(each.pods), "nodes": list(each.nodes)} for each in loss.returning
        ],
        "going_with_their_node": loss.going_with_it,
        "unknown": list(loss.unknown),
    }
