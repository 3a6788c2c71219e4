"""Lead time: each incident, minute by minute, with a warning that stands before anybody suffers.

`pytest tests/signatures/test_lead_time.py` prints how many seconds earlier. What is measured is the time from the first
snapshot in which the risk is found to the moment at which the symptom began: as the active finding tells it, or the
snapshot in which it is found first, whichever is earlier.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from aggregator.model import Finding, Stage
from tests.lab.cluster import Lab
from tests.lab.shapes import stamp
from tests.signatures.crash_worlds import End, crashes
from tests.signatures.test_crash_timelines import STS
from tests.signatures.test_storage_place_timelines import running, zones

MINUTE = 60.0
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/lead-time.md"


@dataclass(frozen=True)
class Timeline:
    """An incident that comes slowly."""

    incident: str
    lab: Lab
    risk: str
    """Code of the warning."""
    symptom: str
    """Code of the active finding."""
    least: float
    """Seconds of lead that it must have."""


def scheduler_stuck() -> Timeline:
    """A pool fills up while its machines idle; then a pod waits."""
    lab = Lab("pool")
    for number in (1, 2, 3):
        lab.node(f"p{number}", pool="main")
        lab.host(f"p{number}").usage(0.2, 0.3)
    for wave in range(3):
        lab.tick(10 * MINUTE)
        for number in (1, 2, 3):
            lab.pod(f"shop/web-{wave}-{number}", node=f"p{number}", requests={"cpu": "1300m"}, created=-60)
    lab.tick(10 * MINUTE)
    for minutes in (1, 6):
        says = "0/3 nodes are available: 3 Insufficient cpu."
        lab.pod("shop/web-3", requests={"cpu": "1300m"}, pending_since=-minutes * MINUTE, scheduler_says=says)
        lab.tick(5 * MINUTE)
    return Timeline("scheduler_stuck", lab, "sched.stuck_waiting", "sched.insufficient_resources", 5 * MINUTE)


def storage_gravity() -> Timeline:
    """A node is replaced in another zone, so that one node has the only place of a volume; then that one is lost."""
    lab = zones("a", "a")
    for name in ("n1", "n2"):
        lab.host(name)
    running(lab, "db/pg-0", "n1", "a")
    lab.tick(10 * MINUTE)
    del lab.hosts["n2"]
    lab.delete("Node/n2")
    lab.node("n3", zone="b")
    lab.host("n3")
    lab.tick(20 * MINUTE)
    lab.tick(20 * MINUTE)
    lab.lose_node("n1", since=-12 * MINUTE)
    lab.delete("Pod/db/pg-0")
    says = "0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) didn't match volume node affinity."
    owner, claims = ("StatefulSet", "pg"), {"data": "data-pg-0"}
    lab.pod("db/pg-0", owner=owner, claims=claims, pending_since=-6 * MINUTE, scheduler_says=says)
    return Timeline("storage_gravity", lab, "storage.stranded_on_loss", "storage.zone_mismatch", 10 * MINUTE)


def mtu_mismatch() -> Timeline:
    """A NIC is lowered below what its overlay needs; half an hour later somebody sends large packets."""
    lab = Lab("net")
    nodes = ("n1", "n2")
    for name in nodes:
        lab.node(name)
        overlay(lab, name, 1500)
    lab.tick(10 * MINUTE)
    for name in nodes:
        overlay(lab, name, 1400)
    lab.tick(15 * MINUTE)
    lab.tick(15 * MINUTE)
    for name, peer in (nodes, nodes[::-1]):
        probe = {"peer": peer, "via": "overlay", "from": "10.244.1.0", "to": "10.244.2.0", "interface": "flannel.1"}
        size = {"interface_mtu": 1450, "path_mtu": 1350, "icmp_seen": False, "rtt_ms": 0.4, "at": stamp(lab.now - 20)}
        lab.host(name).file("path-mtu.json", json.dumps([probe | size]))
    return Timeline("mtu_mismatch", lab, "mtu.overlay_exceeds_underlay", "mtu.path_black_hole", 20 * MINUTE)


def overlay(lab: Lab, name: str, nic: int) -> None:
    """A host with a VXLAN of 1450 over a NIC."""
    number = int(name[1:])
    links = [
        {"ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "mtu": 65536, "operstate": "UNKNOWN"},
        {"ifindex": 2, "ifname": "eth0", "flags": ["UP", "LOWER_UP"], "mtu": nic, "operstate": "UP"},
        {
            "ifindex": 3,
            "ifname": "flannel.1",
            "flags": ["UP", "LOWER_UP"],
            "mtu": 1450,
            "operstate": "UNKNOWN",
            "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1, "link": "eth0", "local": f"10.0.0.{number}"}},
        },
    ]
    addresses = [
        {
            "ifindex": 2,
            "ifname": "eth0",
            "addr_info": [{"family": "inet", "local": f"10.0.0.{number}", "prefixlen": 24}],
        },
    ]
    lab.host(name).file("ip-link.json", json.dumps(links))
    lab.host(name).file("ip-addr.json", json.dumps(addresses))


def crash_loop() -> Timeline:
    """A node's clock drifts; when its tokens are renewed, they are refused."""
    lab = Lab("clock")
    owner = ("ReplicaSet", "web-5d4f7c9b8")
    for name in ("n1", "n2"):
        lab.node(name)
        lab.host(name)
        lab.pod(f"shop/web-5d4f7c9b8-{name}", node=name, owner=owner)
    lab.deployment("shop/web")
    lab.replicaset("shop/web-5d4f7c9b8", owner=("Deployment", "web"))
    for offset in (0.5, 3.0, 9.0, 21.0, 24.0, 28.0):
        lab.host("n1").file("clock.json", json.dumps({"synchronized": False, "offset_seconds": offset}))
        lab.tick(10 * MINUTE)
    lab.host("n1").file("clock.json", '{"synchronized": false, "offset_seconds": 33.0}')
    end = End(1, f"operation error STS: AssumeRoleWithWebIdentity: {STS}", ago=20)
    crashes(lab, end, "shop/web-5d4f7c9b8-n1", "n1")  # for twenty minutes
    return Timeline("crash_loop", lab, "node.clock_skew", "crash.identity", 5 * MINUTE)


