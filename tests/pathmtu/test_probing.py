"""The agent's part as a whole: plans followed, results told, ports that cannot be opened, floods, networks named."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.path_mtu import PathMtuCollector
from agent.host import Inventory
from agent.hosts.live import live_host
from agent.pathmtu import datagram, probing, responder
from agent.pathmtu.answers import Answers
from agent.pathmtu.datagram import Key
from agent.pathmtu.endpoints import endpoint
from agent.pathmtu.plan import Target
from agent.pathmtu.prober import Numbers, Outcome
from agent.pathmtu.probing import Probing
from agent.pathmtu.responder import Responder
from agent.pathmtu.route import Carrier, carrier
from agent.pathmtu.search import Verdict
from agent.reading import Reading
from agent.settings import PathMtuSettings
from tests.wire import until

KEY = Key(b"i" * 8, b"k" * 16)


def link(ifindex: int, name: str, *addresses: str, **fields: object) -> pb.Link:
    return pb.Link(ifindex=ifindex, name=name, addresses=addresses, **{"mtu": 1500, "up": True, **fields})  # type: ignore[arg-type]


def tunnel(ifindex: int, name: str, *addresses: str, kind: str = "vxlan", mtu: int = 1450, **more: object) -> pb.Link:
    return link(ifindex, name, *addresses, kind=kind, mtu=mtu, tunnel=pb.Tunnel(**more))  # type: ignore[arg-type]


def inventory(*links: pb.Link, routes: list[pb.Route] | None = None) -> Inventory:
    return Inventory({each.ifindex: each for each in links}, routes or [])


DEFAULT = pb.Route(destination="0.0.0.0/0", ifindex=2, gateway="10.0.0.254", table=254)
NODE = (
    link(1, "lo", "127.0.0.1/8", "10.99.0.1/32", loopback=True),
    link(2, "eth0", "10.0.0.1/24", "fe80::1/64", "2001:db8::1/64", hardware=True),
    link(3, "eth1", "10.20.0.1/24", hardware=True, mtu=9000),
    tunnel(4, "flannel.1", "10.244.1.0/32", id=1, local="10.0.0.1"),
    link(5, "cni0", "10.244.1.1/24", kind="bridge", mtu=1450),
    link(6, "veth1", kind="veth", mtu=1450, master=5),
)


# -- where a node can be probed ------------------------------------------------------------------------------------


def places(item: pb.Item) -> list[tuple[str, str, str]]:
    return [(each.via, each.network, each.address) for each in item.probe_endpoint.addresses]


def test_the_networks_of_a_node() -> None:
    item = endpoint(inventory(*NODE, routes=[DEFAULT]), 7446, host_network=True)
    assert (item.key, item.probe_endpoint.port) == ("probe_endpoint", 7446)
    assert places(item) == [
        ("underlay", "", "10.0.0.1"),
        ("underlay", "", "2001:db8::1"),
        ("overlay", "vxlan/1", "10.244.1.0"),
        ("underlay", "10.20.0.0/24", "10.20.0.1"),
    ]


def test_what_carries_the_tunnels_comes_before_the_default_route() -> None:
    over_eth1 = tunnel(4, "vxlan.calico", "10.244.1.0/32", id=4096, local="10.20.0.1")
    item = endpoint(inventory(*NODE[:3], over_eth1, routes=[DEFAULT]), 0, host_network=True)
    assert places(item) == [
        ("underlay", "", "10.20.0.1"),
        ("underlay", "10.0.0.0/24", "10.0.0.1"),
        ("underlay", "", "2001:db8::1"),
        ("overlay", "vxlan/4096", "10.244.1.0"),
    ]


def test_a_tunnel_without_an_address_of_its_own() -> None:
    cilium = (
        tunnel(4, "cilium_vxlan", external=True, mtu=1500),
        link(5, "cilium_host", "10.0.3.7/32", kind="veth"),
    )
    item = endpoint(inventory(*NODE[:2], *cilium, routes=[DEFAULT]), 1, host_network=True)
    assert ("overlay", "cilium", "10.0.3.7") in places(item)


def test_a_pod_is_on_the_pods_network() -> None:
    pod = inventory(link(1, "lo", "127.0.0.1/8", loopback=True), link(2, "eth0", "10.244.1.7/24", kind="veth"))
    assert places(endpoint(pod, 1, host_network=False)) == [("overlay", "pods", "10.244.1.7")]


def test_links_that_are_down_or_odd_have_no_place() -> None:
    item = endpoint(
        inventory(link(2, "eth0", "10.0.0.1/24", "nonsense", up=False), routes=[DEFAULT]), 1, host_network=True
    )
    assert places(item) == []


# -- what carries a path and what is full size there ---------------------------------------------------------------


def route(ifindex: int, mtu: int = 0, encap: str = "") -> pb.Route:
    return pb.Route(destination="10.0.0.0/8", ifindex=ifindex, mtu=mtu, encap=encap, table=254)


def test_which_interface_and_which_size() -> None:
    known = inventory(*NODE)
    assert carrier(known, [route(3)], "10.0.0.1") == Carrier("eth1", 9000)
    assert carrier(known, [route(3, 1400)], "10.20.0.1") == Carrier("eth1", 1400)
    assert carrier(known, [route(2), route(3)], "10.20.0.1") == Carrier("eth1", 9000)  # two next hops
    assert carrier(known, [], "10.244.1.0") == Carrier("flannel.1", 1450)
    assert carrier(known, [route(77)], "10.9.9.9") is None
    assert carrier(known, [], "10.99.0.1") is None  # loopback carries nothing


def test_a_tunnel_in_metadata_mode_has_the_pods_size() -> None:
    outside = tunnel(9, "genev_sys", kind="geneve", mtu=65_000, external=True)
    assert carrier(inventory(*NODE, outside), [route(9)], "") == Carrier("genev_sys", 1450)
    assert carrier(inventory(*NODE, outside), [route(9, 1400)], "") == Carrier("genev_sys", 1400)
    assert carrier(inventory(*NODE[:3], outside), [route(9)], "") is None  # no pod says what is usual


# -- following plans -----------------------------------------------------------------------------------------------


def loopback_inventory() -> Inventory:
    """127.0.0.1 as if it were a node's address: what the kernel does on lo is real."""
    return inventory(link(1, "eth0", "127.0.0.1/8", mtu=1500, hardware=True))


