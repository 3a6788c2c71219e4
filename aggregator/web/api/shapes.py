"""The shapes of the API's answers. They are what its description is made of; the answers themselves are made where the
command makes its own (aggregator.convert, aggregator.node_json), and a test holds each against its shape.

Times are ISO 8601 in UTC with a Z.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Evidence(Struct):
    """One fact that a finding rests on."""

    node: str
    signal: str
    subject: str
    value: float | int | str | bool
    unit: str
    source: str
    at: Time


class RuledOut(Struct):
    """A look-alike, and the fact that excludes it."""

    code: str
    because: str


class FindingOnly(Struct):
    """A cause named."""

    id: str
    code: str
    incident: str
    stage: Literal["risk", "active"]
    severity: Literal["info", "warning", "critical"]
    summary: str
    nodes: list[str]
    objects: list[str]
    evidence: list[Evidence]
    ruled_out: list[RuledOut]
    caused_by: list[str]
    remediation: list[str]
    clears_when: str
    since: Time | UnsetType = UNSET
    """When what it names began, as far as the facts tell."""


class Finding(FindingOnly, kw_only=True):
    """A cause named, and its life."""

    first_seen: Time
    last_seen: Time
    unconfirmed: str | UnsetType = UNSET
    """Why the facts can't confirm it at present."""
    resolved: Time | UnsetType = UNSET
    """When it was over."""
    resolved_because: str | UnsetType = UNSET


class Findings(Struct):
    """A part of a list of findings."""

    findings: list[Finding]
    total: int
    """How many there are in all."""
    next: str | None
    """Where the next part begins (parameter cursor); null: this is the last one."""


class Step(Struct):
    """One finding of a chain."""

    finding: FindingOnly
    shared: list[str]
    """What it has in common with the step before it."""


class OverWhen(Struct):
    """How to see that a finding is over."""

    code: str
    when: str


class Story(Struct):
    """An incident told as one story, the cause first."""

    asked: str
    severity: Literal["info", "warning", "critical"]
    stage: Literal["risk", "active"]
    symptom: str
    cause: str
    chain: list[Step]
    what_to_do_first: list[str]
    then: list[str]
    over_when: list[OverWhen]
    also_explained_by: list[str]
    also_causes: list[str]


class Clock(Struct):
    """What was measured of a host's clock."""

    offset_s: float
    """By how much it is ahead."""
    bound_s: float
    beside: Literal["most nodes", "aggregator"]
    measured_at: str


class Limit(Struct):
    """A limit of the aggregator that a node has reached."""

    limit: str
    now: int
    total: int


class Node(Struct, kw_only=True):
    """A node in the list of nodes."""

    node: str
    connected: bool
    """Its agent is; of a bundle: it is in the last snapshot."""
    agent_version: str
    facts_at: Time | None
    heard_at: Time | None
    links: int
    disks: int
    volumes: int
    coverage_gaps: int
    coalesced_updates: int
    dropped_samples: int
    findings: int
    ready: str
    """As the API server says: "True", "False", "Unknown"; empty: it says nothing."""
    cordoned: bool
    zone: str
    limits: list[Limit]
    clock: Clock | None
    fsync_p99_us: int | UnsetType = UNSET
    """The worst of its processes and disks; absent: not known."""
    fsync_process: str
    drops_per_s: float | UnsetType = UNSET
    path_mtu: int | UnsetType = UNSET
    path_interface_mtu: int
    path_peer: str
    paths_unanswered: int


class Nodes(Struct):
    """A part of the list of nodes, by name."""

    nodes: list[Node]
    total: int
    next: str | None


class Rise(Struct):
    """By how much a counter rose."""

    increment: int
    over_s: float


class NodeWhole(Node, kw_only=True):
    """Everything that is known of a node."""

    volume_rows: list[dict[str, Any]]
    """What host and API server say of each volume, joined."""
    api_unknown: list[str]
    """Resources of the API server that those rows lack."""
    items: list[dict[str, Any]]
    """Facts, each with its key and its kind."""
    counters: dict[str, dict[str, int]]
    """By subject and name."""
    changes: dict[str, dict[str, Rise]]


class Series(Struct):
    """Something of a node that has points."""

    name: str
    label: str
    """How an operator knows what it is about; empty: by its name."""
    gauge: bool
    """It goes up and down; false: points are by how much it rose in each minute."""


class NodeSeries(Struct):
    """Series of a node that have points in a stretch of time."""

    since: Time
    until: Time
    series: list[Series]


class Point(Struct):
    """One minute of a series."""

    at: Time
    """When the minute begins."""
    value: float
    low: float
    high: float
    spread_s: int
    """Over how many seconds a rise is spread evenly, because it is known no finer."""


class NodePoints(Struct):
    """Points of series of a node, by the name of the series."""

    since: Time
    until: Time
    points: dict[str, list[Point]]


class Gap(Struct):
    """A limit of the diagnosis: what could not be compared or read, and why."""

    node: str
    signal: str
    status: Literal["missing", "degraded", "damaged"]
    because: str
    remedy: str | UnsetType = UNSET


class Coverage(Struct):
    """A part of what limits the diagnosis."""

    coverage: list[Gap]
    total: int
    next: str | None


class Incident(Struct):
    """How it stands with a kind of incident."""

    incident: str
    state: Literal["quiet", "risk", "active"]
    severity: Literal["info", "warning", "critical"] | None
    """Of the worst finding; null: there is none."""
    findings: int


class NodeCounts(Struct):
    """How many nodes are seen."""

    with_agent: int
    connected: int
    of_api_server: int | None
    """That the API server has; null: it is not asked, or not known yet."""


class FindingCounts(Struct):
    """How many findings stand."""

    standing: int
    info: int
    warning: int
    critical: int


class CoverageCounts(Struct):
    """How many limits the diagnosis has."""

    missing: int
    degraded: int
    damaged: int


class Outage(Struct):
    """The API server does not answer."""

    since: Time
    reason: str


class Cluster(Struct):
    """The cluster in one look."""

    cluster: str
    at: Time
    live: bool
    """It changes; false: an evidence bundle, as it was then."""
    version: str
    """Of Nodetell."""
    incidents: list[Incident]
    findings: FindingCounts
    nodes: NodeCounts
    coverage: CoverageCounts
    api_outage: Outage | None


class Lost(Struct):
    """What would be lost."""

    zones: list[str]
    nodes: list[str]


class Stranded(Struct):
    """Pods of a workload that could not come back."""

    workload: str
    cause: str
    because: str
    needs: list[str]
    """What would make a node take them: any of these."""
    pods: list[str]
    claims: list[str]


class Returning(Struct):
    """Pods of a workload that would come back elsewhere."""

    workload: str
    pods: list[str]
    nodes: list[str]


class WhatIf(Struct):
    """What would follow from a loss."""

    cluster: str
    at: Time
    lost: Lost
    moving: int
    stranded: list[Stranded]
    returning: list[Returning]
    going_with_their_node: int
    unknown: list[str]
    """What limits this answer."""
