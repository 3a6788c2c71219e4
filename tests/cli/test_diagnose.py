"""`nodetell diagnose`: how a bundle becomes a report, and what limits it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from agent.hosts.bundle import open_bundle
from aggregator.engine import Judgement
from aggregator.model import Gap
from aggregator.view import ClusterView
from cli.diagnose import diagnose
from cli.report import Report, diagnosis_json
from tests.cli.conftest import Run
from tests.lab.cluster import Lab

HOSTS = Path(__file__).parents[1] / "fixtures/hosts"
MISMATCH = HOSTS / "vxlan-over-too-small-underlay"


def report_of(path: Path) -> Report:
    with open_bundle(path) as bundle:
        return diagnose(bundle)


def bundle_of(tmp_path: Path, nodes: dict[str, list[str]], kube: dict[str, str] | None = None) -> Path:
    """A bundle whose hosts, by snapshot, are copies of the mismatched one's first."""
    source = next(MISMATCH.glob("**/nodes/*"))
    path = tmp_path / "bundle"
    snapshots = [{"name": name, "at": f"2026-11-22T10:{number:02}:00Z"} for number, name in enumerate(nodes)]
    for name, hosts in nodes.items():
        (path / name / "nodes").mkdir(parents=True)
        for host in hosts:
            shutil.copytree(source, path / name / "nodes" / host)
    for name, text in (kube or {}).items():
        (path / list(nodes)[-1] / "kube").mkdir(exist_ok=True)
        (path / list(nodes)[-1] / "kube" / name).write_text(text)
    (path / "bundle.json").write_text(json.dumps({"format": 1, "cluster": "c", "snapshots": snapshots}))
    return path


def node_object(name: str, hostname: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "Hostname", "address": hostname}]}}


def nodes_list(*nodes: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})


def gaps(report: Report, signal: str) -> list[Gap]:
    return [gap for gap in report.gaps if gap.signal == signal]


def test_a_mismatch_is_found_with_the_contract_s_status(run: Run) -> None:
    done = run("diagnose", MISMATCH, "--format", "json")
    document = json.loads(done.stdout)
    assert [finding["code"] for finding in document["findings"]] == ["mtu.overlay_exceeds_underlay"]
    assert done.returncode == 1
    assert done.stderr == ""


def test_it_says_the_same_at_any_time_and_place(run: Run, tmp_path: Path) -> None:
    shutil.copytree(MISMATCH, tmp_path / "copy" / MISMATCH.name)
    first = run("diagnose", MISMATCH, "--format", "json", TZ="Asia/Tokyo", PYTHONHASHSEED="1")
    time.sleep(1.1)
    second = run("diagnose", tmp_path / "copy" / MISMATCH.name, "--format", "json", PYTHONHASHSEED="2")
    assert first.stdout == second.stdout


@pytest.mark.parametrize("what", ["absent", "empty", "no.tar.gz"])
def test_a_bundle_that_cannot_be_read_at_all(run: Run, tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.tar.gz").write_bytes(b"no gzip")
    done = run("diagnose", tmp_path / what)
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path / what) in done.stderr


def test_hosts_are_named_as_the_cluster_names_them(tmp_path: Path) -> None:
    kube = {"nodes.json": nodes_list(node_object("node-a", "host-a"), node_object("node-b", "node-b"))}
    report = report_of(bundle_of(tmp_path, {"t0": ["host-a", "node-b", "stranger"]}, kube))
    (record,) = report.records
    assert set(record.finding.nodes) == {"node-a", "node-b", "stranger"}
    assert [gap.node for gap in gaps(report, "kube/nodes")] == ["stranger"]


def test_without_node_objects_no_host_is_a_stranger(tmp_path: Path) -> None:
    report = report_of(bundle_of(tmp_path, {"t0": ["host-a"]}))
    assert gaps(report, "kube/nodes") == []


def test_a_host_name_does_not_take_another_folder_s_node(tmp_path: Path) -> None:
    kube = {"nodes.json": nodes_list(node_object("node-a", "host-a"))}
    report = report_of(bundle_of(tmp_path, {"t0": ["host-a", "node-a"]}, kube))
    (record,) = report.records
    assert set(record.finding.nodes) == {"node-a", "host-a"}
    assert [gap.node for gap in gaps(report, "kube/nodes")] == ["host-a"]


def test_damaged_objects_are_one_entry_each_with_the_place(tmp_path: Path) -> None:
    kube = {"nodes.json": '{"items": [', "pods.json": '{"items": [{"metadata": {}},', "events.json": '{"items": []}'}
    report = report_of(bundle_of(tmp_path, {"t0": ["a"], "t1": ["a"]}, kube))
    assert len(report.records) == 1
    (pods,) = gaps(report, "kube/pods")
    assert pods.status == "damaged"
    assert pods.because.startswith("t1/kube/pods.json: line 1, column ")
    (nodes,) = gaps(report, "kube/nodes")
    assert nodes.because.startswith("t1/kube/nodes.json: line 1, column ")
    assert gaps(report, "kube/events") == []


def test_a_host_that_the_last_snapshot_lacks_is_still_told_of(tmp_path: Path) -> None:
    report = report_of(bundle_of(tmp_path, {"t0": ["a", "b"], "t1": ["a"]}))
    assert set(report.records[0].finding.nodes) == {"a", "b"}
    (gap,) = gaps(report, "snapshot")
    assert gap.node == "b"
    assert report.at == 1_795_341_660.0


