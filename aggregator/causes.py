"""Which finding explains which, across incidents. An edge needs shared facts and the right order in time, never mere
coincidence.

A signature names the causes it knows of itself; here is what no signature can see alone. A finding is given its direct
causes only: what explains those is found by following them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from aggregator.model import Finding, Gap

NODE = "Node"
"""Kind of the nodes that a finding names: as those where the trouble is, or as objects, where only the API server is
asked about them."""
DEVICE = "Device"
"""Kind of the block devices that a finding names: objects "Device/NODE/MAJ:MIN"."""
PATH = "Path"
"""Kind of the paths that a finding names: objects "Path/NODE/NODE", "Path/NODE/ADDRESS", and "Path/NODE" for all paths
of a node. A cause that names none is about all paths of its nodes."""

ORDER_SLACK_S = 60.0
"""What follows may seem to have begun so much earlier than its cause: another clock sees it, at another pace."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Findings of `cause` explain those of `effect` that share an object of this kind."""

    cause: str
    effect: str
    kind: str


_CLAIM = "PersistentVolumeClaim"
_VOLUME = "PersistentVolume"
_POD = "Pod"
_API_SERVER = "ApiServer"

EDGES: tuple[Edge, ...] = (
    Edge("node.lost", "storage.zone_mismatch", NODE),
    Edge("node.lost", "storage.stale_attachment", NODE),
    Edge("node.clock_skew", "crash.identity", NODE),
    Edge("node.disk_pressure", "image.disk_or_snapshotter", NODE),
    Edge("mtu.path_black_hole", "crash.dependency_unreachable", PATH),
    Edge("mtu.path_black_hole", "image.registry_unreachable", PATH),
    Edge("mtu.drop_fingerprint", "crash.dependency_unreachable", PATH),
    Edge("mtu.fragments_lost", "crash.dependency_unreachable", PATH),
    Edge("mtu.icmp_blocked", "crash.dependency_unreachable", PATH),
    Edge("node.lost", "sched.taint", NODE),
    Edge("node.disk_pressure", "sched.taint", NODE),
    Edge("storage.zone_mismatch", "sched.volume_zone", _CLAIM),
    Edge("storage.provision_failed_class_missing", "sched.unbound_pvc", _CLAIM),
    Edge("storage.provision_failed_quota_or_cloud", "sched.unbound_pvc", _CLAIM),
    Edge("storage.provision_failed_topology", "sched.unbound_pvc", _CLAIM),
    Edge("storage.attach_limit", "sched.volume_limit", NODE),
    Edge("storage.orphaned_device", "storage.attach_timeout", _VOLUME),
    Edge("storage.stale_attachment", "storage.io_error_readonly", _VOLUME),
    Edge("storage.io_error_readonly", "storage.mount_failed_fs", _VOLUME),
    Edge("storage.io_error_readonly", "crash.permission_fs", _POD),
    Edge("disk.noisy_neighbour", "cp.etcd_slow_fsync", DEVICE),
    Edge("disk.noisy_neighbour", "disk.slow_fsync", DEVICE),
    Edge("cp.etcd_slow_fsync", "cp.saturation", NODE),
    Edge("cp.etcd_slow_fsync", "cp.leader_lost", NODE),
    Edge("cp.saturation", "cp.lease_renew_failed", _API_SERVER),
    Edge("cp.saturation", "cp.leader_lost", _API_SERVER),
    Edge("cp.saturation", "cp.apf_throttled", _API_SERVER),
    Edge("cp.saturation", "cp.apiserver_timeout", _API_SERVER),
    Edge("cp.apiserver_latency", "cp.lease_renew_failed", _API_SERVER),
    Edge("cp.apiserver_latency", "cp.apf_throttled", _API_SERVER),
    Edge("cp.apiserver_latency", "cp.apiserver_timeout", _API_SERVER),
    Edge("cp.api_traffic_surge", "cp.apf_throttled", _API_SERVER),
    Edge("cp.api_traffic_surge", "cp.lease_renew_failed", _API_SERVER),
    Edge("cp.api_traffic_surge", "cp.apiserver_timeout", _API_SERVER),
    Edge("cp.webhook_timeout", "cp.apiserver_timeout", _API_SERVER),
    Edge("cp.apiserver_timeout", "cp.lease_renew_failed", _API_SERVER),
)


@dataclass(frozen=True, slots=True)
class Linked:
    """Findings with their causes."""

    findings: list[Finding]
    """In the order in which they were given."""
    gaps: list[Gap]
    """What could not be so: findings that would explain each other."""


def link(findings: Iterable[Finding], edges: Iterable[Edge] = EDGES) -> Linked:
    """The same findings, each with the ids of those among them that explain it directly.

    What is found does not depend on the order of findings or edges. Were two to explain each other, directly or by way
    of others, which is a defect of the edges, the weakest such edge is left out and a gap says so.
    """
    findings = list(findings)
    by_id = {finding.id: finding for finding in findings}
    causes = _candidates(findings, by_id, edges)
    gaps = _without_cycles(causes, by_id)
    above = _ancestors(causes)
    return Linked([_with(finding, _direct(causes[finding.id], above)) for finding in findings], gaps)


