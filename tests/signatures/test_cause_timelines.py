"""Chains between incidents in the laboratory: there where facts are shared, absent where they are not or where what
would be the cause began later. Each edge alone is tested in tests/aggregator/test_causes.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from aggregator.causes import EDGES
from aggregator.model import Finding
from tests.lab.cluster import Lab
from tests.lab.shapes import stamp
from tests.signatures.crash_worlds import End, crashes, pull
from tests.signatures.crash_worlds import waits as waits_for_image
from tests.signatures.storage_worlds import CLAIM, NEW, VOLUME, cluster, database, refused, waits
from tests.signatures.test_crash_timelines import STS
from tests.signatures.test_lead_time import overlay

HOLE, DEPENDENCY, REGISTRY = "mtu.path_black_hole", "crash.dependency_unreachable", "image.registry_unreachable"
HANDSHAKE = (
    'cannot fetch configuration: Get "https://vault.platform.svc:8200/v1/secret": net/http: TLS handshake timeout'
)
OWNER = ("ReplicaSet", "web-5d4f7c9b8")
WEB = "shop/web-5d4f7c9b8-abcde"


@dataclass(frozen=True)
class Chain:
    """A cluster, and whether one finding must explain another there."""

    lab: Lab
    cause: str
    effect: str
    linked: bool
    why: str


Make = Callable[[], Chain]
CHAINS: list[Make] = []


def chain(make: Make) -> Make:
    CHAINS.append(make)
    return make


@pytest.mark.parametrize("make", CHAINS, ids=lambda make: make.__name__)
def test_chain(make: Make) -> None:
    case = make()
    findings = case.lab.findings()
    told = {finding.code for finding in findings}
    effects = [finding for finding in findings if finding.code == case.effect]
    assert effects, f"{case.effect} is not among {sorted(told)}: {case.why}"
    if case.linked:
        assert case.cause in told
    assert all(case.linked == (case.cause in causes_of(each, findings)) for each in effects), case.why
    assert [each.id for each in findings] == [each.id for each in case.lab.findings()]


def causes_of(finding: Finding, findings: Sequence[Finding]) -> set[str]:
    by_id = {each.id: each for each in findings}
    return {by_id[cause].code for cause in finding.caused_by}


# -- paths that lose large packets ---------------------------------------------------------------------------------


def probes(lab: Lab, sizes: Mapping[tuple[str, str], int], nodes: Sequence[str] = ("n1", "n2", "n3")) -> None:
    """Each node has probed the others: 1,500 bytes pass, or as many as said."""
    for node in nodes:
        rows: list[dict[str, Any]] = []
        for peer in nodes:
            if peer != node:
                passes = sizes.get((node, peer), sizes.get((peer, node), 1500))
                ends = {"peer": peer, "via": "underlay", "from": f"10.0.0.1{node[1:]}", "to": f"10.0.0.1{peer[1:]}"}
                size = {"interface": "eth0", "interface_mtu": 1500, "path_mtu": passes, "icmp_seen": False}
                rows.append(ends | size | {"rtt_ms": 0.4, "at": stamp(lab.now - 20)})
        lab.host(node).file("path-mtu.json", json.dumps(rows))


def shop(message: str, *, vault: str = "n3", crashing: str = "n1") -> Lab:
    """A web pod that ends with this message, and a vault elsewhere."""
    lab = Lab("paths")
    for number in (1, 2, 3):
        lab.node(f"n{number}")
        lab.host(f"n{number}")
    lab.deployment("shop/web")
    lab.replicaset("shop/web-5d4f7c9b8", owner=("Deployment", "web"))
    lab.pod("platform/vault-0", node=vault, owner=("StatefulSet", "vault"))
    crashes(lab, End(1, message), WEB, crashing)
    return lab


BETWEEN_1_AND_3 = {("n1", "n3"): 1420}
ALL_OF_3 = {("n1", "n3"): 1420, ("n2", "n3"): 1420}


@chain
def hole__the_handshake_crosses_it() -> Chain:
    lab = shop(HANDSHAKE)
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, True, "the certificate of the vault on n3 does not get through to n1")


@chain
def hole__the_node_of_the_vault_is_at_fault() -> Chain:
    lab = shop(HANDSHAKE)
    probes(lab, ALL_OF_3)
    return Chain(lab, HOLE, DEPENDENCY, True, "all paths of n3 are so, that from n1 among them")


@chain
def hole__the_peer_is_elsewhere() -> Chain:
    lab = shop(HANDSHAKE, vault="n2")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "the vault is on n2, and that path is fine")


@chain
def hole__the_pod_is_elsewhere() -> Chain:
    lab = shop(HANDSHAKE, crashing="n2")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "from n2 to n3 all is well")


@chain
def hole__the_peer_is_on_the_same_node() -> Chain:
    lab = shop(HANDSHAKE, vault="n1")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "nothing leaves the node")


@chain
def hole__refused_is_not_lost() -> Chain:
    lab = shop("cannot fetch configuration: dial tcp 10.96.3.4:8200: connect: connection refused")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "somebody answered")


@chain
def hole__an_unknown_name_is_not_lost() -> Chain:
    lab = shop("dial tcp: lookup vault.platform.svc on 10.96.0.10:53: no such host")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "DNS answers fit any path")


@chain
def hole__a_peer_nobody_names() -> Chain:
    lab = shop("redis: context deadline exceeded while reading a reply")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, True, "it hangs at an end of a path that loses large packets")


@chain
def hole__a_peer_outside_is_not_behind_one_path() -> Chain:
    lab = shop('cannot charge: Post "https://api.payments.example.com/v1": net/http: TLS handshake timeout')
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, False, "nobody has proven the way out")


@chain
def hole__a_node_all_of_whose_paths_are_so_reaches_nobody_outside() -> Chain:
    lab = shop('cannot charge: Post "https://api.payments.example.com/v1": net/http: TLS handshake timeout')
    probes(lab, {("n1", "n2"): 1420, ("n1", "n3"): 1420})
    return Chain(lab, HOLE, DEPENDENCY, True, "n1's own link is at fault")


@chain
def hole__words_of_identity_that_hang() -> Chain:
    lab = shop("could not authenticate at https://vault.platform.svc:8200: Read timed out")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, True, "nobody has refused anybody")


@chain
def hole__words_of_nothing_that_hang() -> Chain:
    lab = shop("javax.net.ssl.SSLException: Read timed out")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, DEPENDENCY, True, "by its words alone this could be anything")


@chain
def hole__a_refusal_is_identity_whatever_the_path() -> Chain:
    lab = shop("login at vault.platform.svc timed out twice, then: permission denied: invalid token: 403 Forbidden")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, "crash.identity", False, "somebody read the token and said no")


@chain
def hole__connections_of_the_very_pod_time_out() -> Chain:
    lab = shop(HANDSHAKE)
    uid = lab.store.uid("Pod", WEB)
    row = {"pod_uid": uid, "peer": "10.244.3.7", "large": 2, "small": 0, "consecutive_timeouts": 0}
    lab.host("n1").file("retransmits.json", json.dumps([row]))
    lab.tick(60)
    lab.host("n1").file("retransmits.json", json.dumps([row | {"large": 40, "consecutive_timeouts": 6}]))
    return Chain(lab, HOLE, DEPENDENCY, True, "seen by the sensor, without any probe")


@chain
def hole__connections_of_another_pod_time_out() -> Chain:
    lab = shop(HANDSHAKE)
    uid = lab.store.uid("Pod", "platform/vault-0")
    row = {"pod_uid": uid, "peer": "10.244.3.7", "large": 2, "small": 0, "consecutive_timeouts": 0}
    lab.host("n1").file("retransmits.json", json.dumps([row]))
    lab.tick(60)
    lab.host("n1").file("retransmits.json", json.dumps([row | {"large": 40, "consecutive_timeouts": 6}]))
    return Chain(lab, HOLE, DEPENDENCY, False, "not this pod's")


IN_CLUSTER = 'failed to do request: Head "https://registry.infra.svc:5000/v2/app/manifests/1": net/http: {}'


def pulling(why: str, *, registry: str = "n3") -> Lab:
    lab = shop(HANDSHAKE)
    lab.delete(f"Pod/{WEB}")
    lab.pod("infra/registry-0", node=registry, owner=("StatefulSet", "registry"))
    waits_for_image(lab, "ErrImagePull", pull(IN_CLUSTER.format(why)), image="registry.infra.svc:5000/app:1")
    return lab


@chain
def hole__an_image_of_a_registry_behind_it() -> Chain:
    lab = pulling("TLS handshake timeout")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, REGISTRY, True, "the registry is a pod on n3")


@chain
def hole__an_image_of_a_registry_elsewhere() -> Chain:
    lab = pulling("TLS handshake timeout", registry="n2")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, REGISTRY, False, "the registry is a pod on n2")


@chain
def hole__a_registry_that_is_not_trusted() -> Chain:
    lab = pulling("tls: failed to verify certificate: x509: certificate signed by unknown authority")
    probes(lab, BETWEEN_1_AND_3)
    return Chain(lab, HOLE, REGISTRY, False, "the certificate arrived")


# -- clocks --------------------------------------------------------------------------------------------------------


def early_token(node: str) -> Lab:
    lab = shop(f"operation error STS: AssumeRoleWithWebIdentity: {STS}", crashing="n1")
    lab.host(node).file("clock.json", '{"synchronized": false, "offset_seconds": -47.9}')
    lab.pod("shop/web-5d4f7c9b8-good2", node="n2" if node == "n1" else "n3", owner=OWNER)
    return lab


@chain
def clock__of_the_node_where_it_fails() -> Chain:
    return Chain(early_token("n1"), "node.clock_skew", "crash.identity", True, "tokens are from the future there")


@chain
def clock__of_another_node() -> Chain:
    return Chain(early_token("n2"), "node.clock_skew", "crash.identity", False, "its own clock is right")


# -- nodes, volumes, pods ------------------------------------------------------------------------------------------

GONE = (
    "0/2 nodes are available: 1 node(s) had untolerated taint(s), "
    "1 node(s) didn't match PersistentVolume's node affinity."
)


def lost_zone(*, lost: float, pending: float, volume_zone: str = "a") -> Lab:
    lab = Lab("zones")
    lab.storage_class("gp3")
    for number, zone in enumerate(("a", "b"), 1):
        lab.node(f"n{number}", zone=zone)
        lab.host(f"n{number}")
    lab.tick(600)
    lab.lose_node("n1", since=lost)
    lab.disk("db/data-pg-0", "pv-1", zone=volume_zone)
    lab.statefulset("db/pg", ready=0, storage_class="gp3")
    claims = {"data": "data-pg-0"}
    owner = ("StatefulSet", "pg")
    lab.pod("db/pg-0", owner=owner, claims=claims, pending_since=pending, scheduler_says=GONE)
    return lab


@chain
def node__its_loss_strands_the_volume() -> Chain:
    return Chain(lost_zone(lost=-900, pending=-700), "node.lost", "storage.zone_mismatch", True, "first it went")


@chain
def node__the_pod_waited_before_the_node_was_lost() -> Chain:
    lab = lost_zone(lost=-300, pending=-1500)
    return Chain(lab, "node.lost", "storage.zone_mismatch", False, "what comes later explains nothing")


@chain
def node__the_volume_is_in_a_zone_that_has_no_node() -> Chain:
    lab = lost_zone(lost=-900, pending=-700, volume_zone="c")
    return Chain(lab, "node.lost", "storage.zone_mismatch", False, "that node was never in the volume's zone")


@chain
def volume__its_zone_holds_up_the_pod() -> Chain:
    lab = lost_zone(lost=-900, pending=-700)
    return Chain(lab, "storage.zone_mismatch", "sched.volume_zone", True, "the same claim")


@chain
def volume__the_scheduler_is_not_held_up_by_the_node_itself() -> Chain:
    lab = lost_zone(lost=-900, pending=-700)
    return Chain(lab, "node.lost", "sched.volume_zone", False, "link by link: the zone's volume stands between them")


IN_USE = f'Multi-Attach error for volume "{VOLUME}" Volume is already used by pod(s) pg-0'


def abandoned(*, lost: float, minutes: float) -> Lab:
    lab = cluster()
    database(lab)
    lab.tick(1200)
    lab.lose_node("n1", since=lost)
    waits(lab, minutes=minutes)
    refused(lab, IN_USE)
    return lab


@chain
def node__its_loss_leaves_a_stale_attachment() -> Chain:
    return Chain(
        abandoned(lost=-900, minutes=10), "node.lost", "storage.stale_attachment", True, "n1 has it and is lost"
    )


@chain
def node__another_ones_loss_leaves_no_stale_attachment() -> Chain:
    lab = cluster()
    lab.disk("db/data", VOLUME, attached_to="n2")
    lab.tick(1200)
    lab.lose_node("n3", since=-900)
    waits(lab, minutes=10)
    refused(lab, f'MountVolume.WaitForAttach failed for volume "{VOLUME}" : volume not attached', reason="FailedMount")
    return Chain(lab, "node.lost", "storage.stale_attachment", False, "n2 is there, and has no such device")


def unpacking(node: str, *, since: float = -1500) -> Lab:
    lab = shop(HANDSHAKE)
    lab.delete(f"Pod/{WEB}")
    waits_for_image(lab, "ErrImagePull", pull("failed to extract layer: write: no space left on device"), since=-900)
    conditions = lab.store.get("Node", node)["status"]["conditions"]
    short = {"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure", "message": "disk pressure"}
    kept = [each for each in conditions if each["type"] != "DiskPressure"]
    short["lastTransitionTime"] = stamp(lab.now + since)
    lab.change(f"Node/{node}", {"status": {"conditions": [*kept, short]}})
    return lab


@chain
def disk__full_where_the_image_is_unpacked() -> Chain:
    return Chain(unpacking("n1"), "node.disk_pressure", "image.disk_or_snapshotter", True, "the same node")


@chain
def disk__full_on_another_node() -> Chain:
    return Chain(unpacking("n2"), "node.disk_pressure", "image.disk_or_snapshotter", False, "not there")


@chain
def disk__full_only_afterwards() -> Chain:
    lab = unpacking("n1", since=-120)
    return Chain(lab, "node.disk_pressure", "image.disk_or_snapshotter", False, "it filled up later")


def unwritable(key: str) -> Lab:
    lab = cluster()
    host = database(lab)
    lab.tick()
    host.read_only("nvme1n1")
    end = End(1, "open /data/app.db: read-only file system")
    if key != "db/pg-0":
        crashes(lab, end, key, "n1", owner=("StatefulSet", "other"))
    else:
        crashes(lab, end, key, "n1", owner=("StatefulSet", "pg"), claims={"data": "data"})
    return lab


@chain
def device__its_file_system_turned_read_only_under_the_pod() -> Chain:
    lab = unwritable("db/pg-0")
    return Chain(lab, "storage.io_error_readonly", "crash.permission_fs", True, "the very pod")


@chain
def device__of_another_pod() -> Chain:
    lab = unwritable("db/other-0")
    return Chain(lab, "storage.io_error_readonly", "crash.permission_fs", False, "its own root is read-only, by choice")


def unprovisioned(claim: str, *, message: str = "") -> Lab:
    """The volume of claim shop/data is refused; a pod waits for that claim or another one."""
    lab = cluster(nodes=1)
    lab.storage_class("gp3", default=True)
    if message:
        lab.storage_class("fast", waits=False)
    lab.claim("shop/data", storage_class="fast", created=-900)
    lab.claim("shop/mine", storage_class="gp3", created=-900)
    event = {"first": -880.0, "last": -20.0, "count": 40}
    text = message or 'storageclass.storage.k8s.io "fast" not found'
    lab.event("PersistentVolumeClaim", "shop/data", "ProvisioningFailed", text, **event)
    says = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    lab.pod("shop/web-0", claims={"data": claim}, pending_since=-850, scheduler_says=says)
    return lab


@chain
def claim__its_class_does_not_exist() -> Chain:
    return Chain(
        unprovisioned("data"), "storage.provision_failed_class_missing", "sched.unbound_pvc", True, "the very claim"
    )


@chain
def claim__another_one_has_no_class() -> Chain:
    return Chain(
        unprovisioned("mine"), "storage.provision_failed_class_missing", "sched.unbound_pvc", False, "another claim"
    )


PRESSED: dict[str, Any] = {
    "conditions": {"DiskPressure": "True"},
    "taints": ["node.kubernetes.io/disk-pressure:NoSchedule"],
}
OTHER: dict[str, Any] = {"taints": ["team=data:NoSchedule"]}


def tainted(**fields: Any) -> Lab:
    """A pod that waits for its one node, which has a taint."""
    lab = Lab("taints")
    lab.node("n1", **fields)
    lab.host("n1")
    lab.node("n2", role="control-plane", **(PRESSED if fields == OTHER else {}))
    lab.host("n2")
    says = "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    lab.pod("shop/web-0", pending_since=-600, scheduler_says=says)
    return lab


@chain
def taint__of_a_node_that_is_short_of_disk() -> Chain:
    return Chain(tainted(**PRESSED), "node.disk_pressure", "sched.taint", True, "the kubelet's own taint")


@chain
def taint__of_the_operator() -> Chain:
    lab = tainted(**OTHER)
    return Chain(lab, "node.disk_pressure", "sched.taint", False, "n2 is short of disk, and was never meant for it")


def unreachable(pending: float) -> Lab:
    """A pod that waits; both of its nodes are lost."""
    lab = Lab("taints")
    for name in ("n1", "n2"):
        lab.node(name)
        lab.host(name)
    lab.tick(600)
    for name in ("n1", "n2"):
        lab.lose_node(name, since=-900)
    says = "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    lab.pod("shop/web-0", pending_since=pending, scheduler_says=says)
    return lab


@chain
def taint__of_nodes_that_are_lost() -> Chain:
    return Chain(unreachable(-600), "node.lost", "sched.taint", True, "unreachable is all that their taints say")


@chain
def taint__the_nodes_were_lost_later() -> Chain:
    return Chain(unreachable(-3000), "node.lost", "sched.taint", False, "it had waited for half an hour by then")


# -- what a node does to all of its paths --------------------------------------------------------------------------

SNMP = """\
Ip: Forwarding DefaultTTL InReceives InDelivers OutRequests OutDiscards ReasmTimeout ReasmReqds ReasmOKs ReasmFails \
FragOKs FragFails FragCreates
Ip: 1 64 100000 100000 100000 {discards} 0 {arrived} 0 {unjoined} 0 {too_big} 0
Icmp: InMsgs InErrors InCsumErrors InDestUnreachs OutMsgs OutErrors OutDestUnreachs
Icmp: 0 0 0 {told} 0 0 {tells}
"""
COUNTERS = ("discards", "arrived", "unjoined", "too_big", "told", "tells")


def counters(lab: Lab, name: str, dropped: int = 0, **values: int) -> None:
    """A host with an overlay that has dropped so much, and its protocol counters."""
    overlay(lab, name, 1500)
    links = json.loads(lab.host(name).files["ip-link.json"])
    for link in links:
        drops = dropped if link["ifname"] == "flannel.1" else 0
        received = {"bytes": 900, "packets": 9, "errors": 0, "dropped": 0}
        link["stats64"] = {"rx": received, "tx": received | {"packets": 9_000, "dropped": drops}}
    lab.host(name).file("ip-link.json", json.dumps(links))
    lab.host(name).file("proc/net/snmp", SNMP.format(**(dict.fromkeys(COUNTERS, 0) | values)))


def after_a_minute(node: str, dropped: int = 0, **values: int) -> Lab:
    """A handshake from n1 to n3 that hangs, while these counters of a node rise."""
    lab = shop(HANDSHAKE)
    for name in ("n1", "n2", "n3"):
        counters(lab, name)
    lab.tick(60)
    counters(lab, node, dropped, **values)
    return lab


NODE_WIDE: dict[str, dict[str, int]] = {
    "mtu.drop_fingerprint": {"dropped": 400, "too_big": 400, "told": 400, "tells": 400},
    "mtu.icmp_blocked": {"discards": 400, "too_big": 400, "tells": 400},
    "mtu.fragments_lost": {"arrived": 400, "unjoined": 200},
}


def of_counters(code: str, node: str, *, linked: bool) -> Make:
    def made() -> Chain:
        return Chain(after_a_minute(node, **NODE_WIDE[code]), code, DEPENDENCY, linked, f"the fault is of {node}")

    made.__name__ = f"{code.replace('.', '_')}__on_{node}"
    return made


for _code in NODE_WIDE:
    CHAINS.append(of_counters(_code, "n1", linked=True))
    CHAINS.append(of_counters(_code, "n2", linked=False))


# -- volumes -------------------------------------------------------------------------------------------------------


@chain
def limit__of_the_node_that_the_pod_may_use() -> Chain:
    lab = cluster(nodes=1, attach_limit=2)
    for number in range(2):
        lab.disk(f"db/full-{number}", f"pv-full-{number}", attached_to="n1")
        lab.pod(f"db/full-{number}", node="n1", claims={"data": f"full-{number}"})
        lab.host("n1").mount_csi(f"db/full-{number}", f"pv-full-{number}")
    lab.storage_class("gp3")
    lab.claim(CLAIM)
    exceeded = "0/1 nodes are available: 1 node(s) exceed max volume count."
    lab.pod(NEW, claims={"data": "data"}, pending_since=-600, scheduler_says=exceeded)
    return Chain(lab, "storage.attach_limit", "sched.volume_limit", True, "n1 is full")


def left_behind(volume: str, *, since: float = -600) -> Lab:
    """A host has a disk that nobody knows of, and the attachment of pv-1 does not end."""
    lab = cluster()
    lab.disk("db/data", VOLUME, zone="eu-1a")
    lab.disk("db/other", "pv-other", zone="eu-1a")
    lab.host("n3").attach_volume(volume)
    lab.tick(-since)
    waits(lab, minutes=8)
    error = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    lab.attachment(VOLUME, "n2", attached=False, created=-480, attach_error=error)
    return lab


@chain
def orphan__of_the_volume_that_does_not_come() -> Chain:
    return Chain(left_behind(VOLUME), "storage.orphaned_device", "storage.attach_timeout", True, "n3 still has it")


@chain
def orphan__of_another_volume() -> Chain:
    lab = left_behind("pv-other")
    return Chain(lab, "storage.orphaned_device", "storage.attach_timeout", False, "n3 has another one")


def gone_under_the_pod(*, other: bool) -> Lab:
    """A disk goes while it is mounted; errors are met there, or on another volume of another node."""
    lab = cluster()
    host = database(lab)
    if other:
        lab.disk("db/other", "pv-other", attached_to="n2", zone="eu-1a")
        lab.pod("db/other-0", node="n2", claims={"data": "other"})
        lab.host("n2").mount_csi("db/other-0", "pv-other")
    lab.tick(600)
    host.detach("nvme1n1")
    if other:
        lab.host("n2").read_only("nvme1n1")
    else:
        host.read_only("nvme1n1")
    return lab


@chain
def stale__the_disk_went_under_its_file_system() -> Chain:
    lab = gone_under_the_pod(other=False)
    return Chain(lab, "storage.stale_attachment", "storage.io_error_readonly", True, "the very volume")


@chain
def stale__errors_of_another_disk() -> Chain:
    lab = gone_under_the_pod(other=True)
    return Chain(lab, "storage.stale_attachment", "storage.io_error_readonly", False, "another volume")


BROKEN = (
    'MountVolume.MountDevice failed for volume "{}" : rpc error: code = Internal desc = mount failed: exit status 32: '
    "wrong fs type, bad option, bad superblock on /dev/nvme1n1"
)


def unmountable(read_only: str) -> Lab:
    lab = cluster()
    lab.disk("db/data", VOLUME, attached_to="n2")
    lab.disk("db/other", "pv-other", attached_to="n3")
    lab.pod("db/other-0", node="n3", claims={"data": "other"})
    lab.host("n2").stage(VOLUME)
    lab.host("n3").mount_csi("db/other-0", "pv-other")
    lab.tick(60)
    lab.host(read_only).read_only("nvme1n1")
    waits(lab, minutes=6)
    refused(lab, BROKEN.format(VOLUME), reason="FailedMount")
    return lab


@chain
def errors__of_the_volume_that_does_not_mount() -> Chain:
    return Chain(unmountable("n2"), "storage.io_error_readonly", "storage.mount_failed_fs", True, "the very volume")


@chain
def errors__of_another_volume() -> Chain:
    return Chain(unmountable("n3"), "storage.io_error_readonly", "storage.mount_failed_fs", False, "another volume")


REFUSALS = {
    "storage.provision_failed_quota_or_cloud": "rpc error: code = ResourceExhausted desc = VolumeLimitExceeded: You "
    "have exceeded your maximum gp3 storage limit",
    "storage.provision_failed_topology": "error generating accessibility requirements: no topology key found on "
    "CSINode n1",
}


def of_provisioner(code: str, *, own: bool) -> Make:
    def made() -> Chain:
        lab = unprovisioned("data" if own else "mine", message=REFUSALS[code])
        return Chain(lab, code, "sched.unbound_pvc", own, "the pod's own claim" if own else "another claim")

    made.__name__ = f"{code.replace('.', '_')}__{'own' if own else 'another'}"
    return made


for _code in REFUSALS:
    CHAINS.append(of_provisioner(_code, own=True))
    CHAINS.append(of_provisioner(_code, own=False))


def test_each_edge_is_there_in_one_cluster_and_absent_in_another() -> None:
    both: dict[tuple[str, str], set[bool]] = {}
    for make in CHAINS:
        case = make()
        both.setdefault((case.cause, case.effect), set()).add(case.linked)
    # The chain of the control plane has scenarios of its own.
    edges = {(edge.cause, edge.effect) for edge in EDGES if not edge.effect.startswith(("cp.", "disk."))}
    # Of these the effect brings its cause along: both are about the pods of one claim, or about one full node.
    together = {("storage.zone_mismatch", "sched.volume_zone"), ("storage.attach_limit", "sched.volume_limit")}
    assert all(both[edge] == {True} for edge in together)
    assert {edge for edge in edges if both.get(edge) != {True, False}} == together
