"""Whom a message says it spoke to, and where that is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.cluster.state import ClusterState
from aggregator.signatures.crash.peers import Directory, Peer, Where, hosts_in
from aggregator.signatures.crash.ways import hangs, is_refusal
from tests.lab.cluster import Lab


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ('Get "https://vault.platform.svc:8200/v1/x": net/http: TLS handshake timeout', ["vault.platform.svc"]),
        ("read tcp 10.244.0.6:41234->10.244.2.7:8200: i/o timeout", ["10.244.2.7"]),
        ("read tcp [fd00::6]:41234->[fd00::7]:8200: i/o timeout", ["fd00::7"]),
        ('connection to server at "pg.db" (10.96.3.4), port 5432 failed: timeout expired', ["pg.db"]),
        ("amqp://user:secret@rabbit:5672/ timed out", ["rabbit"]),
        ("dial tcp 10.0.0.9:5432: i/o timeout", ["10.0.0.9"]),
        ("jdbc:postgresql://db-0.db.shop.svc.cluster.local/app: read timed out", ["db-0.db.shop.svc.cluster.local"]),
        ("timeout at main.go:123", []),
        ("could not connect to the server", []),
        ("host=cache port=6379: read timed out", ["cache"]),
    ],
)
def test_hosts_in_a_message(text: str, hosts: list[str]) -> None:
    assert hosts_in(text) == hosts


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    assert all(hosts_in(text))
    hangs(text)


@pytest.fixture(scope="module")
def state() -> ClusterState:
    lab = Lab("peers")
    for number in (1, 2, 3):
        lab.node(f"n{number}")
    lab.replicaset("shop/cart-7d9c5b", owner=("Deployment", "cart"))
    lab.pod("platform/vault-0", node="n1", owner=("StatefulSet", "vault"))
    lab.pod("platform/vault-1", node="n2", owner=("StatefulSet", "vault"))
    lab.pod("shop/cart-7d9c5b-x", node="n3", owner=("ReplicaSet", "cart-7d9c5b"))
    return lab.view().objects


@pytest.mark.parametrize(
    ("host", "where", "nodes"),
    [
        ("vault.platform.svc", Where.INSIDE, {"n1", "n2"}),
        ("vault.platform.svc.cluster.local", Where.INSIDE, {"n1", "n2"}),
        ("vault-active.platform.svc", Where.INSIDE, {"n1", "n2"}),
        ("vault-1.vault.platform.svc", Where.INSIDE, {"n2"}),
        ("vault.platform", Where.INSIDE, {"n1", "n2"}),
        ("cart", Where.INSIDE, {"n3"}),
        ("cart-headless", Where.INSIDE, {"n3"}),
        ("consul.platform.svc", Where.UNKNOWN, set()),
        ("billing", Where.UNKNOWN, set()),
        ("github.com", Where.OUTSIDE, set()),
        ("sts.eu-west-1.amazonaws.com", Where.OUTSIDE, set()),
        ("52.1.2.3", Where.OUTSIDE, set()),
        ("10.96.0.1", Where.UNKNOWN, set()),
    ],
)
def test_where_a_host_is(state: ClusterState, host: str, where: Where, nodes: set[str]) -> None:
    assert Directory(state).of_hosts([host], "shop") == Peer(where, frozenset(nodes))
    quick = Directory(state, thorough=False).of_hosts([host], "shop")
    assert (quick.where is Where.OUTSIDE) == (where is Where.OUTSIDE)


def test_addresses_of_pods_and_nodes_are_found(state: ClusterState) -> None:
    pod = state.pods["platform/vault-1"]
    assert Directory(state).of_hosts([pod.ip], "shop") == Peer(Where.INSIDE, frozenset({"n2"}))
    address = state.nodes["n3"].addresses["InternalIP"]
    assert Directory(state).of_hosts(["example.com", address], "shop") == Peer(Where.INSIDE, frozenset({"n3"}))


def test_nobody_named_is_not_known(state: ClusterState) -> None:
    assert Directory(state).peer("read timed out", "shop").where is Where.UNKNOWN


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("net/http: TLS handshake timeout", True),
        ("Read timed out", True),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", True),
        ("unexpected EOF during TLS handshake", True),
        ("connection refused", False),
        ("lookup x: no such host", False),
        ("x509: certificate has expired; timeout 5s", False),
        ("panic: index out of range", False),
        ("", False),
    ],
)
def test_what_hangs(text: str, does: bool) -> None:
    assert hangs(text) is does


def test_who_says_no_has_read_the_question() -> None:
    assert is_refusal("AccessDenied: not authorized to perform sts:AssumeRole")
    assert is_refusal("the token has expired")
    assert not is_refusal("could not authenticate: Read timed out")
    assert not is_refusal("could not authenticate: timeout expired")
