"""Implementations of agent.host.Network: rtnetlink, sysfs, and iproute2's JSON in a bundle."""

ROUTE_PLACES = frozenset({"rtnetlink routes", "ip-route.json"})
"""Places that a problem with routes names; problems at other places are about links and addresses."""
