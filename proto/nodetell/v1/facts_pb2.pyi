from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPER_STATE_UNKNOWN: _ClassVar[OperState]
    OPER_STATE_NOT_PRESENT: _ClassVar[OperState]
    OPER_STATE_DOWN: _ClassVar[OperState]
    OPER_STATE_LOWER_LAYER_DOWN: _ClassVar[OperState]
    OPER_STATE_TESTING: _ClassVar[OperState]
    OPER_STATE_DORMANT: _ClassVar[OperState]
    OPER_STATE_UP: _ClassVar[OperState]

class OuterDf(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTER_DF_UNKNOWN: _ClassVar[OuterDf]
    OUTER_DF_UNSET: _ClassVar[OuterDf]
    OUTER_DF_SET: _ClassVar[OuterDf]
    OUTER_DF_INHERIT: _ClassVar[OuterDf]

class UnderlaySource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNDERLAY_SOURCE_UNKNOWN: _ClassVar[UnderlaySource]
    UNDERLAY_SOURCE_LINK: _ClassVar[UnderlaySource]
    UNDERLAY_SOURCE_LOCAL_ADDRESS: _ClassVar[UnderlaySource]
    UNDERLAY_SOURCE_REMOTE_ROUTE: _ClassVar[UnderlaySource]
    UNDERLAY_SOURCE_DEFAULT_ROUTE: _ClassVar[UnderlaySource]

class DeviceUse(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_USE_UNSPECIFIED: _ClassVar[DeviceUse]
    DEVICE_USE_MOUNTED: _ClassVar[DeviceUse]
    DEVICE_USE_SWAP: _ClassVar[DeviceUse]
    DEVICE_USE_RAW_BLOCK: _ClassVar[DeviceUse]
    DEVICE_USE_HELD: _ClassVar[DeviceUse]
    DEVICE_USE_PARTITIONED: _ClassVar[DeviceUse]
    DEVICE_USE_UNUSED: _ClassVar[DeviceUse]

class AttachEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTACH_EVENT_KIND_UNSPECIFIED: _ClassVar[AttachEventKind]
    ATTACH_EVENT_KIND_ATTACHED: _ClassVar[AttachEventKind]
    ATTACH_EVENT_KIND_DETACHED: _ClassVar[AttachEventKind]
    ATTACH_EVENT_KIND_MOUNTED: _ClassVar[AttachEventKind]
    ATTACH_EVENT_KIND_UNMOUNTED: _ClassVar[AttachEventKind]
    ATTACH_EVENT_KIND_REMOUNTED: _ClassVar[AttachEventKind]

class KernelEventClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KERNEL_EVENT_CLASS_UNSPECIFIED: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_IO_ERROR: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_FS_ERROR: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_REMOUNT_READ_ONLY: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_HUNG_TASK: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_NIC_RESET: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_OOM_KILL: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_SEGFAULT: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_NFS_NOT_RESPONDING: _ClassVar[KernelEventClass]
    KERNEL_EVENT_CLASS_MD_DM_ERROR: _ClassVar[KernelEventClass]

class LatencyMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_METHOD_UNSPECIFIED: _ClassVar[LatencyMethod]
    LATENCY_METHOD_PASSIVE: _ClassVar[LatencyMethod]
    LATENCY_METHOD_PROBE: _ClassVar[LatencyMethod]

class CoverageStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COVERAGE_STATUS_UNSPECIFIED: _ClassVar[CoverageStatus]
    COVERAGE_STATUS_MISSING: _ClassVar[CoverageStatus]
    COVERAGE_STATUS_DEGRADED: _ClassVar[CoverageStatus]
    COVERAGE_STATUS_DAMAGED: _ClassVar[CoverageStatus]
    COVERAGE_STATUS_DENIED: _ClassVar[CoverageStatus]
OPER_STATE_UNKNOWN: OperState
OPER_STATE_NOT_PRESENT: OperState
OPER_STATE_DOWN: OperState
OPER_STATE_LOWER_LAYER_DOWN: OperState
OPER_STATE_TESTING: OperState
OPER_STATE_DORMANT: OperState
OPER_STATE_UP: OperState
OUTER_DF_UNKNOWN: OuterDf
OUTER_DF_UNSET: OuterDf
OUTER_DF_SET: OuterDf
OUTER_DF_INHERIT: OuterDf
UNDERLAY_SOURCE_UNKNOWN: UnderlaySource
UNDERLAY_SOURCE_LINK: UnderlaySource
UNDERLAY_SOURCE_LOCAL_ADDRESS: UnderlaySource
UNDERLAY_SOURCE_REMOTE_ROUTE: UnderlaySource
UNDERLAY_SOURCE_DEFAULT_ROUTE: UnderlaySource
DEVICE_USE_UNSPECIFIED: DeviceUse
DEVICE_USE_MOUNTED: DeviceUse
DEVICE_USE_SWAP: DeviceUse
DEVICE_USE_RAW_BLOCK: DeviceUse
DEVICE_USE_HELD: DeviceUse
DEVICE_USE_PARTITIONED: DeviceUse
DEVICE_USE_UNUSED: DeviceUse
ATTACH_EVENT_KIND_UNSPECIFIED: AttachEventKind
ATTACH_EVENT_KIND_ATTACHED: AttachEventKind
ATTACH_EVENT_KIND_DETACHED: AttachEventKind
ATTACH_EVENT_KIND_MOUNTED: AttachEventKind
ATTACH_EVENT_KIND_UNMOUNTED: AttachEventKind
ATTACH_EVENT_KIND_REMOUNTED: AttachEventKind
KERNEL_EVENT_CLASS_UNSPECIFIED: KernelEventClass
KERNEL_EVENT_CLASS_IO_ERROR: KernelEventClass
KERNEL_EVENT_CLASS_FS_ERROR: KernelEventClass
KERNEL_EVENT_CLASS_REMOUNT_READ_ONLY: KernelEventClass
KERNEL_EVENT_CLASS_HUNG_TASK: KernelEventClass
KERNEL_EVENT_CLASS_NIC_RESET: KernelEventClass
KERNEL_EVENT_CLASS_OOM_KILL: KernelEventClass
KERNEL_EVENT_CLASS_SEGFAULT: KernelEventClass
KERNEL_EVENT_CLASS_NFS_NOT_RESPONDING: KernelEventClass
KERNEL_EVENT_CLASS_MD_DM_ERROR: KernelEventClass
LATENCY_METHOD_UNSPECIFIED: LatencyMethod
LATENCY_METHOD_PASSIVE: LatencyMethod
LATENCY_METHOD_PROBE: LatencyMethod
COVERAGE_STATUS_UNSPECIFIED: CoverageStatus
COVERAGE_STATUS_MISSING: CoverageStatus
COVERAGE_STATUS_DEGRADED: CoverageStatus
COVERAGE_STATUS_DAMAGED: CoverageStatus
COVERAGE_STATUS_DENIED: CoverageStatus

class Item(_message.Message):
    __slots__ = ("key", "host", "link", "route", "disk", "mount", "volume", "latency", "conntrack", "pressure", "usage", "clock", "filesystem", "path_mtu", "coverage", "collector", "pod_link", "probe_endpoint", "drop_reason", "retransmits", "kernel_event", "attach_event", "attached_device", "signal_source", "agent", "etcd", "log_pattern", "link_event")
    KEY_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    CONNTRACK_FIELD_NUMBER: _ClassVar[int]
    PRESSURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    PATH_MTU_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    COLLECTOR_FIELD_NUMBER: _ClassVar[int]
    POD_LINK_FIELD_NUMBER: _ClassVar[int]
    PROBE_ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    DROP_REASON_FIELD_NUMBER: _ClassVar[int]
    RETRANSMITS_FIELD_NUMBER: _ClassVar[int]
    KERNEL_EVENT_FIELD_NUMBER: _ClassVar[int]
    ATTACH_EVENT_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_DEVICE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_SOURCE_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ETCD_FIELD_NUMBER: _ClassVar[int]
    LOG_PATTERN_FIELD_NUMBER: _ClassVar[int]
    LINK_EVENT_FIELD_NUMBER: _ClassVar[int]
    key: str
    host: HostInfo
    link: Link
    route: Route
    disk: Disk
    mount: Mount
    volume: Volume
    latency: LatencySource
    conntrack: Conntrack
    pressure: Pressure
    usage: Usage
    clock: Clock
    filesystem: Filesystem
    path_mtu: PathMtu
    coverage: Coverage
    collector: CollectorStatus
    pod_link: PodLink
    probe_endpoint: ProbeEndpoint
    drop_reason: DropReason
    retransmits: Retransmits
    kernel_event: KernelEvent
    attach_event: AttachEvent
    attached_device: AttachedDevice
    signal_source: SignalSource
    agent: AgentStatus
    etcd: Etcd
    log_pattern: LogPattern
    link_event: LinkEvent
    def __init__(self, key: _Optional[str] = ..., host: _Optional[_Union[HostInfo, _Mapping]] = ..., link: _Optional[_Union[Link, _Mapping]] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., disk: _Optional[_Union[Disk, _Mapping]] = ..., mount: _Optional[_Union[Mount, _Mapping]] = ..., volume: _Optional[_Union[Volume, _Mapping]] = ..., latency: _Optional[_Union[LatencySource, _Mapping]] = ..., conntrack: _Optional[_Union[Conntrack, _Mapping]] = ..., pressure: _Optional[_Union[Pressure, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., clock: _Optional[_Union[Clock, _Mapping]] = ..., filesystem: _Optional[_Union[Filesystem, _Mapping]] = ..., path_mtu: _Optional[_Union[PathMtu, _Mapping]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., collector: _Optional[_Union[CollectorStatus, _Mapping]] = ..., pod_link: _Optional[_Union[PodLink, _Mapping]] = ..., probe_endpoint: _Optional[_Union[ProbeEndpoint, _Mapping]] = ..., drop_reason: _Optional[_Union[DropReason, _Mapping]] = ..., retransmits: _Optional[_Union[Retransmits, _Mapping]] = ..., kernel_event: _Optional[_Union[KernelEvent, _Mapping]] = ..., attach_event: _Optional[_Union[AttachEvent, _Mapping]] = ..., attached_device: _Optional[_Union[AttachedDevice, _Mapping]] = ..., signal_source: _Optional[_Union[SignalSource, _Mapping]] = ..., agent: _Optional[_Union[AgentStatus, _Mapping]] = ..., etcd: _Optional[_Union[Etcd, _Mapping]] = ..., log_pattern: _Optional[_Union[LogPattern, _Mapping]] = ..., link_event: _Optional[_Union[LinkEvent, _Mapping]] = ...) -> None: ...

class HostInfo(_message.Message):
    __slots__ = ("boot_time_unix_ms", "boot_id", "kernel_release", "machine", "cpus", "recorded")
    BOOT_TIME_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    KERNEL_RELEASE_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    boot_time_unix_ms: int
    boot_id: str
    kernel_release: str
    machine: str
    cpus: int
    recorded: bool
    def __init__(self, boot_time_unix_ms: _Optional[int] = ..., boot_id: _Optional[str] = ..., kernel_release: _Optional[str] = ..., machine: _Optional[str] = ..., cpus: _Optional[int] = ..., recorded: _Optional[bool] = ...) -> None: ...

class Link(_message.Message):
    __slots__ = ("ifindex", "name", "kind", "mtu", "up", "operstate", "master", "lower", "peer_ifindex", "peer_netnsid", "tunnel", "addresses", "arp_type", "hardware", "vlan_id", "loopback")
    IFINDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    OPERSTATE_FIELD_NUMBER: _ClassVar[int]
    MASTER_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    PEER_IFINDEX_FIELD_NUMBER: _ClassVar[int]
    PEER_NETNSID_FIELD_NUMBER: _ClassVar[int]
    TUNNEL_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ARP_TYPE_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    VLAN_ID_FIELD_NUMBER: _ClassVar[int]
    LOOPBACK_FIELD_NUMBER: _ClassVar[int]
    ifindex: int
    name: str
    kind: str
    mtu: int
    up: bool
    operstate: OperState
    master: int
    lower: int
    peer_ifindex: int
    peer_netnsid: int
    tunnel: Tunnel
    addresses: _containers.RepeatedScalarFieldContainer[str]
    arp_type: int
    hardware: bool
    vlan_id: int
    loopback: bool
    def __init__(self, ifindex: _Optional[int] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., mtu: _Optional[int] = ..., up: _Optional[bool] = ..., operstate: _Optional[_Union[OperState, str]] = ..., master: _Optional[int] = ..., lower: _Optional[int] = ..., peer_ifindex: _Optional[int] = ..., peer_netnsid: _Optional[int] = ..., tunnel: _Optional[_Union[Tunnel, _Mapping]] = ..., addresses: _Optional[_Iterable[str]] = ..., arp_type: _Optional[int] = ..., hardware: _Optional[bool] = ..., vlan_id: _Optional[int] = ..., loopback: _Optional[bool] = ...) -> None: ...

class LinkEvent(_message.Message):
    __slots__ = ("at_unix_ms", "ifindex", "name", "mtu_before", "mtu", "up_before", "up", "operstate_before", "operstate")
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    IFINDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MTU_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    UP_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    OPERSTATE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    OPERSTATE_FIELD_NUMBER: _ClassVar[int]
    at_unix_ms: int
    ifindex: int
    name: str
    mtu_before: int
    mtu: int
    up_before: bool
    up: bool
    operstate_before: OperState
    operstate: OperState
    def __init__(self, at_unix_ms: _Optional[int] = ..., ifindex: _Optional[int] = ..., name: _Optional[str] = ..., mtu_before: _Optional[int] = ..., mtu: _Optional[int] = ..., up_before: _Optional[bool] = ..., up: _Optional[bool] = ..., operstate_before: _Optional[_Union[OperState, str]] = ..., operstate: _Optional[_Union[OperState, str]] = ...) -> None: ...

class Tunnel(_message.Message):
    __slots__ = ("id", "local", "remote", "port", "external", "underlay", "underlay_source", "df", "outer_ipv6", "gre_flags", "encap_type")
    ID_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    UNDERLAY_FIELD_NUMBER: _ClassVar[int]
    UNDERLAY_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DF_FIELD_NUMBER: _ClassVar[int]
    OUTER_IPV6_FIELD_NUMBER: _ClassVar[int]
    GRE_FLAGS_FIELD_NUMBER: _ClassVar[int]
    ENCAP_TYPE_FIELD_NUMBER: _ClassVar[int]
    id: int
    local: str
    remote: str
    port: int
    external: bool
    underlay: int
    underlay_source: UnderlaySource
    df: OuterDf
    outer_ipv6: bool
    gre_flags: int
    encap_type: int
    def __init__(self, id: _Optional[int] = ..., local: _Optional[str] = ..., remote: _Optional[str] = ..., port: _Optional[int] = ..., external: _Optional[bool] = ..., underlay: _Optional[int] = ..., underlay_source: _Optional[_Union[UnderlaySource, str]] = ..., df: _Optional[_Union[OuterDf, str]] = ..., outer_ipv6: _Optional[bool] = ..., gre_flags: _Optional[int] = ..., encap_type: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("destination", "ifindex", "gateway", "mtu", "mtu_locked", "table", "source", "encap", "encap_remote", "priority")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    IFINDEX_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    MTU_LOCKED_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ENCAP_FIELD_NUMBER: _ClassVar[int]
    ENCAP_REMOTE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    destination: str
    ifindex: int
    gateway: str
    mtu: int
    mtu_locked: bool
    table: int
    source: str
    encap: str
    encap_remote: str
    priority: int
    def __init__(self, destination: _Optional[str] = ..., ifindex: _Optional[int] = ..., gateway: _Optional[str] = ..., mtu: _Optional[int] = ..., mtu_locked: _Optional[bool] = ..., table: _Optional[int] = ..., source: _Optional[str] = ..., encap: _Optional[str] = ..., encap_remote: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class Disk(_message.Message):
    __slots__ = ("dev", "name", "size_bytes", "read_only", "write_cache", "serial", "model", "whole_disk", "backing_file", "columns", "wwid")
    DEV_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    WRITE_CACHE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WHOLE_DISK_FIELD_NUMBER: _ClassVar[int]
    BACKING_FILE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    WWID_FIELD_NUMBER: _ClassVar[int]
    dev: str
    name: str
    size_bytes: int
    read_only: bool
    write_cache: str
    serial: str
    model: str
    whole_disk: str
    backing_file: str
    columns: int
    wwid: str
    def __init__(self, dev: _Optional[str] = ..., name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., read_only: _Optional[bool] = ..., write_cache: _Optional[str] = ..., serial: _Optional[str] = ..., model: _Optional[str] = ..., whole_disk: _Optional[str] = ..., backing_file: _Optional[str] = ..., columns: _Optional[int] = ..., wwid: _Optional[str] = ...) -> None: ...

class Mount(_message.Message):
    __slots__ = ("id", "dev", "root", "mount_point", "fs_type", "source", "mount_read_only", "fs_read_only", "fs_read_only_word")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEV_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    MOUNT_POINT_FIELD_NUMBER: _ClassVar[int]
    FS_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MOUNT_READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_WORD_FIELD_NUMBER: _ClassVar[int]
    id: int
    dev: str
    root: str
    mount_point: str
    fs_type: str
    source: str
    mount_read_only: bool
    fs_read_only: bool
    fs_read_only_word: str
    def __init__(self, id: _Optional[int] = ..., dev: _Optional[str] = ..., root: _Optional[str] = ..., mount_point: _Optional[str] = ..., fs_type: _Optional[str] = ..., source: _Optional[str] = ..., mount_read_only: _Optional[bool] = ..., fs_read_only: _Optional[bool] = ..., fs_read_only_word: _Optional[str] = ...) -> None: ...

class Volume(_message.Message):
    __slots__ = ("pod_uid", "volume_name", "driver", "volume_handle", "attachment_id", "path", "mounted", "dev", "plugin", "staging_path", "fs_type", "mount_read_only", "fs_read_only", "fs_read_only_word", "raw_block", "attached", "devices", "disk", "errors", "first_error_time", "last_error_time", "last_error_func")
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_NAME_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    VOLUME_HANDLE_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MOUNTED_FIELD_NUMBER: _ClassVar[int]
    DEV_FIELD_NUMBER: _ClassVar[int]
    PLUGIN_FIELD_NUMBER: _ClassVar[int]
    STAGING_PATH_FIELD_NUMBER: _ClassVar[int]
    FS_TYPE_FIELD_NUMBER: _ClassVar[int]
    MOUNT_READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_WORD_FIELD_NUMBER: _ClassVar[int]
    RAW_BLOCK_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    FIRST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FUNC_FIELD_NUMBER: _ClassVar[int]
    pod_uid: str
    volume_name: str
    driver: str
    volume_handle: str
    attachment_id: str
    path: str
    mounted: bool
    dev: str
    plugin: str
    staging_path: str
    fs_type: str
    mount_read_only: bool
    fs_read_only: bool
    fs_read_only_word: str
    raw_block: bool
    attached: bool
    devices: _containers.RepeatedScalarFieldContainer[str]
    disk: DeviceIdentity
    errors: int
    first_error_time: int
    last_error_time: int
    last_error_func: str
    def __init__(self, pod_uid: _Optional[str] = ..., volume_name: _Optional[str] = ..., driver: _Optional[str] = ..., volume_handle: _Optional[str] = ..., attachment_id: _Optional[str] = ..., path: _Optional[str] = ..., mounted: _Optional[bool] = ..., dev: _Optional[str] = ..., plugin: _Optional[str] = ..., staging_path: _Optional[str] = ..., fs_type: _Optional[str] = ..., mount_read_only: _Optional[bool] = ..., fs_read_only: _Optional[bool] = ..., fs_read_only_word: _Optional[str] = ..., raw_block: _Optional[bool] = ..., attached: _Optional[bool] = ..., devices: _Optional[_Iterable[str]] = ..., disk: _Optional[_Union[DeviceIdentity, _Mapping]] = ..., errors: _Optional[int] = ..., first_error_time: _Optional[int] = ..., last_error_time: _Optional[int] = ..., last_error_func: _Optional[str] = ...) -> None: ...

class DeviceIdentity(_message.Message):
    __slots__ = ("dev", "name", "serial", "model", "wwid", "scsi_address", "by_id")
    DEV_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WWID_FIELD_NUMBER: _ClassVar[int]
    SCSI_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BY_ID_FIELD_NUMBER: _ClassVar[int]
    dev: str
    name: str
    serial: str
    model: str
    wwid: str
    scsi_address: str
    by_id: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dev: _Optional[str] = ..., name: _Optional[str] = ..., serial: _Optional[str] = ..., model: _Optional[str] = ..., wwid: _Optional[str] = ..., scsi_address: _Optional[str] = ..., by_id: _Optional[_Iterable[str]] = ...) -> None: ...

class AttachedDevice(_message.Message):
    __slots__ = ("identity", "size_bytes", "read_only", "backing_file", "use", "root", "unused_since_unix_ms")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    BACKING_FILE_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    UNUSED_SINCE_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    identity: DeviceIdentity
    size_bytes: int
    read_only: bool
    backing_file: str
    use: DeviceUse
    root: bool
    unused_since_unix_ms: int
    def __init__(self, identity: _Optional[_Union[DeviceIdentity, _Mapping]] = ..., size_bytes: _Optional[int] = ..., read_only: _Optional[bool] = ..., backing_file: _Optional[str] = ..., use: _Optional[_Union[DeviceUse, str]] = ..., root: _Optional[bool] = ..., unused_since_unix_ms: _Optional[int] = ...) -> None: ...

class AttachEvent(_message.Message):
    __slots__ = ("kind", "at_unix_ms", "uncertain_ms", "dev", "device", "serial", "mount_point", "fs_type", "pod_uid", "volume_name", "read_only_before", "read_only", "fs_read_only_word")
    KIND_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    UNCERTAIN_MS_FIELD_NUMBER: _ClassVar[int]
    DEV_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    MOUNT_POINT_FIELD_NUMBER: _ClassVar[int]
    FS_TYPE_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_NAME_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_BEFORE_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    FS_READ_ONLY_WORD_FIELD_NUMBER: _ClassVar[int]
    kind: AttachEventKind
    at_unix_ms: int
    uncertain_ms: int
    dev: str
    device: str
    serial: str
    mount_point: str
    fs_type: str
    pod_uid: str
    volume_name: str
    read_only_before: bool
    read_only: bool
    fs_read_only_word: str
    def __init__(self, kind: _Optional[_Union[AttachEventKind, str]] = ..., at_unix_ms: _Optional[int] = ..., uncertain_ms: _Optional[int] = ..., dev: _Optional[str] = ..., device: _Optional[str] = ..., serial: _Optional[str] = ..., mount_point: _Optional[str] = ..., fs_type: _Optional[str] = ..., pod_uid: _Optional[str] = ..., volume_name: _Optional[str] = ..., read_only_before: _Optional[bool] = ..., read_only: _Optional[bool] = ..., fs_read_only_word: _Optional[str] = ...) -> None: ...

class KernelEvent(_message.Message):
    __slots__ = ("subject", "pod_uid", "count", "first_unix_ms", "last_unix_ms")
    CLASS_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    subject: str
    pod_uid: str
    count: int
    first_unix_ms: int
    last_unix_ms: int
    def __init__(self, subject: _Optional[str] = ..., pod_uid: _Optional[str] = ..., count: _Optional[int] = ..., first_unix_ms: _Optional[int] = ..., last_unix_ms: _Optional[int] = ..., **kwargs) -> None: ...

class LogPattern(_message.Message):
    __slots__ = ("pod_uid", "container", "pattern", "run", "at_unix_ms")
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    pod_uid: str
    container: str
    pattern: str
    run: int
    at_unix_ms: int
    def __init__(self, pod_uid: _Optional[str] = ..., container: _Optional[str] = ..., pattern: _Optional[str] = ..., run: _Optional[int] = ..., at_unix_ms: _Optional[int] = ...) -> None: ...

class LatencySource(_message.Message):
    __slots__ = ("process", "device", "mount", "method", "bounds_us", "file_class", "cgroup_id", "pod_uid", "attached_by", "observed_permille")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_US_FIELD_NUMBER: _ClassVar[int]
    FILE_CLASS_FIELD_NUMBER: _ClassVar[int]
    CGROUP_ID_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_BY_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    process: str
    device: str
    mount: str
    method: LatencyMethod
    bounds_us: _containers.RepeatedScalarFieldContainer[int]
    file_class: str
    cgroup_id: int
    pod_uid: str
    attached_by: str
    observed_permille: int
    def __init__(self, process: _Optional[str] = ..., device: _Optional[str] = ..., mount: _Optional[str] = ..., method: _Optional[_Union[LatencyMethod, str]] = ..., bounds_us: _Optional[_Iterable[int]] = ..., file_class: _Optional[str] = ..., cgroup_id: _Optional[int] = ..., pod_uid: _Optional[str] = ..., attached_by: _Optional[str] = ..., observed_permille: _Optional[int] = ...) -> None: ...

class Etcd(_message.Message):
    __slots__ = ("database_bytes", "in_use_bytes", "quota_bytes", "has_leader", "is_leader", "proposals_pending")
    DATABASE_BYTES_FIELD_NUMBER: _ClassVar[int]
    IN_USE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    HAS_LEADER_FIELD_NUMBER: _ClassVar[int]
    IS_LEADER_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_PENDING_FIELD_NUMBER: _ClassVar[int]
    database_bytes: int
    in_use_bytes: int
    quota_bytes: int
    has_leader: bool
    is_leader: bool
    proposals_pending: int
    def __init__(self, database_bytes: _Optional[int] = ..., in_use_bytes: _Optional[int] = ..., quota_bytes: _Optional[int] = ..., has_leader: _Optional[bool] = ..., is_leader: _Optional[bool] = ..., proposals_pending: _Optional[int] = ...) -> None: ...

class DropReason(_message.Message):
    __slots__ = ("reason", "site", "ifindex", "interface", "netns", "host_network")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    IFINDEX_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    NETNS_FIELD_NUMBER: _ClassVar[int]
    HOST_NETWORK_FIELD_NUMBER: _ClassVar[int]
    reason: str
    site: str
    ifindex: int
    interface: str
    netns: int
    host_network: bool
    def __init__(self, reason: _Optional[str] = ..., site: _Optional[str] = ..., ifindex: _Optional[int] = ..., interface: _Optional[str] = ..., netns: _Optional[int] = ..., host_network: _Optional[bool] = ...) -> None: ...

class Retransmits(_message.Message):
    __slots__ = ("netns", "host_network", "pod_uid", "peer", "consecutive_timeouts")
    NETNS_FIELD_NUMBER: _ClassVar[int]
    HOST_NETWORK_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    netns: int
    host_network: bool
    pod_uid: str
    peer: str
    consecutive_timeouts: int
    def __init__(self, netns: _Optional[int] = ..., host_network: _Optional[bool] = ..., pod_uid: _Optional[str] = ..., peer: _Optional[str] = ..., consecutive_timeouts: _Optional[int] = ...) -> None: ...

class Conntrack(_message.Message):
    __slots__ = ("count", "max")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    count: int
    max: int
    def __init__(self, count: _Optional[int] = ..., max: _Optional[int] = ...) -> None: ...

class Pressure(_message.Message):
    __slots__ = ("resource", "some_avg10_bp", "full_avg10_bp")
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    SOME_AVG10_BP_FIELD_NUMBER: _ClassVar[int]
    FULL_AVG10_BP_FIELD_NUMBER: _ClassVar[int]
    resource: str
    some_avg10_bp: int
    full_avg10_bp: int
    def __init__(self, resource: _Optional[str] = ..., some_avg10_bp: _Optional[int] = ..., full_avg10_bp: _Optional[int] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("cpu_busy_bp", "memory_total_bytes", "memory_available_bytes")
    CPU_BUSY_BP_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    cpu_busy_bp: int
    memory_total_bytes: int
    memory_available_bytes: int
    def __init__(self, cpu_busy_bp: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., memory_available_bytes: _Optional[int] = ...) -> None: ...

class Clock(_message.Message):
    __slots__ = ("synchronized", "offset_us", "max_error_us")
    SYNCHRONIZED_FIELD_NUMBER: _ClassVar[int]
    OFFSET_US_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_US_FIELD_NUMBER: _ClassVar[int]
    synchronized: bool
    offset_us: int
    max_error_us: int
    def __init__(self, synchronized: _Optional[bool] = ..., offset_us: _Optional[int] = ..., max_error_us: _Optional[int] = ...) -> None: ...

class Filesystem(_message.Message):
    __slots__ = ("device", "fs_type", "errors", "last_error_time", "last_error_func", "first_error_time")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    FS_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FUNC_FIELD_NUMBER: _ClassVar[int]
    FIRST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    device: str
    fs_type: str
    errors: int
    last_error_time: int
    last_error_func: str
    first_error_time: int
    def __init__(self, device: _Optional[str] = ..., fs_type: _Optional[str] = ..., errors: _Optional[int] = ..., last_error_time: _Optional[int] = ..., last_error_func: _Optional[str] = ..., first_error_time: _Optional[int] = ...) -> None: ...

class PodLink(_message.Message):
    __slots__ = ("pod_uid", "interface", "mtu", "host_interface", "addresses")
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    HOST_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    pod_uid: str
    interface: str
    mtu: int
    host_interface: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pod_uid: _Optional[str] = ..., interface: _Optional[str] = ..., mtu: _Optional[int] = ..., host_interface: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class PathMtu(_message.Message):
    __slots__ = ("peer", "via", "from_address", "to_address", "interface", "interface_mtu", "path_mtu", "icmp_seen", "at_unix_ms", "rtt_us")
    PEER_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    FROM_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TO_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_MTU_FIELD_NUMBER: _ClassVar[int]
    PATH_MTU_FIELD_NUMBER: _ClassVar[int]
    ICMP_SEEN_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    RTT_US_FIELD_NUMBER: _ClassVar[int]
    peer: str
    via: str
    from_address: str
    to_address: str
    interface: str
    interface_mtu: int
    path_mtu: int
    icmp_seen: bool
    at_unix_ms: int
    rtt_us: int
    def __init__(self, peer: _Optional[str] = ..., via: _Optional[str] = ..., from_address: _Optional[str] = ..., to_address: _Optional[str] = ..., interface: _Optional[str] = ..., interface_mtu: _Optional[int] = ..., path_mtu: _Optional[int] = ..., icmp_seen: _Optional[bool] = ..., at_unix_ms: _Optional[int] = ..., rtt_us: _Optional[int] = ...) -> None: ...

class ProbeEndpoint(_message.Message):
    __slots__ = ("port", "addresses")
    PORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    port: int
    addresses: _containers.RepeatedCompositeFieldContainer[ProbeAddress]
    def __init__(self, port: _Optional[int] = ..., addresses: _Optional[_Iterable[_Union[ProbeAddress, _Mapping]]] = ...) -> None: ...

class ProbeAddress(_message.Message):
    __slots__ = ("address", "via", "network")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    address: str
    via: str
    network: str
    def __init__(self, address: _Optional[str] = ..., via: _Optional[str] = ..., network: _Optional[str] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("signal", "status", "because", "remedy")
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    signal: str
    status: CoverageStatus
    because: str
    remedy: str
    def __init__(self, signal: _Optional[str] = ..., status: _Optional[_Union[CoverageStatus, str]] = ..., because: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class SignalSource(_message.Message):
    __slots__ = ("signal", "source")
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    signal: str
    source: str
    def __init__(self, signal: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class AgentStatus(_message.Message):
    __slots__ = ("cpu_mpercent", "cpu_budget_mpercent", "rss_bytes", "stretched", "grants")
    CPU_MPERCENT_FIELD_NUMBER: _ClassVar[int]
    CPU_BUDGET_MPERCENT_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    STRETCHED_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    cpu_mpercent: int
    cpu_budget_mpercent: int
    rss_bytes: int
    stretched: _containers.RepeatedScalarFieldContainer[str]
    grants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, cpu_mpercent: _Optional[int] = ..., cpu_budget_mpercent: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., stretched: _Optional[_Iterable[str]] = ..., grants: _Optional[_Iterable[str]] = ...) -> None: ...

class CollectorStatus(_message.Message):
    __slots__ = ("name", "ok", "error", "duration_us", "cpu_us", "overruns", "hung", "interval_ms", "runs_by_event", "runs_by_timer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DURATION_US_FIELD_NUMBER: _ClassVar[int]
    CPU_US_FIELD_NUMBER: _ClassVar[int]
    OVERRUNS_FIELD_NUMBER: _ClassVar[int]
    HUNG_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    RUNS_BY_EVENT_FIELD_NUMBER: _ClassVar[int]
    RUNS_BY_TIMER_FIELD_NUMBER: _ClassVar[int]
    name: str
    ok: bool
    error: str
    duration_us: int
    cpu_us: int
    overruns: int
    hung: bool
    interval_ms: int
    runs_by_event: int
    runs_by_timer: int
    def __init__(self, name: _Optional[str] = ..., ok: _Optional[bool] = ..., error: _Optional[str] = ..., duration_us: _Optional[int] = ..., cpu_us: _Optional[int] = ..., overruns: _Optional[int] = ..., hung: _Optional[bool] = ..., interval_ms: _Optional[int] = ..., runs_by_event: _Optional[int] = ..., runs_by_timer: _Optional[int] = ...) -> None: ...

class CounterSchema(_message.Message):
    __slots__ = ("id", "names")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    id: int
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class CounterBlock(_message.Message):
    __slots__ = ("first_slot", "schema", "subject", "values")
    FIRST_SLOT_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    first_slot: int
    schema: int
    subject: str
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, first_slot: _Optional[int] = ..., schema: _Optional[int] = ..., subject: _Optional[str] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...

class CounterSample(_message.Message):
    __slots__ = ("at_offset_ms", "slot_gaps", "increments", "span_ms")
    AT_OFFSET_MS_FIELD_NUMBER: _ClassVar[int]
    SLOT_GAPS_FIELD_NUMBER: _ClassVar[int]
    INCREMENTS_FIELD_NUMBER: _ClassVar[int]
    SPAN_MS_FIELD_NUMBER: _ClassVar[int]
    at_offset_ms: int
    slot_gaps: _containers.RepeatedScalarFieldContainer[int]
    increments: _containers.RepeatedScalarFieldContainer[int]
    span_ms: int
    def __init__(self, at_offset_ms: _Optional[int] = ..., slot_gaps: _Optional[_Iterable[int]] = ..., increments: _Optional[_Iterable[int]] = ..., span_ms: _Optional[int] = ...) -> None: ...

class Backlog(_message.Message):
    __slots__ = ("schemas", "blocks", "samples")
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    schemas: _containers.RepeatedCompositeFieldContainer[CounterSchema]
    blocks: _containers.RepeatedCompositeFieldContainer[CounterBlock]
    samples: _containers.RepeatedCompositeFieldContainer[CounterSample]
    def __init__(self, schemas: _Optional[_Iterable[_Union[CounterSchema, _Mapping]]] = ..., blocks: _Optional[_Iterable[_Union[CounterBlock, _Mapping]]] = ..., samples: _Optional[_Iterable[_Union[CounterSample, _Mapping]]] = ...) -> None: ...

class NodeFacts(_message.Message):
    __slots__ = ("node", "at_unix_ms", "items", "schemas", "blocks")
    NODE_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    node: str
    at_unix_ms: int
    items: _containers.RepeatedCompositeFieldContainer[Item]
    schemas: _containers.RepeatedCompositeFieldContainer[CounterSchema]
    blocks: _containers.RepeatedCompositeFieldContainer[CounterBlock]
    def __init__(self, node: _Optional[str] = ..., at_unix_ms: _Optional[int] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., schemas: _Optional[_Iterable[_Union[CounterSchema, _Mapping]]] = ..., blocks: _Optional[_Iterable[_Union[CounterBlock, _Mapping]]] = ...) -> None: ...
