"""Both roles' metrics beside the real thing: Debian's node_exporter on one host, promtool, and a Prometheus."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodetell import scrape
from nodetell.metrics import FIELD, Metric

from agent.metrics import exporter
from agent.metrics.node_network import PODS
from aggregator.metrics import declared
from tests import needs
from tests.metrics.exposed import AGENT, CODE, EXPORTER, Exposed, Labels, Scene, same, scene, until
from tests.metrics.monitoring import questions

pytestmark = pytest.mark.needs_root

AGGREGATOR = 9102
DECLARED = {
    AGENT: exporter.METRICS,
    AGGREGATOR: (*declared.METRICS, *scrape.OF_SCRAPES, *scrape.OF_PROCESS),
}
SHARED = re.compile(
    r"node_(cpu|memory|pressure|softnet|netstat)_.+|node_disk_(?!info).+|node_network_((receive|transmit)_.+_total)"
    r"|node_(context_switches|forks|intr)_total|node_procs_.+|node_boot_time_seconds|node_nf_conntrack_entries(_limit)?"
    r"|node_network_(up|mtu_bytes|iface_id|protocol_type)|node_filesystem_readonly|node_timex_(sync_status|maxerror_seconds)"
    r"|node_load\d+|node_uname_info"
)
"""What node_exporter tells and the agent does not lack a part of."""
STEADY = {
    "node_network_up", "node_network_mtu_bytes", "node_network_iface_id", "node_network_protocol_type",
    "node_boot_time_seconds", "node_memory_MemTotal_bytes", "node_nf_conntrack_entries_limit",
    "node_timex_sync_status", "node_uname_info", "node_netstat_Ip_Forwarding",
}  # fmt: skip
LEVELS = {"node_netstat_Tcp_CurrEstab", "node_netstat_Ip_DefaultTTL"}
USUAL = re.compile(
    r"node_netstat_(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))"
)
"""Fields of netstat that node_exporter tells by default; it is asked for all of them here."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    needs.kind("vxlan")
    needs.kind("ifb")
    for name in ("prometheus", "promtool", "prometheus-node-exporter"):
        needs.tool(name)
    with scene(tmp_path_factory.mktemp("scene")) as found:
        until(lambda: CODE in found.get(AGGREGATOR), "no finding")
        yield found


def of_host(metrics: dict[str, Exposed]) -> dict[str, Exposed]:
    return {name: each for name, each in metrics.items() if name.startswith("node_") and SHARED.fullmatch(name)}


def told_one_by_one(rows: dict[Labels, float]) -> dict[Labels, float]:
    """Without what the agent tells as one sum."""
    return {labels: value for labels, value in rows.items() if not dict(labels).get("device", "").startswith("veth")}


def test_names_types_and_labels_are_node_exporter_s(here: Scene) -> None:
    theirs = here.exposed(EXPORTER)
    usual = {name for name in of_host(theirs) if "netstat" not in name or USUAL.fullmatch(name)}
    until(lambda: usual <= here.exposed(AGENT).keys(), f"not all of it is told: {sorted(usual)}")
    ours = here.exposed(AGENT)
    foreign = {name for name in ours if name.startswith("node_")} - theirs.keys()
    assert not foreign
    assert {name for name in ours if name.startswith("node_")} == of_host(ours).keys()
    for name, mine in of_host(ours).items():
        assert mine.kind == theirs[name].kind, name
        assert mine.help != theirs[name].help, name
        if name != "node_filesystem_readonly":  # others mount and unmount meanwhile
            assert told_one_by_one(mine.rows).keys() == told_one_by_one(theirs[name].rows).keys(), name
        else:
            assert mine.rows.keys() & theirs[name].rows.keys()


def test_values_are_node_exporter_s_within_what_moved_meanwhile(here: Scene) -> None:
    """Each value lies between two readings of theirs; what nothing moves is the same to the last digit."""
    before = of_host(here.exposed(EXPORTER))
    ours = {}

    def caught_up() -> bool:
        ours.update(of_host(here.exposed(AGENT)))
        return all(
            value >= before[name].rows[labels] or same(value, before[name].rows[labels])
            for name, metric in ours.items()
            if is_counter(name, metric)
            for labels, value in told_one_by_one(metric.rows).items()
        )

    until(caught_up, "the agent is behind")
    after = of_host(here.exposed(EXPORTER))
    compared = 0
    for name, mine in ours.items():
        for labels, value in told_one_by_one(mine.rows).items():
            if is_counter(name, mine):
                high = after[name].rows[labels]
                assert value <= high or same(value, high), (name, labels)
            elif name in STEADY:
                assert value == after[name].rows[labels], (name, labels)
            else:
                continue
            compared += 1
    assert compared > 200
    total = ours["node_memory_MemTotal_bytes"].rows[frozenset()]
    free, theirs = (each["node_memory_MemAvailable_bytes"].rows[frozenset()] for each in (ours, after))
    assert abs(free - theirs) < total / 5


def is_counter(name: str, metric: Exposed) -> bool:
    return metric.kind == "counter" or (metric.kind == "untyped" and name not in LEVELS | STEADY)


