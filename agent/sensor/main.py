"""The sensor's process: attach, answer, detach. It needs CAP_BPF and CAP_PERFMON and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource

from nodetell import __version__
from nodetell.logs import configure, event

from agent.sensor.report import Sensor
from agent.sensor.server import Server, SocketError
from agent.sensor.settings import SensorSettings

_log = logging.getLogger("nodetell.sensor")


async def run(settings: SensorSettings, stop: asyncio.Event) -> int:
    """Serve reports until `stop` is set. Returns the process's exit status; 2: the socket cannot be served.

    Where the kernel refuses all methods it serves too: the reasons are the report.
    """
    configure(settings.log_level)
    _lift_memory_limit()
    sensor = Sensor(settings)
    server = Server(settings, lambda: sensor.report().SerializeToString())
    try:
        await server.start()
    except SocketError as error:
        event(_log, logging.ERROR, "settings_refused", setting="socket", reason=error)
        return 2
    try:
        sensor.start()
        for method in sensor.report().methods:
            level = logging.INFO if method.running else logging.WARNING
            state = "running" if method.running else "refused"
            event(_log, level, f"method_{state}", signal=method.signal, method=method.name, reason=method.refused)
        event(_log, logging.INFO, "sensor_start", version=__version__, socket=settings.socket)
        await stop.wait()
    finally:
        await server.close()
        sensor.close()
        event(_log, logging.INFO, "sensor_stop")
    return 0


def _lift_memory_limit() -> None:
    """Before Linux 5.11 maps are locked memory of the process, which by default may have 64 KiB of it."""
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    for limit in (resource.RLIM_INFINITY, hard):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
            return
