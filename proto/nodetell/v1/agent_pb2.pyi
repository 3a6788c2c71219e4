from nodetell.v1 import facts_pb2 as _facts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_PLAIN: _ClassVar[Encoding]
    ENCODING_ZLIB: _ClassVar[Encoding]
ENCODING_PLAIN: Encoding
ENCODING_ZLIB: Encoding

class PathProof(_message.Message):
    __slots__ = ("padding",)
    PADDING_FIELD_NUMBER: _ClassVar[int]
    padding: bytes
    def __init__(self, padding: _Optional[bytes] = ...) -> None: ...

class AgentMessage(_message.Message):
    __slots__ = ("seq", "hello", "chunk", "heartbeat", "credential", "clock")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    seq: int
    hello: Hello
    chunk: Chunk
    heartbeat: Heartbeat
    credential: Credential
    clock: ClockReading
    def __init__(self, seq: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., credential: _Optional[_Union[Credential, _Mapping]] = ..., clock: _Optional[_Union[ClockReading, _Mapping]] = ...) -> None: ...

class ClockReading(_message.Message):
    __slots__ = ("now_unix_us", "acknowledged", "held_us")
    NOW_UNIX_US_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    HELD_US_FIELD_NUMBER: _ClassVar[int]
    now_unix_us: int
    acknowledged: int
    held_us: int
    def __init__(self, now_unix_us: _Optional[int] = ..., acknowledged: _Optional[int] = ..., held_us: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "node", "instance", "version", "last_update", "now_unix_ms", "credential_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATE_FIELD_NUMBER: _ClassVar[int]
    NOW_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    node: str
    instance: bytes
    version: str
    last_update: int
    now_unix_ms: int
    credential_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., node: _Optional[str] = ..., instance: _Optional[bytes] = ..., version: _Optional[str] = ..., last_update: _Optional[int] = ..., now_unix_ms: _Optional[int] = ..., credential_bytes: _Optional[int] = ...) -> None: ...

class Credential(_message.Message):
    __slots__ = ("data", "last")
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    last: bool
    def __init__(self, data: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("update", "data", "last", "total_bytes", "encoding")
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    update: int
    data: bytes
    last: bool
    total_bytes: int
    encoding: Encoding
    def __init__(self, update: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., total_bytes: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("now_unix_ms",)
    NOW_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    now_unix_ms: int
    def __init__(self, now_unix_ms: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("at_unix_ms", "full", "schemas", "blocks", "removed_blocks", "items", "removed_items", "samples", "coalesced_updates", "dropped_samples", "backlog")
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    COALESCED_UPDATES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_FIELD_NUMBER: _ClassVar[int]
    at_unix_ms: int
    full: bool
    schemas: _containers.RepeatedCompositeFieldContainer[_facts_pb2.CounterSchema]
    blocks: _containers.RepeatedCompositeFieldContainer[_facts_pb2.CounterBlock]
    removed_blocks: _containers.RepeatedScalarFieldContainer[str]
    items: _containers.RepeatedCompositeFieldContainer[_facts_pb2.Item]
    removed_items: _containers.RepeatedScalarFieldContainer[str]
    samples: _containers.RepeatedCompositeFieldContainer[_facts_pb2.CounterSample]
    coalesced_updates: int
    dropped_samples: int
    backlog: _facts_pb2.Backlog
    def __init__(self, at_unix_ms: _Optional[int] = ..., full: _Optional[bool] = ..., schemas: _Optional[_Iterable[_Union[_facts_pb2.CounterSchema, _Mapping]]] = ..., blocks: _Optional[_Iterable[_Union[_facts_pb2.CounterBlock, _Mapping]]] = ..., removed_blocks: _Optional[_Iterable[str]] = ..., items: _Optional[_Iterable[_Union[_facts_pb2.Item, _Mapping]]] = ..., removed_items: _Optional[_Iterable[str]] = ..., samples: _Optional[_Iterable[_Union[_facts_pb2.CounterSample, _Mapping]]] = ..., coalesced_updates: _Optional[int] = ..., dropped_samples: _Optional[int] = ..., backlog: _Optional[_Union[_facts_pb2.Backlog, _Mapping]] = ...) -> None: ...

class AggregatorMessage(_message.Message):
    __slots__ = ("welcome", "ack", "instruction")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: Ack
    instruction: Instruction
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., instruction: _Optional[_Union[Instruction, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "resume", "instance", "version")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    resume: bool
    instance: bytes
    version: str
    def __init__(self, protocol: _Optional[int] = ..., resume: _Optional[bool] = ..., instance: _Optional[bytes] = ..., version: _Optional[str] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Instruction(_message.Message):
    __slots__ = ("resync", "pace", "probe_plan")
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    PROBE_PLAN_FIELD_NUMBER: _ClassVar[int]
    resync: Resync
    pace: Pace
    probe_plan: ProbePlan
    def __init__(self, resync: _Optional[_Union[Resync, _Mapping]] = ..., pace: _Optional[_Union[Pace, _Mapping]] = ..., probe_plan: _Optional[_Union[ProbePlan, _Mapping]] = ...) -> None: ...

class Resync(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Pace(_message.Message):
    __slots__ = ("batch_interval_ms",)
    BATCH_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    batch_interval_ms: int
    def __init__(self, batch_interval_ms: _Optional[int] = ...) -> None: ...

class ProbePlan(_message.Message):
    __slots__ = ("version", "part", "parts", "interval_ms", "targets", "grants")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    part: int
    parts: int
    interval_ms: int
    targets: _containers.RepeatedCompositeFieldContainer[ProbeTarget]
    grants: _containers.RepeatedCompositeFieldContainer[ProbeGrant]
    def __init__(self, version: _Optional[int] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., interval_ms: _Optional[int] = ..., targets: _Optional[_Iterable[_Union[ProbeTarget, _Mapping]]] = ..., grants: _Optional[_Iterable[_Union[ProbeGrant, _Mapping]]] = ...) -> None: ...

class ProbeTarget(_message.Message):
    __slots__ = ("peer", "via", "address", "port", "key")
    PEER_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    peer: str
    via: str
    address: str
    port: int
    key: ProbeGrant
    def __init__(self, peer: _Optional[str] = ..., via: _Optional[str] = ..., address: _Optional[str] = ..., port: _Optional[int] = ..., key: _Optional[_Union[ProbeGrant, _Mapping]] = ...) -> None: ...

class ProbeGrant(_message.Message):
    __slots__ = ("id", "key")
    ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    key: bytes
    def __init__(self, id: _Optional[bytes] = ..., key: _Optional[bytes] = ...) -> None: ...
