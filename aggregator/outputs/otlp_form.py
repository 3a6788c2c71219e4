"""Findings as OpenTelemetry's log records and signals as its metrics, as the SDK models them and OTLP has them.

Names follow the semantic conventions where those have one (k8s.node.name, k8s.cluster.name, service.*); all others
begin with "nodetell.". The SDK's model and encoder are used, and not its providers and exporters: those have threads of
their own, follow variables of the environment whatever the settings say, take a redirect for an acknowledgment and read
an answer of any length. Pure.
"""

from __future__ import annotations

import gzip
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from nodetell import __version__
from nodetell.v1 import operator_pb2
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.k8s_attributes import K8S_CLUSTER_NAME, K8S_NODE_NAME
from opentelemetry.semconv.attributes.service_attributes import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION

from aggregator.convert import iso_time
from aggregator.findings import Kind, Record, Transition
from aggregator.model import Severity
from aggregator.outputs.wording import MOST_NAMES

SCOPE = InstrumentationScope("nodetell", __version__)
_SEVERITY = {
    Severity.INFO: SeverityNumber.INFO,
    Severity.WARNING: SeverityNumber.WARN,
    Severity.CRITICAL: SeverityNumber.ERROR,
}
_COMPRESSION = 5
Value: TypeAlias = "str | bool | int | float | Sequence[str]"
Points: TypeAlias = "list[tuple[dict[str, str], int | float]]"


def resource(cluster: str) -> Resource:
    """Who tells it: this process."""
    own = {SERVICE_NAME: "nodetell", SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: str(uuid.uuid4())}
    return Resource({**own, K8S_CLUSTER_NAME: cluster})


def log_record(transition: Transition, now: float) -> LogRecord:
    """A step in the life of a finding. One that is over is no warning any more."""
    record = transition.record
    over = transition.kind is Kind.RESOLVED
    number = SeverityNumber.INFO if over else _SEVERITY[record.finding.severity]
    return LogRecord(
        timestamp=_nanoseconds(transition.at),
        observed_timestamp=_nanoseconds(now),
        severity_number=number,
        severity_text=number.name,
        body=record.finding.summary,
        attributes=dict(_attributes(record)),
        event_name=f"nodetell.finding.{transition.kind.value}",
    )


def _attributes(record: Record) -> Iterator[tuple[str, Value]]:
    finding = record.finding
    yield "nodetell.finding.id", finding.id
    yield "nodetell.code", finding.code
    yield "nodetell.incident", finding.incident
    yield "nodetell.stage", finding.stage.value
    yield "nodetell.severity", finding.severity.word
    if len(finding.nodes) == 1:
        yield K8S_NODE_NAME, finding.nodes[0]
    for name, several in (
        ("nodes", finding.nodes),
        ("objects", finding.objects),
        ("caused_by", finding.caused_by),
        ("remediation", finding.remediation),
    ):
        yield f"nodetell.finding.{name}", list(several[:MOST_NAMES])
        if len(several) > MOST_NAMES:
            yield f"nodetell.finding.{name}_total", len(several)
    yield "nodetell.finding.clears_when", finding.clears_when
    yield "nodetell.finding.first_seen", iso_time(record.first_seen)
    for name, text in (
        ("since", iso_time(finding.since) if finding.since else ""),
        ("unconfirmed", record.unconfirmed),
        ("resolved_because", record.because),
    ):
        if text:
            yield f"nodetell.finding.{name}", text


def logs_body(records: Sequence[LogRecord], told_by: Resource) -> bytes:
    """Of a post to /v1/logs, compressed."""
    request = encode_logs([ReadableLogRecord(record, told_by, SCOPE) for record in records])
    return gzip.compress(request.SerializeToString(), _COMPRESSION, mtime=0)


def finding_metrics(records: Iterable[Record], now: float) -> list[Metric]:
    """What stands, by code, stage and severity: as many points as there are of those at most."""
    standing = Counter(
        (each.finding.code, each.finding.incident, each.finding.stage.value, each.finding.severity.word)
        for each in records
    )
    names = ("nodetell.code", "nodetell.incident", "nodetell.stage", "nodetell.severity")
    points: Points = [(dict(zip(names, group, strict=True)), count) for group, count in standing.items()]
    return _metrics([("nodetell.findings", "{finding}", "Findings that stand.", points)], now)


def total_metrics(nodes: int, connected: int, now: float) -> list[Metric]:
    """How much of the cluster is seen."""
    by_state: Points = [
        ({"nodetell.node.connected": "true"}, connected),
        ({"nodetell.node.connected": "false"}, nodes - connected),
    ]
    return _metrics([("nodetell.nodes", "{node}", "Nodes that an agent has reported for.", by_state)], now)


def node_metrics(summaries: Sequence[operator_pb2.NodeSummary], now: float) -> list[Metric]:
    """Signals of these nodes, one point for each where it is known; what is not known has none."""
    fsync: Points = []
    drops: Points = []
    path: Points = []
    offset: Points = []
    lacking: Points = []
    findings: Points = []
    for each in summaries:
        node = {K8S_NODE_NAME: each.node}
        if each.HasField("fsync_p99_us"):
            fsync.append((node, each.fsync_p99_us / 1e6))
        if each.HasField("drops_per_s"):
            drops.append((node, each.drops_per_s))
        if each.HasField("path_mtu"):
            path.append((node, each.path_mtu))
        if each.HasField("clock_offset_us"):
            offset.append((node, each.clock_offset_us / 1e6))
        lacking.append((node, each.coverage_gaps))
        findings.append((node, each.findings))
    return _metrics(
        [
            ("nodetell.node.fsync.p99", "s", "Worst 99th percentile of fsync among processes and disks.", fsync),
            ("nodetell.node.network.drops", "{packet}/s", "Packets that the node's interfaces dropped.", drops),
            ("nodetell.node.path.mtu", "By", "Largest packet that arrives on the node's worst path.", path),
            ("nodetell.node.clock.offset", "s", "By how much its clock is ahead of the aggregator's.", offset),
            ("nodetell.node.coverage.gaps", "{gap}", "Signals that are missing, degraded or damaged.", lacking),
            ("nodetell.node.findings", "{finding}", "Findings that name the node.", findings),
        ],
        now,
    )


def metrics_body(metrics: Sequence[Metric], told_by: Resource) -> bytes:
    """Of a post to /v1/metrics, compressed."""
    data = MetricsData([ResourceMetrics(told_by, [ScopeMetrics(SCOPE, list(metrics), "")], "")])
    return gzip.compress(encode_metrics(data).SerializeToString(), _COMPRESSION, mtime=0)


def not_taken(response: type[ExportLogsServiceResponse] | type[ExportMetricsServiceResponse], body: bytes) -> str:
    """What the receiver says it has left out of what it took; empty: nothing, or it does not say."""
    try:
        partial = response.FromString(body).partial_success
    except Exception:  # noqa: BLE001  # any answer is as good as none: it has taken it
        return ""
    rejected = getattr(partial, "rejected_log_records", 0) or getattr(partial, "rejected_data_points", 0)
    return f"{rejected} left out: {partial.error_message}" if rejected else ""


def _metrics(gauges: list[tuple[str, str, str, Points]], now: float) -> list[Metric]:
    at = _nanoseconds(now)
    return [
        Metric(name, about, unit, Gauge([NumberDataPoint(attributes, 0, at, value) for attributes, value in points]))
        for name, unit, about, points in gauges
        if points
    ]


def _nanoseconds(at: float) -> int:
    return round(at * 1e3) * 1_000_000
