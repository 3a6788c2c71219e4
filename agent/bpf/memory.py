"""How a program reads the kernel's memory: by typed loads, which the verifier checks against BTF, or by a helper.

Typed loads need a pointer whose type the verifier knows (arguments of fentry and of BTF tracepoints) and work under
lockdown=confidentiality; the helper takes any address and is refused there.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.bpf import helpers
from agent.bpf.assembler import Assembler, Reg
from agent.bpf.btf import Btf


@dataclass(frozen=True, slots=True)
class Memory:
    """A way to read, with 8 bytes of stack that it may use."""

    typed: bool
    scratch: int

    def read(self, code: Assembler, target: Reg, base: Reg, offset: int, size: int = 8) -> None:
        """target = *(base + offset). Of what cannot be read, 0. The helper loses R0 to R5: keep `base` above."""
        if self.typed:
            code.load(size, target, base, offset)
        else:
            read_by_helper(code, self.scratch, base, offset, size)
            code.load(size, target, Reg.R10, self.scratch)

    def copy(self, code: Assembler, frame_offset: int, base: Reg, offset: int, size: int) -> None:
        """Copy `size` bytes, a multiple of 4, at base + offset onto the stack. Typed loads lose R1 only."""
        if not self.typed:
            read_by_helper(code, frame_offset, base, offset, size)
            return
        for at in range(0, size, 8):
            part = min(8, size - at)
            code.load(part, Reg.R1, base, offset + at)
            code.store(part, Reg.R10, frame_offset + at, Reg.R1)


def read_by_helper(code: Assembler, frame_offset: int, base: Reg, offset: int, size: int) -> None:
    """Copy memory at base + offset onto the stack; zeros where it cannot be read."""
    code.move(Reg.R3, base)
    code.alu("+", Reg.R3, offset)
    code.frame(Reg.R1, frame_offset)
    code.move(Reg.R2, size)
    code.call(helpers.PROBE_READ_KERNEL)


COMM_BYTES = 16


def process_name(code: Assembler, types: Btf | None, memory: Memory, frame_offset: int) -> None:
    """Put the 16-byte name of the current process on the stack.

    That of its first thread, because workers of io_uring and threads of databases have names of their own; without
    the kernel's types, or a helper that is newer than the kernel, the thread's.
    """
    if types is None or (memory.typed and "BPF_FUNC_get_current_task_btf" not in types.enums.get("bpf_func_id", {})):
        code.frame(Reg.R1, frame_offset)
        code.move(Reg.R2, COMM_BYTES)
        code.call(helpers.GET_CURRENT_COMM)
        return
    leader, name = types.offset("task_struct", "group_leader"), types.offset("task_struct", "comm")
    code.call(helpers.GET_CURRENT_TASK_BTF if memory.typed else helpers.GET_CURRENT_TASK)
    memory.read(code, Reg.R2, Reg.R0, leader)
    memory.copy(code, frame_offset, Reg.R2, name, COMM_BYTES)
