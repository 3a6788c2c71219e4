"""The ways to time other processes' fsync, best first. Which of them a kernel allows is found out by trying.

fentry and kprobe are written to the kernel's documentation and have not met a kernel that allows them yet; the
self-test (agent.sensor.chain) decides on each host whether they count.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable

from agent.bpf import programs
from agent.bpf.btf import Btf, BtfError
from agent.bpf.memory import Memory
from agent.bpf.programs import AttachType, Hook, Program, ProgramType, raw_tracepoint, tracing
from agent.bpf.syscalls import BpfError
from agent.sensor import fsync_programs as fp
from agent.sensor.fsync_programs import FsyncMaps
from agent.sensor.kernel import Kernel, KernelError

FUNCTION = "vfs_fsync_range"
"""fsync(2), fdatasync(2), io_uring and writes with O_SYNC pass through it, on every file system."""
_FIRST_ARGUMENT = {"x86_64": "di", "aarch64": "regs"}
"""Member of struct pt_regs that is, or begins with, the register of a function's first argument."""
_EXT4_BEGIN, _EXT4_END = "ext4_sync_file_enter", "ext4_sync_file_exit"
_SYSCALLS = ("fsync", "fdatasync")
_NO_MEMORY = Memory(typed=False, scratch=-16)

_EXT4_ONLY = "file systems other than ext4 (XFS, btrfs, FUSE, network file systems)"
_UNNAMED = "which file: etcd's log and database are counted together"


class MethodError(Exception):
    """A method cannot be used on this host: why, one line."""


Hooks = Callable[[FsyncMaps, bool], list[Hook]]
"""Makes the hooks of a method, that of a call's end first. The flag: programs may read names of files.

Raises BtfError, KernelError."""


class Method:
    """One way: load(), then attach() and detach() any number of times, then close()."""

    def __init__(self, name: str, blind: tuple[str, ...], hooks: Hooks, *, typed: bool = False, taxing: bool = False):
        """`typed`: it works without a helper that lockdown=confidentiality refuses, at the price of names.

        `taxing`: it costs something at every system call of every process, so that it is on for a share of the time.
        """
        self.name = name
        self.blind = blind
        """What it cannot see, each a phrase for operators."""
        self.taxing = taxing
        self._typed = typed
        self._hooks = hooks
        self._maps: FsyncMaps | None = None
        self._programs: list[tuple[Hook, int]] = []
        self._links: list[int] = []

    @property
    def maps(self) -> FsyncMaps:
        """What it counts into, from load() to close()."""
        if self._maps is None:
            raise MethodError(f"{self.name} is not loaded")
        return self._maps

    @property
    def program_descriptors(self) -> list[int]:
        """Of its loaded programs, that of a call's end first."""
        return [descriptor for _, descriptor in self._programs]

    def load(self) -> None:
        """Make its tables and load its programs. Raises MethodError."""
        try:
            self._maps = FsyncMaps()
            self._load(self._maps)
        except (BpfError, BtfError, KernelError) as error:
            self.close()
            raise MethodError(str(error)) from error

    def _load(self, maps: FsyncMaps) -> None:
        try:
            self._load_all(self._hooks(maps, True))
        except BpfError as error:
            if not self._typed:
                raise
            self._unload()
            try:
                self._load_all(self._hooks(maps, False))
            except BpfError:
                raise error from None  # the first reason is the better one
            self.blind = (*self.blind, "names of files: etcd's log is told by their length")

    def _load_all(self, hooks: list[Hook]) -> None:
        for hook in hooks:
            self._programs.append((hook, programs.load(hook.program)))

    def attach(self) -> None:
        """Begin to count. Ends of calls first, so that no beginning waits for its end in vain. Raises MethodError."""
        try:
            for hook, descriptor in self._programs[len(self._links) :]:
                self._links.append(hook.attach(descriptor))
        except (BpfError, KernelError) as error:
            self.detach()
            raise MethodError(str(error)) from error

    def hold(self) -> None:
        """Note no more beginnings; ends of calls under way still count."""
        ends = len(self._programs) // 2
        while len(self._links) > ends:
            os.close(self._links.pop())

    def detach(self) -> None:
        """Stop counting. Calls under way are forgotten: their end would be seen too late, or never."""
        while self._links:
            os.close(self._links.pop())
        if self._maps is not None:
            self._maps.calls.clear()

    def close(self) -> None:
        """Detach and free everything; the counts go with it."""
        while self._links:
            os.close(self._links.pop())
        self._unload()
        if self._maps is not None:
            self._maps.close()
            self._maps = None

    def _unload(self) -> None:
        while self._programs:
            os.close(self._programs.pop()[1])


def methods(kernel: Kernel) -> list[Method]:
    """All ways, in the order in which they are tried."""
    return [
        _fentry(kernel),
        _kprobe(kernel),
        _ext4_btf(kernel),
        _ext4_raw(kernel),
        _ext4_perf(kernel),
        _syscalls(kernel),
    ]


