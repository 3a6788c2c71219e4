"""What the aggregator asks for, by the number of nodes: manifests, `--nodes` and docs/install.md go by this table.

Measured by bench.sizing and bench.cluster_view, with room to spare; the last row is put together from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Size:
    """One row, in the words of Kubernetes."""

    nodes: int
    """Up to so many."""
    cpu: str
    memory: str
    memory_limit: str

    @property
    def resources(self) -> dict[str, Any]:
        """Of the container. No CPU limit: throttled, it would hear of everything late."""
        return {"requests": {"cpu": self.cpu, "memory": self.memory}, "limits": {"memory": self.memory_limit}}


SIZES = (
    Size(300, "100m", "256Mi", "1Gi"),
    Size(1_000, "300m", "640Mi", "2Gi"),
    Size(5_000, "1200m", "2560Mi", "5Gi"),
)
MOST = SIZES[-1].nodes


def size_for(nodes: int) -> Size:
    """The row for so many nodes, 1 to MOST."""
    return next(size for size in SIZES if nodes <= size.nodes)
