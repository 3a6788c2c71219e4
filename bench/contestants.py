"""What bench.rivals compares: how each is set up and started, and how to get those that are not here."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.budget import DEFAULT_PERCENT
from bench import processes
from bench.report import EVERYTHING

OURS = "nodetell agent and sensor"
SINK_PORT, PARENT_PORT, AGGREGATOR_PORT, PROBE_PORT = 19120, 19112, 19103, 19104


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of those that run side by side."""

    name: str
    missing: str
    """How to get what it needs; empty: it is here."""
    port: int | None
    """Where what it tells passes loopback; None: it tells nobody."""
    start: Callable[[Path, Path | None, contextlib.ExitStack], dict[str, int]]
    """Starts it, with a scratch directory and a control group, until the stack is closed. Its processes by name."""


def scraped(port: int, interval_s: float, stop: threading.Event, failed: list[str]) -> None:
    """As Prometheus does it: compressed, at fixed times. A scrape that fails is told in `failed`."""
    due = time.monotonic() + port % 5  # not all exporters at once
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += interval_s
        try:
            processes.scrape(port, "gzip")
        except (OSError, AssertionError) as error:
            if not stop.is_set():
                failed.append(f"scrape of port {port}: {error!r}")


@contextlib.contextmanager
def scraping(port: int, interval_s: float, failed: list[str]) -> Iterator[None]:
    """Scrape meanwhile, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=scraped, args=(port, interval_s, stop, failed))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _ours(scratch: Path, group: Path | None, stack: contextlib.ExitStack, *, budget_percent: float) -> dict[str, int]:
    address, local = f"127.0.0.1:{AGGREGATOR_PORT}", str(scratch / "sensor.sock")
    stack.enter_context(processes.aggregator(address, scratch))
    env = {"NODETELL_SENSOR_SOCKET": local, "NODETELL_SENSOR_SCRATCH_DIRECTORY": str(scratch)}
    sensor = stack.enter_context(
        processes.running([processes.nodetell(), "sensor"], group, scratch / "sensor.log", env)
    )
    env = {
        "NODETELL_AGENT_COLLECTORS_PROBE_DIRECTORIES": str(scratch),
        "NODETELL_AGENT_COLLECTORS_SENSOR_SOCKET": local,
        "NODETELL_AGENT_BUDGET_CPU_PERCENT": f"{budget_percent:g}",
        "NODETELL_AGENT_PATH_MTU_PORT": str(PROBE_PORT),
    }
    return {"agent": stack.enter_context(processes.agent(address, scratch, group, env)), "sensor": sensor}


def _node_exporter(port: int, collectors: Sequence[str] | None, interval_s: float, failed: list[str]) -> Contestant:
    path = processes.exporter()

    def start(scratch: Path, group: Path | None, stack: contextlib.ExitStack) -> dict[str, int]:
        assert path
        command = processes.exporter_command(path, port, collectors)
        pid = stack.enter_context(processes.running(command, group, scratch / "log"))
        processes.wait_for(port)
        stack.enter_context(scraping(port, interval_s, failed))
        return {"node_exporter": pid}

    what = "defaults" if collectors is None else f"{len(collectors)} collectors"
    missing = "" if path else processes.GET_EXPORTER
    return Contestant(f"node_exporter, {what}, {interval_s:g} s", missing, port, start)


NETDATA_MINIMAL = Path(__file__).with_name("netdata-minimal.conf")
_STREAM_KEY = "11111111-2222-3333-4444-555555555555"


def netdata_settings(home: Path, port: int, minimal: bool) -> str:
    """Settings of a netdata that keeps to its own directory. Minimal: interfaces and disks alone, in memory."""
    paths = "".join(f"  {name} = {home / name}\n" for name in ("config", "cache", "lib", "log"))
    text = f"[global]\n  run as user = root\n  hostname = {home.name}\n[directories]\n{paths}"
    text += f"[web]\n  bind to = 127.0.0.1\n  default port = {port}\n"
    return text + (NETDATA_MINIMAL.read_text() if minimal else "")


def _netdata_home(home: Path, port: int, minimal: bool, stream: str) -> list[str]:
    """Directories and settings of one netdata; the command that runs it there."""
    for name in ("config", "cache", "lib", "log"):
        (home / name).mkdir(parents=True)
    settings = home / "config" / "netdata.conf"
    settings.write_text(netdata_settings(home, port, minimal))
    (home / "config" / "stream.conf").write_text(stream)
    (home / "config" / ".opt-out-from-anonymous-statistics").touch()
    return ["netdata", "-D", "-c", str(settings)]


def _netdata(name: str, port: int, minimal: bool, to_parent: bool = False) -> Contestant:
    def start(scratch: Path, group: Path | None, stack: contextlib.ExitStack) -> dict[str, int]:
        stream = ""
        if to_parent:
            accept = (
                f"[{_STREAM_KEY}]\n  enabled = yes\n  default memory mode = ram\n  health enabled by default = no\n"
            )
            parent = _netdata_home(scratch / "parent", PARENT_PORT, minimal=True, stream=accept)
            stack.enter_context(processes.running(parent, None, scratch / "parent.log"))
            stream = f"[stream]\n  enabled = yes\n  destination = 127.0.0.1:{PARENT_PORT}\n  api key = {_STREAM_KEY}\n"
        command = _netdata_home(scratch / "child", port, minimal, stream)
        return {"netdata": stack.enter_context(processes.running(command, group, scratch / "log"))}

    missing = "" if shutil.which("netdata") else "apt-get install netdata-core (and stop what the package starts)"
    return Contestant(name, missing, PARENT_PORT if to_parent else None, start)


COLLECTD = """
Hostname "bench"
FQDNLookup false
BaseDir "{home}"
PIDFile "{home}/pid"
PluginDir "/usr/lib/collectd"
TypesDB "/usr/share/collectd/types.db"
Interval 1
LoadPlugin interface
LoadPlugin disk
LoadPlugin df
LoadPlugin network
<Plugin network>
  Server "127.0.0.1" "{port}"