def test_what_was_wrong_with_the_bundle_is_said_with_its_node(tmp_path: Path) -> None:
    path = bundle_of(tmp_path, {"t0": ["a"]})
    (path / "t0/nodes/a/proc/net/snmp").unlink()
    (path / "t0/nodes/a/proc/net/snmp").symlink_to("/etc/passwd")
    report = report_of(path)
    assert any(gap.node == "a" and "proc/net/snmp" in gap.because for gap in report.gaps)
    assert "root:" not in json.dumps(diagnosis_json(report))


def test_links_alone_are_diagnosed_though_nothing_tells_the_time(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    (path / "nodes/a").mkdir(parents=True)
    shutil.copy(next(MISMATCH.glob("**/nodes/*/ip-link.json")), path / "nodes/a")
    report = report_of(path)
    assert [record.finding.code for record in report.records] == ["mtu.overlay_exceeds_underlay"]
    assert any("no time in it" in gap.because for gap in gaps(report, "bundle"))


def test_rates_are_told_over_snapshots_further_apart_than_the_window(tmp_path: Path) -> None:
    """Two hours between snapshots: the counters' rise must still be seen, although live it would be 60 s."""
    path = bundle_of(tmp_path, {"t0": ["a"], "t1": ["a"]})
    manifest = json.loads((path / "bundle.json").read_text())
    manifest["snapshots"][1]["at"] = "2026-11-22T12:00:00Z"
    (path / "bundle.json").write_text(json.dumps(manifest))
    snmp = path / "t1/nodes/a/proc/net/snmp"
    names, values = (line.split() for line in snmp.read_text().splitlines()[:2])
    values[names.index("FragCreates")] = str(int(values[names.index("FragCreates")]) + 1_000_000)
    values[names.index("FragOKs")] = str(int(values[names.index("FragOKs")]) + 500_000)
    snmp.write_text("\n".join([" ".join(names), " ".join(values), *snmp.read_text().splitlines()[2:]]) + "\n")
    links = path / "t1/nodes/a/ip-link.json"
    document = json.loads(links.read_text())
    for link in document:
        link["stats64"]["tx"]["packets"] += 2_000_000
    links.write_text(json.dumps(document))
    assert "mtu.fragmenting" in {record.finding.code for record in report_of(path).records}


def test_of_each_signal_it_is_known_what_it_was_read_from() -> None:
    """A rule that concludes from absence must be able to tell "nothing there" from "not read"."""
    lab = Lab()
    lab.host("n1", thorough=True)
    state = lab.view().hosts["n1"]
    sources = {item.signal_source.signal: item.signal_source.source for item in state.of("signal_source")}
    assert sources["volumes"] == "/proc/1/mountinfo"
    assert "devices" in sources
    assert "kernel_log" not in sources


def test_all_lists_of_the_last_snapshot_are_in_the_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ClusterView] = []

    def noticed(view: ClusterView, *_: object) -> Judgement:
        seen.append(view)
        return Judgement()

    monkeypatch.setattr("aggregator.engine.judge", noticed)
    pod = {"metadata": {"name": "p", "namespace": "x"}, "spec": {"nodeName": "a"}, "status": {"phase": "Running"}}
    kube = {
        "nodes.json": nodes_list(node_object("a", "a")),
        "pods.json": json.dumps({"kind": "PodList", "items": [pod, {"metadata": {"name": "no namespace"}}, {}]}),
        "events.json": json.dumps({"kind": "List", "items": []}),
        "persistentvolumes.json": '{"items": [',
        "deployments.json": "{",
    }
    report = report_of(bundle_of(tmp_path, {"t0": ["a"], "t1": ["a"]}, kube))
    (view,) = seen
    assert (list(view.nodes), list(view.objects.pods_on("a"))) == (["a"], ["x/p"])
    assert view.objects.knows("nodes", "pods", "events")
    assert not view.objects.knows("persistentvolumes")
    assert not view.objects.knows("leases")
    assert view.now == report.at
    damaged = {gap.signal: gap.because for gap in report.gaps if gap.status == "damaged"}
    assert damaged == {
        "kube/pods": "t1/kube/pods.json: item 1: Pod no namespace: metadata.namespace: missing; "
        "item 2: Pod: metadata.name: missing",
        "kube/persistentvolumes": "t1/kube/persistentvolumes.json: "
        "line 1, column 12 (offset 11): input data was truncated",
        "kube/deployments": "t1/kube/deployments.json: line 1, column 2 (offset 1): input data was truncated",
    }


def test_a_damaged_list_is_said_of_each_snapshot_that_has_one(tmp_path: Path) -> None:
    path = bundle_of(tmp_path, {"t0": ["a"], "t1": ["a"]}, {"pods.json": '{"items": []}', "nodes.json": "["})
    (path / "t0/kube").mkdir()
    (path / "t0/kube/pods.json").write_text("[")
    report = report_of(path)
    assert [gap.because.partition(":")[0] for gap in gaps(report, "kube/pods")] == ["t0/kube/pods.json"]
    assert [gap.because.partition(":")[0] for gap in gaps(report, "kube/nodes")] == ["t1/kube/nodes.json"]
