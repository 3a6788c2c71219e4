"""Settings of the aggregator. Each field is a key of the configuration file; its docstring is what operators read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.signatures.thresholds import Thresholds

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
AUTOMATIC = "auto"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Which nodes are known, and for how long."""

    max_nodes: int = field(default=10_000, metadata={"min": 1, "max": 100_000})
    """Nodes at most. Agents of more are refused, and told so. A node takes 0.1 to 0.5 MB."""
    history_s: float = field(default=900.0, metadata={"min": 60.0, "max": 3600.0, "unit": "s"})
    """How far back counters are kept. Not shorter than thresholds.window_s."""
    silent_after_s: float = field(default=15.0, metadata={"min": 10.0, "max": 600.0, "unit": "s"})
    """An agent not heard for so long is silent: its node's findings stay, unconfirmed. Agents report every 5 s."""
    forget_after_s: float = field(default=3600.0, metadata={"min": 60.0, "max": 604_800.0, "unit": "s"})
    """A node silent for so long is not observed any more: what is known of it is dropped, and its findings resolve."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How long the life of findings is kept. Findings that stand are kept as long as they do."""

    retention_days: float = field(default=7.0, metadata={"min": 0.1, "max": 3650.0, "unit": "days"})
    """Findings that are over are forgotten after so long."""
    max_mib: int = field(default=2048, metadata={"min": 8, "max": 1_048_576, "unit": "MiB"})
    """... or earlier, the oldest first, where the database would take more."""


@dataclass(frozen=True, slots=True)
class PathMtuSettings:
    """Which paths between nodes are probed for the largest packet that passes. Agents that open no port are not."""

    enabled: bool = True
    """Tell agents whom to probe."""
    peers: int = field(default=3, metadata={"min": 1, "max": 16})
    """Nodes that each node probes, and about as many more that it is probed by and probes in turn; on top, one pair for
    each pair of zones and pools. A fault of one node shows from several others."""
    interval_s: float = field(default=60.0, metadata={"min": 1.0, "max": 3600.0, "unit": "s"})
    """Time between two probes of a path. Two packets where all is well, 20 to 40 where something is wrong."""


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """How the API server is read: by get, list and watch of fixed kinds of objects, and of its metrics."""

    enabled: str = field(default="auto", metadata={"choices": ("auto", "on", "off")})
    """"auto": where kubernetes.kubeconfig names a file, or in a pod that has a service account. "on": also with
    $KUBECONFIG or ~/.kube/config, as kubectl finds them; not to have any is an error then. "off": only what agents
    tell is known."""
    kubeconfig: str = ""
    """Kubeconfig to use, its current context. Empty: none, or as kubernetes.enabled says."""
    page_size: int = field(default=500, metadata={"min": 10, "max": 5000})
    """Objects that are asked for at a time when a list is read. More is faster and takes more memory."""
    secret_metadata: bool = False
    """Follow names and times of ServiceAccounts and Secrets, too, never what is in them, to tell which identity was
    changed before a container began to crash. Needs the right to list secrets, and RBAC has none for metadata alone."""
    metrics_interval_s: float = field(default=30.0, metadata={"min": 0.0, "max": 3600.0, "unit": "s"})
    """Time between two reads of the API server's own metrics, some megabytes each. 0: they are not read."""


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """All of the aggregator's settings."""

    listen: str = "127.0.0.1:7443"
    """Where agents and operators connect: "host:port", "[address]:port" for IPv6; port 0: any that is free."""
    insecure: bool = False
    """Listen on other addresses than loopback although nothing is encrypted and nobody is asked who they are: whoever
    reaches the port can then read the findings and report facts in any node's name."""
    cluster: str = "default"
    """Name of the cluster, for reports."""
    state_directory: str = AUTOMATIC
    """Directory of the findings' database. "auto": /var/lib/nodetell for root, else nodetell below $XDG_STATE_HOME
    (default ~/.local/state). Empty: nowhere, and findings are forgotten with the process."""
    log_level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})
    """Least severe events that are logged, to standard error."""
    fleet: FleetSettings = field(default_factory=FleetSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    path_mtu: PathMtuSettings = field(default_factory=PathMtuSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        match = _ADDRESS.fullmatch(self.listen)
        if match is None or int(match[2]) > 65_535:
            raise ValueError(f'listen: "{self.listen}" is not "host:port"')
        if not self.insecure and not is_loopback(self.listen):
            raise ValueError(
                f'listen: "{self.listen}" is not loopback, and nothing is encrypted yet; insecure = true allows it'
            )
        if self.fleet.history_s < self.thresholds.window_s:
            raise ValueError(
                f"fleet.history_s ({self.fleet.history_s:g}) is shorter than thresholds.window_s "
                f"({self.thresholds.window_s:g})"
            )


def is_loopback(listen: str) -> bool:
    """True where only this host can connect to "host:port"."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def state_directory(setting: str, *, root: bool, env: Mapping[str, str]) -> Path | None:
    """The directory that the setting means; None: nowhere. `root`: the process runs as root."""
    if setting != AUTOMATIC:
        return Path(setting).expanduser() if setting else None
    if root:
        return Path("/var/lib/nodetell")
    base = env.get("XDG_STATE_HOME", "")
    # The specification says to ignore a path that is not absolute.
    return (Path(base) if base.startswith("/") else Path("~/.local/state").expanduser()) / "nodetell"
