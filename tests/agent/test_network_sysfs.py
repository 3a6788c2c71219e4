"""Interfaces by /sys alone: against rtnetlink in a real namespace, and with files that vanish under the reader."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, ReadError
from agent.netlink.stats import COUNTER_NAMES
from agent.network import netdev
from agent.network.live import NetlinkNetwork
from agent.network.sysfs import SysfsNetwork
from agent.network.sysfs_counters import FILES, SysfsCounters
from tests import needs, netns

FAILURES = {errno.ENOENT: Failure.ABSENT, errno.EACCES: Failure.DENIED}


class Files:
    """Reads below a root as a host does, with faults set by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: dict[str, int] = {}
        """errno by path."""
        self.before_read: Callable[[str], None] = lambda _path: None

    def _fail(self, path: str) -> None:
        if path in self.faults:
            raise OSError(self.faults[path], os.strerror(self.faults[path]))

    def _told(self, path: str, what: Callable[[Path], object]) -> object:
        self.before_read(path)
        try:
            self._fail(path)
            return what(self.root / path)
        except OSError as error:
            failure = FAILURES.get(error.errno or 0, Failure.FAILED)
            raise ReadError(failure, path, error.strerror or str(error)) from error

    def read(self, path: str) -> bytes:
        found = self._told(path, Path.read_bytes)
        assert isinstance(found, bytes)
        return found

    def entries(self, path: str) -> Sequence[str]:
        found = self._told(path, os.listdir)
        assert isinstance(found, list)
        return sorted(found)

    def link_target(self, path: str) -> str:
        return str(self._told(path, Path.readlink))

    def network(self, refresh_s: float = 0.0) -> SysfsNetwork:
        return SysfsNetwork(self.read, self.entries, self.link_target, refresh_s)


def a_link(root: Path, name: str, ifindex: int, **files: str) -> None:
    directory = root / "sys/class/net" / name
    (directory / "statistics").mkdir(parents=True)
    content = {
        "ifindex": str(ifindex), "iflink": str(ifindex), "mtu": "1500", "operstate": "up", "flags": "0x1003",
        "type": "1", "uevent": f"INTERFACE={name}\nIFINDEX={ifindex}",
    } | files  # fmt: skip
    for file, text in content.items():
        (directory / file).write_text(text + "\n")
    for position, counter in enumerate(COUNTER_NAMES[:24]):
        (directory / "statistics" / counter).write_text(f"{100 * ifindex + position}\n")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    a_link(tmp_path, "eth0", 2)
    a_link(tmp_path, "veth1", 5, iflink="3", operstate="lowerlayerdown", flags="0x1002")
    a_link(tmp_path, "br0", 7, uevent="DEVTYPE=bridge\nINTERFACE=br0\nIFINDEX=7", mtu="1450")
    (tmp_path / "sys/class/net/veth1/master").symlink_to("../br0")
    (tmp_path / "sys/class/net/eth0/device").symlink_to("../../../0000:00:05.0")
    (tmp_path / "sys/class/net/bonding_masters").write_text("\n")
    return Files(tmp_path)


def test_what_sysfs_tells(files: Files) -> None:
    inventory = files.network().inventory()
    assert inventory.problems == []
    assert (inventory.has_kinds, inventory.has_routes, inventory.has_addresses) == (False, False, False)
    assert inventory.source == "sysfs"
    assert inventory.links == {
        2: pb.Link(ifindex=2, name="eth0", mtu=1500, up=True, operstate=pb.OPER_STATE_UP, arp_type=1, hardware=True),
        5: pb.Link(ifindex=5, name="veth1", mtu=1500, operstate=pb.OPER_STATE_LOWER_LAYER_DOWN, arp_type=1, master=7),
        7: pb.Link(ifindex=7, name="br0", mtu=1450, up=True, operstate=pb.OPER_STATE_UP, arp_type=1, kind="bridge"),
    }


def test_counters_keep_their_identity_while_they_do_not_move(files: Files) -> None:
    network = files.network()
    first = network.counters()
    assert first[2] == (COUNTER_NAMES[:24], tuple(range(200, 224)))
    (files.root / "sys/class/net/eth0/statistics/tx_dropped").write_text("9999\n")
    second = network.counters()
    assert second[5] is first[5]
    assert dict(zip(*second[2], strict=True))["tx_dropped"] == 9999


def test_an_unchanged_inventory_is_the_same_object(files: Files) -> None:
    network = files.network()
    first = network.inventory()
    assert network.inventory() is first
    (files.root / "sys/class/net/eth0/mtu").write_text("9000\n")
    assert network.inventory().links[2].mtu == 9000
    slow = files.network(refresh_s=3600)
    before = slow.inventory()
    (files.root / "sys/class/net/eth0/mtu").write_text("1400\n")
    assert slow.inventory() is before
    a_link(files.root, "new0", 9)
    assert {9} < slow.inventory().links.keys()
    assert slow.inventory().links[2].mtu == 1400


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EINVAL])
@pytest.mark.parametrize("attribute", ["ifindex", "mtu", "operstate", "flags", "uevent", "statistics/rx_packets"])
def test_a_link_that_vanishes_midway_takes_nothing_with_it(files: Files, number: int, attribute: str) -> None:
    target = f"sys/class/net/veth1/{attribute}"

    def vanish(path: str) -> None:
        if path == target:
            files.faults[target] = number
            (files.root / "sys/class/net/veth1").rename(files.root / "gone")

    files.before_read = vanish
    network = files.network()
    rows = network.counters()
    assert rows.keys() == {2, 7}
    files.before_read = lambda _path: None
    assert network.inventory().links.keys() == {2, 7}
    assert network.inventory().problems == []


