from nodetell.v1 import agent_pb2 as _agent_pb2
from nodetell.v1 import facts_pb2 as _facts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeBase(_message.Message):
    __slots__ = ("instance", "number", "version", "received_unix_ms", "full", "past", "now", "shift", "checkpoints", "layouts", "moved", "faults", "unheard", "told", "owed", "left_out")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    PAST_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    LAYOUTS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    UNHEARD_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    OWED_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    instance: bytes
    number: int
    version: str
    received_unix_ms: int
    full: _agent_pb2.Update
    past: _containers.RepeatedCompositeFieldContainer[BlockPast]
    now: float
    shift: float
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    layouts: _containers.RepeatedCompositeFieldContainer[CheckpointLayout]
    moved: bool
    faults: _containers.RepeatedCompositeFieldContainer[FaultRise]
    unheard: float
    told: _containers.RepeatedCompositeFieldContainer[ToldSpan]
    owed: MinuteRows
    left_out: _containers.RepeatedCompositeFieldContainer[LeftOut]
    def __init__(self, instance: _Optional[bytes] = ..., number: _Optional[int] = ..., version: _Optional[str] = ..., received_unix_ms: _Optional[int] = ..., full: _Optional[_Union[_agent_pb2.Update, _Mapping]] = ..., past: _Optional[_Iterable[_Union[BlockPast, _Mapping]]] = ..., now: _Optional[float] = ..., shift: _Optional[float] = ..., checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ..., layouts: _Optional[_Iterable[_Union[CheckpointLayout, _Mapping]]] = ..., moved: _Optional[bool] = ..., faults: _Optional[_Iterable[_Union[FaultRise, _Mapping]]] = ..., unheard: _Optional[float] = ..., told: _Optional[_Iterable[_Union[ToldSpan, _Mapping]]] = ..., owed: _Optional[_Union[MinuteRows, _Mapping]] = ..., left_out: _Optional[_Iterable[_Union[LeftOut, _Mapping]]] = ...) -> None: ...

class LeftOut(_message.Message):
    __slots__ = ("limit", "now", "ever")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    EVER_FIELD_NUMBER: _ClassVar[int]
    limit: str
    now: int
    ever: int
    def __init__(self, limit: _Optional[str] = ..., now: _Optional[int] = ..., ever: _Optional[int] = ...) -> None: ...

class BlockPast(_message.Message):
    __slots__ = ("base", "first_at", "moved_at")
    BASE_FIELD_NUMBER: _ClassVar[int]
    FIRST_AT_FIELD_NUMBER: _ClassVar[int]
    MOVED_AT_FIELD_NUMBER: _ClassVar[int]
    base: _containers.RepeatedScalarFieldContainer[int]
    first_at: float
    moved_at: float
    def __init__(self, base: _Optional[_Iterable[int]] = ..., first_at: _Optional[float] = ..., moved_at: _Optional[float] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("at", "until", "packed", "layout", "unheard")
    AT_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    UNHEARD_FIELD_NUMBER: _ClassVar[int]
    at: float
    until: float
    packed: bytes
    layout: int
    unheard: float
    def __init__(self, at: _Optional[float] = ..., until: _Optional[float] = ..., packed: _Optional[bytes] = ..., layout: _Optional[int] = ..., unheard: _Optional[float] = ...) -> None: ...

class CheckpointLayout(_message.Message):
    __slots__ = ("subjects", "offsets")
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    subjects: _containers.RepeatedScalarFieldContainer[str]
    offsets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, subjects: _Optional[_Iterable[str]] = ..., offsets: _Optional[_Iterable[int]] = ...) -> None: ...

class FaultRise(_message.Message):
    __slots__ = ("subject", "counter", "at")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    subject: str
    counter: str
    at: float
    def __init__(self, subject: _Optional[str] = ..., counter: _Optional[str] = ..., at: _Optional[float] = ...) -> None: ...

class ToldSpan(_message.Message):
    __slots__ = ("begin_unix_ms", "end_unix_ms")
    BEGIN_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    END_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    begin_unix_ms: int
    end_unix_ms: int
    def __init__(self, begin_unix_ms: _Optional[int] = ..., end_unix_ms: _Optional[int] = ...) -> None: ...

class MinuteRows(_message.Message):
    __slots__ = ("node", "hour", "schemas", "blocks", "gauges", "rows")
    NODE_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    node: str
    hour: int
    schemas: _containers.RepeatedCompositeFieldContainer[_facts_pb2.CounterSchema]
    blocks: _containers.RepeatedCompositeFieldContainer[HistoryBlock]
    gauges: _containers.RepeatedCompositeFieldContainer[HistoryGauge]
    rows: _containers.RepeatedCompositeFieldContainer[MinuteRow]
    def __init__(self, node: _Optional[str] = ..., hour: _Optional[int] = ..., schemas: _Optional[_Iterable[_Union[_facts_pb2.CounterSchema, _Mapping]]] = ..., blocks: _Optional[_Iterable[_Union[HistoryBlock, _Mapping]]] = ..., gauges: _Optional[_Iterable[_Union[HistoryGauge, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[MinuteRow, _Mapping]]] = ...) -> None: ...

class HistoryBlock(_message.Message):
    __slots__ = ("subject", "label", "schema")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    subject: str
    label: str
    schema: int
    def __init__(self, subject: _Optional[str] = ..., label: _Optional[str] = ..., schema: _Optional[int] = ...) -> None: ...

class HistoryGauge(_message.Message):
    __slots__ = ("name", "label")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    label: str
    def __init__(self, name: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...

class MinuteRow(_message.Message):
    __slots__ = ("minute", "blocks", "risen", "gauges", "last", "below", "above", "spread")
    MINUTE_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    RISEN_FIELD_NUMBER: _ClassVar[int]
    GAUGES_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    BELOW_FIELD_NUMBER: _ClassVar[int]
    ABOVE_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    minute: int
    blocks: _containers.RepeatedScalarFieldContainer[int]
    risen: _containers.RepeatedScalarFieldContainer[int]
    gauges: _containers.RepeatedScalarFieldContainer[int]
    last: _containers.RepeatedScalarFieldContainer[int]
    below: _containers.RepeatedScalarFieldContainer[int]
    above: _containers.RepeatedScalarFieldContainer[int]
    spread: int
    def __init__(self, minute: _Optional[int] = ..., blocks: _Optional[_Iterable[int]] = ..., risen: _Optional[_Iterable[int]] = ..., gauges: _Optional[_Iterable[int]] = ..., last: _Optional[_Iterable[int]] = ..., below: _Optional[_Iterable[int]] = ..., above: _Optional[_Iterable[int]] = ..., spread: _Optional[int] = ...) -> None: ...
