"""Nodes whose clock is wrong: tokens and certificates are from the future there, or out of date.

Two sources tell: what the aggregator measures over the agent's stream, and the kernel's own estimate, where a daemon
gives it one. A clock that nobody disciplines and that nobody has measured may be right. A pure function of the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import median_low

from aggregator.model import Evidence, Finding, Stage, Verdict
from aggregator.node_state import ClockOffset, NodeState
from aggregator.signatures.case import Case, gather
from aggregator.signatures.code import Code
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

CLOCK_SKEW = "node.clock_skew"
_HARM = "tokens and certificates are refused as not yet valid or out of date"
_NAME = "clock"
MOST_NODES = 3
"""So many clocks that are most of all and wrong alike have one cause."""

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


@dataclass(frozen=True, slots=True)
class Skew:
    """A clock that is off by too much."""

    node: str
    offset_s: float
    """By how much it is ahead."""
    clause: str
    """What is wrong with it."""
    evidence: tuple[Evidence, ...]


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """A finding for each node whose clock is off by too much; one for all where that is most of them, and alike."""
    return Verdict(gather(view.cluster, _cases(_skews(view, thresholds), len(view.hosts), thresholds), CODES))


@dataclass(slots=True)
class _Hosts:
    memo: HostMemo[Skew] = field(default_factory=HostMemo)
    thresholds: Thresholds | None = None


def _skews(view: ClusterView, thresholds: Thresholds) -> list[Skew]:
    """Clocks that are wrong, by name of the node."""
    # Taken out while it is worked on: what raises leaves nothing half done behind.
    kept = view.objects.derived.pop(_NAME, None)
    hosts = kept if isinstance(kept, _Hosts) and kept.thresholds == thresholds else _Hosts(thresholds=thresholds)
    known = hosts.memo.known
    for name, host, _ in hosts.memo.changed(view):
        known.pop(name, None)
        if (skew := skew_of(name, host, thresholds)) is not None:
            known[name] = skew
    hosts.memo.gone(view)
    view.objects.derived[_NAME] = hosts
    return [skew for _, skew in sorted(known.items())]


def _cases(skews: list[Skew], hosts: int, thresholds: Thresholds) -> Iterator[Case]:
    middle = median_low(skew.offset_s for skew in skews) if skews else 0.0
    alike = {skew.node for skew in skews if abs(skew.offset_s - middle) <= thresholds.clock_offset_s}
    shared = len(alike) >= MOST_NODES and 2 * len(alike) > hosts
    for skew in skews:
        together = shared and skew.node in alike
        which = f"the clocks of {len(alike):,} of {hosts:,} nodes are off alike: that" if together else "the clock"
        yield Case(
            CLOCK_SKEW,
            ("most nodes",) if together else (skew.node,),
            f"{which} of {skew.node} {skew.clause}: {_HARM}",
            (),
            skew.evidence,
            nodes=(skew.node,),
            stage=Stage.RISK,
        )


def skew_of(name: str, host: NodeState, thresholds: Thresholds) -> Skew | None:
    """What is wrong with the clock of a host; None: nothing, or nobody can tell."""
    limit = thresholds.clock_offset_s
    measured, item = host.clock_offset, host.items.get("clock")
    kernel_s = item.clock.offset_us / 1e6 if item is not None and item.clock.HasField("offset_us") else None
    if measured is not None and abs(measured.offset_s) - measured.bound_s > limit:
        offset_s, clause = measured.offset_s, f"is {_off(measured.offset_s)} {_beside(measured)}"
        if kernel_s is not None and abs(kernel_s) > limit:
            clause += f", {_off(kernel_s)} by its kernel's own estimate"
        elif item is not None:
            said = "synchronized" if item.clock.synchronized else "not synchronized"
            clause += f"; its kernel calls it {said}"
    elif kernel_s is not None and abs(kernel_s) > limit:
        offset_s, clause = kernel_s, f"is {_off(kernel_s)} by its kernel's own estimate"
        if measured is not None:
            clause += f", and right to {_bound(abs(measured.offset_s) + measured.bound_s)} {_beside(measured)}"
    else:
        return None
    return Skew(name, offset_s, clause, tuple(_evidence(name, host, measured, kernel_s)))


def _off(offset_s: float) -> str:
    return f"{abs(offset_s):,.0f} s {'fast' if offset_s > 0 else 'slow'}"


def _beside(measured: ClockOffset) -> str:
    whose = "what most nodes show" if measured.from_most else "the aggregator's"
    return f"beside {whose} (measured to {_bound(measured.bound_s)})"


def _bound(seconds: float) -> str:
    """Rounded up, so that it holds, and coarse, so that it seldom changes."""
    return f"within {ceil(seconds * 10) / 10:.1f} s"


def _evidence(name: str, host: NodeState, measured: ClockOffset | None, kernel_s: float | None) -> Iterator[Evidence]:
    if measured is not None:
        yield Evidence(name, "clock.measured", name, round(measured.offset_s, 1), "s", "agent stream", measured.at)
    if kernel_s is not None:
        yield Evidence(name, "clock.offset", name, round(kernel_s, 1), "s", "adjtimex", host.at)


def wrong_clock(host: NodeState | None, thresholds: Thresholds) -> str:
    """What is wrong with the clock of a host, as a clause; empty: nothing that is known."""
    if host is None:
        return ""
    skew = skew_of(host.name, host, thresholds)
    if skew is not None:
        return skew.clause
    measured, item = host.clock_offset, host.items.get("clock")
    if measured is not None and abs(measured.offset_s) + measured.bound_s <= thresholds.clock_offset_s:
        return ""
    return "is not synchronized" if item is not None and not item.clock.synchronized else ""


def is_told(host: NodeState) -> bool:
    """Anything is known of its clock."""
    return host.clock_offset is not None or "clock" in host.items


def suffered(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings, in their order: a wrong clock that explains an active one is a risk no more."""
    findings = list(findings)
    causes = {cause for finding in findings if finding.stage is Stage.ACTIVE for cause in finding.caused_by}
    return [_active(each) if each.code == CLOCK_SKEW and each.id in causes else each for each in findings]


def _active(finding: Finding) -> Finding:
    return replace(finding, stage=Stage.ACTIVE, severity=max(finding.severity, CODES[CLOCK_SKEW].active))
