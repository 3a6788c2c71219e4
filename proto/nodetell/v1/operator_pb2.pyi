from nodetell.v1 import facts_pb2 as _facts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachmentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTACHMENT_STATE_UNSPECIFIED: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_NONE: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_ATTACHING: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_ATTACHED: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_DETACHING: _ClassVar[AttachmentState]
    ATTACHMENT_STATE_NOT_NEEDED: _ClassVar[AttachmentState]
ATTACHMENT_STATE_UNSPECIFIED: AttachmentState
ATTACHMENT_STATE_NONE: AttachmentState
ATTACHMENT_STATE_ATTACHING: AttachmentState
ATTACHMENT_STATE_ATTACHED: AttachmentState
ATTACHMENT_STATE_DETACHING: AttachmentState
ATTACHMENT_STATE_NOT_NEEDED: AttachmentState

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "aggregator_version", "at_unix_ms")
    NODES_FIELD_NUMBER: _ClassVar[int]
    AGGREGATOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeSummary]
    aggregator_version: str
    at_unix_ms: int
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeSummary, _Mapping]]] = ..., aggregator_version: _Optional[str] = ..., at_unix_ms: _Optional[int] = ...) -> None: ...

class NodeSummary(_message.Message):
    __slots__ = ("node", "connected", "agent_version", "facts_at_unix_ms", "heard_at_unix_ms", "links", "disks", "volumes", "coverage_gaps", "coalesced_updates", "dropped_samples", "findings", "ready", "zone", "cordoned", "clock_offset_us", "clock_bound_us", "clock_measured_unix_ms", "clock_from_most", "limits", "fsync_p99_us", "fsync_process", "drops_per_s", "path_mtu", "path_interface_mtu", "path_peer", "paths_unanswered")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    FACTS_AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    HEARD_AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    DISKS_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_GAPS_FIELD_NUMBER: _ClassVar[int]
    COALESCED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_US_FIELD_NUMBER: _ClassVar[int]
    CLOCK_BOUND_US_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MEASURED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FROM_MOST_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FSYNC_P99_US_FIELD_NUMBER: _ClassVar[int]
    FSYNC_PROCESS_FIELD_NUMBER: _ClassVar[int]
    DROPS_PER_S_FIELD_NUMBER: _ClassVar[int]
    PATH_MTU_FIELD_NUMBER: _ClassVar[int]
    PATH_INTERFACE_MTU_FIELD_NUMBER: _ClassVar[int]
    PATH_PEER_FIELD_NUMBER: _ClassVar[int]
    PATHS_UNANSWERED_FIELD_NUMBER: _ClassVar[int]
    node: str
    connected: bool
    agent_version: str
    facts_at_unix_ms: int
    heard_at_unix_ms: int
    links: int
    disks: int
    volumes: int
    coverage_gaps: int
    coalesced_updates: int
    dropped_samples: int
    findings: int
    ready: str
    zone: str
    cordoned: bool
    clock_offset_us: int
    clock_bound_us: int
    clock_measured_unix_ms: int
    clock_from_most: bool
    limits: _containers.RepeatedCompositeFieldContainer[LimitReached]
    fsync_p99_us: int
    fsync_process: str
    drops_per_s: float
    path_mtu: int
    path_interface_mtu: int
    path_peer: str
    paths_unanswered: int
    def __init__(self, node: _Optional[str] = ..., connected: _Optional[bool] = ..., agent_version: _Optional[str] = ..., facts_at_unix_ms: _Optional[int] = ..., heard_at_unix_ms: _Optional[int] = ..., links: _Optional[int] = ..., disks: _Optional[int] = ..., volumes: _Optional[int] = ..., coverage_gaps: _Optional[int] = ..., coalesced_updates: _Optional[int] = ..., dropped_samples: _Optional[int] = ..., findings: _Optional[int] = ..., ready: _Optional[str] = ..., zone: _Optional[str] = ..., cordoned: _Optional[bool] = ..., clock_offset_us: _Optional[int] = ..., clock_bound_us: _Optional[int] = ..., clock_measured_unix_ms: _Optional[int] = ..., clock_from_most: _Optional[bool] = ..., limits: _Optional[_Iterable[_Union[LimitReached, _Mapping]]] = ..., fsync_p99_us: _Optional[int] = ..., fsync_process: _Optional[str] = ..., drops_per_s: _Optional[float] = ..., path_mtu: _Optional[int] = ..., path_interface_mtu: _Optional[int] = ..., path_peer: _Optional[str] = ..., paths_unanswered: _Optional[int] = ...) -> None: ...

