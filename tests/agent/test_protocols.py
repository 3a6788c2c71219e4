"""Protocol counters, conntrack and pressure: captured texts, damaged ones, and whatever hypothesis thinks of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.netcounters import KEPT, Earlier, parse_pairs, parse_snmp6, parse_softnet
from agent.collectors.protocols import ProtocolsCollector, parse_pressure
from agent.reading import Block, Reading
from tests.recorded import DATA, host_of

SNMP = (DATA / "snmp").read_bytes()


def values(blocks: Mapping[str, Block], subject: str) -> dict[str, int]:
    block = blocks[subject]
    return dict(zip(block.names, block.values, strict=True))


def because(reading: Reading, key: str) -> str:
    return reading.items[f"coverage/{key}"].coverage.because


def test_pairs_of_a_real_kernel() -> None:
    blocks, problems = parse_pairs(SNMP)
    assert problems == []
    assert set(blocks) == {"protocol/Ip", "protocol/Icmp", "protocol/Tcp", "protocol/Udp"}
    words = dict(zip(SNMP.split(b"\n")[0].split(), SNMP.split(b"\n")[1].split(), strict=True))
    ip = values(blocks, "protocol/Ip")
    assert set(ip) == KEPT["Ip"]
    assert all(ip[name] == int(words[name.encode()]) for name in ip)
    assert ip["InReceives"] > 0


def test_names_fit_one_message() -> None:
    for block, names in KEPT.items():
        assert sum(len(name) + 2 for name in names) < 900, block


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    blocks, problems = parse_pairs(b"Ip: FragFails New InReceives\nIp: 3 -1 9\n")
    assert (blocks["protocol/Ip"].names, blocks["protocol/Ip"].values) == (("FragFails", "InReceives"), (3, 9))
    assert problems == []


def test_damaged_pairs_cost_themselves_only() -> None:
    blocks, problems = parse_pairs((DATA / "damaged/netstat-count").read_bytes())
    assert set(blocks) == {"protocol/IpExt"}
    assert len(problems) == 1
    assert problems[0].startswith("line 2: ")
    assert problems[0].endswith("values of TcpExt")

    blocks, problems = parse_pairs((DATA / "damaged/snmp-cut").read_bytes())
    assert "protocol/Ip" in blocks
    assert "protocol/Udp" not in blocks
    assert len(problems) == 1

    blocks, problems = parse_pairs((DATA / "damaged/snmp-twice").read_bytes())
    assert set(blocks) == {"protocol/Ip", "protocol/Icmp"}
    assert [problem.split(":")[0] for problem in problems] == [
        "line 4",
        "line 7",
        "line 8",
        'ends after the names "Tcp',
    ]


def test_a_counter_that_is_none_is_left_out() -> None:
    blocks, problems = parse_pairs(b"Ip: FragFails FragOKs\nIp: -1 18446744073709551616\n")
    assert blocks == {}
    assert len(problems) == 2


@given(st.binary(max_size=300))
def test_no_text_raises_and_good_pairs_survive(noise: bytes) -> None:
    before, _ = parse_pairs(SNMP)
    after, _ = parse_pairs(SNMP.rstrip(b"\n") + b"\n" + noise.replace(b"\r", b"") + b"\n" + SNMP)
    assert all(after[subject] == block for subject, block in before.items())


def test_snmp6_of_a_real_kernel() -> None:
    raw = (DATA / "snmp6").read_bytes()
    blocks, problems = parse_snmp6(raw)
    assert problems == []
    told = {line.split()[0].decode(): int(line.split()[1]) for line in raw.splitlines()}
    assert values(blocks, "protocol/Icmp6")["OutPktTooBigs"] == told["Icmp6OutPktTooBigs"]
    assert values(blocks, "protocol/Ip6")["OutRequests"] == told["Ip6OutRequests"] > 0
    assert set(values(blocks, "protocol/Ip6")) == KEPT["Ip6"]


@given(st.binary(max_size=200))
def test_no_snmp6_raises_and_good_lines_survive(noise: bytes) -> None:
    blocks, _ = parse_snmp6(b"Ip6FragFails 7\n" + noise + b"\nIcmp6OutPktTooBigs\t8\n")
    assert values(blocks, "protocol/Ip6")["FragFails"] == 7
    assert values(blocks, "protocol/Icmp6")["OutPktTooBigs"] == 8


def test_softnet_sums_over_cpus() -> None:
    block, cpus = parse_softnet(b"0000000a 00000001 00000002\nffffffff 00000001 00000003\n")
    assert block.names == ("processed", "dropped", "time_squeeze")
    assert block.values == (0xFFFFFFFF + 10, 2, 5)
    assert cpus == (0, 1)
    assert parse_softnet((DATA / "softnet_stat").read_bytes())[1] == (0, 1)


def test_softnet_with_a_damaged_cpu_is_no_sum_at_all() -> None:
    with pytest.raises(ValueError, match=r"^line 2: not hexadecimal"):
        parse_softnet((DATA / "damaged/softnet-cut").read_bytes() + b"\n")
    with pytest.raises(ValueError, match="no line"):
        parse_softnet(b"")
    for word in (b"-0000001", b"+0000001", b"0000_001"):  # numbers to Python
        with pytest.raises(ValueError, match="line 1: not hexadecimal"):
            parse_softnet(word + b" 00000001 00000002\n")


@given(st.binary(max_size=200))
def test_softnet_gives_sums_or_says_why_not(noise: bytes) -> None:
    try:
        block, cpus = parse_softnet(noise)
    except ValueError:
        return
    assert cpus
    assert all(0 <= value < len(cpus) << 32 for value in block.values)


def test_pressure() -> None:
    assert parse_pressure(b"some avg10=2.02 avg60=1.05 avg300=0.26 total=4952011\n") == ({"some": (202, 4952011)}, [])
    found, problems = parse_pressure((DATA / "damaged/pressure").read_bytes())
    assert found == {"some": (202, 4952011)}
    assert [problem.split(":")[0] for problem in problems] == ["line 2", "line 3", "line 4"]


@given(st.binary(max_size=200))
def test_no_pressure_raises(noise: bytes) -> None:
    found, _ = parse_pressure(b"full avg10=0.50 avg60=1.05 avg300=0.26 total=9\n" + noise)
    assert found["full"] == (50, 9)


def whole_host() -> dict[str, bytes]:
    files = {f"proc/net/{name}": (DATA / name).read_bytes() for name in ("snmp", "netstat", "snmp6", "softnet_stat")}
    files["proc/pressure/io"] = (DATA / "pressure-io").read_bytes()
    files["proc/pressure/cpu"] = (DATA / "pressure-cpu").read_bytes()
    files["proc/sys/net/netfilter/nf_conntrack_count"] = b"13333\n"
    files["proc/sys/net/netfilter/nf_conntrack_max"] = b"262144\n"
    return files


def test_a_whole_host_and_nothing_new_the_second_time(tmp_path: Path) -> None:
    host = host_of(tmp_path, whole_host())
    collector = ProtocolsCollector()
    first, second = collector.collect(host, 0), collector.collect(host, 1)
    assert not [key for key in first.items if key.startswith("coverage/")]
    assert len(first.blocks) == len(KEPT) + 3
    assert first.items["conntrack"].conntrack.count == 13107  # 5 % of the maximum
    assert first.items.keys() == second.items.keys()
    assert all(second.items[key] is item for key, item in first.items.items())
    assert all(second.blocks[subject] is block for subject, block in first.blocks.items())


def test_counters_that_moved_keep_their_names(tmp_path: Path) -> None:
    files = whole_host()
    collector = ProtocolsCollector()
    first = collector.collect(host_of(tmp_path / "a", files), 0)
    files["proc/net/snmp6"] = re.sub(rb"(Ip6FragFails\s+)\d+", rb"\g<1>41", files["proc/net/snmp6"])
    second = collector.collect(host_of(tmp_path / "b", files), 1)
    assert second.blocks["protocol/Ip6"].names is first.blocks["protocol/Ip6"].names
    assert second.blocks["protocol/Ip6"] != first.blocks["protocol/Ip6"]
    assert second.blocks["protocol/Ip"] is first.blocks["protocol/Ip"]


def test_a_cpu_that_comes_online_does_not_look_like_a_burst(tmp_path: Path) -> None:
    line = b"00000064 0000000a 00000000\n"
    collector = ProtocolsCollector()
    one = collector.collect(host_of(tmp_path / "a", {"proc/net/softnet_stat": line}), 0)
    two = collector.collect(host_of(tmp_path / "b", {"proc/net/softnet_stat": line * 2}), 1)
    three = collector.collect(host_of(tmp_path / "c", {"proc/net/softnet_stat": line * 2}), 2)
    assert one.blocks["protocol/softnet"].values == (100, 10, 0)
    assert "protocol/softnet" not in two.blocks
    assert three.blocks["protocol/softnet"].values == (200, 20, 0)


def test_a_count_that_is_rounded_up_is_still_one(tmp_path: Path) -> None:
    files = {"proc/sys/net/netfilter/nf_conntrack_count": b"4294967295\n"}
    files["proc/sys/net/netfilter/nf_conntrack_max"] = b"262144\n"
    found = ProtocolsCollector().collect(host_of(tmp_path, files), 0).items["conntrack"].conntrack
    assert (found.count, found.max) == ((1 << 32) - 1, 262144)


def test_without_pressure_and_conntrack_it_says_so_once(tmp_path: Path) -> None:
    files = {path: raw for path, raw in whole_host().items() if path.startswith("proc/net/")}
    reading = ProtocolsCollector().collect(host_of(tmp_path, files), 0)
    gaps = {key for key in reading.items if key.startswith("coverage/")}
    assert gaps == {"coverage/pressure", "coverage/conntrack"}
    assert "psi=1" in reading.items["coverage/pressure"].coverage.remedy
    assert reading.items["coverage/pressure"].coverage.status == pb.COVERAGE_STATUS_MISSING


def test_damaged_files_are_told_by_place_and_the_rest_is_good(tmp_path: Path) -> None:
    files = whole_host()
    files["proc/net/netstat"] = (DATA / "damaged/netstat-count").read_bytes()
    files["proc/net/softnet_stat"] = (DATA / "damaged/softnet-cut").read_bytes()
    files["proc/pressure/io"] = (DATA / "damaged/pressure").read_bytes()
    files["proc/sys/net/netfilter/nf_conntrack_count"] = b"many\n"
    files["proc/net/snmp6"] = b""
    reading = ProtocolsCollector().collect(host_of(tmp_path, files), 0)
    assert because(reading, "protocols/netstat").startswith("/proc/net/netstat: line 2: ")
    assert because(reading, "protocols/softnet_stat").startswith("/proc/net/softnet_stat: line 2: ")
    assert because(reading, "protocols/snmp6") == "/proc/net/snmp6: empty"
    assert because(reading, "pressure/io").endswith("(and 2 more)")
    assert because(reading, "conntrack").endswith('no number: "many?"')
    damaged = [item for key, item in reading.items.items() if key.startswith("coverage/")]
    assert all(item.coverage.status == pb.COVERAGE_STATUS_DAMAGED for item in damaged)
    assert {"protocol/IpExt", "protocol/Ip", "pressure/io"} <= set(reading.blocks)


# -- again and again ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5_000), st.sampled_from([b"7", b"x", b" ", b"\n", b""]))))
def test_what_is_parsed_again_is_what_is_parsed_anew(edits: list[tuple[int, int, bytes]]) -> None:
    texts = [SNMP, (DATA / "netstat").read_bytes(), (DATA / "snmp6").read_bytes()]
    parsers = [parse_pairs, parse_pairs, parse_snmp6]
    earlier = [Earlier() for _ in texts]
    for file, place, piece in [(0, 0, b""), (1, 0, b""), (2, 0, b""), *edits]:
        raw = texts[file]
        at = place % len(raw)
        for damaged in (raw[:at] + piece + raw[at + 1 :], raw):
            assert parsers[file](damaged, earlier[file]) == parsers[file](damaged)


def test_a_line_that_is_as_it_was_gives_the_same_block() -> None:
    earlier = Earlier()
    before, _ = parse_pairs(SNMP, earlier)
    changed = re.sub(rb"(Udp: )\d+", rb"\g<1>999999", SNMP)
    after, _ = parse_pairs(changed, earlier)
    assert changed != SNMP
    assert [subject for subject in before if before[subject] is not after[subject]] == ["protocol/Udp"]
