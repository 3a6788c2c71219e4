"""The same cause on several hosts becomes one finding; a finding that another explains carries its id."""

from __future__ import annotations

from collections.abc import Iterable

from aggregator.model import Finding, Severity, Stage, finding_id
from aggregator.signatures.case import fair_share, first_of_each
from aggregator.signatures.mtu.codes import CODES
from aggregator.signatures.mtu.observation import Observation


def findings(cluster: str, observations: Iterable[Observation]) -> list[Finding]:
    """One for each cause; the observations of nodes in their order."""
    groups: dict[tuple[str, tuple[str, ...]], list[Observation]] = {}
    for seen in observations:
        groups.setdefault((seen.code, seen.about), []).append(seen)
    ids = {key: finding_id(key[0], cluster, *key[1]) for key in groups}
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
        objects=tuple(dict.fromkeys(path for seen in group for path in seen.paths)),
        ruled_out=first_of_each(rule for seen in group for rule in seen.ruled_out),
        caused_by=tuple(sorted(causes - {ids[key]})),
        remediation=(*dict.fromkeys(remedy for seen in group for remedy in seen.remedies), *code.remediation),
    )


def _summary(group: list[Observation], nodes: tuple[str, ...]) -> str:
    first = group[0]
    where = f"On {first.node}" if len(nodes) == 1 else f"On {len(nodes)} nodes, {first.node} for one"
    more = len({seen.statement for seen in group if seen.node == first.node}) - 1
    return f"{where}: {first.statement}{f' (and {more} more of the kind there)' if more > 0 else ''}."
