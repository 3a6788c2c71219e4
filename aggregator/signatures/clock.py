"""Nodes whose clock is wrong: tokens and certificates are from the future there, or out of date.

A pure function of the joined view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from aggregator.model import Evidence, Finding, Stage, Verdict
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case, gather
from aggregator.signatures.code import Code
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

CLOCK_SKEW = "node.clock_skew"

CODES = {
    entry.code: entry
    for entry in (
        Code(
            CLOCK_SKEW,
            "node",
            "the clock of the node is wrong",
            "the clock is off by no more than the threshold",
            ("See its time daemon (chronyd, systemd-timesyncd, the hypervisor's) and whether it reaches its servers.",),
            spreads=False,
        ),
    )
}


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """A finding for each node whose clock is off by too much."""
    return Verdict(gather(view.cluster, _cases(view, thresholds), CODES))


def _cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    for name, host in view.hosts.items():
        item = host.items.get("clock")
        if item is None or not item.clock.HasField("offset_us"):
            continue
        wrong = wrong_clock(host, thresholds)
        if abs(item.clock.offset_us) <= thresholds.clock_offset_s * 1e6 or not wrong:
            continue
        yield Case(
            CLOCK_SKEW,
            (name,),
            f"the clock of {name} {wrong}: tokens and certificates are refused as not yet valid or out of date",
            (),
            (Evidence(name, "clock.offset", name, round(item.clock.offset_us / 1e6, 1), "s", "adjtimex", host.at),),
            nodes=(name,),
            stage=Stage.RISK,
        )


def wrong_clock(host: NodeState | None, thresholds: Thresholds) -> str:
    """What is wrong with the clock of a host, as a clause; empty: nothing that is known."""
    item = host.items.get("clock") if host is not None else None
    if item is None:
        return ""
    clock = item.clock
    offset_s = clock.offset_us / 1e6 if clock.HasField("offset_us") else 0.0
    if abs(offset_s) > thresholds.clock_offset_s:
        return f"is {abs(offset_s):.0f} s {'fast' if offset_s > 0 else 'slow'}"
    return "" if clock.synchronized else "is not synchronized"


def suffered(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings, in their order: a wrong clock that explains an active one is a risk no more."""
    findings = list(findings)
    causes = {cause for finding in findings if finding.stage is Stage.ACTIVE for cause in finding.caused_by}
    return [_active(each) if each.code == CLOCK_SKEW and each.id in causes else each for each in findings]


def _active(finding: Finding) -> Finding:
    return replace(finding, stage=Stage.ACTIVE, severity=max(finding.severity, CODES[CLOCK_SKEW].active))
