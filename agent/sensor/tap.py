"""One program on one tracepoint with its tables: what drops and retransmissions have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from agent.bpf import programs
from agent.bpf.btf import BtfError
from agent.bpf.maps import BpfMap
from agent.bpf.programs import Hook
from agent.bpf.syscalls import BpfError
from agent.sensor.kernel import KernelError
from agent.sensor.losses import NOT_COUNTED, loss, losses_map
from agent.sensor.table import Table

Variant = Callable[[Sequence[BpfMap], BpfMap], Hook]
"""Makes a hook for the tables and the map of losses. Raises BtfError, KernelError."""


class Tap:
    """start(), then items() and lost(), then close()."""

    def __init__(self, tables: Sequence[Callable[[], BpfMap]], variants: Mapping[str, Variant]) -> None:
        """`tables`: make the program's tables; `variants`: ways to attach by name, tried in order."""
        self._make_tables = tables
        self._variants = variants
        self.name = ""
        """Of the variant that runs; empty: none does."""
        self.refused: dict[str, str] = {}
        """Why, by the name of each variant that the kernel did not take."""
        self.program_descriptor = -1
        self._link = -1
        self._tables: list[Table] = []
        self._losses: BpfMap | None = None

    def start(self) -> bool:
        """Load and attach the first variant that the kernel takes. False: none; see `refused`."""
        for name, variant in self._variants.items():
            try:
                self._start(variant)
            except (BpfError, BtfError, KernelError) as error:
                self.refused[name] = str(error)
                self.close()
            else:
                self.name = name
                return True
        return False

    def _start(self, variant: Variant) -> None:
        for make in self._make_tables:
            self._tables.append(Table(make()))
        self._losses = losses_map()
        hook = variant([table.source for table in self._tables], self._losses)
        self.program_descriptor = programs.load(hook.program)
        self._link = hook.attach(self.program_descriptor)

    def items(self, now: float) -> list[tuple[bytes, bytes]]:
        """Keys and values of all tables so far; none if it does not run. Raises BpfError."""
        return [entry for table in self._tables for entry in table.items(now)]

    def lost(self) -> int:
        """Events for which there was no room. Raises BpfError."""
        return loss(self._losses, NOT_COUNTED) if self._losses is not None else 0

    def close(self) -> None:
        """Detach and free everything; the counts go with it."""
        for descriptor in (self._link, self.program_descriptor):
            if descriptor >= 0:
                os.close(descriptor)
        self._link = self.program_descriptor = -1
        for table in self._tables:
            table.source.close()
        if self._losses is not None:
            self._losses.close()
        self._tables, self._losses = [], None
        self.name = ""
