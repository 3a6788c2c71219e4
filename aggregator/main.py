"""The aggregator's process: opens the store, serves agents and operators, stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from nodetell import __version__
from nodetell.logs import configure, event

from aggregator.database import StoreError
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet, Judge
from aggregator.history.keeper import History
from aggregator.ingest import add_agent_service, server_options
from aggregator.installed import installed
from aggregator.known import LiveKnown
from aggregator.metrics import inside
from aggregator.query import add_operator_service
from aggregator.settings import AggregatorSettings, start_problem, state_directory
from aggregator.store import Store
from aggregator.surfaces import Made, Surface, SurfaceError, surfaces
from aggregator.trust.door import Door, DoorError, ListenError, door

if TYPE_CHECKING:
    from aggregator.cluster.credentials import Source
    from aggregator.cluster.live import LiveCluster
    from aggregator.trust.review import Reviewer

_log = logging.getLogger("nodetell.aggregator")

Ready = Callable[[str, Mapping[str, str]], None]
"""Told the address that agents connect to, and those of the surfaces that have one, by name."""
STOP_GRACE_S = 0.3
"""Calls that are under way have so long to end."""
FINDINGS_SHARE = 4
"""Findings take at most this part of the room there is; the history takes what all else leaves."""
FAILED = 1
"""Exit status of an aggregator that could not start."""
REFUSED = 2
"""... because its settings are wrong."""


async def run(
    settings: AggregatorSettings,
    stop: asyncio.Event,
    ready: Ready | None = None,
) -> int:
    """Serve until `stop` is set; returns the exit status. `ready` is called once connections are taken."""
    configure(settings.log_level)
    if problem := start_problem(settings):
        event(_log, logging.ERROR, "settings_refused", reason=problem)
        return REFUSED
    directory = state_directory(settings.state_directory, root=os.geteuid() == 0, env=os.environ)
    retention_s, max_bytes = settings.store.retention_days * 86_400, settings.store.max_mib << 20
    store = Store(directory, retention_s=retention_s, max_bytes=max_bytes // FINDINGS_SHARE)
    history = History(directory, retention_s=retention_s, max_bytes=max_bytes, history_s=settings.fleet.history_s)
    try:
        standing, resolved = await asyncio.to_thread(store.open)
        await asyncio.to_thread(history.open)
    except StoreError as error:
        event(_log, logging.ERROR, "not_started", reason=error)
        await asyncio.to_thread(store.close)
        return FAILED
    try:
        source, api, reviewer = _api(settings)
        way_in = door(settings, reviewer, _node_of_pod(api))
        fleet = Fleet(
            store,
            FindingBook(standing, resolved),
            history=history,
            cluster=settings.cluster,
            settings=settings.fleet,
            path_mtu=settings.path_mtu,
            thresholds=settings.thresholds,
            api=api,
            judge=_with_installed(),
        )
        known = LiveKnown(fleet, history, settings.cluster, time.time)
        made = Made(settings, known, way_in.operators, source, directory, time.time)
        made.meters.add("fleet", partial(inside.fleet_metrics, fleet))
        made.meters.add("store", partial(inside.store_metrics, history, lambda: store.problem))
        if api is not None:
            made.meters.add("api_server", partial(inside.api_metrics, api, time.time))
        async with _running(api):
            return await _serve(way_in, fleet, made, stop, ready)
    except (_KubeMissingError, DoorError, SurfaceError) as error:
        event(_log, logging.ERROR, "not_started", reason=error)
        return FAILED
    finally:
        await asyncio.to_thread(history.close)
        await asyncio.to_thread(store.close)


class _KubeMissingError(Exception):
    """The API server must be asked, and nobody says who we are."""


def _with_installed() -> Judge:
    """The built-in signatures and those that the operator has installed, which are logged."""
    found = installed()
    for added in found.added:
        event(_log, logging.INFO, "signature_added", signature=added.name, source=added.source)
    for refused in found.refused:
        facts = {"signature": refused.name, "source": refused.source, "reason": refused.because}
        event(_log, logging.ERROR, "signature_refused", **facts)
    return found.judge


def _api(settings: AggregatorSettings) -> tuple[Source | None, LiveCluster | None, Reviewer | None]:
    """The API server, where it is to be asked: who we are to it, what follows it, and what asks it of those who call.

    Raises _KubeMissingError.
    """
    wanted = settings.kubernetes
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    if wanted.enabled == "off" or (wanted.enabled == "auto" and not wanted.kubeconfig and not in_pod):
        return None, None, None
    # What reads it takes 24 MiB: loaded only where it may be needed.
    from aggregator.cluster.credentials import KubeError, chosen  # noqa: PLC0415

    try:
        source = chosen(wanted, os.environ, Path.home())
    except KubeError as error:
        raise _KubeMissingError(str(error)) from error
    if source is None:
        return None, None, None
    from aggregator.cluster.live import LiveCluster  # noqa: PLC0415
    from aggregator.trust.review import Reviewer  # noqa: PLC0415

    reviewer = Reviewer(source, os.environ, audience=settings.access.token_audience)
    return source, LiveCluster(source, wanted), reviewer


def _node_of_pod(api: LiveCluster | None) -> Callable[[str], tuple[str, str] | None]:
    """Which pod has a UID, and where it runs, by what the API server has told."""

    def node_of_pod(uid: str) -> tuple[str, str] | None:
        pod = api.objects.pod_by_uid(uid) if api is not None else None
        return None if pod is None else (f"{pod.namespace}/{pod.name}", pod.node)

    return node_of_pod


@contextlib.asynccontextmanager
async def _running(api: LiveCluster | None) -> AsyncIterator[None]:
    """Follow the API server meanwhile."""
    if api is None:
        yield
        return
    following = asyncio.create_task(api.run(), name="kube")
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


def _not_listening(address: str) -> str:
    """Why nothing can listen there: the kernel's reason, which gRPC keeps to itself."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(where)
    except OSError as error:
        return f"can't listen there: {(error.strerror or str(error)).lower()}"
    except ValueError as error:
        return f"can't listen there: {error}"
    return "can't listen there"


