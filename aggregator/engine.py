"""Runs every signature over the joined view. Adding an incident: a module in signatures/ and a row in SIGNATURES.

A signature that raises takes nothing with it: the others are heard, and where the facts of single hosts make it raise,
it is heard about all other hosts. What could not be judged becomes a gap of the diagnosis, and what was found there
before is neither confirmed nor over. Pure: no clock, no input or output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from aggregator.causes import EDGES, Edge, link
from aggregator.cluster.objects import NodeObject
from aggregator.limits import NODE
from aggregator.model import Finding, Gap, Verdict, report_order
from aggregator.node_state import NodeState
from aggregator.signatures import (
    clock,
    control_plane_saturation,
    crash_loop,
    mtu_mismatch,
    node_health,
    scheduler_stuck,
    slow_fsync,
    storage_gravity,
)
from aggregator.signatures.case import API
from aggregator.signatures.storage import host_storage
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

Signature = Callable[[ClusterView, Thresholds], Verdict]

SIGNATURES: tuple[tuple[str, Signature], ...] = (
    ("mtu_mismatch", mtu_mismatch.evaluate),
    ("control_plane_saturation", control_plane_saturation.evaluate),
    ("node_health", node_health.evaluate),
    ("clock", clock.evaluate),
    ("crash_loop", crash_loop.evaluate),
    ("scheduler_stuck", scheduler_stuck.evaluate),
    ("storage_gravity", storage_gravity.evaluate),
)
"""Name and function of each, in the order they run."""

Preparation = Callable[[NodeState, NodeObject | None], None]

PREPARATIONS: tuple[Preparation, ...] = (mtu_mismatch.prepare, slow_fsync.prepare, host_storage.prepare)
"""What signatures would rather do host by host, as its facts come, than for all hosts in one evaluation."""

_MAX_REASON = 300
_MOST_ATTEMPTS = 200
"""Evaluations that finding the hosts that make a signature raise may take: some ten single ones among thousands."""


@dataclass(slots=True)
class Judgement:
    """What all signatures say, and which said what."""

    verdict: Verdict = field(default_factory=Verdict)
    origins: dict[str, str] = field(default_factory=dict)
    """Name of the signature by id of the finding."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by name of the signature that could not be evaluated."""
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    """By name of the signature: why, by name of each host whose facts it could not be evaluated with."""

    def unjudged(self, origin: str, nodes: Iterable[str]) -> str:
        """Why signature `origin` says nothing of the nodes, or not all; empty: it does."""
        if origin in self.failed:
            return f"signature {origin} could not be evaluated: {self.failed[origin]}"
        left_out = self.left_out.get(origin, {})
        node = next((node for node in nodes if node in left_out), None)
        return f"{node}: signature {origin} could not be evaluated: {left_out[node]}" if node is not None else ""


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings of all signatures in report order, and what limited them."""
    return judge(view, thresholds).verdict


def judge(
    view: ClusterView,
    thresholds: Thresholds,
    signatures: tuple[tuple[str, Signature], ...] = SIGNATURES,
    edges: Iterable[Edge] = EDGES,
    most_findings: int = NODE.findings,
) -> Judgement:
    """The same, with the origin of each finding. `most_findings`: of what one node's agent alone says."""
    judgement = Judgement()
    found: dict[str, Finding] = {}
    for name, signature in signatures:
        verdict = _attempt(signature, view, thresholds)
        if isinstance(verdict, str):
            verdict, left_out = _attempt_in_part(signature, view, thresholds, verdict)
            if isinstance(verdict, str):
                judgement.failed[name] = verdict
                judgement.verdict.gaps.append(_gap(name, verdict))
                continue
            judgement.left_out[name] = left_out
            judgement.verdict.gaps.extend(_gap(name, reason, node) for node, reason in left_out.items())
        judgement.verdict.gaps.extend(verdict.gaps)
        judgement.verdict.pending |= verdict.pending
        _add(verdict.findings, name, found, judgement)
    judgement.verdict.gaps += _within_limit(found, most_findings)
    linked = link(found.values(), edges)
    judgement.verdict.gaps += linked.gaps
    judgement.verdict.findings = report_order(clock.suffered(linked.findings))
    return judgement


