"""Starting what is measured, and asking it: node_exporter, the aggregator, the agent and its sensor."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
        env = {
            "NODETELL_AGGREGATOR_LISTEN": address,
            "NODETELL_AGGREGATOR_INSECURE": "true",
            "NODETELL_AGGREGATOR_STATE_DIRECTORY": state,
        }
        with running([nodetell(), "aggregator"], log=scratch / "aggregator.log", env=env) as pid:
            yield pid


@contextlib.contextmanager
def agent(address: str, scratch: Path, group: Path | None, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """An agent that streams there; its pid."""
    here = {"NODETELL_AGENT_AGGREGATOR": address, "NODETELL_AGENT_INSECURE": "true", "NODETELL_AGENT_NODE": AGENT_NODE}
    settings = {**here, **(env or {})}
    with running([nodetell(), "agent"], group, scratch / "agent.log", settings) as pid:
        yield pid


def check_agent(address: str, scratch: Path) -> None:
    """Raises RuntimeError, with both logs, if the aggregator there does not know the agent."""
    try:
        known = f'"{AGENT_NODE}"' in json.dumps(asked(address, "nodes"))
    except RuntimeError:
        known = False
    if not known:
        logs = "".join((scratch / name).read_text() for name in ("agent.log", "aggregator.log"))
        raise RuntimeError(f"the agent did not reach the aggregator:\n{logs}")


def asked(address: str, *query: str) -> Any:
    """What our own command answers of an aggregator. Raises RuntimeError."""
    command = [nodetell(), *query, "--aggregator", address, "--insecure", "--format", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if not answer.stdout.startswith(("{", "[")):
        raise RuntimeError(f"{' '.join(query)}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def stretched(address: str) -> list[str]:
    """Which collectors the agent runs less often by now, to keep to its budget, by what it tells itself."""
    return sorted(_values(asked(address, "node", AGENT_NODE), "stretched"))


def _values(document: Any, key: str) -> Iterator[str]:
    """All texts in lists of that name, wherever in a document."""
    if isinstance(document, list):
        for element in document:
            yield from _values(element, key)
    elif isinstance(document, dict):
        for name, value in document.items():
            if name == key and isinstance(value, list):
                yield from value
            else:
                yield from _values(value, key)


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
