"""All that the agent tells Prometheus, and where. Adding something is a meter here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from nodetell import scrape
from nodetell.logs import event
from nodetell.metrics import Meters, Metric, Told

from agent.metrics import node_disks, node_host, node_network, own_agent, own_signals
from agent.metrics.node_network import NodeNetwork
from agent.metrics.own_agent import Streams
from agent.metrics.own_signals import OwnSignals
from agent.reading import Reading
from agent.settings import PrometheusSettings

_log = logging.getLogger("nodetell.agent")

METRICS: tuple[Metric, ...] = (
    *own_signals.METRICS,
    *own_agent.METRICS,
    *node_host.METRICS,
    *node_disks.METRICS,
    *node_network.METRICS,
    *scrape.OF_SCRAPES,
    *scrape.OF_PROCESS,
)
"""Every metric there can be: docs/prometheus.md has a row for each."""


def meters(read: Callable[[], Reading], stream: Streams, *, pod_interfaces: bool) -> Meters:
    """Everything that is told. `read` gives all that is known now, and is called once for an answer."""
    network, own = NodeNetwork(pod_interfaces=pod_interfaces), OwnSignals()
    now = Reading()

    def renew() -> Iterable[Told]:
        nonlocal now
        now = read()
        return ()

    found = Meters()
    found.add("reading", renew)
    found.add("own signals", lambda: own.tell(now))
    found.add("agent", lambda: own_agent.tell(now))
    found.add("stream", lambda: own_agent.tell_stream(stream))
    found.add("host", lambda: node_host.tell(now))
    found.add("disks", lambda: node_disks.tell(now))
    found.add("network", lambda: network.tell(now))
    return found


def exporter(settings: PrometheusSettings, read: Callable[[], Reading], stream: Streams) -> scrape.ScrapeServer:
    """A server that has started. Raises OSError where it can't listen."""
    told = meters(read, stream, pod_interfaces=settings.pod_interfaces).told
    server = scrape.ScrapeServer(told, "agent")
    event(_log, logging.INFO, "prometheus", address=server.start(settings.listen))
    return server
