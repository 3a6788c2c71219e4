"""Findings, incidents and coverage as metrics: of what the page and the API show, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nodetell import signals
from nodetell.metrics import Kind, Metric, Told
from nodetell.v1 import facts_pb2

from aggregator.findings import Kind as Step
from aggregator.findings import Transition
from aggregator.known import Known
from aggregator.model import Stage
from aggregator.node_state import NodeState
from aggregator.signatures.catalog import CODES

_OF_FINDING = ("code", "incident", "stage", "severity")
FINDING = Metric("nodetell_finding", Kind.GAUGE, "Findings that stand; none where there are none.", _OF_FINDING)
UNCONFIRMED = Metric(
    "nodetell_finding_unconfirmed", Kind.GAUGE, "... of which the facts cannot confirm so many at present.", _OF_FINDING
)
SINCE = Metric(
    "nodetell_finding_since_seconds",
    Kind.GAUGE,
    "When the oldest of them began, or was seen first where that is not known, seconds since the epoch.",
    _OF_FINDING,
)
INCIDENT = Metric("nodetell_incident_state", Kind.GAUGE, "0: quiet, 1: a risk, 2: active.", ("incident",))
STEPS = Metric(
    "nodetell_finding_changes_total",
    Kind.COUNTER,
    'Findings that "appeared", "changed" or "resolved" since the aggregator started.',
    ("code", "step"),
)
MISSING = Metric(
    "nodetell_nodes_signal_missing",
    Kind.GAUGE,
    'Nodes of which a signal cannot be read, or not fully ("degraded").',
    ("signal", "status"),
)
METRICS = (FINDING, UNCONFIRMED, SINCE, INCIDENT, STEPS, MISSING)

_INCIDENTS = tuple(dict.fromkeys(code.incident for code in CODES.values()))
_STATUS = {
    facts_pb2.COVERAGE_STATUS_MISSING: "missing",
    facts_pb2.COVERAGE_STATUS_DAMAGED: "damaged",
    facts_pb2.COVERAGE_STATUS_DENIED: "denied",
}
_OTHER = "other"
"""Stands for signals that this version does not know: an agent may call one anything."""


class KnownMetrics:
    """Made once, on the loop: it counts what happens from then on."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._steps: Counter[tuple[str, str]] = Counter()
        self._lacking: dict[str, tuple[int, frozenset[tuple[str, str]]]] = {}
        """What of a node is lacking, and of which revision of its facts that is."""
        known.listeners.append(self._count)

    def tell(self) -> Iterable[Told]:
        """As it is now."""
        yield from self._findings()
        yield Told(STEPS, [((code, step), count) for (code, step), count in self._steps.items()])
        nodes: Counter[tuple[str, str]] = Counter()
        hosts = self._known.view().hosts
        for name in self._lacking.keys() - hosts.keys():
            del self._lacking[name]
        for host in hosts.values():
            nodes.update(self._of(host))
        for signal in signals.BY_NAME:
            nodes.setdefault((signal, "missing"), 0)
        yield Told(MISSING, [(labels, count) for labels, count in sorted(nodes.items())])

    def _count(self, transition: Transition) -> None:
        step: Step = transition.kind
        self._steps[transition.record.finding.code, step.value] += 1

    def _findings(self) -> Iterable[Told]:
        standing, unconfirmed = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        since: dict[tuple[str, ...], float] = {}
        states = dict.fromkeys(_INCIDENTS, 0)
        for record in self._known.standing():
            finding = record.finding
            group = finding.code, finding.incident, finding.stage.value, finding.severity.word
            standing[group] += 1
            unconfirmed[group] += bool(record.unconfirmed)
            since[group] = min(since.get(group, record.first_seen), finding.since or record.first_seen)
            state = 2 if finding.stage is Stage.ACTIVE else 1
            states[finding.incident] = max(states.get(finding.incident, 0), state)
        yield Told(FINDING, [(group, count) for group, count in standing.items()])
        yield Told(UNCONFIRMED, [(group, count) for group, count in unconfirmed.items()])
        yield Told(SINCE, list(since.items()))
        yield Told(INCIDENT, [((incident,), state) for incident, state in states.items()])

    def _of(self, host: NodeState) -> frozenset[tuple[str, str]]:
        known = self._lacking.get(host.name)
        if known is not None and known[0] == host.items_revision:
            return known[1]
        lacking = frozenset(
            (
                each.signal if each.signal in signals.BY_NAME else _OTHER,
                _STATUS.get(each.status, "degraded"),
            )
            for each in host.coverage()
        )
        self._lacking[host.name] = host.items_revision, lacking
        return lacking
