"""The aggregator itself as metrics: nodes and their clocks, evaluation, disk, admission, limits, the API server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Protocol

from nodetell.metrics import Kind, Metric, Told, one

from aggregator.admission import Admission
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.fleet import Fleet
from aggregator.history.keeper import History
from aggregator.view import Outage

NODES = Metric("nodetell_nodes", Kind.GAUGE, "Nodes that an agent has reported for.")
CONNECTED = Metric("nodetell_nodes_connected", Kind.GAUGE, "... whose agent's stream stands.")
SILENT = Metric("nodetell_nodes_silent", Kind.GAUGE, "... that are expected and not heard: findings stay unconfirmed.")
COALESCED = Metric(
    "nodetell_nodes_coalesced_updates", Kind.GAUGE, "Updates that agents could not send in time, by the agents' count."
)
CLOCKS = Metric("nodetell_clock_measured_nodes", Kind.GAUGE, "Nodes whose clock is compared with the aggregator's.")
OFFSET = Metric(
    "nodetell_clock_offset_seconds",
    Kind.GAUGE,
    'By how much those clocks differ, without sign: "median" and "max".',
    ("of",),
)
GAPS = Metric(
    "nodetell_coverage_gaps",
    Kind.GAUGE,
    "Limits of the diagnosis itself: disk, API server, signatures, outputs; those of nodes are told by signal.",
    ("signal", "status"),
)
UPDATES = Metric("nodetell_updates_total", Kind.COUNTER, "Updates of agents that were taken in.")
NOT_STORED = Metric(
    "nodetell_updates_not_stored_total", Kind.COUNTER, "... and given back, for the disk did not take them in time."
)
EVALUATION = Metric("nodetell_evaluation_seconds", Kind.HISTOGRAM, "How long it took to judge everything.")
FAILED = Metric("nodetell_evaluations_failed_total", Kind.COUNTER, "... which failed: a defect, and the log has it.")
SIGNATURES = Metric("nodetell_signatures_failed", Kind.GAUGE, "Signatures that could not be evaluated the last time.")
STORED = Metric(
    "nodetell_store_ok", Kind.GAUGE, '1: the disk takes what it is given; "findings" or "history".', ("store",)
)
WRITTEN = Metric("nodetell_history_entries_total", Kind.COUNTER, "Updates and bases that were written to disk.")
WRITES = Metric("nodetell_history_write_seconds", Kind.HISTOGRAM, "How long a transaction of the history took.")
REBUILDING = Metric("nodetell_history_waiting_nodes", Kind.GAUGE, "Nodes not rebuilt yet from what is stored.")
ADMISSION = Metric(
    "nodetell_admission_places", Kind.GAUGE, 'Agents that are coming back: "taken" places, "waiting" for one.', ("of",)
)
REFUSED = Metric("nodetell_admission_refused_total", Kind.COUNTER, "Times that one was told to come again later.")
LIMITED = Metric(
    "nodetell_nodes_limited", Kind.GAUGE, "Nodes of which something is left out or held back, by limit.", ("limit",)
)
API_UP = Metric("nodetell_api_server_up", Kind.GAUGE, "1: the API server answers.")
API_UNREAD = Metric(
    "nodetell_api_server_unread", Kind.GAUGE, "Resources of it that cannot be read at present; always 1.", ("resource",)
)
API_OBJECTS = Metric("nodetell_api_server_objects", Kind.GAUGE, "Objects that are kept.", ("resource",))
API_CHANGES = Metric("nodetell_api_server_changes_total", Kind.COUNTER, "Changes of objects that were taken in.")
METRICS = (
    NODES, CONNECTED, SILENT, COALESCED, CLOCKS, OFFSET, GAPS, UPDATES, NOT_STORED, EVALUATION, FAILED, SIGNATURES,
    STORED, WRITTEN, WRITES, REBUILDING, ADMISSION, REFUSED, LIMITED, API_UP, API_UNREAD, API_OBJECTS, API_CHANGES,
)  # fmt: skip


def fleet_metrics(fleet: Fleet) -> Iterable[Told]:
    """Nodes, and what becomes of what they say."""
    nodes = fleet.nodes
    yield one(NODES, len(nodes))
    yield one(CONNECTED, sum(node.connected for node in nodes.values()))
    yield one(SILENT, len(fleet.silent()))
    yield one(COALESCED, sum(node.state.coalesced_updates for node in nodes.values()))
    clocks = (node.state.clock_offset for node in nodes.values())
    offsets = [abs(clock.offset_s) for clock in clocks if clock is not None]
    yield one(CLOCKS, len(offsets))
    if offsets:
        yield Told(OFFSET, [(("median",), median(offsets)), (("max",), max(offsets))])
    gaps = Counter((gap.signal, gap.status) for gap in fleet.own_gaps() if not gap.node)
    yield Told(GAPS, [(labels, count) for labels, count in sorted(gaps.items())])
    work = fleet.work
    yield one(UPDATES, work.updates)
    yield one(NOT_STORED, work.not_stored)
    yield Told(EVALUATION, [((), work.evaluations.value())])
    yield one(FAILED, work.failed)
    yield one(SIGNATURES, work.signatures_failed)
    limited = Counter(limit for name in nodes for limit in fleet.reached(name))
    yield Told(LIMITED, [((limit,), count) for limit, count in sorted(limited.items())])


def store_metrics(history: History, problem: Callable[[], str]) -> Iterable[Told]:
    """The disk. `problem`: why findings can't be stored; empty: they can."""
    stored = Told(STORED, [(("findings",), not problem())])
    yield stored
    yield one(REBUILDING, history.not_rebuilt)
    journal = history.journal
    if journal is not None:
        stored.add(not (journal.problem or journal.refuses()), "history")
        yield one(WRITTEN, journal.written)
        yield Told(WRITES, [((), journal.writes.value())])


def admission_metrics(admission: Admission) -> Iterable[Told]:
    """Who comes back."""
    yield Told(ADMISSION, [(("taken",), admission.taken), (("waiting",), admission.waiting)])
    yield one(REFUSED, admission.refused)


class Api(Protocol):
    """What is asked of the API server's view."""

    @property
    def objects(self) -> ClusterState:
        """The objects."""

    def outage(self, now: float) -> Outage | None:
        """Since when it has not answered; None: it does."""

    def unread(self) -> Mapping[str, str]:
        """Why, by resource that is not read at present."""


def api_metrics(api: Api, clock: Callable[[], float]) -> Iterable[Told]:
    """The API server, as far as it is read."""
    yield one(API_UP, api.outage(clock()) is None)
    yield Told(API_UNREAD, [((resource,), 1) for resource in sorted(api.unread())])
    yield Told(API_OBJECTS, [((resource,), len(api.objects.keys(resource))) for resource in RESOURCES])
    yield one(API_CHANGES, api.objects.revision)
