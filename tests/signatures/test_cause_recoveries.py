"""The chains between the loops come apart as they came together: with the cause gone, what it explained stands for
itself while it lasts, and is over when it is; and a cause that came later, or is elsewhere, never was one."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aggregator.causes import shared
from aggregator.model import Finding, Severity, Stage
from tests.lab.cluster import Lab
from tests.lab.control_plane import ControlPlane, Syncs, Work
from tests.signatures.crash_worlds import End, crashes
from tests.signatures.test_cause_timelines import (
    BETWEEN_1_AND_3,
    DEPENDENCY,
    HANDSHAKE,
    HOLE,
    OWNER,
    WEB,
    causes_of,
    early_token,
    lost_zone,
    probes,
    shop,
)

NOISY, FSYNC, SATURATION, RENEW = (
    "disk.noisy_neighbour",
    "cp.etcd_slow_fsync",
    "cp.saturation",
    "cp.lease_renew_failed",
)
LEADER = "kube-system/kube-controller-manager"
USUAL = {"etcd": Syncs(15, 6), "backup": Syncs(0.5, 8)}
LOUD = {"etcd": Syncs(14, 220), "backup": Syncs(40, 200)}
BUSY = Work(900, 12, 0.97)


def links(lab: Lab, *codes: str) -> dict[str, set[str]]:
    """Of these codes those that stand, each with the codes that explain it."""
    findings = lab.findings()
    return {each.code: causes_of(each, findings) for each in findings if each.code in codes}


# -- a clock ---------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_right_explains_nothing_any_more_and_then_there_is_nothing_to_explain() -> None:
    lab = early_token("n1")
    both = ("node.clock_skew", "crash.identity")
    assert links(lab, *both) == {"node.clock_skew": set(), "crash.identity": {"node.clock_skew"}}
    lab.tick(30)
    lab.host("n1").file("clock.json", '{"synchronized": true, "offset_seconds": 0.002}')
    assert links(lab, *both) == {"crash.identity": set()}
    lab.tick(900)
    lab.delete(f"Pod/{WEB}")
    lab.pod(WEB, node="n1", owner=OWNER, created=-800)
    assert lab.codes() == {}


# -- a node and its zone -----------------------------------------------------------------------------------------------


def test_with_the_node_back_its_zone_holds_the_pod_up_no_longer() -> None:
    lab = lost_zone(lost=-900, pending=-700)
    chain = ("node.lost", "storage.zone_mismatch", "sched.volume_zone")
    assert links(lab, *chain) == {
        "node.lost": set(),
        "storage.zone_mismatch": {"node.lost"},
        "sched.volume_zone": {"storage.zone_mismatch"},
    }
    lab.tick(300)
    lab.node("n1", zone="a", ready_since=-60)
    lab.hosts["n1"].silent = False
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"}, created=-1000)
    lab.disk("db/data-pg-0", "pv-1", zone="a", attached_to="n1")
    lab.host("n1").mount_csi("db/pg-0", "pv-1")
    assert not links(lab, *chain)


# -- a path ------------------------------------------------------------------------------------------------------------


def test_a_path_that_lets_large_packets_through_again_explains_nothing_any_more() -> None:
    lab = shop(HANDSHAKE)
    probes(lab, BETWEEN_1_AND_3)
    assert links(lab, HOLE, DEPENDENCY) == {HOLE: set(), DEPENDENCY: {HOLE}}
    lab.tick(60)
    probes(lab, {})
    assert links(lab, HOLE, DEPENDENCY) == {DEPENDENCY: set()}
    lab.tick(900)
    lab.delete(f"Pod/{WEB}")
    lab.pod(WEB, node="n1", owner=OWNER, created=-800)
    probes(lab, {})
    assert lab.codes() == {}


def test_identity_a_path_and_a_dependency_are_told_apart_in_all_directions() -> None:
    refused = "FATAL: password authentication failed for user"
    words: Mapping[str, str] = {HANDSHAKE: DEPENDENCY, refused: "crash.identity"}
    for small in ({}, BETWEEN_1_AND_3):
        for message, code in words.items():
            lab = shop(message)
            probes(lab, small)
            expected = {HOLE} if small and code == DEPENDENCY else set()
            assert links(lab, DEPENDENCY, "crash.identity") == {code: expected}, (message, small)
    lab = shop("dial tcp 10.244.3.9:5432: connect: connection refused")
    probes(lab, BETWEEN_1_AND_3)
    assert links(lab, DEPENDENCY, "crash.identity") == {DEPENDENCY: set()}, "somebody was there, and small"


def test_connections_that_time_out_are_shown_with_their_source_and_only_of_whom_they_are() -> None:
    lab = shop(HANDSHAKE)
    rows = [
        {"pod_uid": uid, "peer": peer, "large": 2, "small": 0, "consecutive_timeouts": 0}
        for uid, peer in (
            (lab.store.uid("Pod", WEB), "10.244.3.7"),
            (lab.store.uid("Pod", "platform/vault-0"), "10.9.9.9"),
        )
    ]
    lab.host("n1").file("retransmits.json", json.dumps(rows))
    lab.tick(60)
    later = [row | {"large": 40, "consecutive_timeouts": 6} for row in rows]
    lab.host("n1").file("retransmits.json", json.dumps(later))
    told = [each for each in lab.codes()[DEPENDENCY].evidence if each.signal == "tcp.timeouts_in_a_row"]
    assert [(each.node, each.subject, each.value, each.unit, each.source, each.at) for each in told] == [
        ("n1", "10.244.3.7", 6, "time-outs", "sensor", lab.now)
    ]


def test_what_a_cause_and_its_effect_share_is_the_path_or_where_none_is_named_all_paths_of_the_node() -> None:
    def of(code: str, *objects: str, nodes: tuple[str, ...] = ()) -> Finding:
        return Finding(code, code, "i", Stage.ACTIVE, Severity.WARNING, "", nodes, (), "", objects=objects)

    effect = of(DEPENDENCY, "Pod/shop/web-0", "Path/n1/n3", "Path/n1", "Path/n3")
    assert shared(of("mtu.drop_fingerprint", nodes=("n1", "n9")), effect) == ("Path/n1",)
    assert shared(of("mtu.drop_fingerprint", "Path/n1/n3", nodes=("n1",)), effect) == ("Path/n1/n3",)
    assert shared(of("mtu.drop_fingerprint", nodes=("n1",)), of(DEPENDENCY, nodes=("n1",))) == ()
    assert shared(of("mtu.nobody", nodes=("n1",)), effect) == ()


# -- a control plane ---------------------------------------------------------------------------------------------------


def plane() -> ControlPlane:
    lab = Lab("cp")
    for number in range(1, 4):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
    cp = ControlPlane(lab, "cp-1", usual_syncs=USUAL)
    cp.go()
    return cp


CHAIN = (NOISY, FSYNC, SATURATION, RENEW)


def test_the_neighbour_stops_and_the_whole_chain_is_over() -> None:
    cp = plane()
    cp.go(slower=8, syncs=LOUD, disk=BUSY)
    cp.lab.lease(LEADER, "cp-1_a", renewed=-40, renews=False, seconds=15)
    assert links(cp.lab, *CHAIN) == {NOISY: set(), FSYNC: {NOISY}, SATURATION: {FSYNC}, RENEW: {SATURATION}}
    cp.go()
    assert links(cp.lab, *CHAIN) == {RENEW: set()}, "the leader has not come back yet"
    cp.lab.lease(LEADER, "cp-1_b", renewed=-2, seconds=15, transitions=2)
    assert not links(cp.lab, *CHAIN)


def test_a_leader_that_was_lost_before_the_api_server_was_slow_was_not_lost_for_that() -> None:
    cp = plane()
    cp.lab.lease(LEADER, "cp-1_a", renewed=-400, renews=False, seconds=15)
    cp.go(slower=8, syncs=LOUD, disk=BUSY)
    told = links(cp.lab, *CHAIN)
    assert told[SATURATION] == {FSYNC}
    assert told[RENEW] == set()


def test_a_disk_is_no_cause_of_what_is_slow_on_another() -> None:
    cp = plane()
    cp.go(slower=8, syncs={"etcd": Syncs(14, 220), "backup": Syncs(40, 7, "8:16")})
    told = links(cp.lab, *CHAIN)
    assert NOISY not in told
    assert told[FSYNC] == set()
    assert told[SATURATION] == {FSYNC}


def test_an_api_server_that_is_slow_by_itself_is_not_slow_for_its_etcd() -> None:
    cp = plane()
    cp.go(slower=8, etcd=1.0, syncs=LOUD, disk=BUSY)
    codes = {each.code for each in cp.lab.findings()}
    assert SATURATION not in codes
    assert "cp.apiserver_latency" in codes


def test_a_surge_etcd_and_a_webhook_are_told_apart_in_all_directions() -> None:
    hook = "validate.policy.example.com"
    slow_writes = ("POST", "PUT", "PATCH")
    made: Mapping[str, dict[str, object]] = {
        "cp.api_traffic_surge": {"slower": 8, "load": 4, "syncs": LOUD},
        SATURATION: {"slower": 8, "syncs": LOUD, "webhooks": {hook: (3.0, 4.0)}},
        "cp.webhook_timeout": {"slower": 20, "only": slow_writes, "webhooks": {hook: (30.0, 900.0)}},
    }
    for code, said in made.items():
        cp = plane()
        cp.go(**said)  # type: ignore[arg-type]
        found: list[Finding] = cp.lab.findings()
        causes = {each.code for each in found} & {*made, "cp.apiserver_latency"}
        assert causes == {code}, code


def test_a_kill_for_memory_and_one_for_a_probe_are_told_apart_in_both_directions() -> None:
    for reason, message, code in (
        ("OOMKilled", "", "crash.oom"),
        ("Error", "Container app failed liveness probe, will be restarted", "crash.liveness_probe"),
    ):
        lab = Lab("kills")
        lab.node("n1")
        lab.host("n1")
        crashes(lab, End(137, reason=reason), WEB)
        if message:
            lab.event("Pod", WEB, "Killing", message, type="Normal", first=-1100.0, last=-65.0, count=9)
        assert {each for each in lab.codes() if each.startswith("crash.")} == {code}