def test_a_file_that_cannot_be_read_or_is_no_number_is_a_problem_of_that_link(files: Files) -> None:
    files.faults["sys/class/net/veth1/mtu"] = errno.EACCES
    (files.root / "sys/class/net/br0/ifindex").write_text("seven\n")
    inventory = files.network().inventory()
    assert inventory.links.keys() == {2}
    assert {str(p) for p in inventory.problems} == {
        "sys/class/net/veth1/mtu: Permission denied",
        "sys/class/net/br0/ifindex: a number is wanted, found 'seven'",
    }


def test_a_counter_that_no_counter_can_be_is_left_out(files: Files) -> None:
    """An update with such a number could not be sent at all."""
    (files.root / "sys/class/net/br0/statistics/rx_packets").write_text("18446744073709551616\n")
    (files.root / "sys/class/net/br0/statistics/tx_packets").write_text("18446744073709551615\n")
    names, values = files.network().counters()[7]
    assert "rx_packets" not in names
    assert max(values) == (1 << 64) - 1
    assert netdev.parse_columns(b" ".join([b"18446744073709551616"] * 16)) is None


def test_no_sysfs_at_all(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as caught:
        Files(tmp_path).network().inventory()
    assert caught.value.failure is Failure.ABSENT


def test_waiting_ends_when_closed(files: Files) -> None:
    network = files.network()
    assert not network.wait(0.01)
    network.close()
    assert not network.wait(30)


# -- with the help of /proc/net/dev ------------------------------------------------------------------------------------


def net_dev(counters: dict[str, dict[str, int]]) -> str:
    """/proc/net/dev as dev_seq_printf_stats() prints it."""
    text = "Inter-|   Receive  |  Transmit\n face |bytes packets ...\n"
    for name, c in counters.items():
        columns = (
            c["rx_bytes"], c["rx_packets"], c["rx_errors"],
            c["rx_dropped"] + c["rx_missed_errors"], c["rx_fifo_errors"],
            c["rx_length_errors"] + c["rx_over_errors"] + c["rx_crc_errors"] + c["rx_frame_errors"],
            c["rx_compressed"], c["multicast"], c["tx_bytes"], c["tx_packets"], c["tx_errors"], c["tx_dropped"],
            c["tx_fifo_errors"], c["collisions"],
            c["tx_carrier_errors"] + c["tx_aborted_errors"] + c["tx_window_errors"] + c["tx_heartbeat_errors"],
            c["tx_compressed"],
        )  # fmt: skip
        text += f"{name:>6}: " + " ".join(map(str, columns)) + "\n"
    return text


class Kernel:
    """Counters of a few links, as both /sys and /proc show them; counts how often a file of /sys is read."""

    def __init__(self) -> None:
        self.counters = {name: dict.fromkeys(FILES, 7 * i) for i, name in enumerate(["lo", "eth0", "v\udcff"], 1)}
        self.indexes = {name: i for i, name in enumerate(self.counters, 1)}
        self.reads = 0
        self.of_proc: Callable[[], bytes] = self.own

    def own(self) -> bytes:
        return net_dev(self.counters).encode(errors="surrogateescape")

    def read(self, path: str) -> bytes:
        if path == "proc/net/dev":
            return self.of_proc()
        self.reads += 1
        _, _, _, name, _, counter = path.split("/")
        return b"%d\n" % self.counters[name][counter]

    def truth(self) -> dict[int, dict[str, int]]:
        return {self.indexes[name]: dict(counters) for name, counters in self.counters.items()}


def sweep(network: SysfsCounters, kernel: Kernel, *, thorough: bool = False) -> dict[int, dict[str, int]]:
    return {i: dict(zip(*row, strict=True)) for i, row in network.sweep(kernel.indexes, thorough).items()}


def test_only_what_moved_is_read() -> None:
    kernel = Kernel()
    network = SysfsCounters(kernel.read)
    first = network.sweep(kernel.indexes, thorough=True)
    assert kernel.reads == 3 * 24
    second = network.sweep(kernel.indexes, thorough=False)
    assert kernel.reads == 3 * 24
    assert all(second[index] is first[index] for index in first)
    kernel.counters["eth0"]["rx_bytes"] += 5
    kernel.counters["eth0"]["rx_packets"] += 1
    assert sweep(network, kernel) == kernel.truth()
    assert kernel.reads == 3 * 24
    kernel.counters["eth0"]["rx_missed_errors"] += 1
    assert sweep(network, kernel) == kernel.truth()
    assert kernel.reads == 3 * 24 + 2
    kernel.counters["lo"]["rx_nohandler"] += 1
    assert sweep(network, kernel, thorough=True) == kernel.truth()
    assert kernel.reads == 3 * 24 + 2 + 3


steps = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from(["lo", "eth0", "v\udcff"]), st.sampled_from(FILES)),
        st.integers(1, 1 << 40),
        max_size=6,
    ),
    max_size=6,
)


