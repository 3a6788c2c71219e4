"""Pods' own interfaces: pod-links.json, whole and damaged, and the far ends of real veths."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collectors.pod_links import PodLinksCollector, parse_pod_links, pod_links_document
from agent.hosts.live import live_host
from tests import needs
from tests.netns import Namespace, namespace

ROOT = Path(__file__).parents[2]

GOOD = {"pod_uid": "u1", "interface": "eth0", "mtu": 1500, "host_interface": "veth1a2b"}


@pytest.fixture
def live_in() -> Iterator[Namespace]:
    """The host's network namespace."""
    needs.root_netns()
    with namespace() as made:
        yield made


def test_entries_become_items_and_odd_ones_problems() -> None:
    items, problems = parse_pod_links([GOOD, {**GOOD, "mtu": "large"}, 7, {**GOOD, "interface": "net1", "mtu": 9000}])
    assert [(item.key, item.pod_link.mtu) for item in items] == [("pod_link/u1/eth0", 1500), ("pod_link/u1/net1", 9000)]
    assert [problem.split(":")[0] for problem in problems] == ["entry 1", "entry 2"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_document_raises(document: object) -> None:
    items, problems = parse_pod_links([document, GOOD] if document is not None else document)
    assert problems or items
    assert document is None or items


@pytest.mark.needs_root
def test_the_far_end_of_a_veth_is_read_without_going_there(live_in: Namespace) -> None:
    with namespace() as pod:
        pair = "veth1a2b mtu 1500 type veth peer name eth0 mtu 1400 netns"
        live_in.ip("link", "add", *pair.split(), pod.name)
        live_in.ip("link", "add", "both0", "type", "veth", "peer", "name", "both1")
        pod.ip("link", "set", "eth0", "up")
        pod.ip("addr", "add", "10.244.1.7/24", "dev", "eth0")
        with live_in.entered():
            host = live_host("n")
            reading = PodLinksCollector().collect(host, 0)
        try:
            (item,) = (item for item in reading.items.values() if item.HasField("pod_link"))
            assert item.key == "pod_link/veth1a2b/eth0"
            assert (item.pod_link.mtu, item.pod_link.host_interface) == (1400, "veth1a2b")
            assert "10.244.1.7/24" in item.pod_link.addresses
            assert "coverage/pod_links" not in reading.items
            assert parse_pod_links(pod_links_document(reading)) == ([item], [])
        finally:
            host.network.close()


@pytest.mark.needs_root
def test_an_end_that_disagrees_is_asked_again_until_it_agrees(live_in: Namespace) -> None:
    """Nothing tells of a change inside a pod: what stands as a misfit must not be an old answer."""
    with namespace() as pod, live_in.entered():
        live_in.ip(
            "link", "add", "v0", "mtu", 1500, "type", "veth", "peer", "name", "eth0", "mtu", 1500, "netns", pod.name
        )
        host, collector = live_host("n"), PodLinksCollector()

        def mtu(now: float) -> int:
            reading = collector.collect(host, now)
            return next(item.pod_link.mtu for item in reading.items.values() if item.HasField("pod_link"))

        try:
            assert mtu(1000) == 1500
            pod.ip("link", "set", "eth0", "mtu", 1400)
            assert mtu(1002) == 1500, "nothing told of it, and a minute is not over"
            assert mtu(1061) == 1400
            pod.ip("link", "set", "eth0", "mtu", 1500)
            assert mtu(1063) == 1500
            pod.ip("link", "del", "eth0")
            assert host.network.wait(2)
            assert not any(item.HasField("pod_link") for item in collector.collect(host, 1065).items.values())
        finally:
            host.network.close()


@pytest.mark.needs_root
def test_without_the_capability_it_says_which(live_in: Namespace) -> None:
    """rtnetlink asks for CAP_NET_ADMIN: a thread that gave it up is refused."""
    code = """
import os, sys
sys.path[:0] = sys.argv[1:3]
from agent.network.live import NetlinkNetwork
from agent.network.pods import pairs, pod_links
from agent.host import ReadError
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
network = NetlinkNetwork()
try:
    pod_links(pairs(network.inventory().links))
except ReadError as error:
    print(error.failure.value, error, error.remedy)
network.close()
"""
    with namespace() as pod:
        live_in.ip("link", "add", "v0", "type", "veth", "peer", "name", "eth0", "netns", pod.name)
        said = live_in.run(sys.executable, "-c", code, ROOT, ROOT / "proto")
    assert said.startswith("denied rtnetlink: the kernel tells of other namespaces only with CAP_NET_ADMIN")
    assert "give the agent CAP_NET_ADMIN" in said