class LimitReached(_message.Message):
    __slots__ = ("limit", "now", "total")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    limit: str
    now: int
    total: int
    def __init__(self, limit: _Optional[str] = ..., now: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("summary", "facts", "changes", "volumes", "api_unknown")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    API_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    summary: NodeSummary
    facts: _facts_pb2.NodeFacts
    changes: _containers.RepeatedCompositeFieldContainer[CounterChange]
    volumes: _containers.RepeatedCompositeFieldContainer[NodeVolume]
    api_unknown: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, summary: _Optional[_Union[NodeSummary, _Mapping]] = ..., facts: _Optional[_Union[_facts_pb2.NodeFacts, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[CounterChange, _Mapping]]] = ..., volumes: _Optional[_Iterable[_Union[NodeVolume, _Mapping]]] = ..., api_unknown: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeVolume(_message.Message):
    __slots__ = ("volume", "driver", "handle", "claim", "pod", "pod_uid", "pod_phase", "attachment", "attachment_state", "attachment_state_ms", "attachment_error", "listed", "in_use", "has_device", "device", "serial", "staged", "mounted", "path", "mount_read_only", "fs_read_only_word", "mismatches")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    POD_PHASE_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_STATE_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_STATE_MS_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_ERROR_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    IN_USE_FIELD_NUMBER: _ClassVar[int]
    HAS_DEVICE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    MOUNTED_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MOUNT_READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_WORD_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    volume: str
    driver: str
    handle: str
    claim: str
    pod: str
    pod_uid: str
    pod_phase: str
    attachment: str
    attachment_state: AttachmentState
    attachment_state_ms: int
    attachment_error: str
    listed: bool
    in_use: bool
    has_device: bool
    device: str
    serial: str
    staged: bool
    mounted: bool
    path: str
    mount_read_only: bool
    fs_read_only_word: str
    mismatches: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, volume: _Optional[str] = ..., driver: _Optional[str] = ..., handle: _Optional[str] = ..., claim: _Optional[str] = ..., pod: _Optional[str] = ..., pod_uid: _Optional[str] = ..., pod_phase: _Optional[str] = ..., attachment: _Optional[str] = ..., attachment_state: _Optional[_Union[AttachmentState, str]] = ..., attachment_state_ms: _Optional[int] = ..., attachment_error: _Optional[str] = ..., listed: _Optional[bool] = ..., in_use: _Optional[bool] = ..., has_device: _Optional[bool] = ..., device: _Optional[str] = ..., serial: _Optional[str] = ..., staged: _Optional[bool] = ..., mounted: _Optional[bool] = ..., path: _Optional[str] = ..., mount_read_only: _Optional[bool] = ..., fs_read_only_word: _Optional[str] = ..., mismatches: _Optional[_Iterable[str]] = ...) -> None: ...

class CounterChange(_message.Message):
    __slots__ = ("subject", "name", "increment", "over_ms")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    OVER_MS_FIELD_NUMBER: _ClassVar[int]
    subject: str
    name: str
    increment: int
    over_ms: int
    def __init__(self, subject: _Optional[str] = ..., name: _Optional[str] = ..., increment: _Optional[int] = ..., over_ms: _Optional[int] = ...) -> None: ...

class ListFindingsRequest(_message.Message):
    __slots__ = ("include_resolved", "limit")
    INCLUDE_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    include_resolved: bool
    limit: int
    def __init__(self, include_resolved: _Optional[bool] = ..., limit: _Optional[int] = ...) -> None: ...

class ListFindingsResponse(_message.Message):
    __slots__ = ("findings", "coverage")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    coverage: _containers.RepeatedCompositeFieldContainer[NodeCoverage]
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., coverage: _Optional[_Iterable[_Union[NodeCoverage, _Mapping]]] = ...) -> None: ...

class WatchFindingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FindingEvent(_message.Message):
    __slots__ = ("kind", "finding", "at_unix_ms")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[FindingEvent.Kind]
        KIND_STANDING: _ClassVar[FindingEvent.Kind]
        KIND_APPEARED: _ClassVar[FindingEvent.Kind]
        KIND_CHANGED: _ClassVar[FindingEvent.Kind]
        KIND_RESOLVED: _ClassVar[FindingEvent.Kind]
        KIND_SYNCED: _ClassVar[FindingEvent.Kind]
    KIND_UNSPECIFIED: FindingEvent.Kind
    KIND_STANDING: FindingEvent.Kind
    KIND_APPEARED: FindingEvent.Kind
    KIND_CHANGED: FindingEvent.Kind
    KIND_RESOLVED: FindingEvent.Kind
    KIND_SYNCED: FindingEvent.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    kind: FindingEvent.Kind
    finding: Finding
    at_unix_ms: int
    def __init__(self, kind: _Optional[_Union[FindingEvent.Kind, str]] = ..., finding: _Optional[_Union[Finding, _Mapping]] = ..., at_unix_ms: _Optional[int] = ...) -> None: ...