def _candidates(findings: list[Finding], by_id: Mapping[str, Finding], edges: Iterable[Edge]) -> dict[str, set[str]]:
    """Ids of what explains each finding, by its id."""
    codes = {finding.code for finding in findings}
    wanted = [edge for edge in edges if edge.cause in codes and edge.effect in codes]
    kinds: dict[str, set[str]] = {}
    to: dict[str, list[Edge]] = {}
    for edge in wanted:
        kinds.setdefault(edge.cause, set()).add(edge.kind)
        to.setdefault(edge.effect, []).append(edge)
    by_fact: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        for kind in kinds.get(finding.code, ()):
            for fact in facts(finding, kind, as_cause=True):
                by_fact.setdefault((finding.code, fact), []).append(finding)
    causes = {finding.id: {each for each in finding.caused_by if each in by_id} for finding in findings}
    for finding in findings:
        for edge in to.get(finding.code, ()):
            for fact in facts(finding, edge.kind):
                found = by_fact.get((edge.cause, fact), ())
                causes[finding.id].update(cause.id for cause in found if _in_order(cause, finding))
        causes[finding.id].discard(finding.id)
    return causes


def _in_order(cause: Finding, effect: Finding) -> bool:
    """The cause began first, as far as both say when they began."""
    return not (cause.since and effect.since) or cause.since <= effect.since + ORDER_SLACK_S


def facts(finding: Finding, kind: str, *, as_cause: bool = False) -> list[str]:
    """What of this kind the finding is about, as other findings name it, too. `as_cause`: as one that explains others.

    A cause that names no path is of all paths of its nodes; what suffers names its path, or suffers from none.
    """
    prefix = f"{kind}/"
    named = [each for each in finding.objects if each.startswith(prefix)]
    if kind == NODE:
        return [*named, *(f"{NODE}/{node}" for node in finding.nodes)]
    if kind == PATH and as_cause and not named:
        return [f"{PATH}/{node}" for node in finding.nodes]
    return named


def shared(cause: Finding, effect: Finding, edges: Iterable[Edge] = EDGES) -> tuple[str, ...]:
    """What the two have in common that makes the one explain the other; empty: a signature says so by itself."""
    found: dict[str, None] = {}
    for edge in edges:
        if (edge.cause, edge.effect) == (cause.code, effect.code):
            theirs = set(facts(cause, edge.kind, as_cause=True))
            found |= dict.fromkeys(each for each in facts(effect, edge.kind) if each in theirs)
    return tuple(found)


# -- the shape of the whole ------------------------------------------------------------------------------------------


def _without_cycles(causes: dict[str, set[str]], by_id: Mapping[str, Finding]) -> list[Gap]:
    """Take out of `causes` what closes a ring: edges are laid in order of their strength, none that would close one."""
    if not _has_cycle(causes):
        return []
    edges = sorted(
        ((cause, effect) for effect, above in causes.items() for cause in above),
        key=lambda edge: _strength(by_id[edge[0]], by_id[edge[1]]),
    )
    for each in causes.values():
        each.clear()
    gaps = []
    for cause, effect in edges:
        if effect in _all_above(cause, causes):
            one, other = f"{by_id[cause].code} ({cause})", f"{by_id[effect].code} ({effect})"
            because = f"{one} and {other} would explain each other: the first is not taken as a cause of the second"
            gaps.append(Gap("", "diagnosis/causes", "degraded", because))
        else:
            causes[effect].add(cause)
    return gaps


def _strength(cause: Finding, effect: Finding) -> tuple[bool, bool, str, str, str, str]:
    """Strongest first: where both say when they began and the cause did so first; then what the signature itself
    says; then by name."""
    told = bool(cause.since and effect.since)
    return (
        not (told and cause.since < effect.since),
        cause.id not in effect.caused_by,
        cause.code,
        effect.code,
        cause.id,
        effect.id,
    )


def _has_cycle(causes: Mapping[str, set[str]]) -> bool:
    left = {effect: len(above) for effect, above in causes.items()}
    effects: dict[str, list[str]] = {}
    for effect, above in causes.items():
        for cause in above:
            effects.setdefault(cause, []).append(effect)
    free = [each for each, count in left.items() if not count]
    done = 0
    while free:
        done += 1
        for effect in effects.get(free.pop(), ()):
            left[effect] -= 1
            if not left[effect]:
                free.append(effect)
    return done < len(causes)


def _all_above(start: str, causes: Mapping[str, set[str]]) -> set[str]:
    """`start`, and all that explains it, near or far."""
    found, ahead = {start}, [start]
    while ahead:
        for cause in causes[ahead.pop()] - found:
            found.add(cause)
            ahead.append(cause)
    return found


def _ancestors(causes: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """All that explains each of the causes, near or far, where anything has several."""
    several = {cause for above in causes.values() if len(above) > 1 for cause in above}
    return {cause: _all_above(cause, causes) - {cause} for cause in several}


def _direct(causes: set[str], above: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Those that do not explain it by way of another one."""
    if len(causes) < 2:
        return tuple(causes)
    return tuple(sorted(each for each in causes if not any(each in above[other] for other in causes)))


def _with(finding: Finding, caused_by: tuple[str, ...]) -> Finding:
    return finding if caused_by == finding.caused_by else replace(finding, caused_by=caused_by)
