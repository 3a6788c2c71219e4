"""An aggregator asked through the API server's own proxy, with the rights of a kubeconfig (`kubectl nodetell`).

No port is forwarded, and no certificate of the aggregator's has to be at hand.
"""
