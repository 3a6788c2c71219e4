"""A control plane in a lab: the metrics of its API server and etcd, the fsyncs and the disk of its host, over time.

    lab = Lab("cp")
    plane = ControlPlane(lab, host="cp-1")
    plane.go(300)                                  # as usual
    plane.go(300, slower=6, syncs={"etcd": Syncs(15, 220)})

All counters run since long before the first snapshot, as real ones do; what one `go` says holds for its seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.cluster import Lab
from tests.lab.shapes import DAY

API_BOUNDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
ETCD_BOUNDS = tuple(0.001 * 2**power for power in range(14))
FSYNC_BOUNDS_US = tuple(64 * 2**power for power in range(18))
USUAL: Mapping[tuple[str, str], tuple[float, float]] = {
    ("GET", "pods"): (5.0, 25),
    ("GET", "leases"): (6.0, 20),
    ("LIST", "pods"): (0.6, 100),
    ("PATCH", "nodes"): (3.3, 40),
    ("POST", "events"): (1.5, 25),
    ("PUT", "leases"): (8.3, 25),
    ("WATCH", "pods"): (0.3, 60_000),
}
"""Requests per second and their 99th percentile in milliseconds, by verb and resource."""
_GROUPS = {"leases": "coordination.k8s.io"}
_ETCD = {"get": (5.0, 20.0), "update": (10.0, 25.0), "list": (0.3, 80.0)}
_PAST_S = 20 * DAY


@dataclass(frozen=True)
class Syncs:
    """What a process does to a disk."""

    rate: float
    """Calls of fsync per second."""
    ms: float
    """Their 99th percentile."""
    device: str = "259:1"


@dataclass(frozen=True)
class Work:
    """What a disk does."""

    writes: float = 40.0
    """Per second."""
    queue: float = 0.1
    """Requests that wait or are served, on average."""
    busy: float = 0.05
    """Share of the time."""


@dataclass
class _Histogram:
    bounds: tuple[float, ...]
    counts: list[float]
    total: float = 0.0

    def add(self, calls: float, top: float) -> None:
        """Calls whose 99th percentile is about `top`, in the bounds' unit."""
        for share, value in ((0.5, top * 0.2), (0.48, top * 0.6), (0.02, top * 0.99)):
            place = next((index for index, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
            self.counts[place] += calls * share
            self.total += calls * share * value

    def lines(self, name: str, labels: str) -> list[str]:
        """As a metrics text has it."""
        found, below = [], 0
        comma = "," if labels else ""
        whole = [round(count) for count in self.counts]
        for bound, count in zip((*(f"{bound:g}" for bound in self.bounds), "+Inf"), whole, strict=True):
            below += count
            found.append(f'{name}_bucket{{{labels}{comma}le="{bound}"}} {below}')
        braces = f"{{{labels}}}" if labels else ""
        return [*found, f"{name}_sum{braces} {self.total:g}", f"{name}_count{braces} {below}"]


@dataclass
class ControlPlane:
    """See the module."""

    lab: Lab
    host: str = ""
    """Where etcd runs; empty: a managed one, of which only the API server is seen."""
    usual_syncs: Mapping[str, Syncs] = field(default_factory=lambda: {"etcd": Syncs(15, 6)})
    etcd_text: bool = False
    """etcd tells its own metrics, and nobody has timed it."""
    past_s: float = _PAST_S
    pace: float = 1.0
    """So many times slower than others is usual here."""
    metrics: bool = True
    """The API server's metrics are read."""
    histograms: dict[tuple[str, str], _Histogram] = field(default_factory=dict)
    """By name and labels."""
    counters: dict[tuple[str, str], float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    etcd_levels: dict[str, float] = field(
        default_factory=lambda: {
            "etcd_mvcc_db_total_size_in_bytes": 180e6,
            "etcd_mvcc_db_total_size_in_use_in_bytes": 120e6,
            "etcd_server_has_leader": 1,
            "etcd_server_is_leader": 1,
            "etcd_server_leader_changes_seen_total": 2,
            "etcd_server_quota_backend_bytes": 2 << 30,
        }
    )
    _syncs: dict[tuple[str, str], _Histogram] = field(default_factory=dict)
    _wal: _Histogram = field(default_factory=lambda: _Histogram(ETCD_BOUNDS, [0.0] * 15))
    _disk: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Writes, weighted milliseconds, milliseconds busy."""

    def __post_init__(self) -> None:
        self.started = self.lab.now - self.past_s
        if self.host and self.host not in self.lab.store.objects["Node"]:
            self.lab.node(self.host)
        self._add(self.past_s, {})
        self._write()

    def go(
        self,
        seconds: float = 300,
        *,
        slower: float = 1.0,
        only: tuple[str, ...] = (),
        etcd: float | None = None,
        load: float = 1.0,
        more: Mapping[tuple[str, str], tuple[float, float]] | None = None,
        failed: Mapping[tuple[str, str, str], float] | None = None,
        webhooks: Mapping[str, tuple[float, float]] | None = None,
        counters: Mapping[str, float] | None = None,
        queues: Mapping[str, tuple[float, float]] | None = None,
        syncs: Mapping[str, Syncs] | None = None,
        disk: Work | None = None,
    ) -> None:
        """A snapshot, and so many seconds more.

        `slower`: so many times the usual latency, of the verbs in `only`; `etcd`: of the calls of etcd, as much if not
        said. `load`: so many times the usual requests; `more`: others besides, (rate, ms) by (verb, resource).
        `failed`: rates of answers by (verb, resource, code). `webhooks`, `queues`: (rate, ms) by webhook or priority
        level. `counters`: rises by "name{labels}". `syncs`: of processes instead of what is usual. `disk`: its work.
        """
        self.lab.tick(seconds)
        said = {
            "slower": slower,
            "only": only,
            "etcd": etcd,
            "load": load,
            "more": more or {},
            "failed": failed or {},
            "webhooks": webhooks or {},
            "queues": queues or {},
            "syncs": syncs,
            "disk": disk,
        }
        for name, rise in (counters or {}).items():
            self._count(*_apart(name), rise)
        self._add(seconds, said)
        self._write()

    def _add(self, seconds: float, said: Mapping[str, Any]) -> None:
        slower, only, load = said.get("slower", 1.0) * self.pace, said.get("only", ()), said.get("load", 1.0)
        for (verb, resource), (rate, ms) in USUAL.items():
            factor = slower if verb != "WATCH" and (not only or verb in only) else 1.0
            self._requests(verb, resource, "200", rate * load * seconds, ms * factor)
        for (verb, resource), (rate, ms) in said.get("more", {}).items():
            self._requests(verb, resource, "200", rate * seconds, ms)
        for (verb, resource, code), rate in said.get("failed", {}).items():
            self._requests(verb, resource, code, rate * seconds, 20)
        own = said.get("etcd")
        factor = slower if own is None else own
        for operation, (rate, ms) in _ETCD.items():
            labels = f'operation="{operation}",type="/registry/pods"'
            self._time("etcd_request_duration_seconds", labels, rate * seconds, ms * factor)
        for name, (rate, ms) in said.get("webhooks", {}).items():
            labels = f'name="{name}",operation="CREATE",rejected="false",type="validating"'
            self._time("apiserver_admission_webhook_admission_duration_seconds", labels, rate * seconds, ms)
        for level, (rate, ms) in said.get("queues", {}).items():
            labels = f'execute="true",flow_schema="all",priority_level="{level}"'
            self._time("apiserver_flowcontrol_request_wait_duration_seconds", labels, rate * seconds, ms)
        syncs = said.get("syncs")
        for process, each in (self.usual_syncs if syncs is None else syncs).items():
            found = self._syncs.setdefault((process, each.device), _Histogram(FSYNC_BOUNDS_US, [0.0] * 19))
            found.add(each.rate * seconds, each.ms * 1000)
            if process == "etcd":
                self._wal.add(each.rate * seconds, each.ms / 1000)
        disk = said.get("disk") or Work()
        self._disk[0] += disk.writes * seconds
        self._disk[1] += disk.queue * 1000 * seconds
        self._disk[2] += disk.busy * 1000 * seconds

    def _requests(self, verb: str, resource: str, code: str, count: float, ms: float) -> None:
        group = _GROUPS.get(resource, "")
        scope = f'group="{group}",resource="{resource}",verb="{verb}"'
        self._count("apiserver_request_total", f'code="{code}",{scope}', count)
        self._time("apiserver_request_duration_seconds", scope, count, ms)

    def _count(self, name: str, labels: str, rise: float) -> None:
        self.counters[name, labels] = self.counters.get((name, labels), 0.0) + rise

    def _time(self, name: str, labels: str, count: float, ms: float) -> None:
        empty = _Histogram(API_BOUNDS, [0.0] * (len(API_BOUNDS) + 1))
        self.histograms.setdefault((name, labels), empty).add(count, ms / 1000)

    def _write(self) -> None:
        if self.metrics:
            self.lab.files["kube/apiserver.metrics"] = self.text().encode()
        if not self.host:
            return
        host = self.lab.host(self.host)
        others = self._syncs.items()
        entries = [
            {
                "process": process,
                "device": device,
                "mount": "/var/lib/etcd" if process == "etcd" else f"/var/lib/{process}",
                "method": "passive",
                "bounds_us": list(FSYNC_BOUNDS_US),
                "counts": [round(count) for count in histogram.counts],
            }
            for (process, device), histogram in others
            if not (self.etcd_text and process == "etcd")
        ]
        host.file("fsync.json", json.dumps(entries))
        lines = [f"{name} {value:g}" for name, value in self.etcd_levels.items()]
        if self.etcd_text:
            lines += self._wal.lines("etcd_disk_wal_fsync_duration_seconds", "")
        host.file("etcd.metrics", "\n".join(lines) + "\n")
        writes, weighted, busy = map(round, self._disk)
        numbers = f"100 0 800 50 {writes} 0 {writes * 8} {weighted} 0 {busy} {weighted} 0 0 0 0 0 0"
        host.file("proc/diskstats", f" 259 0 nvme0n1 {numbers}\n 259 1 nvme0n1p1 {numbers}\n")

    def text(self) -> str:
        """The API server's metrics now."""
        lines = []
        for (name, labels), value in sorted(self.counters.items()):
            lines.append(f"{name}{{{labels}}} {round(value)}")
        for (name, labels), histogram in sorted(self.histograms.items()):
            lines += histogram.lines(name, labels)
        lines += [f"{name} {value:g}" for name, value in self.levels.items()]
        return "\n".join([*lines, f"process_start_time_seconds {self.started:.2f}", ""])


def _apart(name: str) -> tuple[str, str]:
    name, _, labels = name.partition("{")
    return name, labels.rstrip("}")
