"""Which messages of the kernel's log mean trouble, and what they name: the whole of what is taken from its text.

All patterns are anchored at the beginning of a message, and no repetition stands within another, so that a line of any
length costs time in proportion to its length. Only the kernel's own messages count: what a process writes to /dev/kmsg
can claim anything.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from nodetell.v1 import facts_pb2 as pb

from agent.events.kmsg import LogRecord
from agent.hosts.files import printable

_SUBJECT_LENGTH = 64
_OOM_PENDING = 64

IO_ERROR = pb.KERNEL_EVENT_CLASS_IO_ERROR
FS_ERROR = pb.KERNEL_EVENT_CLASS_FS_ERROR
REMOUNT_READ_ONLY = pb.KERNEL_EVENT_CLASS_REMOUNT_READ_ONLY
HUNG_TASK = pb.KERNEL_EVENT_CLASS_HUNG_TASK
NIC_RESET = pb.KERNEL_EVENT_CLASS_NIC_RESET
OOM_KILL = pb.KERNEL_EVENT_CLASS_OOM_KILL
SEGFAULT = pb.KERNEL_EVENT_CLASS_SEGFAULT
NFS_NOT_RESPONDING = pb.KERNEL_EVENT_CLASS_NFS_NOT_RESPONDING
MD_DM_ERROR = pb.KERNEL_EVENT_CLASS_MD_DM_ERROR

WORDS = {
    IO_ERROR: "io_error",
    FS_ERROR: "fs_error",
    REMOUNT_READ_ONLY: "remount_read_only",
    HUNG_TASK: "hung_task",
    NIC_RESET: "nic_reset",
    OOM_KILL: "oom_kill",
    SEGFAULT: "segfault",
    NFS_NOT_RESPONDING: "nfs_not_responding",
    MD_DM_ERROR: "md_dm_error",
}
"""Classes by the word that stands in keys."""

_DEVICE = r"([\w.:!/-]{1,64})"
_TASK = r"(.{1,64}?)"  # a process may have any name

_BLOCK_PREFIX = "(?:blk_update_request: |print_req_error: )?"
_BLOCK_STATUS = "I/O|timeout|protection|(?:recoverable )?transport|critical (?:medium|target|nexus|space allocation)"
_XFS_TROUBLE = (
    "Metadata (?:corruption|CRC error|I/O error)|metadata I/O error|[Ll]og I/O error|Internal error|Corruption |"
    "User initiated shutdown|Filesystem has been shut down|xfs_do_force_shutdown|writeback error"
)
_NIC_TROUBLE = (
    "Reset adapter|Detected Hardware Unit Hang|Detected Tx Unit Hang|TX timeout detected|"
    "initiating reset due to tx timeout|tx hang|Keep alive watchdog timeout"
)
_DM_TARGETS = "thin|raid|integrity|crypt|verity|cache|snapshots"
_DM_TROUBLE = "switching pool to |metadata operation|Failed to read|INTEGRITY|data block|aborting current metadata"

PATTERNS: Sequence[tuple[pb.KernelEventClass, str]] = (
    # block/blk-core.c: blk_status_to_str() names the errors; "dev NAME, sector N" since 2.6, the prefix until 5.17.
    (
        IO_ERROR,
        rf"{_BLOCK_PREFIX}(?:{_BLOCK_STATUS}) error, dev {_DEVICE},",
    ),
    (IO_ERROR, rf"Buffer I/O error on dev(?:ice)? {_DEVICE},"),  # fs/buffer.c
    (IO_ERROR, r"sd [\d:]{3,40}: \[(\w{1,32})\] tag#\d{1,10} FAILED Result: "),  # drivers/scsi/scsi_logging.c
    (IO_ERROR, r"nvme (nvme\d{1,5}): (?:I/O |controller is down|Device not ready|Disabling device)"),  # nvme/host/pci.c
    (FS_ERROR, rf"EXT[234]-fs error \(device {_DEVICE}\)"),  # fs/ext4/super.c
    (FS_ERROR, rf"Aborting journal on device {_DEVICE}-\d{{1,10}}\."),  # fs/jbd2/journal.c
    # fs/xfs: corruption, failed log writes, and every way of shutting down.
    (
        FS_ERROR,
        rf"XFS \({_DEVICE}\): (?:{_XFS_TROUBLE})",
    ),
    (FS_ERROR, rf"BTRFS:? (?:error|critical) \(device {_DEVICE}"),  # fs/btrfs/messages.c
    (REMOUNT_READ_ONLY, rf"EXT[234]-fs \({_DEVICE}\): Remounting filesystem read-only"),
    (REMOUNT_READ_ONLY, rf"BTRFS(?:: | )info \(device {_DEVICE}(?: state \w{{1,16}})?\): forced readonly"),
    (HUNG_TASK, rf"INFO: task {_TASK}:\d{{1,10}} blocked for more than \d"),  # kernel/hung_task.c
    (NIC_RESET, r"NETDEV WATCHDOG: (\S{1,15}) \("),  # net/sched/sch_generic.c until 6.4
    (NIC_RESET, r"\S{1,64} \S{1,64} (\S{1,15}): NETDEV WATCHDOG: "),  # and since
    (
        NIC_RESET,
        rf"\S{{1,64}} \S{{1,64}} (\S{{1,15}}): (?:{_NIC_TROUBLE})",
    ),
    (NIC_RESET, r"ena ([\da-f:.]{7,16}): Keep alive watchdog timeout"),  # Amazon's, before the interface has its name
    (
        OOM_KILL,
        rf"(?:Memory cgroup out of memory|Out of memory): Killed process \d{{1,10}} \({_TASK}\)",
    ),  # mm/oom_kill.c
    (SEGFAULT, rf"{_TASK}\[\d{{1,10}}\]: segfault at "),  # arch/*/mm/fault.c
    (SEGFAULT, rf"traps: {_TASK}\[\d{{1,10}}\] (?:general protection|trap )"),  # arch/x86/kernel/traps.c
    (NFS_NOT_RESPONDING, r"nfs: server (\S{1,255}) not responding"),  # net/sunrpc/clnt.c
    (MD_DM_ERROR, rf"md/raid\w{{0,8}}:{_DEVICE}: Disk failure on "),  # drivers/md/raid*.c
    (MD_DM_ERROR, r"device-mapper: multipath: (?:\d{1,5}:\d{1,7}: )?Failing path (\d{1,5}:\d{1,7})"),
    (
        MD_DM_ERROR,
        rf"device-mapper: (?:{_DM_TARGETS}): (\d{{1,5}}:\d{{1,7}}): (?:{_DM_TROUBLE})",
    ),
)
"""Class, and what the message begins with; the group is what it is about."""

_COMPILED = [(of_class, re.compile(pattern)) for of_class, pattern in PATTERNS]
_NFS_ANSWERS = re.compile(r"nfs: server (\S{1,255}) OK")  # net/sunrpc/clnt.c: call_decode(), call_status()
_ANY = re.compile("|".join(f"(?:{pattern})" for _, pattern in PATTERNS) + f"|oom-kill:|{_NFS_ANSWERS.pattern}")
_OOM_CONTEXT = re.compile(r"oom-kill:constraint=")
_OOM_TASK = re.compile(r",task_memcg=([^,]{1,2000}),")
_OOM_PID = re.compile(r",pid=(\d{1,10}),")
_KILLED_PID = re.compile(r"(?:Memory cgroup out|Out) of memory: Killed process (\d{1,10}) ")
_POD = re.compile(r"pod([\da-f]{8}[-_][\da-f]{4}[-_][\da-f]{4}[-_][\da-f]{4}[-_][\da-f]{12}|[\da-f]{32})(?![\da-f])")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a message tells."""

    of_class: pb.KernelEventClass
    subject: str
    pod_uid: str = ""
    """Empty: the message names no pod's control group."""