def control_plane_saturation() -> Timeline:
    """etcd's disk becomes slower and slower; the API server follows when requests begin to wait for it."""
    lab = Lab("plane")
    lab.node("cp1", role="control-plane")
    fsyncs, requests = [0] * (len(FSYNC_US) + 1), [0] * (len(REQUEST_S) + 1)
    for fsync, request in ((2, 2), (2, 2), (2, 2), (2, 2), (5, 2), (6, 2), (6, 2), (7, 6), (8, 7), (8, 7)):
        fsyncs[fsync] += 3_000
        requests[request] += 6_000
        etcd = {"process": "etcd", "device": "259:3", "mount": "/var/lib/etcd", "method": "passive"}
        lab.host("cp1").file("fsync.json", json.dumps([etcd | {"bounds_us": FSYNC_US, "counts": fsyncs}]))
        lab.files["kube/apiserver.metrics"] = metrics(requests).encode()
        lab.tick(5 * MINUTE)
    return Timeline("control_plane_saturation", lab, "cp.etcd_slow_fsync", "cp.saturation", 10 * MINUTE)


FSYNC_US = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 64_000, 256_000, 1_000_000]
REQUEST_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.6, 2.0, 6.0]


def metrics(calls: Sequence[int]) -> str:
    """The API server's latencies of GET, with so many calls in each bucket so far."""
    labels = 'component="apiserver",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"'
    lines = ["# TYPE apiserver_request_duration_seconds histogram"]
    total = 0
    for bound, count in zip([*map(str, REQUEST_S), "+Inf"], calls, strict=True):
        total += count
        lines.append(f'apiserver_request_duration_seconds_bucket{{{labels},le="{bound}"}} {total}')
    lines.append(f"apiserver_request_duration_seconds_sum{{{labels}}} {total / 50}")
    lines.append(f"apiserver_request_duration_seconds_count{{{labels}}} {total}")
    lines.append("# TYPE apiserver_request_total counter")
    lines.append(f'apiserver_request_total{{code="200",{labels}}} {total}')
    return "\n".join(lines) + "\n"


TIMELINES = (control_plane_saturation, crash_loop, mtu_mismatch, scheduler_stuck, storage_gravity)


@pytest.mark.parametrize("make", TIMELINES, ids=lambda make: make.__name__)
def test_the_warning_stands_before_the_symptom_begins(make: Callable[[], Timeline], leads: dict[str, str]) -> None:
    line = make()
    times = [*(at for _, at, _ in line.lab.snapshots), line.lab.now]
    told = list(zip(times, line.lab.codes_at_each_snapshot(), strict=True))
    assert not told[0][1], "it begins with a cluster that is well"
    warned = next(at for at, codes in told if is_in(codes, line.risk, Stage.RISK))
    found, symptom = next((at, codes[line.symptom]) for at, codes in told if is_in(codes, line.symptom, Stage.ACTIVE))
    began = min(found, symptom.since or found)
    lead = began - warned
    assert lead >= line.least, f"{line.risk} is found at {warned}, {line.symptom} begins at {began}"
    between = [codes for at, codes in told if warned <= at < began]
    assert between
    assert all(is_in(codes, line.risk, Stage.RISK) for codes in between), "it stands all the while"
    before = [finding for at, codes in told if at < warned for finding in codes.values()]
    assert not [finding.code for finding in before if finding.stage is Stage.ACTIVE], "and nothing else told it first"
    row = f"| {line.incident} | {lead:.0f} | `{line.risk}` | `{line.symptom}` |"
    assert row in DOCUMENT.read_text(), f"docs/lead-time.md has another lead than {lead:.0f} s"
    leads[line.incident] = f"{line.incident:26} {lead:6.0f} s  {line.risk} before {line.symptom}"


def is_in(codes: dict[str, Finding], code: str, stage: Stage) -> bool:
    return code in codes and codes[code].stage is stage