class NodeCoverage(_message.Message):
    __slots__ = ("node", "coverage")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    node: str
    coverage: _facts_pb2.Coverage
    def __init__(self, node: _Optional[str] = ..., coverage: _Optional[_Union[_facts_pb2.Coverage, _Mapping]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("id", "code", "incident", "stage", "severity", "summary", "nodes", "objects", "evidence", "ruled_out", "caused_by", "remediation", "clears_when", "first_seen_unix_ms", "last_seen_unix_ms", "resolved_unix_ms", "unconfirmed", "resolved_because", "since_unix_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    RULED_OUT_FIELD_NUMBER: _ClassVar[int]
    CAUSED_BY_FIELD_NUMBER: _ClassVar[int]
    REMEDIATION_FIELD_NUMBER: _ClassVar[int]
    CLEARS_WHEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    UNCONFIRMED_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    code: str
    incident: str
    stage: str
    severity: str
    summary: str
    nodes: _containers.RepeatedScalarFieldContainer[str]
    objects: _containers.RepeatedScalarFieldContainer[str]
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    ruled_out: _containers.RepeatedCompositeFieldContainer[RuledOut]
    caused_by: _containers.RepeatedScalarFieldContainer[str]
    remediation: _containers.RepeatedScalarFieldContainer[str]
    clears_when: str
    first_seen_unix_ms: int
    last_seen_unix_ms: int
    resolved_unix_ms: int
    unconfirmed: str
    resolved_because: str
    since_unix_ms: int
    def __init__(self, id: _Optional[str] = ..., code: _Optional[str] = ..., incident: _Optional[str] = ..., stage: _Optional[str] = ..., severity: _Optional[str] = ..., summary: _Optional[str] = ..., nodes: _Optional[_Iterable[str]] = ..., objects: _Optional[_Iterable[str]] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ..., ruled_out: _Optional[_Iterable[_Union[RuledOut, _Mapping]]] = ..., caused_by: _Optional[_Iterable[str]] = ..., remediation: _Optional[_Iterable[str]] = ..., clears_when: _Optional[str] = ..., first_seen_unix_ms: _Optional[int] = ..., last_seen_unix_ms: _Optional[int] = ..., resolved_unix_ms: _Optional[int] = ..., unconfirmed: _Optional[str] = ..., resolved_because: _Optional[str] = ..., since_unix_ms: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("node", "signal", "subject", "number", "text", "flag", "unit", "source", "at_unix_ms")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLAG_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    node: str
    signal: str
    subject: str
    number: float
    text: str
    flag: bool
    unit: str
    source: str
    at_unix_ms: int
    def __init__(self, node: _Optional[str] = ..., signal: _Optional[str] = ..., subject: _Optional[str] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., flag: _Optional[bool] = ..., unit: _Optional[str] = ..., source: _Optional[str] = ..., at_unix_ms: _Optional[int] = ...) -> None: ...

class RuledOut(_message.Message):
    __slots__ = ("code", "because")
    CODE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    code: str
    because: str
    def __init__(self, code: _Optional[str] = ..., because: _Optional[str] = ...) -> None: ...

class WhatIfRequest(_message.Message):
    __slots__ = ("lost_zones", "lost_nodes")
    LOST_ZONES_FIELD_NUMBER: _ClassVar[int]
    LOST_NODES_FIELD_NUMBER: _ClassVar[int]
    lost_zones: _containers.RepeatedScalarFieldContainer[str]
    lost_nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lost_zones: _Optional[_Iterable[str]] = ..., lost_nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class WhatIfResponse(_message.Message):
    __slots__ = ("cluster", "at_unix_ms", "nodes", "stranded", "returning", "going_with_their_node", "unknown")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    STRANDED_FIELD_NUMBER: _ClassVar[int]
    RETURNING_FIELD_NUMBER: _ClassVar[int]
    GOING_WITH_THEIR_NODE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    at_unix_ms: int
    nodes: _containers.RepeatedScalarFieldContainer[str]
    stranded: _containers.RepeatedCompositeFieldContainer[StrandedPods]
    returning: _containers.RepeatedCompositeFieldContainer[ReturningPods]
    going_with_their_node: int
    unknown: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cluster: _Optional[str] = ..., at_unix_ms: _Optional[int] = ..., nodes: _Optional[_Iterable[str]] = ..., stranded: _Optional[_Iterable[_Union[StrandedPods, _Mapping]]] = ..., returning: _Optional[_Iterable[_Union[ReturningPods, _Mapping]]] = ..., going_with_their_node: _Optional[int] = ..., unknown: _Optional[_Iterable[str]] = ...) -> None: ...

class StrandedPods(_message.Message):
    __slots__ = ("workload", "cause", "because", "needs", "pods", "claims")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    workload: str
    cause: str
    because: str
    needs: _containers.RepeatedScalarFieldContainer[str]
    pods: _containers.RepeatedScalarFieldContainer[str]
    claims: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workload: _Optional[str] = ..., cause: _Optional[str] = ..., because: _Optional[str] = ..., needs: _Optional[_Iterable[str]] = ..., pods: _Optional[_Iterable[str]] = ..., claims: _Optional[_Iterable[str]] = ...) -> None: ...

class ReturningPods(_message.Message):
    __slots__ = ("workload", "pods", "nodes")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    workload: str
    pods: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, workload: _Optional[str] = ..., pods: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[str]] = ...) -> None: ...
