"""All agents of a cluster come back to an aggregator that was killed: `make storm`."""
