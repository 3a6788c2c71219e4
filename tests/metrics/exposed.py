"""What metrics' tests have in common: the text of an answer as a table, and the scene in which real programs scrape."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.netns import Namespace, join, namespaces

Labels = frozenset[tuple[str, str]]
NODETELL = (sys.executable, "-m", "cli.main")
AGGREGATOR, AGENT, EXPORTER, PROMETHEUS = 7443, 9101, 9100, 9090
"""Ports in the scene's own network namespace. The aggregator's metrics are at 9102."""
RULES = Path(__file__).resolve().parents[2] / "manifests" / "monitoring"
CODE = "mtu.overlay_exceeds_underlay"
TEXT_OF_FIELDS = "--collector.netstat.fields=.*"
PLACES = (
    "--collector.filesystem.mount-points-exclude="
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
DEVICES = "--collector.netdev.device-exclude=^$"
"""What it leaves out by default; Debian's leaves out more."""


@dataclass(frozen=True, slots=True)
class Exposed:
    """One metric of an answer."""

    kind: str
    help: str
    samples: Mapping[tuple[str, Labels], float]
    """By name (a histogram has several) and labels."""

    @property
    def rows(self) -> dict[Labels, float]:
        """Of a metric that is no histogram."""
        return {labels: value for (_, labels), value in self.samples.items()}


def parsed(text: str) -> dict[str, Exposed]:
    """By name as it is exposed. Fails where the same labels are there twice."""
    found = {}
    for family in text_string_to_metric_families(text):
        samples = {(each.name, frozenset(each.labels.items())): each.value for each in family.samples}
        assert len(samples) == len(family.samples), family.name
        kind = {"unknown": "untyped"}.get(family.type, family.type)
        name = family.name + "_total" if kind == "counter" else family.name
        found[name] = Exposed(kind, family.documentation, samples)
    return found


def until(true: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    """Wait for it; fails if it does not come."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Scene:
    """A host with an agent, an aggregator, a node_exporter and a Prometheus, all of them real."""

    host: Namespace
    directory: Path

    def get(self, port: int, path: str = "/metrics") -> str:
        """A page of somebody's who listens in the host's network."""
        with self.host.entered(), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def answers(self, port: int, path: str = "/metrics") -> bool:
        """Somebody does."""
        try:
            return bool(self.get(port, path))
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            return False
        except OSError:
            return False

    def exposed(self, port: int) -> dict[str, Exposed]:
        """What metrics it has."""
        return parsed(self.get(port))

    def query(self, question: str) -> list[dict[str, Any]]:
        """What Prometheus answers: the rows of an instant vector."""
        answer = json.loads(self.get(PROMETHEUS, f"/api/v1/query?query={urllib.parse.quote(question)}"))
        assert answer["status"] == "success", answer
        rows: list[dict[str, Any]] = answer["data"]["result"]
        return rows


@contextlib.contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """A host with a misfit of MTUs, a pod and known traffic, and all four programs at work on it."""
    with contextlib.ExitStack() as stack:
        host, pod = stack.enter_context(namespaces(2))
        _furnish(host, pod)
        (directory / "probed").mkdir()
        (directory / "prometheus.yml").write_text(_PROMETHEUS.format(rules=RULES / "rules.yaml"))
        here = Scene(host, directory)
        for name, command in _commands(directory).items():
            log = stack.enter_context((directory / f"{name}.log").open("w"))
            inside = ["ip", "netns", "exec", host.name, *command]
            process = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(_stop, process)
        for name, port, path in _READY:
            until(lambda port=port, path=path: here.answers(port, path), f"{name} does not answer")  # type: ignore[misc]
        yield here


def _furnish(host: Namespace, pod: Namespace) -> None:
    host.ip("link", "add", "eth0", "mtu", 1500, "type", "ifb")
    host.ip("addr", "add", "10.0.0.11/24", "dev", "eth0")
    host.ip("link", "set", "eth0", "up")
    host.ip("link", "add", "flannel.1", "type", "vxlan", "id", 1, "local", "10.0.0.11", "dev", "eth0", "dstport", 8472)
    host.ip("link", "set", "flannel.1", "mtu", 1450, "up")
    host.ip("link", "set", "eth0", "mtu", 1400)
    host.ip("addr", "add", "10.244.1.0/32", "dev", "flannel.1")
    host.ip("route", "add", "10.244.2.0/24", "via", "10.244.2.0", "dev", "flannel.1", "onlink")
    for number, name in enumerate(("veth1a2b", "veth3c4d")):
        join(host, name, pod, f"eth{number}")
        host.ip("addr", "add", f"10.244.1.{8 * number + 1}/29", "dev", name)
        pod.ip("addr", "add", f"10.244.1.{8 * number + 2}/29", "dev", f"eth{number}")
        with host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            for _ in range(5 + number):
                way.sendto(bytes(1000), (f"10.244.1.{8 * number + 2}", 9))


def _commands(directory: Path) -> dict[str, list[str]]:
    fast = ["--collectors.intervals", "usage=1,disks=1,protocols=1,volumes=1,clock=1"]
    listen = ["--insecure", "--log-level", "warning"]
    return {
        "aggregator": [
            *(*NODETELL, "aggregator", *listen, "--listen", f"127.0.0.1:{AGGREGATOR}"),
            *("--state-directory", str(directory / "state"), "--prometheus.listen", "127.0.0.1:9102"),
        ],
        "agent": [
            *(*NODETELL, "agent", *listen, *fast, "--aggregator", f"127.0.0.1:{AGGREGATOR}", "--node", "node-1"),
            *("--prometheus.listen", f"127.0.0.1:{AGENT}"),
            *("--collectors.probe-directories", str(directory / "probed")),
        ],
        "exporter": [
            *(
                "prometheus-node-exporter",
                f"--web.listen-address=127.0.0.1:{EXPORTER}",
                TEXT_OF_FIELDS,
                PLACES,
                DEVICES,
            ),
        ],
        "prometheus": [
            *(
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
            ),
            f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        ],
    }


_READY = (
    ("the aggregator", 9102, "/metrics"),
    ("the agent", AGENT, "/metrics"),
    ("node_exporter", EXPORTER, "/metrics"),
    ("Prometheus", PROMETHEUS, "/-/ready"),
)
_PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: nodetell-agent
    static_configs: [{{targets: ["127.0.0.1:9101"]}}]
  - job_name: nodetell-aggregator
    static_configs: [{{targets: ["127.0.0.1:9102"]}}]
"""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def same(a: float, b: float) -> bool:
    """Equal, but for how the last digit of a float was reckoned."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