def plan(*ports: int, version: int = 1, grants: int = 1, interval_ms: int = 1000) -> agent_pb2.ProbePlan:
    key = agent_pb2.ProbeGrant(id=KEY.id, key=KEY.secret)
    made = agent_pb2.ProbePlan(version=version, part=0, parts=1, interval_ms=interval_ms)
    for port in ports:
        made.targets.add(peer="peer", via="underlay", address=own_address(), port=port, key=key)
    made.grants.extend([key] * grants)
    return made


def own_address() -> str:
    """An address of this machine that is not loopback's; skips where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("needs: a route to somewhere, for an address that is not loopback's")
        return str(way.getsockname()[0])


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.bind(("0.0.0.0", 0))
        return int(way.getsockname()[1])


@contextlib.asynccontextmanager
async def running(settings: PathMtuSettings) -> AsyncIterator[Probing]:
    made, stop = Probing(settings), asyncio.Event()
    made.observe(
        inventory(link(1, "lo", "127.0.0.1/8", mtu=65_536, loopback=True), link(2, "eth0", f"{own_address()}/24")),
        host_network=True,
    )
    task = asyncio.create_task(made.run(stop))
    await asyncio.sleep(0)
    try:
        yield made
    finally:
        stop.set()
        await task


def gaps(reading: Reading) -> dict[str, str]:
    return {key: item.coverage.because for key, item in reading.items.items() if item.HasField("coverage")}


def results(reading: Reading) -> list[pb.PathMtu]:
    return [item.path_mtu for item in reading.items.values() if item.HasField("path_mtu")]


def totals(reading: Reading) -> dict[str, int]:
    block = reading.blocks["path_mtu"]
    return dict(zip(block.names, block.values, strict=True))


def test_a_plan_is_followed_and_the_result_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "carrier", lambda *_: Carrier("eth0", 1500))
    monkeypatch.setattr(probing, "LEAVE_S", 0.3)

    async def scenario() -> None:
        port = free_port()
        async with running(PathMtuSettings(port=port)) as made:
            assert gaps(made.reading())["coverage/path_mtu"].startswith(
                "no node that answers path probes is known: MTUs"
            )
            made.instruct(plan(port))
            await until(lambda: results(made.reading()))
            (result,) = results(made.reading())
            assert (result.path_mtu, result.interface_mtu, result.interface) == (1500, 1500, "eth0")
            assert abs(result.at_unix_ms / 1000 - time.time()) < 5
            assert gaps(made.reading()) == {}
            counted = totals(made.reading())
            assert (counted["searches"], counted["probes_sent"], counted["probes_answered"]) == (1, 2, 2)
            assert counted["cpu_us"] > 0
            await until(lambda: totals(made.reading())["searches"] == 2)
            assert results(made.reading())[0] is result  # the same is not told again before its time
            made.instruct(plan(version=2))
            assert results(made.reading()) == [result]  # the aggregator may have been restarted
            await until(lambda: results(made.reading()) == [])
        assert made.reading().items["probe_endpoint"].probe_endpoint.port == port

    asyncio.run(scenario())


def test_a_peer_that_does_not_answer_yet_is_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "carrier", lambda *_: Carrier("eth0", 1500))
    monkeypatch.setattr("agent.pathmtu.prober.FIRST_TIMEOUT_S", 0.02)

    async def scenario() -> None:
        async with running(PathMtuSettings()) as made:
            assert "known, and this node answers none (path_mtu.port is 0)" in gaps(made.reading())["coverage/path_mtu"]
            made.instruct(plan(free_port(), interval_ms=1000))
            await until(lambda: totals(made.reading())["searches"] == 1)
            assert results(made.reading()) == []
            await until(lambda: results(made.reading()))
            assert totals(made.reading())["searches"] == probing.UNREACHABLE_AFTER
            (result,) = results(made.reading())
            assert not result.HasField("path_mtu")
            assert "nothing comes back" in gaps(made.reading())["coverage/path_mtu/silent"]
            assert "paths towards this node are not probed" in gaps(made.reading())["coverage/path_mtu/answers"]

    asyncio.run(scenario())


@pytest.mark.parametrize("settings", [PathMtuSettings(enabled=False), PathMtuSettings(enabled=False, port=7446)])
def test_switched_off_it_opens_nothing_and_follows_nothing(settings: PathMtuSettings) -> None:
    async def scenario() -> None:
        async with running(settings) as made:
            made.instruct(plan(9))
            await asyncio.sleep(0.05)
            reading = made.reading()
            assert list(reading.items) == ["coverage/path_mtu"]
            assert reading.items["coverage/path_mtu"].coverage.remedy == "set path_mtu.enabled to true"
            assert not made._jobs

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_told_and_opened_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_OPEN_RETRY_S", 0.05)

    async def scenario() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 0))
            port = taken.getsockname()[1]
            async with running(PathMtuSettings(port=port)) as made:
                await until(lambda: f"port {port}: Address already in use" in gaps(made.reading())["coverage/path_mtu"])
                assert made.reading().items["probe_endpoint"].probe_endpoint.port == 0
                taken.close()
                await until(lambda: made.reading().items["probe_endpoint"].probe_endpoint.port == port)

    asyncio.run(scenario())


def test_nonsense_from_the_aggregator_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "carrier", lambda *_: Carrier("eth0", 1500))

    async def scenario() -> None:
        async with running(PathMtuSettings()) as made:
            made.instruct(plan(9))
            before = dict(made._jobs)
            made.instruct(plan(9, interval_ms=1))
            made.instruct(agent_pb2.ProbePlan())
            assert made._jobs == before

    asyncio.run(scenario())


def test_a_defect_on_one_path_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Carrier:
        raise RuntimeError("a defect")

    monkeypatch.setattr(probing, "carrier", broken)

    async def scenario() -> None:
        async with running(PathMtuSettings()) as made:
            made.instruct(plan(9))
            await until(lambda: "coverage/path_mtu/local" in gaps(made.reading()))
            assert "a defect" in gaps(made.reading())["coverage/path_mtu/local"]
            monkeypatch.setattr(probing, "carrier", lambda *_: Carrier("eth0", 1500))
            await until(lambda: totals(made.reading())["searches"] == 1)

    asyncio.run(scenario())


def test_paths_are_probed_again_soon_after_a_change_of_the_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "carrier", lambda *_: Carrier("eth0", 1500))
    monkeypatch.setattr(probing, "AFTER_CHANGE_S", 0.1)

    async def scenario() -> None:
        port = free_port()
        async with running(PathMtuSettings(port=port)) as made:
            made.instruct(plan(port, interval_ms=600_000))
            await until(lambda: totals(made.reading())["searches"] == 1)
            pods = inventory(*made._inventory.links.values(), link(9, "veth9", kind="veth"))
            made.observe(pods, host_network=True)
            await asyncio.sleep(0.3)
            assert totals(made.reading())["searches"] == 1  # a pod came: no path between nodes is different
            changed = inventory(link(2, "eth0", f"{own_address()}/24", mtu=1400))
            made.observe(changed, host_network=True)
            await until(lambda: totals(made.reading())["searches"] == 2)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("verdicts", "told", "gap"),
    [
        ([Verdict(1500, 1500, True, False, 2)], 1500, ""),
        ([Verdict(1400, 1500, True, False, 22), Verdict(900, 1500, False, False, 40)], 1400, "loss"),
        ([Verdict(900, 1500, False, False, 40)], None, "loss"),
        ([Verdict(1400, 1500, True, False, 22), Verdict(None, 1500, True, False, 6)], 1400, ""),
        ([Verdict(1400, 1500, True, False, 22), *[Verdict(None, 1500, True, False, 6)] * 3], 0, "silent"),
        ([Verdict(900, 1500, False, False, 40), Verdict(1500, 1500, True, False, 2)], 1500, ""),
    ],
)
def test_what_becomes_of_a_result(verdicts: list[Verdict], told: int | None, gap: str) -> None:
    made = Probing(PathMtuSettings())
    job = probing._Job(Target("peer", "underlay", "10.0.0.2", 7446, KEY), 0.0)
    made._jobs = {job.target: job}
    for verdict in verdicts:
        made._book(job, "eth0", "10.0.0.1", Outcome(verdict, 0.001, verdict.packets, 0, 1, 0.1))
    found = [result.path_mtu for result in results(made.reading())]
    assert found == ([] if told is None else [told])
    assert (f"coverage/path_mtu/{gap}" in gaps(made.reading())) == bool(gap)
    assert set(gaps(made.reading())) <= {f"coverage/path_mtu/{each}" for each in ("loss", "silent", "answers")}


# -- answering under fire ------------------------------------------------------------------------------------------


def test_a_flood_is_held_to_a_share_of_a_core_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "READ_PER_SECOND", 200)

    async def scenario() -> None:
        port, spent = free_port(), [0.0]

        @contextlib.contextmanager
        def account():  # type: ignore[no-untyped-def]
            began = time.thread_time()
            yield
            spent[0] += time.thread_time() - began

        answering = Responder(Answers(), account)
        answering.answers.grant([KEY], time.monotonic())
        answering.open(["127.0.0.1"], port)
        numbers = Numbers()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect(("127.0.0.1", port))
            way.setblocking(False)
            for n in range(3000):
                with contextlib.suppress(OSError):
                    way.send(os.urandom(n % 1400))
                if n % 100 == 0:
                    await asyncio.sleep(0)
            tally = answering.answers.tally
            await until(lambda: answering.overrun >= 1, 3)
            assert tally.foreign <= 400
            assert tally.answered == 0

            async def ask() -> bool:
                with contextlib.suppress(OSError):
                    way.send(datagram.probe(KEY, numbers.next(), 100, bytes(100), ipv6=False))
                await asyncio.sleep(0.1)
                with contextlib.suppress(BlockingIOError):
                    return len(way.recv(2048)) == datagram.HEADER_BYTES
                return False

            deadline = time.monotonic() + 20
            while not await ask():
                assert time.monotonic() < deadline, "it does not answer again after the flood"
        answering.close()
        assert spent[0] < 1

    asyncio.run(scenario())


def test_an_address_that_is_not_ours_is_refused_by_name() -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match=r"192\.0\.2\.1 port 7446: Cannot assign"):
            Responder(Answers(), contextlib.nullcontext).open(["192.0.2.1"], 7446)

    asyncio.run(scenario())


# -- the collector ---------------------------------------------------------------------------------------------------


class FakeProber:
    def __init__(self, make: Callable[[], Reading]) -> None:
        self.seen: list[bool] = []
        self.make = make

    def observe(self, inventory: Inventory, *, host_network: bool) -> None:
        assert inventory.links
        self.seen.append(host_network)

    def reading(self) -> Reading:
        return self.make()


def test_the_collector_shows_the_interfaces_and_takes_what_was_found(tmp_path: Path) -> None:
    item = pb.Item(key="path_mtu/underlay/b/x/y", path_mtu=pb.PathMtu(peer="b"))

    def make() -> Reading:
        copy = pb.Item()
        copy.CopyFrom(item)
        return Reading({item.key: copy})

    prober = FakeProber(make)
    collector = PathMtuCollector(prober)
    host = live_host("here")
    try:
        first = collector.collect(host, 0)
        assert collector.collect(host, 1).items[item.key] is first.items[item.key]  # unchanged is the same object
        assert prober.seen == [True, True]
    finally:
        host.network.close()
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/class/net").mkdir(parents=True)
    elsewhere = live_host("pod", str(tmp_path / "proc"), str(tmp_path / "sys"))
    try:
        assert item.key in collector.collect(elsewhere, 2).items
        assert prober.seen[2:] == [False]
    finally:
        elsewhere.network.close()
        if collector._own_network is not None:
            collector._own_network.close()