</Plugin>
"""


def _collectd(scratch: Path, group: Path | None, stack: contextlib.ExitStack) -> dict[str, int]:
    stack.enter_context(_sink(SINK_PORT))
    settings = scratch / "collectd.conf"
    settings.write_text(COLLECTD.format(home=scratch, port=SINK_PORT))
    command = ["collectd", "-f", "-C", str(settings)]
    return {"collectd": stack.enter_context(processes.running(command, group, scratch / "log"))}


@contextlib.contextmanager
def _sink(port: int) -> Iterator[None]:
    """A UDP socket that nobody reads: what does not fit is dropped there, after it was sent and counted."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", port))
        yield


def contestants(failed: list[str], budget_percent: float = DEFAULT_PERCENT) -> list[Contestant]:
    """All of them, ours first, which keeps to a budget. Scrapes that fail are told in `failed`."""
    get_collectd = "apt-get install collectd-core (and stop what the package starts)"
    return [
        Contestant(OURS, "", AGGREGATOR_PORT, partial(_ours, budget_percent=budget_percent)),
        _node_exporter(19131, EVERYTHING, 5, failed),
        _node_exporter(19132, EVERYTHING, 15, failed),
        _node_exporter(19133, None, 5, failed),
        _node_exporter(19134, None, 15, failed),
        _netdata("netdata, network and disks, 1 s", 19110, minimal=True),
        _netdata("netdata, the same, to a parent", 19111, minimal=True, to_parent=True),
        _netdata("netdata, defaults", 19113, minimal=False),
        Contestant(
            "collectd, interface+disk+df, 1 s", "" if shutil.which("collectd") else get_collectd, SINK_PORT, _collectd
        ),
    ]
