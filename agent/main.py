"""The agent's process: the host, its collectors, and the stream, wired together."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nodetell import __version__, signals
from nodetell.logs import configure, event
from nodetell.names import node_name_from, node_name_problem

from agent.collectors.base import Collector
from agent.collectors.registry import collectors
from agent.connection import Peer
from agent.host import Host
from agent.hosts.live import LiveHost, live_host
from agent.hosts.own import grants, own_view
from agent.pathmtu.probing import Probing
from agent.runtime import Runtime
from agent.settings import AgentSettings, start_problem
from agent.stream import Identity, Stream, set_within

if TYPE_CHECKING:  # it is loaded where it is wanted
    from nodetell.scrape import ScrapeServer

_log = logging.getLogger("nodetell.agent")

FIRST_ROUND_S = 2.0
"""How long the first update waits for collectors that have not read anything yet."""


async def run(settings: AgentSettings, stop: asyncio.Event) -> int:
    """Observe this host and inform the aggregator until `stop` is set. Returns the process's exit status.

    Status 2: the settings cannot be used; the log says why.
    """
    configure(settings.log_level)
    node = settings.node or node_name_from(socket.gethostname())
    if problem := node_name_problem(node):
        event(_log, logging.ERROR, "settings_refused", setting="node", reason=problem)
        return 2
    if problem := start_problem(settings):
        event(_log, logging.ERROR, "settings_refused", reason=problem)
        return 2
    roots = settings.host
    host = live_host(node, roots.proc, roots.sys, roots.kubelet, dev=roots.dev, udev=roots.udev, logs=roots.logs)
    probing = Probing(settings.path_mtu)
    return await run_host(settings, host, collectors(settings.collectors, probing), stop, probing)


async def run_host(
    settings: AgentSettings,
    host: Host,
    these: Sequence[Collector],
    stop: asyncio.Event,
    probing: Probing | None = None,
) -> int:
    """`run` for a given host and given collectors."""
    loop = asyncio.get_running_loop()
    identity = Identity(host.name, os.urandom(16), __version__)
    news = asyncio.Event()
    metrics: ScrapeServer | None = None

    def own_time() -> float:
        """CPU time by which the budget goes: how often others scrape must not make collectors slower."""
        return time.process_time() - (metrics.cpu_s if metrics is not None else 0.0)

    try:
        runtime = Runtime(
            host,
            these,
            settings.collectors,
            _from_thread(loop, news.set),
            budget_percent=settings.budget.cpu_percent,
            process_time=own_time,
            grants=_grants(settings, host),
            limits=own_view(host) if isinstance(host, LiveHost) else None,
        )
    except ValueError as error:
        event(_log, logging.ERROR, "settings_refused", reason=error)
        host.network.close()
        return 2
    probing = probing or Probing(settings.path_mtu)
    peer = Peer(settings.aggregator, None if settings.insecure else settings.tls, settings.token_file)
    stream = Stream(peer, settings.stream, identity, runtime, news, take_plan=probing.instruct)
    if settings.prometheus.listen:
        from agent.metrics.exporter import exporter  # noqa: PLC0415  # 4 MB, only where somebody wants it

        try:
            metrics = exporter(settings.prometheus, runtime.reading, stream)
        except OSError as error:
            event(_log, logging.ERROR, "not_started", listen=settings.prometheus.listen, reason=error)
            host.network.close()
            return 1
    event(_log, logging.INFO, "agent_start", node=host.name, version=__version__, aggregator=settings.aggregator)
    if settings.insecure:
        reason = "nothing is encrypted, and whatever listens there is taken for the aggregator"
        event(_log, logging.WARNING, "insecure", aggregator=settings.aggregator, reason=reason)
    runtime.start()
    probes = asyncio.create_task(probing.run(stop), name="path-mtu")
    try:
        await _first_round(runtime, stop)
        await stream.run(stop)
    finally:
        probes.cancel()
        await asyncio.gather(probes, return_exceptions=True)
        if metrics is not None:
            metrics.close()
        runtime.stop()
        event(
            _log,
            logging.INFO,
            "agent_stop",
            node=host.name,
            updates=stream.ledger.last_acknowledged,
            coalesced=stream.ledger.coalesced_updates,
            dropped_samples=stream.ledger.dropped_samples,
        )
    return 0


def _grants(settings: AgentSettings, host: Host) -> list[str]:
    """What the agent was given, of the host and by its settings."""
    set_here = {
        signals.SENSOR.name: os.path.exists(settings.collectors.sensor_socket),
        signals.PROBE_DIRECTORY.name: bool(settings.collectors.probe_directories),
        signals.PROBE_PORT.name: bool(settings.path_mtu.port),
        signals.ETCD_METRICS.name: bool(settings.collectors.etcd_metrics_url),
    }
    given = grants(host) if isinstance(host, LiveHost) else []
    if not settings.collectors.log_patterns:
        given = [name for name in given if name != signals.POD_LOGS.name]  # it may, and is not to
    return given + [name for name, has in set_here.items() if has]


async def _first_round(runtime: Runtime, stop: asyncio.Event) -> None:
    """Give the collectors a moment, so that the first update has everything in it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + FIRST_ROUND_S
    while not runtime.complete and loop.time() < until:
        if await set_within(stop, 0.02):
            return


def _from_thread(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> Callable[[], None]:
    """`action` as something any thread may call, also when the loop has just been closed."""

    def call() -> None:
        try:
            loop.call_soon_threadsafe(action)
        except RuntimeError:
            _log.debug("event=loop_closed")

    return call