class Classifier:
    """Tells what messages mean. Remembers what an out-of-memory kill says of the pod until it says whom it killed."""

    def __init__(self) -> None:
        self._pods: OrderedDict[str, str] = OrderedDict()
        """Pod UID by pid."""

    def concerns(self, record: LogRecord) -> bool:
        """Whether a record is of interest, by itself or for another."""
        return record.from_kernel and _ANY.match(record.text) is not None

    def sighting(self, record: LogRecord) -> Sighting | None:
        """What a record tells; None: nothing of interest, or nothing by itself."""
        text = record.text
        if not self.concerns(record):
            return None
        if _OOM_CONTEXT.match(text):
            self._remember(text)
            return None
        for of_class, pattern in _COMPILED:
            match = pattern.match(text)
            if match is not None:
                return Sighting(of_class, printable(match[1], _SUBJECT_LENGTH), self._pod(text))
        return None

    def over(self, record: LogRecord) -> Sighting | None:
        """What a record tells to be over: an NFS server that answers again."""
        match = _NFS_ANSWERS.match(record.text) if record.from_kernel else None
        return Sighting(NFS_NOT_RESPONDING, printable(match[1], _SUBJECT_LENGTH)) if match is not None else None

    def _remember(self, text: str) -> None:
        """Which pod's control group a kill is in (dump_oom_summary() of mm/oom_kill.c); whom it kills comes later."""
        group, pid = _OOM_TASK.search(text), _OOM_PID.search(text)
        pod = _POD.search(group[1]) if group else None
        if pod is not None and pid is not None:
            self._pods[pid[1]] = pod[1].replace("_", "-")
            if len(self._pods) > _OOM_PENDING:
                self._pods.popitem(last=False)

    def _pod(self, text: str) -> str:
        killed = _KILLED_PID.match(text)
        return self._pods.pop(killed[1], "") if killed else ""