async def _started(outlets: Sequence[Surface], fleet: Fleet) -> dict[str, str]:
    """Start all surfaces; addresses of those that have one, by name. Raises SurfaceError."""
    reached = {}
    for outlet in outlets:
        if where := await outlet.start():
            reached[outlet.name] = where
        fleet.limits_of.append(outlet.gaps)
        event(_log, logging.INFO, "surface", name=outlet.name, address=where)
    return reached


async def _serve(
    way_in: Door,
    fleet: Fleet,
    made: Made,
    stop: asyncio.Event,
    ready: Ready | None,
) -> int:
    outlets = surfaces(made)
    server = grpc.aio.server(options=server_options(), interceptors=way_in.interceptors)
    admission = add_agent_service(server, fleet, way_in.agents, time.time, fleet.paces)
    made.meters.add("admission", partial(inside.admission_metrics, admission))
    add_operator_service(server, fleet, time.time)
    try:
        ports = [listener.add_to(server) for listener in way_in.listeners]
    except ListenError as error:
        event(_log, logging.ERROR, "not_started", listen=error.address, reason=_not_listening(error.address))
        return FAILED
    fleet.evaluate()  # marks what an earlier life left, before anybody asks
    await server.start()
    evaluation = asyncio.create_task(fleet.run(), name="evaluation")
    addresses = [
        f"{each.address.rpartition(':')[0]}:{port}" for each, port in zip(way_in.listeners, ports, strict=True)
    ]
    address = addresses[0]
    event(
        _log,
        logging.INFO,
        "listening",
        listen=address,
        certificate_listen=", ".join(addresses[1:]),
        version=__version__,
        state="memory" if made.directory is None else str(made.directory),
        standing_findings=len(fleet.book.standing),
    )
    if way_in.operators is None:
        event(_log, logging.WARNING, "insecure", listen=address, reason="nothing is encrypted, and nobody is asked who")
    try:
        reached = await _started(outlets, fleet)
        if ready is not None:
            ready(address, reached)
        await stop.wait()
    finally:
        await asyncio.gather(*(outlet.aclose() for outlet in outlets))
        evaluation.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await evaluation
        await fleet.close()
        await server.stop(STOP_GRACE_S)
        await way_in.aclose()
    event(_log, logging.INFO, "stopped", listen=address)
    return 0
