"""Incident 3, mtu_mismatch: what is too large for its way, by configuration, counters or probes, and look-alikes.

A pure function of the joined view. Rules see one host (or compare hosts) and make observations; the same cause on
several hosts becomes one finding; a finding that another explains carries its id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from aggregator.cluster.objects import NodeObject
from aggregator.model import Evidence, Finding, Gap, RuledOut, Severity, Stage, Verdict, finding_id
from aggregator.node_state import NodeState
from aggregator.signatures.case import fair_share, first_of_each
from aggregator.signatures.mtu import configuration, connections, fragments, lookalikes, paths, too_big
from aggregator.signatures.mtu.codes import CODES
from aggregator.signatures.mtu.observation import Cause, Observation
from aggregator.signatures.mtu.topology import HostNetwork, TunnelFit
from aggregator.signatures.mtu.window import NIC_ERRORS, QUEUE_DROPS, HostWindow
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "mtu_mismatch"


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What follows from a host's items alone, worked out once for as long as they stay."""

    node: NodeObject | None
    network: HostNetwork
    fits: list[TunnelFit]
    gaps: list[Gap]
    misfits: list[configuration.Misfit]
    roles: list[configuration.Role]


@dataclass(frozen=True, slots=True)
class _Host:
    configuration: _Configuration
    window: HostWindow


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings and gaps of the MTU incident and its look-alikes for the whole cluster."""
    verdict = Verdict()
    hosts: dict[str, _Host] = {}
    for name, state in sorted(view.hosts.items()):
        known = _configuration(state, view.nodes.get(name))
        hosts[name] = _Host(known, HostWindow(known.network, known.fits, thresholds))
        verdict.gaps.extend(known.gaps)
        verdict.gaps.extend(lookalikes.unwatched(known.network, thresholds))
    observations = [seen for host in hosts.values() for seen in _host_rules(host)]
    every_node_seen = not view.nodes or set(view.nodes) <= set(view.hosts)
    observations += fragments.lost_between((host.window for host in hosts.values()), every_node_seen)
    networks = {name: host.configuration.network for name, host in hosts.items()}
    roles = {name: host.configuration.roles for name, host in hosts.items()}
    observations += configuration.inconsistent_across_nodes(networks, roles)
    found = paths.probes(networks.values(), thresholds)
    observations += paths.path_rules(found)
    observations = _settled(_with_clean_paths(observations, paths.clean(found)))
    verdict.findings = _findings(view, observations)
    return verdict


def _configuration(state: NodeState, node: NodeObject | None) -> _Configuration:
    known = state.derived.get(_NAME)
    if isinstance(known, _Configuration) and known.node == node:
        return known
    network = HostNetwork(state, node)
    fits, gaps = configuration.overlays(network)
    misfits, roles = configuration.misfits_on_node(network, fits), configuration.roles_of(network)
    made = _Configuration(node, network, fits, gaps, misfits, roles)
    state.derived[_NAME] = made
    return made


def _host_rules(host: _Host) -> Iterable[Observation]:
    known = host.configuration
    yield from configuration.overlay_exceeds_underlay(known.network, known.fits)
    for misfit, seen in zip(
        known.misfits, configuration.inconsistent_on_node(known.network, known.misfits), strict=True
    ):
        harm = too_big.misfit_harm(host.window, misfit)
        yield replace(seen, stage=Stage.ACTIVE, evidence=(*seen.evidence, *harm)) if harm else seen
    yield from too_big.drop_fingerprint(host.window)
    yield from too_big.icmp_blocked(host.window)
    yield from fragments.fragmenting(host.window)
    yield from fragments.fragments_unassembled(host.window)
    yield from connections.timing_out(host.window)
    yield from lookalikes.nic_errors(host.window)
    yield from lookalikes.overlay_drops(host.window)
    yield from lookalikes.queue_drops(host.window)
    yield from lookalikes.conntrack_full(host.window)


def _with_clean_paths(observations: list[Observation], clean: dict[str, str]) -> list[Observation]:
    """Drops that nothing proves to be MTU, on a node whose paths are proved clean at full size: then it is not MTU."""
    return [
        replace(seen, ruled_out=(*seen.ruled_out, RuledOut(paths.PATH_BLACK_HOLE, clean[seen.node])))
        if seen.code in {lookalikes.OVERLAY_DROPS, NIC_ERRORS, QUEUE_DROPS} and seen.node in clean
        else seen
        for seen in observations
    ]


def _settled(observations: list[Observation]) -> list[Observation]:
    """Let observations of one cause know of each other: harm makes a configuration active."""
    lost = {
        seen.node
        for seen in observations
        if seen.code == fragments.FRAGMENTS_LOST and seen.about == fragments.ON_THE_WAY
    }
    kept = [seen for seen in observations if not (seen.code == fragments.FRAGMENTING and seen.node in lost)]
    kept = _with_one_hole([_with_cutters(seen, kept) for seen in kept])
    harms = list(_harms(kept))
    black_holes = [seen for seen in kept if seen.code == paths.PATH_BLACK_HOLE and seen.about == ("overlay",)]
    holes = {item.node: item for item in black_holes}
    settled = []
    for seen in kept:
        if seen.code in _CONFIGURATIONS:
            hole = holes.get(seen.node) if _explains_path(seen) else None
            proof = [harm.evidence for harm in harms if (harm.node, harm.cause) == (seen.node, (seen.code, seen.about))]
            if hole is not None:
                proof.append(hole.evidence)
            if proof:
                seen = replace(seen, stage=Stage.ACTIVE, evidence=(*seen.evidence, *chain.from_iterable(proof)))  # noqa: PLW2901 - same observation, further on
        settled.append(seen)
    return [_with_path_causes(seen, settled) for seen in settled]


def _with_one_hole(observations: list[Observation]) -> list[Observation]:
    """An underlay that loses large packets loses those of its overlay too: one cause, one finding, the underlay's.

    Unless the node's configuration explains what its overlay loses.
    """
    below = {(seen.code, seen.node) for seen in observations if seen.about == ("underlay",)}
    explained = {seen.node for seen in observations if seen.code in _CONFIGURATIONS and _explains_path(seen)}
    folded = [
        seen
        for seen in observations
        if seen.about == ("overlay",) and (seen.code, seen.node) in below and seen.node not in explained
    ]
    others = [seen for seen in observations if seen not in folded]
    return others + [replace(seen, about=("underlay",)) for seen in folded]


_CONFIGURATIONS = frozenset({configuration.OVERLAY_EXCEEDS_UNDERLAY, configuration.INCONSISTENT_ON_NODE})


def _explains_path(seen: Observation) -> bool:
    """Configurations that make full-size packets vanish between nodes."""
    return seen.code == configuration.OVERLAY_EXCEEDS_UNDERLAY or seen.about[0] in {"pods above", "members"}


@dataclass(frozen=True, slots=True)
class _Harm:
    """What proves that a configuration of a node does harm."""

    node: str
    cause: Cause
    evidence: tuple[Evidence, ...]


def _harms(observations: list[Observation]) -> Iterable[_Harm]:
    for seen in observations:
        if seen.stage is not Stage.ACTIVE:
            continue
        # Where fragments do not arrive whole is one node, whose configuration cut them is another's.
        sufferers = [cutter.node for cutter in _cutters(seen, observations)] or [seen.node]
        for node in sufferers:
            for cause in seen.causes:
                yield _Harm(node, cause, seen.evidence)


def _cutters(seen: Observation, observations: list[Observation]) -> list[Observation]:
    """Other nodes that cut their overlay's packets, where fragments do not arrive whole."""
    if seen.code != fragments.FRAGMENTS_LOST or seen.about != fragments.ARRIVING:
        return []
    return [other for other in observations if other.code == fragments.FRAGMENTING and other.node != seen.node]


