"""What the sensor reports becomes items, blocks and coverage, and comes back the same from a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import sensor_pb2

from agent.collectors.drops import (
    MOST_PLACES,
    DropsCollector,
    drop_reasons_document,
    drop_sites_document,
    parse_drop_reasons,
    parse_drop_sites,
)
from agent.collectors.fsync import FsyncCollector
from agent.collectors.histograms import fsync_document
from agent.collectors.mountinfo import parse_mountinfo
from agent.collectors.passive_fsync import MOST_SOURCES, mount_of
from agent.collectors.retransmits import RetransmitsCollector, parse_retransmits, retransmits_document
from agent.collectors.sensed import pod_of
from agent.delta import DeltaEncoder
from agent.hosts.live import LiveHost, live_host
from agent.reading import Reading
from agent.sensor.client import SensorClient
from tests.recorded import host_of

POD = "0a1b2c3d-1111-2222-3333-444455556666"
SLICE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/cri-1.scope"
MOUNTS = f"""\
1 0 259:1 / / rw - ext4 /dev/root rw
2 1 259:5 / /var/lib/kubelet/plugins/kubernetes.io/csi/d/x/globalmount rw - ext4 /dev/nvme1n1 rw
3 1 259:5 / /var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/pv/mount rw - ext4 /dev/nvme1n1 rw
4 1 259:5 /sub /mnt rw - ext4 /dev/nvme1n1 rw
5 1 0:30 / /tmp rw - tmpfs tmpfs rw
""".encode()


class Told(SensorClient):
    """A client whose sensor says what a test wants."""

    def __init__(self, report: sensor_pb2.SensorReport) -> None:
        super().__init__("/nowhere")
        self.says = report

    def report(self) -> sensor_pb2.SensorReport:
        return self.says


def report_of() -> sensor_pb2.SensorReport:
    """One of everything."""
    report = sensor_pb2.SensorReport(version="1", bounds_us=[1000, 2000], own_netns=40)
    running = ("fsync", "tp_btf ext4_sync_file"), ("drops", "tp_btf kfree_skb"), ("retransmits", "tp_btf tcp")
    report.methods.add(signal="fsync", name="fentry x", refused="EPERM")
    for signal, name in running:
        report.methods.add(signal=signal, name=name, running=True, blind=["io_uring"], observed_permille=1000)
    log = report.latencies.add(process="etcd", device_major=259, device_minor=5, counts=[5, 3, 1], cgroup_id=77)
    log.file_class, log.cgroup_path = sensor_pb2.SENSOR_FILE_CLASS_WAL, SLICE
    report.latencies.add(process="postgres", device_major=259, device_minor=1, counts=[9, 0, 0])
    report.latencies.add(process="python", device_major=0, device_minor=30, counts=[9, 9, 9])
    report.latencies.add(process="odd", device_major=8, device_minor=1, counts=[1])
    report.drops.add(reason="NOT_SPECIFIED", site="ip_fragment", ifindex=7, interface="flannel.1", netns=40, count=20)
    report.drops.add(reason="NO_SOCKET", site="udp_rcv", ifindex=2, interface="eth0", netns=41, count=3)
    report.retransmits.add(netns=41, peer="10.244.3.7", large=31, consecutive_timeouts=5, cgroup_path=SLICE)
    report.retransmits.add(netns=40, peer="10.0.0.9", small=2)
    return report


@pytest.fixture
def live(tmp_path: Path) -> LiveHost:
    """With mounts."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").write_bytes(MOUNTS)
    return live_host("n", str(tmp_path / "proc"), str(tmp_path / "sys"))


def whole(report: sensor_pb2.SensorReport, live: LiveHost) -> Reading:
    """All three collectors' readings."""
    told, merged = Told(report), Reading()
    for collector in (FsyncCollector(sensor=told), DropsCollector(told), RetransmitsCollector(told)):
        reading = collector.collect(live, 0)
        merged.items |= reading.items
        merged.blocks |= reading.blocks
    return merged


def test_latencies_know_their_file_device_mount_and_pod(live: LiveHost) -> None:
    reading = whole(report_of(), live)
    key = "latency/passive/etcd/259:5/wal/77"
    assert reading.items[key].latency == pb.LatencySource(
        process="etcd",
        device="259:5",
        mount=f"/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~csi/pv/mount",
        method=pb.LATENCY_METHOD_PASSIVE,
        bounds_us=[1000, 2000],
        file_class="wal",
        cgroup_id=77,
        pod_uid=POD,
        attached_by="tp_btf ext4_sync_file",
    )
    assert (reading.blocks[key].names, reading.blocks[key].values) == (
        ("le_1000us", "le_2000us", "gt_2000us"),
        (5, 3, 1),
    )
    assert reading.items["latency/passive/postgres/259:1"].latency.mount == "/"
    assert not [key for key in reading.items if "python" in key or "odd" in key]


