"""Every metric that an aggregator can tell: docs/prometheus.md has a row for each. A surface adds its own here."""

from __future__ import annotations

from nodetell.metrics import Metric

from aggregator.metrics import inside, known
from aggregator.outputs import meters as outputs
from aggregator.outputs.kubernetes import meters as objects

METRICS: tuple[Metric, ...] = (*known.METRICS, *inside.METRICS, *objects.METRICS, *outputs.METRICS)
"""Without those of the answer and of the process, which nodetell.scrape adds."""
