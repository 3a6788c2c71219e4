"""What the aggregator tells of itself and of its findings, as metrics (docs/prometheus.md); to whom, is others'."""
