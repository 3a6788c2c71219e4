"""Settings of the sensor. Each field is a key of the configuration file; its docstring is what operators read of it."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_SOCKET = "/run/nodetell/sensor.sock"


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """All of the sensor's settings."""

    socket: str = DEFAULT_SOCKET
    """Where the agent of this node asks. The directory is made if it is missing; only the agent's user may connect."""
    agent_uid: int = field(default=65534, metadata={"min": 0, "max": 4_294_967_294})
    """User that the agent runs as. It, the sensor's own user and root are answered, and nobody else."""
    agent_gid: int = field(default=65534, metadata={"min": 0, "max": 4_294_967_294})
    """Group that the socket is given, where the sensor may do that; else run the sensor with this group."""
    max_clients: int = field(default=8, metadata={"min": 1, "max": 1024})
    """Connections at a time. An agent needs one."""
    fsync: bool = True
    """Time the fsync calls of all processes."""
    drops: bool = True
    """Count dropped packets by reason and place."""
    retransmits: bool = True
    """Count retransmitted TCP segments by peer."""
    scratch_directory: str = "/var/tmp"  # noqa: S108  # a file without a name is made there: nobody can be in its way
    """Where a scratch file is synced to see whether a method counts. It should be on a file system of the kind to be
    watched: a method that sees only ext4 is passed over if this is on another."""
    syscall_duty_percent: float = field(default=10.0, metadata={"min": 1.0, "max": 100.0, "unit": "percent"})
    """Share of the time in which the last method is on, the one that taxes every system call of every process with 10
    to 60 ns. Counts are of that share of the time, and the coverage says so."""
    syscall_period_s: float = field(default=10.0, metadata={"min": 1.0, "max": 600.0, "unit": "seconds"})
    """How often that method goes on and off."""
    proc: str = "/proc"
    """The host's /proc, for names of kernel functions."""
    sys: str = "/sys"
    """The host's /sys, for the kernel's types and control groups."""
    tracefs: str = "/sys/kernel/tracing"
    """Where tracefs is mounted. Two of the methods for fsync need it, and none of the better ones."""
    log_level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})
    """Least severe events that are logged, to standard error."""
    alive_file: str = ""
    """File with a sign of life of the event loop, written every 5 s, for an exec probe (alive_check.py). It belongs on
    a tmpfs, so that no disk can hold the loop up. Empty: none."""