def test_drops_and_retransmissions_know_whose_network_it_is(live: LiveHost) -> None:
    reading = whole(report_of(), live)
    drop = reading.items["drop/NOT_SPECIFIED/ip_fragment/40/7"].drop_reason
    assert (drop.interface, drop.host_network) == ("flannel.1", True)
    assert not reading.items["drop/NO_SOCKET/udp_rcv/41/2"].drop_reason.host_network
    assert reading.blocks["drop/NOT_SPECIFIED/ip_fragment/40/7"].values == (20,)
    again = reading.items[f"retransmits/41/{POD}/10.244.3.7"].retransmits
    assert (again.pod_uid, again.consecutive_timeouts, again.host_network) == (POD, 5, False)
    assert reading.blocks[f"retransmits/41/{POD}/10.244.3.7"].values == (31, 0)
    assert reading.items["retransmits/40//10.0.0.9"].retransmits.host_network


def test_what_is_summed_up_beyond_what_a_counter_holds_is_the_most_it_does(live: LiveHost) -> None:
    report = report_of()
    for _ in range(2):
        report.drops.add(reason="FULL", site="x", ifindex=1, netns=40, count=(1 << 64) - 1)
    reading = whole(report, live)
    assert reading.blocks["drop/FULL/x/40/1"].values == ((1 << 64) - 1,)
    assert DeltaEncoder().full(reading, 5).full


@pytest.mark.parametrize("bounds", [[], [5, 5], [7, 6], [0, 5]])
def test_histograms_whose_bounds_are_none_are_left_out(live: LiveHost, bounds: list[int]) -> None:
    report = report_of()
    del report.bounds_us[:]
    report.bounds_us.extend(bounds)
    for row in report.latencies:
        del row.counts[:]
        row.counts.extend([1] * (len(bounds) + 1))
    reading = whole(report, live)
    assert not [key for key in reading.items if key.startswith("latency/")]
    assert reading.items["coverage/fsync"].coverage.status == pb.COVERAGE_STATUS_DAMAGED
    assert "drop/NO_SOCKET/udp_rcv/41/2" in reading.items


def test_coverage_tells_method_blindness_refusals_and_what_else_is_blind(live: LiveHost) -> None:
    report = report_of()
    report.losses.fsync_not_counted = 1234
    report.methods[1].observed_permille = 103
    reading = whole(report, live)
    because = reading.items["coverage/fsync/sensor"].coverage.because
    assert because.startswith("by tp_btf ext4_sync_file; it does not see io_uring; it is on for 10 % of the time")
    assert "device" in because
    assert "blind to throttling of control groups and to caches that write through" in because
    assert because.endswith("fentry x refused: EPERM")
    assert "about 1,000 calls" in reading.items["coverage/fsync/losses"].coverage.because
    assert reading.items["latency/passive/etcd/259:5/wal/77"].latency.observed_permille == 100
    assert "coverage/fsync" not in reading.items


def test_no_method_at_all_is_told(live: LiveHost) -> None:
    report = sensor_pb2.SensorReport()
    report.methods.add(signal="fsync", name="a", refused="EPERM")
    reading = whole(report, live)
    gap = reading.items["coverage/fsync/sensor"].coverage
    assert gap.status == pb.COVERAGE_STATUS_MISSING
    assert gap.because == "the sensor runs, but counts nothing here: a refused: EPERM"
    assert not reading.blocks


def test_what_is_switched_off_is_told(live: LiveHost) -> None:
    report = sensor_pb2.SensorReport()
    report.methods.add(signal="drops", refused="switched off by the sensor's settings")
    because = whole(report, live).items["coverage/drops/sensor"].coverage.because
    assert because == "the sensor runs, but counts nothing here: switched off by the sensor's settings"


def test_of_many_processes_etcd_and_the_busiest_are_told(live: LiveHost) -> None:
    report = report_of()
    for number in range(200):
        report.latencies.add(process=f"p{number}", device_major=259, device_minor=1, counts=[1000 + number, 0, 0])
    reading = whole(report, live)
    told = [key for key in reading.items if key.startswith("latency/")]
    assert len(told) == MOST_SOURCES
    assert "latency/passive/etcd/259:5/wal/77" in told
    assert "about 100 more processes" in reading.items["coverage/fsync/left_out"].coverage.because


