"""What a host says of itself: boot, utilisation, clock, path MTUs; and that steady values stay the same objects."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.clock import ClockCollector
from agent.collectors.host_info import HostInfoCollector, parse_stat, parse_uptime
from agent.collectors.keep import Kept, percent_steps, two_digits
from agent.collectors.path_mtu import PathMtuCollector, parse_path_mtu, path_mtu_document
from agent.collectors.usage import UsageCollector, busy_share
from agent.hosts.live import live_host
from agent.reading import Block, Reading
from tests.recorded import DATA, host_of

STAT = b"cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nbtime 1795341000\n"
PROBE = {
    "peer": "hz-1",
    "via": "overlay",
    "from": "10.244.2.3",
    "to": "10.244.0.3",
    "interface": "flannel.1",
    "interface_mtu": 1450,
    "path_mtu": 1370,
    "icmp_seen": False,
    "rtt_ms": 0.4,
    "at": "2026-11-22T10:00:40Z",
}


# -- host ----------------------------------------------------------------------------------------------------------


def test_the_host_of_a_real_kernel(tmp_path: Path) -> None:
    raw = (DATA / "stat").read_bytes()
    boot, cpus = parse_stat(raw)
    assert cpus == 2
    assert b"btime %d" % (boot or 0) in raw
    files = {
        "proc/stat": raw,
        "proc/sys/kernel/random/boot_id": b"84258082-25e4-4f28-9fdc-69611961108a\n",
        "proc/sys/kernel/osrelease": b"6.18.44\n",
        "proc/sys/kernel/arch": b"aarch64\n",
    }
    host = HostInfoCollector().collect(host_of(tmp_path, files), 0).items["host"].host
    assert host == pb.HostInfo(
        boot_time_unix_ms=(boot or 0) * 1000,
        boot_id="84258082-25e4-4f28-9fdc-69611961108a",
        kernel_release="6.18.44",
        machine="aarch64",
        cpus=2,
        recorded=True,
    )


@pytest.mark.parametrize("stat", [b"cpu0 1\n", b"cpu0 1\nbtime 0\n"])
def test_without_a_boot_time_the_uptime_tells_it(tmp_path: Path, stat: bytes) -> None:
    host = host_of(tmp_path, {"proc/stat": stat, "proc/uptime": b"214.00 684.80\n"})
    reading = HostInfoCollector().collect(host, 1776164400.0)
    assert reading.items["host"].host.boot_time_unix_ms == 1776164186000


@pytest.mark.parametrize(
    "files", [{"proc/uptime": b"1 1\n"}, {"proc/stat": b""}, {"proc/stat": b"", "proc/uptime": b"?"}]
)
def test_a_host_that_does_not_tell(tmp_path: Path, files: dict[str, bytes]) -> None:
    reading = HostInfoCollector().collect(host_of(tmp_path, files), 1e9)
    assert reading.items["host"].host.boot_time_unix_ms == 0
    assert reading.items["coverage/host"].coverage.because


def test_a_reboot_shows_and_a_clock_that_is_set_does_not(tmp_path: Path) -> None:
    collector = HostInfoCollector()

    def boot(name: str, btime: int, boot_id: bytes = b"a") -> int:
        files = {"proc/stat": b"btime %d\n" % btime, "proc/sys/kernel/random/boot_id": boot_id}
        return collector.collect(host_of(tmp_path / name, files), 0).items["host"].host.boot_time_unix_ms

    assert boot("first", 1000) == 1_000_000
    assert boot("set", 1002) == 1_000_000
    assert boot("rebooted", 1003, b"b") == 1_003_000
    assert boot("later", 5000, b"b") == 5_000_000


@given(st.binary(max_size=100))
def test_no_stat_or_uptime_raises(noise: bytes) -> None:
    parse_uptime(noise)
    assert parse_stat(b"btime 7\n" + noise)[0] == 7


# -- usage ---------------------------------------------------------------------------------------------------------


def test_usage_between_two_readings(tmp_path: Path) -> None:
    meminfo = (DATA / "meminfo").read_bytes()
    collector = UsageCollector()
    before = psutil.PROCFS_PATH
    first = (
        collector.collect(host_of(tmp_path / "a", {"proc/stat": STAT, "proc/meminfo": meminfo}), 0).items["usage"].usage
    )
    assert not first.HasField("cpu_busy_bp")
    words = dict(line.split(b":") for line in meminfo.splitlines())
    total, available = (int(words[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable"))
    assert first.memory_total_bytes == total
    assert abs(first.memory_available_bytes - available) <= total / 200
    later = STAT.replace(b"cpu  100 0 100 800 0", b"cpu  120 0 110 860 10")
    second = (
        collector.collect(host_of(tmp_path / "b", {"proc/stat": later, "proc/meminfo": meminfo}), 10)
        .items["usage"]
        .usage
    )
    assert second.cpu_busy_bp == 3000  # 30 of 100 ticks, I/O wait is not busy
    again = (
        collector.collect(host_of(tmp_path / "c", {"proc/stat": STAT, "proc/meminfo": meminfo}), 20)
        .items["usage"]
        .usage
    )
    assert not again.HasField("cpu_busy_bp")  # it rebooted
    assert before == psutil.PROCFS_PATH


@pytest.mark.parametrize(
    ("before", "now", "share"),
    [
        ({}, {"user": 1.0}, None),
        ({"user": 1.0, "idle": 1.0}, {"user": 1.0, "idle": 1.0}, None),
        ({"user": 1.0, "idle": 1.0, "iowait": 5.0}, {"user": 2.0, "idle": 4.0, "iowait": 4.5}, 0.25),
        ({"user": 0.0, "guest": 0.0, "idle": 0.0}, {"user": 1.0, "guest": 1.0, "idle": 1.0}, 0.5),
    ],
)
def test_busy_share(before: dict[str, float], now: dict[str, float], share: float | None) -> None:
    assert busy_share(before, now) == share


@pytest.mark.parametrize("file", ["proc/stat", "proc/meminfo"])
@pytest.mark.parametrize("raw", [b"", b"cpu\n", b"MemTotal: lots\n", b"\xff\xfe", None])
def test_damaged_usage_is_told(tmp_path: Path, file: str, raw: bytes | None) -> None:
    files: dict[str, bytes] = {"proc/stat": STAT, "proc/meminfo": (DATA / "meminfo").read_bytes()}
    if raw is None:
        del files[file]
    else:
        files[file] = raw
    reading = UsageCollector().collect(host_of(tmp_path, files), 0)
    gap = reading.items["coverage/usage"].coverage
    assert set(reading.items) == {"coverage/usage"}
    assert gap.status == (pb.COVERAGE_STATUS_MISSING if raw is None else pb.COVERAGE_STATUS_DAMAGED)
    assert "\n" not in gap.because


# -- clock ---------------------------------------------------------------------------------------------------------


def test_clock(tmp_path: Path) -> None:
    host = host_of(
        tmp_path, {"clock.json": {"synchronized": False, "offset_seconds": -47.8912, "max_error_us": 16_000_000}}
    )
    clock = ClockCollector().collect(host, 0).items["clock"].clock
    assert (clock.synchronized, clock.offset_us, clock.max_error_us) == (False, -48_000_000, 16_000_000)


def test_clock_without_figures_has_none(tmp_path: Path) -> None:
    clock = ClockCollector().collect(host_of(tmp_path, {"clock.json": {"synchronized": True}}), 0).items["clock"].clock
    assert clock.synchronized
    assert not clock.HasField("offset_us")
    assert not clock.HasField("max_error_us")


def test_clock_of_a_bundle_without_one(tmp_path: Path) -> None:
    reading = ClockCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0)
    assert "clock.json: not in the bundle" in reading.items["coverage/clock"].coverage.because


# -- path MTU ------------------------------------------------------------------------------------------------------


def test_path_mtus(tmp_path: Path) -> None:
    lost = {**PROBE, "peer": "hz-2", "path_mtu": None}
    older = {**PROBE, "at": "2026-11-22T09:00:00Z", "path_mtu": 1450}
    reading = PathMtuCollector().collect(host_of(tmp_path, {"path-mtu.json": [PROBE, lost, older]}), 0)
    assert set(reading.items) == {f"path_mtu/overlay/{peer}/10.244.2.3/10.244.0.3" for peer in ("hz-1", "hz-2")}
    probe = reading.items["path_mtu/overlay/hz-1/10.244.2.3/10.244.0.3"].path_mtu
    assert (probe.path_mtu, probe.interface, probe.interface_mtu, probe.rtt_us) == (1370, "flannel.1", 1450, 400)
    assert probe.at_unix_ms == 1795341640000
    assert (probe.from_address, probe.to_address) == ("10.244.2.3", "10.244.0.3")
    assert not reading.items["path_mtu/overlay/hz-2/10.244.2.3/10.244.0.3"].path_mtu.HasField("path_mtu")


@pytest.mark.parametrize(
    "change",
    [
        {"via": "moon"},
        {"at": "noon"},
        {"path_mtu": -1},
        {"path_mtu": "big"},
        {"icmp_seen": 1},
        {"rtt_ms": -1},
        {"peer": None},
    ],
)
def test_odd_path_mtus_cost_themselves_only(change: dict[str, object]) -> None:
    items, problems = parse_path_mtu([{**PROBE, **change}, {**PROBE, "peer": "good"}])
    assert [item.path_mtu.peer for item in items] == ["good"]
    assert len(problems) == 1
    assert problems[0].startswith("entry 0: ")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(PROBE)), inner),
    )
)
def test_no_path_mtu_document_raises(document: object) -> None:
    items, _ = parse_path_mtu([document, PROBE])
    assert "hz-1" in {item.path_mtu.peer for item in items}
    parse_path_mtu(document)


@given(
    st.builds(
        pb.PathMtu,
        peer=st.sampled_from(["node-b", "c"]),
        via=st.sampled_from(["underlay", "overlay"]),
        from_address=st.sampled_from(["10.0.0.1", "fd00::1"]),
        to_address=st.sampled_from(["10.0.0.2", "fd00::2"]),
        interface=st.sampled_from(["eth0", ""]),
        interface_mtu=st.integers(0, 65_536),
        path_mtu=st.none() | st.integers(0, 65_536),
        icmp_seen=st.booleans(),
        at_unix_ms=st.integers(1, 4_000_000_000_000),
        rtt_us=st.integers(0, 1_000_000),
    )
)
def test_path_mtus_come_back_out_of_a_bundle_as_they_went_in(probe: pb.PathMtu) -> None:
    key = f"path_mtu/{probe.via}/{probe.peer}/{probe.from_address}/{probe.to_address}"
    known = pb.Item(key=key, path_mtu=probe)
    items, problems = parse_path_mtu(json.loads(json.dumps(path_mtu_document(Reading({key: known})))))
    assert (items, problems) == ([known], [])


def test_without_path_mtus(tmp_path: Path) -> None:
    bundle = PathMtuCollector().collect(host_of(tmp_path, {"proc/stat": b""}), 0)
    assert bundle.items["coverage/path_mtu"].coverage.because == "no path-mtu.json"
    live = PathMtuCollector().collect(live_host("n", str(tmp_path), str(tmp_path)), 0)
    assert "probed by agents with an aggregator, and this is none" in live.items["coverage/path_mtu"].coverage.because
    damaged = PathMtuCollector().collect(host_of(tmp_path / "d", {"path-mtu.json": b"[" * 9}), 0)
    assert damaged.items["coverage/path_mtu"].coverage.status == pb.COVERAGE_STATUS_DAMAGED


# -- what all share ------------------------------------------------------------------------------------------------


def test_equal_things_stay_the_same_objects() -> None:
    def reading(mtu: int, value: int) -> Reading:
        made = Reading()
        made.add(pb.Item(key="link/1", link=pb.Link(mtu=mtu)))
        made.add(pb.Item(key="link/2", link=pb.Link(mtu=1)))
        made.blocks["link/1"] = Block(tuple("ab"), (1, value))
        return made

    kept = Kept()
    first = kept.settle(reading(1500, 1))
    same = kept.settle(reading(1500, 1))
    moved = kept.settle(reading(1400, 2))
    assert all(same.items[key] is first.items[key] for key in first.items)
    assert same.blocks["link/1"] is first.blocks["link/1"]
    assert moved.items["link/1"].link.mtu == 1400
    assert moved.items["link/2"] is first.items["link/2"]
    assert moved.blocks["link/1"].values == (1, 2)
    assert moved.blocks["link/1"].names is first.blocks["link/1"].names
    assert kept.settle(Reading()).items == {}
    assert kept.settle(reading(1400, 2)).items["link/1"] is not moved.items["link/1"]


@given(st.integers(-(1 << 63), 1 << 63))
def test_two_digits(value: int) -> None:
    rounded = two_digits(value)
    assert abs(rounded - value) * 20 <= abs(value)
    assert len(str(abs(rounded)).rstrip("0")) <= 2
    assert two_digits(-value) == -rounded


def test_percent_steps() -> None:
    assert [percent_steps(part, 200) for part in (0, 1, 3, 100, 200)] == [0, 0, 200, 5000, 10000]
    assert percent_steps(1, 0) == 0
