"""Which finding explains which, across incidents. An edge needs shared facts and the right order in time, never mere
coincidence.

A signature names the causes it knows of itself; here is what no signature can see alone. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from aggregator.model import Finding

NODE = "Node"
"""Kind of the nodes that a finding names: as those where the trouble is, or as objects, where only the API server is
asked about them."""


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

EDGES: tuple[Edge, ...] = (
    Edge("node.lost", "storage.zone_mismatch", NODE),
    Edge("node.lost", "storage.stale_attachment", NODE),
    Edge("node.clock_skew", "crash.identity", NODE),
    Edge("storage.zone_mismatch", "sched.volume_zone", _CLAIM),
    Edge("storage.provision_failed_class_missing", "sched.unbound_pvc", _CLAIM),
    Edge("storage.provision_failed_quota_or_cloud", "sched.unbound_pvc", _CLAIM),
    Edge("storage.provision_failed_topology", "sched.unbound_pvc", _CLAIM),
    Edge("storage.attach_limit", "sched.volume_limit", NODE),
    Edge("storage.stale_attachment", "storage.attach_timeout", _VOLUME),
    Edge("storage.detach_stuck", "storage.attach_timeout", _VOLUME),
    Edge("storage.detach_stuck", "storage.multi_attach", _VOLUME),
    Edge("storage.multi_attach", "storage.attach_timeout", _VOLUME),
    Edge("storage.orphaned_device", "storage.attach_timeout", _VOLUME),
    Edge("storage.stale_attachment", "storage.io_error_readonly", _VOLUME),
    Edge("storage.io_error_readonly", "storage.mount_failed_fs", _VOLUME),
)


def link(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings, in their order, each with the ids of all that explain it and are there too."""
    findings = list(findings)
    there = {finding.id for finding in findings}
    by_fact: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        for kind in _KINDS.get(finding.code, ()):
            for fact in _facts(finding, kind):
                by_fact.setdefault((finding.code, fact), []).append(finding)
    return [_linked(finding, there, by_fact) for finding in findings]


_KINDS: dict[str, set[str]] = {}
_EDGES_TO: dict[str, list[Edge]] = {}
for _edge in EDGES:
    _KINDS.setdefault(_edge.cause, set()).add(_edge.kind)
    _EDGES_TO.setdefault(_edge.effect, []).append(_edge)


def _linked(finding: Finding, there: set[str], by_fact: dict[tuple[str, str], list[Finding]]) -> Finding:
    causes = {each for each in finding.caused_by if each in there}
    for edge in _EDGES_TO.get(finding.code, ()):
        for fact in _facts(finding, edge.kind):
            causes.update(cause.id for cause in by_fact.get((edge.cause, fact), ()) if _in_order(cause, finding))
    caused_by = tuple(sorted(causes - {finding.id}))
    return finding if caused_by == finding.caused_by else replace(finding, caused_by=caused_by)


def _in_order(cause: Finding, effect: Finding) -> bool:
    """The cause began first, as far as both say when they began."""
    return not (cause.since and effect.since) or cause.since <= effect.since + ORDER_SLACK_S


def _facts(finding: Finding, kind: str) -> list[str]:
    prefix = f"{kind}/"
    named = [each for each in finding.objects if each.startswith(prefix)]
    return [*named, *(f"{NODE}/{node}" for node in finding.nodes)] if kind == NODE else named