def _with_cutters(seen: Observation, observations: list[Observation]) -> Observation:
    causes = {cause for cutter in _cutters(seen, observations) for cause in cutter.causes}
    return replace(seen, causes=tuple(sorted(causes))) if causes else seen


def _with_path_causes(seen: Observation, observations: list[Observation]) -> Observation:
    if seen.code not in {paths.PATH_BLACK_HOLE, fragments.FRAGMENTS_LOST} or seen.causes or seen.about == ("underlay",):
        return seen
    causes = {
        (other.code, other.about)
        for other in observations
        if other.code in _CONFIGURATIONS
        and other.node == seen.node
        and _explains_path(other)
        and (seen.code == paths.PATH_BLACK_HOLE or other.code == configuration.OVERLAY_EXCEEDS_UNDERLAY)
    }
    return replace(seen, causes=tuple(sorted(causes))) if causes else seen


def _findings(view: ClusterView, observations: list[Observation]) -> list[Finding]:
    groups: dict[tuple[str, tuple[str, ...]], list[Observation]] = {}
    for seen in observations:
        groups.setdefault((seen.code, seen.about), []).append(seen)
    ids = {key: finding_id(key[0], view.cluster, *key[1]) for key in groups}
    return [_finding(key, group, ids) for key, group in sorted(groups.items())]


def _finding(
    key: tuple[str, tuple[str, ...]], group: list[Observation], ids: dict[tuple[str, tuple[str, ...]], str]
) -> Finding:
    code = CODES[key[0]]
    group = sorted(group, key=lambda seen: (seen.stage is Stage.RISK, seen.node))
    active = [seen for seen in group if seen.stage is Stage.ACTIVE]
    stage = Stage.ACTIVE if active else Stage.RISK
    severity = code.active if active else code.risk
    if code.spreads and len({seen.node for seen in active}) > 1:
        severity = Severity.CRITICAL
    nodes = tuple(sorted({seen.node for seen in group}))
    causes = {ids[cause] for seen in group for cause in seen.causes if cause in ids}
    return Finding(
        id=ids[key],
        code=code.code,
        incident=code.incident,
        stage=stage,
        severity=severity,
        summary=_summary(group, nodes),
        nodes=nodes,
        evidence=fair_share([seen.evidence for seen in group]),
        clears_when=code.clears_when,
        ruled_out=first_of_each(rule for seen in group for rule in seen.ruled_out),
        caused_by=tuple(sorted(causes - {ids[key]})),
        remediation=(*dict.fromkeys(remedy for seen in group for remedy in seen.remedies), *code.remediation),
    )


def _summary(group: list[Observation], nodes: tuple[str, ...]) -> str:
    first = group[0]
    where = f"On {first.node}" if len(nodes) == 1 else f"On {len(nodes)} nodes, {first.node} for one"
    more = len({seen.statement for seen in group if seen.node == first.node}) - 1
    return f"{where}: {first.statement}{f' (and {more} more of the kind there)' if more > 0 else ''}."
