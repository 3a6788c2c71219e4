"""What the agent's metrics are made of: readings of all sorts in, rows out, and nothing that falls or fails."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.metrics import Distribution, Metric, Told
from nodetell.scrape import families
from nodetell.v1 import facts_pb2 as pb

from agent.ledger import Ledger
from agent.main import run
from agent.metrics import node_disks, node_host, node_network, own_agent, own_signals, texts
from agent.metrics.exporter import meters
from agent.metrics.node_network import NodeNetwork
from agent.metrics.own_signals import OwnSignals
from agent.metrics.rising import MOST_GROUPS, Rising
from agent.reading import Block, Reading
from agent.runtime import Runtime
from agent.settings import AgentSettings, PrometheusSettings
from tests.metrics.exposed import until

FILES = (
    "proc/stat", "proc/meminfo", "proc/diskstats", "proc/net/snmp", "proc/net/netstat", "proc/net/snmp6",
    "proc/net/softnet_stat", "proc/pressure/io", "proc/sys/net/netfilter/nf_conntrack_count",
)  # fmt: skip


class Alone:
    """A stream that never stood."""

    connected = proven = False
    ledger = Ledger()


def rows(told: Iterable[Told], metric: Metric) -> dict[tuple[str, ...], Any]:
    return {labels: value for each in told if each.metric is metric for labels, value in each.rows}


def with_links(*links: tuple[pb.Link, int]) -> Reading:
    reading = Reading()
    for link, received in links:
        reading.add(pb.Item(key=f"link/{link.ifindex}", link=link))
        reading.blocks[f"link/{link.ifindex}"] = Block(
            ("rx_packets", "rx_dropped", "rx_missed_errors"), (received, 2, 3)
        )
    return reading


def veth(number: int) -> pb.Link:
    return pb.Link(ifindex=number, name=f"veth{number}", kind="veth", peer_netnsid=number, mtu=1500)


ETH0 = pb.Link(ifindex=2, name="eth0", mtu=1500, hardware=True, operstate=pb.OPER_STATE_UP, arp_type=1)
RECEIVED = next(each for each in node_network.METRICS if each.name == "node_network_receive_packets_total")
DROPPED = next(each for each in node_network.METRICS if each.name == "node_network_receive_drop_total")


def test_pods_come_and_go_and_their_sum_does_not_fall() -> None:
    network = NodeNetwork(pod_interfaces=False)
    told = list(network.tell(with_links((ETH0, 7), (veth(10), 100), (veth(11), 50))))
    assert rows(told, RECEIVED) == {("eth0",): 7, ("veth*",): 150}
    assert rows(told, DROPPED) == {("eth0",): 5, ("veth*",): 10}
    assert rows(told, node_network.MTU) == {("eth0",): 1500}
    assert rows(told, node_network.PODS_ENDS) == {(): 2}
    assert rows(network.tell(with_links((veth(11), 60))), RECEIVED) == {("veth*",): 160}
    assert rows(network.tell(with_links((veth(11), 60), (veth(12), 1))), RECEIVED) == {("veth*",): 161}
    # The kernel gave the number to another pod, whose counters begin anew.
    assert rows(network.tell(with_links((veth(11), 5))), RECEIVED) == {("veth*",): 166}


def test_each_pod_s_interface_is_told_where_that_is_wanted() -> None:
    network = NodeNetwork(pod_interfaces=True)
    told = list(network.tell(with_links((veth(10), 100), (ETH0, 7))))
    assert list(rows(told, RECEIVED)) == [("eth0",), ("veth10",)]
    assert rows(told, node_network.UP) == {("eth0",): 1, ("veth10",): 0}


def test_without_kinds_names_must_do() -> None:
    assert node_network.is_folded(pb.Link(name="cali1234"))
    assert not node_network.is_folded(pb.Link(name="cali1234", kind="bridge"))
    assert not node_network.is_folded(pb.Link(name="eth0"))


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=4), max_size=12))
@settings(max_examples=60)
def test_a_sum_never_falls(steps: list[list[tuple[int, int]]]) -> None:
    rising, before = Rising(), 0.0
    for step in steps:
        for part, value in step:
            rising.take((), str(part), (value,))
        rising.settle(len(step))
        total = rising.sums.get((), (0.0,))[0]
        assert total >= before
        before = total


def test_sums_that_nothing_is_added_to_are_forgotten_in_the_end() -> None:
    rising = Rising()
    for number in range(MOST_GROUPS + 10):
        rising.take((str(number),), str(number), (1,))
    rising.settle(1)
    assert len(rising.sums) == MOST_GROUPS
    assert ("0",) not in rising.sums


def latency(cgroup: int, counts: tuple[int, ...], file_class: str = "wal") -> tuple[pb.Item, Block]:
    key = f"latency/passive/etcd/8:0/{file_class}/{cgroup}"
    source = pb.LatencySource(process="etcd", device="8:0", mount="/var/lib/etcd", bounds_us=[1000, 2000])
    source.file_class, source.cgroup_id, source.method = file_class, cgroup, pb.LATENCY_METHOD_PASSIVE
    return pb.Item(key=key, latency=source), Block(("le_1000us", "le_2000us", "gt_2000us"), counts)


def own(*parts: tuple[pb.Item, Block | None]) -> Reading:
    reading = Reading()
    for item, block in parts:
        reading.add(item)
        if block is not None:
            reading.blocks[item.key] = block
    return reading


def test_latencies_of_the_same_process_on_the_same_disk_are_one_histogram() -> None:
    disk = pb.Item(key="disk/8:0", disk=pb.Disk(dev="8:0", name="sda"))
    signals = OwnSignals()
    reading = own((disk, None), latency(1, (5, 1, 0)), latency(2, (0, 0, 2)), latency(3, (9, 9, 9), "commit"))
    labels = ("etcd", "sda", "/var/lib/etcd", "wal", "passive")
    expected = Distribution((0.001, 0.002), [5, 1, 2])
    assert rows(signals.tell(reading), own_signals.FSYNC) == {labels: expected}
    # Its control group went, and another came.
    again = own((disk, None), latency(1, (6, 1, 0)), latency(4, (1, 0, 0)))
    assert rows(signals.tell(again), own_signals.FSYNC) == {labels: Distribution((0.001, 0.002), [7, 1, 2])}


def test_of_two_addresses_of_a_peer_the_worse_path_is_told() -> None:
    def path(mtu: int | None, target: str) -> tuple[pb.Item, None]:
        found = pb.PathMtu(peer="b", via="underlay", interface="eth0", interface_mtu=1500, path_mtu=mtu, rtt_us=400)
        return pb.Item(key=f"path_mtu/{target}", path_mtu=found), None

    told = list(OwnSignals().tell(own(path(1500, "1"), path(1400, "2"))))
    assert rows(told, own_signals.PATH_MTU) == {("b", "underlay", "eth0"): 1400}
    assert rows(told, own_signals.PATH_UP) == {("b", "underlay", "eth0"): 1}
    told = list(OwnSignals().tell(own(path(1500, "1"), path(None, "2"))))
    assert rows(told, own_signals.PATH_UP) == {("b", "underlay", "eth0"): 0}
    assert rows(told, own_signals.PATH_LOCAL) == {("b", "underlay", "eth0"): 1500}
    assert not rows(told, own_signals.PATH_MTU)
    assert not rows(told, own_signals.PATH_RTT)


def test_drops_and_segments_are_summed_over_pods_and_peers() -> None:
    def drop(netns: int, packets: int, *, host: bool) -> tuple[pb.Item, Block]:
        reason = pb.DropReason(reason="PKT_TOO_BIG", site="ip_fragment", netns=netns, host_network=host, ifindex=netns)
        return pb.Item(key=f"drop/{netns}", drop_reason=reason), Block(("packets",), (packets,))

    def again(peer: str, large: int, timeouts: int) -> tuple[pb.Item, Block]:
        found = pb.Retransmits(netns=5, peer=peer, consecutive_timeouts=timeouts)
        return pb.Item(key=f"retransmits/{peer}", retransmits=found), Block(("large", "small"), (large, 1))

    told = list(
        OwnSignals().tell(
            own(
                drop(1, 5, host=True),
                drop(7, 2, host=False),
                drop(8, 3, host=False),
                again("a", 4, 2),
                again("b", 6, 9),
            )
        )
    )
    assert rows(told, own_signals.DROPS) == {
        ("PKT_TOO_BIG", "ip_fragment", "host"): 5,
        ("PKT_TOO_BIG", "ip_fragment", "pod"): 5,
    }
    assert rows(told, own_signals.RETRANSMITS) == {("large", "pod"): 10, ("small", "pod"): 2}
    assert rows(told, own_signals.TIMEOUTS) == {("pod",): 9}


def test_coverage_says_missing_by_signal_and_zero_where_all_is_read() -> None:
    reading = Reading()
    reading.gap("fsync", "no directory")
    reading.gap("volumes", "not readable", status=pb.COVERAGE_STATUS_DENIED)
    reading.gap("disks", "it hangs", detail="collector")
    told = rows(OwnSignals().tell(reading), own_signals.MISSING)
    assert told["fsync", "missing"] == told["volumes", "denied"] == 1
    assert told["disks", "missing"] == told["disk_attributes", "missing"] == 1
    assert told["links", "missing"] == 0
    assert ("fsync", "degraded") not in told


def test_memory_by_its_names_and_units() -> None:
    raw = b"MemTotal:       100 kB\nActive(anon):    5 kB\nHugePages_Total:       3\nodd line\nX: y kB\n-: 3 kB\n"
    assert texts.meminfo(raw) == {"MemTotal_bytes": 102_400, "Active_anon_bytes": 5_120, "HugePages_Total": 3}


def test_a_cpu_that_is_offline_does_not_shift_the_others() -> None:
    raw = b"00000001 00000002 00000003 0 0 0 0 0 0 0 0 0 00000005\n" + b"zz\n"
    assert texts.softnet(raw) == [("5", 1, 2, 3)]


def test_idle_devices_and_partitions_are_as_node_exporter_has_them() -> None:
    line = "{} {} {} 1 2 4 8 1 2 4 8 3 5 7 1 1 1 1 6 9"
    names = ["sda", "sda1", "nvme0n1", "nvme0n1p1", "loop3", "ram0", "dm-0", "zram0"]
    raw = "\n".join(line.format(8, number, name) for number, name in enumerate(names)).encode()
    told = list(node_disks.tell(Reading(texts={"proc/diskstats": raw})))
    by_name = {each.metric.name: {labels[0]: value for labels, value in each.rows} for each in told}
    assert set(by_name["node_disk_reads_completed_total"]) == {"sda", "nvme0n1", "dm-0", "zram0"}
    assert by_name["node_disk_read_bytes_total"]["sda"] == 4 * 512
    assert by_name["node_disk_io_now"]["sda"] == 3
    assert by_name["node_disk_flush_requests_time_seconds_total"]["sda"] == pytest.approx(0.009)


_WORDS = (
    "cpu0", "cpu", "ctxt", "Ip:", "Tcp:", "some", "total=5", "total=", "-1", "0", "9" * 23, "kB", "Ip6X", "0000000a",
    "8", "sda",
)  # fmt: skip
_WORD = st.sampled_from(_WORDS).map(str.encode) | st.just(b"\xff")
_TEXT = st.lists(st.lists(_WORD, max_size=15).map(b" ".join), max_size=8).map(b"\n".join)


@given(st.fixed_dictionaries(dict.fromkeys(FILES, _TEXT)))
@settings(max_examples=40)
def test_whatever_a_file_says_is_rows_or_nothing(files: dict[str, bytes]) -> None:
    reading = Reading(texts=files)
    reading.add(pb.Item(key="agent", agent=pb.AgentStatus()))
    told = meters(lambda: reading, Alone(), pod_interfaces=True).told()
    found, _ = families(told)
    for family in found:
        keys = [(sample.name, *sorted(sample.labels.items())) for sample in family.samples]
        assert len(keys) == len(set(keys))
    assert any(family.name == "nodetell_stream_connected" for family in found)


def test_the_agent_s_own_state() -> None:
    reading = Reading()
    reading.add(pb.Item(key="agent", agent=pb.AgentStatus(cpu_mpercent=250, cpu_budget_mpercent=500)))
    status = pb.CollectorStatus(name="links", ok=True, duration_us=2_500, interval_ms=1_000, overruns=3)
    reading.add(pb.Item(key="collector/links", collector=status))
    told = list(own_agent.tell(reading))
    assert rows(told, own_agent.SHARE) == {(): 0.0025}
    assert rows(told, own_agent.BUDGET) == {(): 0.005}
    assert rows(told, own_agent.DURATION) == {("links",): 0.0025}
    assert rows(told, own_agent.OVERRUNS) == {("links",): 3}


def test_a_clock_that_tells_nothing_has_no_offset() -> None:
    reading = Reading()
    reading.add(pb.Item(key="clock", clock=pb.Clock(synchronized=False)))
    told = list(node_host.tell(reading))
    assert rows(told, node_host.SYNCED) == {(): 0}
    assert not rows(told, node_host.OFFSET)
    assert not rows(told, node_host.MAX_ERROR)


@pytest.mark.parametrize("listen", ["0.0.0.0:9101", "[::]:9101", "10.0.0.1:9101", "metrics:9101", "9101", "a:99999"])
def test_only_loopback_unless_told(listen: str) -> None:
    with pytest.raises(ValueError, match=r"expose|host:port"):
        PrometheusSettings(listen)
    assert PrometheusSettings("[::1]:9101").listen
    assert PrometheusSettings("10.0.0.1:9101", expose=True).listen


def test_an_agent_whose_address_is_taken_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = AgentSettings(node="n1", insecure=True, prometheus=PrometheusSettings(listen))
        assert asyncio.run(run(settings, asyncio.Event())) == 1
    assert f"event=not_started listen={listen}" in capfd.readouterr().err


def test_who_scrapes_does_not_use_up_the_agent_s_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time by which the budget goes is the process's without that of answers."""
    clocks: list[Callable[[], float]] = []

    def spied(*arguments: Any, process_time: Callable[[], float], **more: Any) -> Runtime:
        clocks.append(process_time)
        return Runtime(*arguments, process_time=process_time, **more)

    async def scene() -> None:
        stop, port = asyncio.Event(), free_port()
        settings = AgentSettings(node="n1", insecure=True, prometheus=PrometheusSettings(f"127.0.0.1:{port}"))
        running = asyncio.create_task(run(settings, stop))

        def scraped() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                    return b"nodetell_agent_cpu_budget_ratio" in answer.read()
            except OSError:
                return False

        try:
            await asyncio.to_thread(until, scraped, "no answer")
            assert time.process_time() - clocks[0]() > 0.0005
        finally:
            stop.set()
            assert await running == 0

    monkeypatch.setattr("agent.main.Runtime", spied)
    asyncio.run(scene())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
