"""What the agent has read, as Prometheus metrics (docs/prometheus.md): under node_exporter's names where it has them.

Nothing here reads the host: rows are made of the collectors' last readings, when somebody asks for them.
"""
