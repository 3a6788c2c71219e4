from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SensorFileClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SENSOR_FILE_CLASS_OTHER: _ClassVar[SensorFileClass]
    SENSOR_FILE_CLASS_WAL: _ClassVar[SensorFileClass]
    SENSOR_FILE_CLASS_DATABASE: _ClassVar[SensorFileClass]
SENSOR_FILE_CLASS_OTHER: SensorFileClass
SENSOR_FILE_CLASS_WAL: SensorFileClass
SENSOR_FILE_CLASS_DATABASE: SensorFileClass

class SensorReport(_message.Message):
    __slots__ = ("version", "started_unix_ms", "methods", "bounds_us", "latencies", "drops", "retransmits", "losses", "cpu_us", "own_netns")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_US_FIELD_NUMBER: _ClassVar[int]
    LATENCIES_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    RETRANSMITS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    CPU_US_FIELD_NUMBER: _ClassVar[int]
    OWN_NETNS_FIELD_NUMBER: _ClassVar[int]
    version: str
    started_unix_ms: int
    methods: _containers.RepeatedCompositeFieldContainer[SensorMethod]
    bounds_us: _containers.RepeatedScalarFieldContainer[int]
    latencies: _containers.RepeatedCompositeFieldContainer[SensorLatency]
    drops: _containers.RepeatedCompositeFieldContainer[SensorDrop]
    retransmits: _containers.RepeatedCompositeFieldContainer[SensorRetransmits]
    losses: SensorLosses
    cpu_us: int
    own_netns: int
    def __init__(self, version: _Optional[str] = ..., started_unix_ms: _Optional[int] = ..., methods: _Optional[_Iterable[_Union[SensorMethod, _Mapping]]] = ..., bounds_us: _Optional[_Iterable[int]] = ..., latencies: _Optional[_Iterable[_Union[SensorLatency, _Mapping]]] = ..., drops: _Optional[_Iterable[_Union[SensorDrop, _Mapping]]] = ..., retransmits: _Optional[_Iterable[_Union[SensorRetransmits, _Mapping]]] = ..., losses: _Optional[_Union[SensorLosses, _Mapping]] = ..., cpu_us: _Optional[int] = ..., own_netns: _Optional[int] = ...) -> None: ...

class SensorMethod(_message.Message):
    __slots__ = ("signal", "name", "running", "refused", "blind", "observed_permille", "attach_us")
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    BLIND_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    ATTACH_US_FIELD_NUMBER: _ClassVar[int]
    signal: str
    name: str
    running: bool
    refused: str
    blind: _containers.RepeatedScalarFieldContainer[str]
    observed_permille: int
    attach_us: int
    def __init__(self, signal: _Optional[str] = ..., name: _Optional[str] = ..., running: _Optional[bool] = ..., refused: _Optional[str] = ..., blind: _Optional[_Iterable[str]] = ..., observed_permille: _Optional[int] = ..., attach_us: _Optional[int] = ...) -> None: ...

class SensorLatency(_message.Message):
    __slots__ = ("process", "device_major", "device_minor", "file_class", "cgroup_id", "cgroup_path", "counts", "sum_ns", "max_ns")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MAJOR_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MINOR_FIELD_NUMBER: _ClassVar[int]
    FILE_CLASS_FIELD_NUMBER: _ClassVar[int]
    CGROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CGROUP_PATH_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_NS_FIELD_NUMBER: _ClassVar[int]
    MAX_NS_FIELD_NUMBER: _ClassVar[int]
    process: str
    device_major: int
    device_minor: int
    file_class: SensorFileClass
    cgroup_id: int
    cgroup_path: str
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum_ns: int
    max_ns: int
    def __init__(self, process: _Optional[str] = ..., device_major: _Optional[int] = ..., device_minor: _Optional[int] = ..., file_class: _Optional[_Union[SensorFileClass, str]] = ..., cgroup_id: _Optional[int] = ..., cgroup_path: _Optional[str] = ..., counts: _Optional[_Iterable[int]] = ..., sum_ns: _Optional[int] = ..., max_ns: _Optional[int] = ...) -> None: ...

class SensorDrop(_message.Message):
    __slots__ = ("reason", "site", "ifindex", "interface", "netns", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    IFINDEX_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    NETNS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    site: str
    ifindex: int
    interface: str
    netns: int
    count: int
    def __init__(self, reason: _Optional[str] = ..., site: _Optional[str] = ..., ifindex: _Optional[int] = ..., interface: _Optional[str] = ..., netns: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class SensorRetransmits(_message.Message):
    __slots__ = ("netns", "peer", "cgroup_id", "cgroup_path", "large", "small", "consecutive_timeouts")
    NETNS_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    CGROUP_ID_FIELD_NUMBER: _ClassVar[int]
    CGROUP_PATH_FIELD_NUMBER: _ClassVar[int]
    LARGE_FIELD_NUMBER: _ClassVar[int]
    SMALL_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    netns: int
    peer: str
    cgroup_id: int
    cgroup_path: str
    large: int
    small: int
    consecutive_timeouts: int
    def __init__(self, netns: _Optional[int] = ..., peer: _Optional[str] = ..., cgroup_id: _Optional[int] = ..., cgroup_path: _Optional[str] = ..., large: _Optional[int] = ..., small: _Optional[int] = ..., consecutive_timeouts: _Optional[int] = ...) -> None: ...

class SensorLosses(_message.Message):
    __slots__ = ("fsync_unmatched", "fsync_not_counted", "drops_not_counted", "retransmits_not_counted")
    FSYNC_UNMATCHED_FIELD_NUMBER: _ClassVar[int]
    FSYNC_NOT_COUNTED_FIELD_NUMBER: _ClassVar[int]
    DROPS_NOT_COUNTED_FIELD_NUMBER: _ClassVar[int]
    RETRANSMITS_NOT_COUNTED_FIELD_NUMBER: _ClassVar[int]
    fsync_unmatched: int
    fsync_not_counted: int
    drops_not_counted: int
    retransmits_not_counted: int
    def __init__(self, fsync_unmatched: _Optional[int] = ..., fsync_not_counted: _Optional[int] = ..., drops_not_counted: _Optional[int] = ..., retransmits_not_counted: _Optional[int] = ...) -> None: ...
