"""Starting what is measured, and asking it: node_exporter, the aggregator, the agent and its sensor."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

EXPORTERS = ("prometheus-node-exporter", "node_exporter")
GET_EXPORTER = (
    "apt-get install prometheus-node-exporter "
    "(and systemctl disable --now prometheus-node-exporter, for the package starts one)"
)
AGENT_NODE = "bench"


def exporter() -> str | None:
    """Path of node_exporter, under either of its names."""
    return next(filter(None, map(shutil.which, EXPORTERS)), None)


def exporter_command(path: str, port: int, collectors: Sequence[str] | None) -> list[str]:
    """node_exporter with these collectors only; None: with its defaults."""
    command = [path, f"--web.listen-address=127.0.0.1:{port}"]
    if collectors is not None:
        flags = [f"--collector.{name}" for name in collectors]
        command += ["--collector.disable-defaults", "--web.disable-exporter-metrics", *flags]
    return command


def nodetell() -> str:
    """Path of our own command: the one of this Python's environment."""
    return str(Path(sys.executable).with_name("nodetell"))


@contextlib.contextmanager
def running(
    command: Sequence[str], group: Path | None = None, log: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """A process, in a control group from its beginning; its pid."""
    if group is not None:
        enter = ["sh", "-c", 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"', "sh", str(group)]
        command = [*enter, *command]
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else subprocess.DEVNULL
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def aggregator(address: str, scratch: Path) -> Iterator[int]:
    """An aggregator that listens there and keeps its state and its log in `scratch`; its pid."""
    with tempfile.TemporaryDirectory(dir=scratch) as state:
        env = {"NODETELL_AGGREGATOR_LISTEN": address, "NODETELL_AGGREGATOR_STATE_DIRECTORY": state}
        with running([nodetell(), "aggregator"], log=scratch / "aggregator.log", env=env) as pid:
            yield pid


@contextlib.contextmanager
def agent(address: str, scratch: Path, group: Path | None, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """An agent that streams there; its pid."""
    settings = {"NODETELL_AGENT_AGGREGATOR": address, "NODETELL_AGENT_NODE": AGENT_NODE, **(env or {})}
    with running([nodetell(), "agent"], group, scratch / "agent.log", settings) as pid:
        yield pid


def check_agent(address: str, scratch: Path) -> None:
    """Raises RuntimeError, with both logs, if the aggregator there does not know the agent."""
    query = [nodetell(), "nodes", "--aggregator", address, "--format", "json"]
    nodes = subprocess.run(query, capture_output=True, text=True, check=False)
    if f'"{AGENT_NODE}"' not in nodes.stdout:
        logs = "".join((scratch / name).read_text() for name in ("agent.log", "aggregator.log"))
        raise RuntimeError(f"the agent did not reach the aggregator:\n{nodes.stderr}{logs}")


def scrape(port: int, encoding: str = "identity") -> int:
    """One scrape; bytes of the answer as they were sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body[:200]
        return len(body)
    finally:
        connection.close()


def wait_for(port: int) -> None:
    """Until something answers scrapes there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            scrape(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