def prepare(state: NodeState, node: NodeObject | None) -> None:
    """A host's facts have come: what follows from them alone is worked out now, so that no evaluation does it for
    thousands of hosts at once. What can't be is said when the host is judged.
    """
    for preparation in PREPARATIONS:
        with contextlib.suppress(Exception):
            preparation(state, node)


def _attempt(signature: Signature, view: ClusterView, thresholds: Thresholds) -> Verdict | str:
    """What a signature says, or why it does not."""
    try:
        return signature(view, thresholds)
    except Exception as error:  # noqa: BLE001  # a defect of one signature must not silence the others
        return _reason(error)


def _attempt_in_part(
    signature: Signature, view: ClusterView, thresholds: Thresholds, reason: str
) -> tuple[Verdict | str, dict[str, str]]:
    """A signature raised for `reason`: what it says without the hosts that make it raise by themselves, and those.

    A host that does is found by halving, so that one among thousands costs a few dozen evaluations and not thousands.
    Where it raises with no host at all, the objects are to blame, and where very many hosts do, the signature is.
    """
    if not view.hosts or isinstance(_attempt(signature, replace(view, hosts={}), thresholds), str):
        return reason, {}
    left_out: dict[str, str] = {}
    attempts = 0
    parts = [list(view.hosts)]
    while parts:
        part = parts.pop()
        attempts += 1
        if attempts > _MOST_ATTEMPTS:
            return reason, {}
        raised = _attempt(signature, replace(view, hosts={name: view.hosts[name] for name in part}), thresholds)
        if isinstance(raised, Verdict):
            continue
        if len(part) == 1:
            left_out[part[0]] = raised
        else:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    if not left_out:
        return reason, {}  # it raises over several hosts together
    rest = {node: host for node, host in view.hosts.items() if node not in left_out}
    return _attempt(signature, replace(view, hosts=rest), thresholds), left_out


def _gap(name: str, reason: str, node: str = "") -> Gap:
    place = "with the facts of this node" if node else "at all"
    return Gap(node, f"diagnosis/{name}", "damaged", f"signature {name} could not be evaluated {place}: {reason}")


def _add(findings: list[Finding], origin: str, found: dict[str, Finding], judgement: Judgement) -> None:
    """Two findings of one id are a defect: the worse one stands, and the gap says so."""
    origins = judgement.origins
    for finding in findings:
        before = found.get(finding.id)
        if before is not None:
            because = f"two findings share the id {finding.id} (from {origins[finding.id]} and {origin}); one is shown"
            judgement.verdict.gaps.append(Gap("", f"diagnosis/{origin}", "degraded", because))
            if before.severity >= finding.severity:
                continue
        found[finding.id] = finding
        origins[finding.id] = origin


def _within_limit(found: dict[str, Finding], most: int) -> list[Gap]:
    """Take out what is too much of one node: an agent can say anything, and as much of it as it likes.

    Findings that the API server has a part in, or another node, are none of that: they are not the agent's doing.
    """
    if len(found) <= most:
        return []
    own: dict[str, list[Finding]] = {}
    for finding in found.values():
        if len(finding.nodes) == 1 and not any(fact.source.startswith(API) for fact in finding.evidence):
            own.setdefault(finding.nodes[0], []).append(finding)
    gaps = []
    for node, findings in own.items():
        if len(findings) > most:
            findings.sort(key=lambda finding: (-finding.severity, finding.id))
            for finding in findings[most:]:
                del found[finding.id]
            because = (
                f"{len(findings) - most:,} findings of this node are left out, the least severe: its limit findings is"
            )
            gaps.append(Gap(node, "diagnosis/limit", "degraded", f"{because} {most:,}"))
    return gaps


def _reason(error: Exception) -> str:
    """One line: what was raised, and where."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text[:_MAX_REASON]} ({place})"