def test_known_traffic_of_pods_is_one_sum(here: Scene) -> None:
    """Eleven datagrams of 1,042 bytes went to two pods; what else crossed their veths is in both sums, too."""

    def sums() -> tuple[dict[str, float], dict[str, float]]:
        theirs, ours = here.exposed(EXPORTER), here.exposed(AGENT)
        names = [name for name in ours if re.fullmatch(r"node_network_(receive|transmit)_.*", name)]
        each = {
            name: sum(v for k, v in theirs[name].rows.items() if dict(k)["device"].startswith("veth")) for name in names
        }
        return each, {name: ours[name].rows[frozenset({("device", PODS)})] for name in names}

    def are_one() -> bool:
        each, whole = sums()
        return each == whole

    until(are_one, "the sums differ")
    _, whole = sums()
    assert whole["node_network_transmit_bytes_total"] >= 11 * 1042
    assert whole["node_network_transmit_packets_total"] >= 11
    assert here.exposed(AGENT)["nodetell_pod_interfaces"].rows == {frozenset(): 2}


@pytest.mark.parametrize("port", [AGENT, AGGREGATOR], ids=["agent", "aggregator"])
def test_all_that_is_told_is_declared(here: Scene, port: int) -> None:
    until(lambda: port != AGENT or "nodetell_fsync_seconds" in here.get(AGENT), "no latency")
    known = [(re.compile(metric.name.replace(FIELD, r"\w+")), metric) for metric in DECLARED[port]]
    seen: set[Metric] = set()
    for name, told in here.exposed(port).items():
        metric = next((metric for pattern, metric in known if pattern.fullmatch(name)), None)
        assert metric is not None, name
        assert (told.kind, told.help) == (metric.kind.value, metric.help), name
        for sample, labels in told.samples:
            extra = {"le"} if sample.endswith("_bucket") else set()
            assert {key for key, _ in labels} == {*metric.labels, *extra}, name
        seen.add(metric)
    assert len(seen) > len(known) / 2


@pytest.mark.parametrize("port", [AGENT, AGGREGATOR], ids=["agent", "aggregator"])
def test_promtool_has_nothing_to_say_but_of_names_that_are_node_exporter_s(here: Scene, port: int) -> None:
    """node_memory_MemTotal_bytes is "camelCase": its own name, about which promtool says the same at node_exporter."""
    own, theirs = lint(here.get(port)), lint(here.get(EXPORTER))
    assert own <= theirs
    assert not {line for line in own if not line.startswith(("node_memory_", "node_netstat_"))}


def lint(text: str) -> set[str]:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return set((done.stdout + done.stderr).splitlines())


def test_promtool_finds_what_is_wrong() -> None:
    needs.tool("promtool")
    assert lint("# TYPE some_total gauge\nsome_total 1\n")


def test_a_prometheus_that_scrapes_both_knows_the_finding(here: Scene) -> None:
    until(lambda: here.query(f'nodetell_finding{{code="{CODE}"}}'), "Prometheus has no finding")
    (row,) = here.query(f'nodetell_finding{{code="{CODE}"}}')
    labels = {key: row["metric"][key] for key in ("incident", "stage", "severity", "job")}
    assert labels | {"stage": ""} == {
        "incident": "mtu_mismatch",
        "stage": "",
        "severity": row["metric"]["severity"],
        "job": "nodetell-aggregator",
    }
    assert row["value"][1] == "1"
    states = here.query('ALERTS{alertname=~"NodetellFinding.*"}')
    until(lambda: here.query('ALERTS{alertname=~"NodetellFinding.*"}'), f"no alert is pending: {states}")
    until(lambda: here.query('up{job="nodetell-agent"} == 1'), "the agent is not scraped")
    until(lambda: here.query("nodetell_stream_connected == 1"), "the agent is not connected")


def test_every_question_of_dashboard_and_rules_has_an_answer_or_none_but_no_error(here: Scene) -> None:
    for title, question in questions():
        if title in {"Incidents", "Nodes", "Findings that stand", "Interfaces", "Memory"}:
            until(lambda question=question: here.query(question), f"{title}: no answer to {question}")  # type: ignore[misc]
        else:
            here.query(question)


def test_fsync_of_the_probe_is_a_histogram(here: Scene) -> None:
    until(lambda: "nodetell_fsync_seconds" in here.get(AGENT), "no latency")
    fsync = here.exposed(AGENT)["nodetell_fsync_seconds"]
    counts = {labels: value for (name, labels), value in fsync.samples.items() if name.endswith("_count")}
    ((labels, count),) = counts.items()
    assert count >= 1
    assert dict(labels) | {"device": ""} == {
        "process": "nodetell",
        "device": "",
        "mount": str(Path(here.directory, "probed")),
        "file": "other",
        "method": "probe",
    }
    bounds = {dict(each)["le"] for (name, each) in fsync.samples if name.endswith("_bucket")}
    assert {"0.001", "0.008", "8.192", "+Inf"} <= bounds