def _fentry(kernel: Kernel) -> Method:
    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:
        types = kernel.types
        target = types.id(FUNCTION)
        reader = fp.typed_reader(types, by_name=by_name)
        ends = fp.end(maps, types, reader.memory)
        return [
            tracing(ends, "nt_fsync_fexit", AttachType.TRACE_FEXIT, target),
            tracing(fp.begin_with_file(maps, reader, 0), "nt_fsync_fentry", AttachType.TRACE_FENTRY, target),
        ]

    return Method(f"fentry {FUNCTION}", ("sync(2), syncfs(2) and msync(2)",), hooks, typed=True)


def _kprobe(kernel: Kernel) -> Method:
    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:  # noqa: ARG001  # it reads by the helper or not at all
        types = kernel.types
        register = _FIRST_ARGUMENT.get(platform.machine())
        if register is None:
            raise KernelError(f"no register of a function's first argument is known for {platform.machine()}")
        pmu = kernel.kprobe_type()
        reader = fp.probing_reader(types)
        begins = fp.begin_with_file(maps, reader, types.offset("pt_regs", register))
        return [
            Hook(
                Program(ProgramType.KPROBE, fp.end(maps, types, reader.memory), "nt_fsync_kret"),
                lambda program: programs.attach_kprobe(program, pmu, FUNCTION, at_return=True),
            ),
            Hook(
                Program(ProgramType.KPROBE, begins, "nt_fsync_kprobe"),
                lambda program: programs.attach_kprobe(program, pmu, FUNCTION, at_return=False),
            ),
        ]

    return Method(f"kprobe {FUNCTION}", ("sync(2), syncfs(2) and msync(2)",), hooks)


def _ext4_btf(kernel: Kernel) -> Method:
    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:
        types = kernel.types
        reader = fp.typed_reader(types, by_name=by_name)
        begin, end = types.id(f"btf_trace_{_EXT4_BEGIN}"), types.id(f"btf_trace_{_EXT4_END}")
        return [
            tracing(fp.end(maps, types, reader.memory), "nt_ext4_end", AttachType.TRACE_RAW_TP, end),
            tracing(fp.begin_with_file(maps, reader, 0), "nt_ext4_begin", AttachType.TRACE_RAW_TP, begin),
        ]

    return Method("tp_btf ext4_sync_file", (_EXT4_ONLY,), hooks, typed=True)


def _ext4_raw(kernel: Kernel) -> Method:
    """For ext4 as a module: its types may be asked for with CAP_SYS_ADMIN only, its tracepoint by name without."""

    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:  # noqa: ARG001  # it reads by the helper or not at all
        types = kernel.types
        reader = fp.probing_reader(types)
        ends = fp.end(maps, types, reader.memory)
        return [
            raw_tracepoint(ends, "nt_ext4_end", _EXT4_END),
            raw_tracepoint(fp.begin_with_file(maps, reader, 0), "nt_ext4_begin", _EXT4_BEGIN),
        ]

    return Method("raw tracepoint ext4_sync_file", (_EXT4_ONLY,), hooks)


def _ext4_perf(kernel: Kernel) -> Method:
    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:  # noqa: ARG001  # it knows no names
        fields = kernel.tracepoint_fields("ext4", _EXT4_BEGIN)
        if fields.get("dev", (0, 0))[1] != 4:
            raise KernelError(f"tracepoint {_EXT4_BEGIN} has no field dev of 4 bytes")
        ends = fp.end(maps, _usable(kernel.types_if_any), _NO_MEMORY)
        return [
            _perf_hook(kernel, "ext4", _EXT4_END, ends),
            _perf_hook(kernel, "ext4", _EXT4_BEGIN, fp.begin_with_device(maps, fields["dev"][0])),
        ]

    return Method("tracepoint ext4_sync_file", (_EXT4_ONLY, _UNNAMED), hooks)


def _syscalls(kernel: Kernel) -> Method:
    def hooks(maps: FsyncMaps, by_name: bool) -> list[Hook]:  # noqa: ARG001  # it reads by the helper or not at all
        types = kernel.types
        reader = fp.probing_reader(types)
        begins, ends = [], []
        for name in _SYSCALLS:
            fields = kernel.tracepoint_fields("syscalls", f"sys_enter_{name}")
            if "fd" not in fields:
                raise KernelError(f"tracepoint sys_enter_{name} has no field fd")
            begin = fp.begin_with_descriptor(maps, reader, fields["fd"][0])
            begins.append(_perf_hook(kernel, "syscalls", f"sys_enter_{name}", begin))
            ends.append(_perf_hook(kernel, "syscalls", f"sys_exit_{name}", fp.end(maps, types, reader.memory)))
        return [*ends, *begins]

    blind = ("io_uring, and writes with O_SYNC or O_DSYNC",)
    return Method("tracepoints of system calls", blind, hooks, taxing=True)


def _perf_hook(kernel: Kernel, group: str, name: str, code: bytes) -> Hook:
    event = kernel.tracepoint_id(group, name)
    program = Program(ProgramType.TRACEPOINT, code, f"nt_{name}")
    return Hook(program, lambda descriptor: programs.attach_tracepoint(descriptor, event, name))


def _usable(types: Btf | None) -> Btf | None:
    """Types, if they tell of processes; a kernel without gives the thread's name in place of the process's."""
    return types if types is not None and "task_struct" in types.structs else None