def test_of_many_places_the_sums_never_fall(live: LiveHost) -> None:
    report = sensor_pb2.SensorReport(own_netns=1)
    report.methods.add(signal="drops", name="m", running=True, observed_permille=1000)
    for number in range(MOST_PLACES + 50):
        report.drops.add(reason="NO_SOCKET", site="udp_rcv", ifindex=number + 1, netns=2, count=10 + number)
    collector = DropsCollector(Told(report))
    first = collector.collect(live, 0)
    assert len(first.blocks) == MOST_PLACES + 1
    assert sum(block.values[0] for block in first.blocks.values()) == sum(row.count for row in report.drops)
    for row in report.drops:
        row.count += 1000 if row.ifindex < 50 else 1  # what was small is large now
    second = collector.collect(live, 0)
    assert second.blocks.keys() == first.blocks.keys()
    assert all(second.blocks[key].values[0] > block.values[0] for key, block in first.blocks.items())


def test_nothing_that_stood_still_is_told_anew(live: LiveHost) -> None:
    told = Told(report_of())
    for collector in (FsyncCollector(sensor=told), DropsCollector(told), RetransmitsCollector(told)):
        first, second = collector.collect(live, 0), collector.collect(live, 5)
        assert all(second.items[key] is item for key, item in first.items.items())
        assert all(second.blocks[key] is block for key, block in first.blocks.items())


def test_a_bundle_gives_back_what_was_live(live: LiveHost, tmp_path: Path) -> None:
    before = whole(report_of(), live)
    documents: dict[str, object] = {
        "fsync.json": fsync_document(before),
        "drop-sites.json": drop_sites_document(before),
        "drop-reasons.json": drop_reasons_document(before),
        "retransmits.json": retransmits_document(before),
    }
    assert documents["drop-reasons.json"] == {"NOT_SPECIFIED": 20, "NO_SOCKET": 3}
    host = host_of(tmp_path / "bundle", json.loads(json.dumps(documents)))
    after = Reading()
    for collector in (FsyncCollector(), DropsCollector(), RetransmitsCollector()):
        reading = collector.collect(host, 0)
        after.items |= reading.items
        after.blocks |= reading.blocks
    assert [key for key in after.items if key.startswith("coverage/")] == []
    facts = {key: item for key, item in before.items.items() if not key.startswith("coverage/")}
    assert {key.split("/")[0] for key in facts} == {"latency", "drop", "retransmits"}
    assert sorted(block.values for block in after.blocks.values()) == sorted(b.values for b in before.blocks.values())
    latency = "latency/passive/etcd/259:5/wal/77"
    assert after.items[latency] == before.items[latency]
    pods = f"retransmits/41/{POD}/10.244.3.7"
    assert after.items[pods] == before.items[pods]


def test_a_bundle_with_reasons_alone(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"drop-reasons.json": {"PKT_TOO_BIG": 12}})
    reading = DropsCollector().collect(host, 0)
    (key,) = [key for key in reading.items if key.startswith("drop/")]
    assert reading.items[key].drop_reason.reason == "PKT_TOO_BIG"
    assert reading.blocks[key].values == (12,)


@pytest.mark.parametrize(
    ("parse", "good", "odd"),
    [
        (parse_drop_sites, {"reason": "X", "site": "f", "interface": "e", "count": 2}, {"reason": "X", "count": -1}),
        (
            parse_retransmits,
            {"pod_uid": None, "peer": "10.0.0.1", "large": 1, "small": 0, "consecutive_timeouts": 5},
            {"peer": 7, "large": 1, "small": 0, "consecutive_timeouts": 5},
        ),
    ],
)
def test_odd_entries_cost_themselves_only(
    parse: Callable[[object], tuple[list[object], list[str]]], good: object, odd: object
) -> None:
    rows, problems = parse([odd, good, 7])
    assert len(rows) == 1
    assert [problem.split(":")[0] for problem in problems] == ["entry 0", "entry 2"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_no_document_raises(document: object) -> None:
    parse_drop_sites(document)
    parse_drop_reasons(document)
    parse_retransmits(document)


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        (SLICE, POD),
        (f"/kubepods/burstable/pod{POD}/abc", POD),
        (f"/kubepods/pod{POD}", POD),
        ("/kubepods/burstable/pod0123456789abcdef0123456789abcdef/x", "0123456789abcdef0123456789abcdef"),
        ("/system.slice/etcd.service", ""),
        ("/user.slice/podman.scope", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_pods_of_control_groups(path: str, uid: str) -> None:
    assert pod_of(path) == uid


def test_mounts_of_devices() -> None:
    mounts = parse_mountinfo(MOUNTS)[0]
    assert mount_of(mounts, "259:5", POD).startswith(f"/var/lib/kubelet/pods/{POD}/")
    assert mount_of(mounts, "259:5", "").endswith("/globalmount")
    assert mount_of(mounts, "259:9", "") == ""