@given(steps)
@settings(max_examples=100)
def test_whatever_moves_the_counters_are_right(moves: list[dict[tuple[str, str], int]]) -> None:
    kernel = Kernel()
    network = SysfsCounters(kernel.read)
    network.sweep(kernel.indexes, thorough=True)
    for move in moves:
        for (name, counter), increment in move.items():
            kernel.counters[name][counter] += increment
        assert sweep(network, kernel, thorough=True) == kernel.truth()


def test_a_net_dev_of_another_namespace_is_not_believed() -> None:
    kernel = Kernel()
    stranger = Kernel()
    stranger.counters["eth0"]["rx_bytes"] += 1
    kernel.of_proc = stranger.own
    network = SysfsCounters(kernel.read)
    for _ in range(3):
        kernel.counters["lo"]["tx_bytes"] += 10
        assert sweep(network, kernel) == kernel.truth()
    assert kernel.reads == 3 * 3 * 24


def test_a_net_dev_that_is_nonsense_or_not_there() -> None:
    for nonsense in (b"", b"eth0: one two\n", b"\xff\xfe"):
        kernel = Kernel()
        kernel.of_proc = partial(bytes, nonsense)
        network = SysfsCounters(kernel.read)
        for _ in range(2):
            kernel.counters["lo"]["tx_bytes"] += 10
            assert sweep(network, kernel) == kernel.truth()


class RealFiles(Files):
    """A process's /sys, and /proc/net/dev of its namespace."""

    def __init__(self, inside: netns.Namespace, pid: int) -> None:
        self.inside = inside
        super().__init__(Path(f"/proc/{pid}/root"))
        self.net_dev = Path(f"/proc/{pid}/net/dev")
        self.statistics = 0

    def read(self, path: str) -> bytes:
        self.statistics += "/statistics/" in path
        return self.net_dev.read_bytes() if path == "proc/net/dev" else super().read(path)


@pytest.fixture
def furnished() -> Iterator[tuple[RealFiles, NetlinkNetwork]]:
    """A namespace with its own sysfs, and rtnetlink in the same."""
    needs.kind("vxlan")
    needs.kind("macvlan")
    with netns.namespaces(2) as (inside, other):
        netns.join(inside, "eth0", other, "peer0")
        inside.batch(
            [
                "link add va type veth peer name vb",
                "link add br0 mtu 1450 type bridge",
                "link set va master br0",
                "link set br0 up",
                "link set va up",
                "link add mv0 link eth0 type macvlan mode bridge",
                "link add vx0 type vxlan id 1 dev eth0 dstport 8472",
                "link add \U0001f680 type veth peer name peer1",
            ]
        )
        sleeper = inside.start("sleep", "60")
        with inside.entered():
            network = NetlinkNetwork()
        try:
            _wait_for_exec(sleeper.pid)
            yield RealFiles(inside, sleeper.pid), network
        finally:
            network.close()
            sleeper.kill()
            sleeper.communicate()


def _wait_for_exec(pid: int) -> None:
    """Until `ip netns exec` has entered the namespace and mounted its /sys."""
    for _ in range(200):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
            return
        time.sleep(0.01)
    raise AssertionError("sleep did not start")


@pytest.mark.needs_root
def test_a_real_sysfs_agrees_with_rtnetlink_as_far_as_it_goes(furnished: tuple[RealFiles, NetlinkNetwork]) -> None:
    files, netlink = furnished
    ours = files.network().inventory()
    theirs = netlink.inventory()
    assert ours.problems == []
    assert ours.links.keys() == theirs.links.keys()
    for index, link in theirs.links.items():
        expected = pb.Link()
        expected.CopyFrom(link)
        for field in ("tunnel", "addresses", "peer_ifindex", "peer_netnsid"):
            expected.ClearField(field)
        if link.kind == "veth":
            expected.lower = 0
        if link.kind not in ("bridge", "vxlan"):  # these drivers name themselves
            expected.kind = ""
        assert ours.links[index] == expected


@pytest.mark.needs_root
def test_real_counters_lie_between_two_sweeps_of_rtnetlink(furnished: tuple[RealFiles, NetlinkNetwork]) -> None:
    files, netlink = furnished
    sysfs = files.network(refresh_s=3600)
    for _ in range(3):
        earlier = netlink.counters()
        rows = sysfs.counters()
        later = netlink.counters()
        assert rows.keys() == later.keys()
        for index, (names, values) in rows.items():
            assert names == COUNTER_NAMES[:24]
            low, high = (dict(zip(*counters[index], strict=True)) for counters in (earlier, later))
            assert all(low[name] <= value <= high[name] for name, value in zip(names, values, strict=True))
        with files.inside.entered(), socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
    assert files.statistics == 24 * len(rows)
