"""Settings of the agent. Each field is a key of the configuration file; its docstring is what operators read of it."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agent.budget import DEFAULT_PERCENT
from agent.sensor.settings import DEFAULT_SOCKET

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")


def _on_loopback(url: str) -> bool:
    """Nobody else is asked for anything: a name may be led elsewhere, so it must be an address, or "localhost"."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        is_local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    return is_local and parts.scheme in {"http", "https"} and not (parts.username or parts.password)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Where the host's directories are seen from here."""

    proc: str = "/proc"
    """The host's /proc. In a container without the host's PID namespace, where it is mounted ("/host/proc")."""
    sys: str = "/sys"
    """The host's /sys."""
    kubelet: str = "/var/lib/kubelet"
    """The kubelet's root directory, where volumes are mounted and CSI drivers leave what they know of them."""
    dev: str = "/dev"
    """The host's /dev, of which the kernel's log (kmsg) is read and the names of disks (disk/by-id)."""
    udev: str = "/run/udev"
    """The host's /run/udev, where udev keeps the names it has given to disks."""
    logs: str = "/var/log/pods"
    """The host's /var/log/pods, where runtimes write containers' logs. Read only if collectors.log_patterns is on."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """What is read, and how often."""

    disabled: tuple[str, ...] = ()
    """Names of collectors that do not run ("volumes", "usage", ...). What they read is then missing, and said to be."""
    intervals: tuple[str, ...] = ()
    """Seconds between the runs of single collectors, as "name=seconds" ("disks=5"); each has its own default."""
    probe_directories: tuple[str, ...] = ()
    """Directories in which the latency of fdatasync is probed: a file of a few kilobytes is written in each. None by
    default, because it writes. Name the directory of etcd's write-ahead log, or one on the same file system."""
    sensor_socket: str = DEFAULT_SOCKET
    """Where the sensor of this node answers (`nodetell sensor`), which sees other processes' fsync, dropped packets and
    retransmissions. Empty: it is not asked, and nothing is said of it."""
    probe_interval_s: float = field(default=1.0, metadata={"min": 0.1, "max": 3600.0, "unit": "seconds"})
    """Time between two probes of a directory. 1 s costs 0.01 % of a core and two small writes."""

    etcd_metrics_url: str = ""
    """Where an etcd on this very host tells its metrics, http(s) on loopback ("http://127.0.0.1:2381/metrics"). Empty:
    it is not asked."""

    log_patterns: bool = False
    """Look at the last lines of the logs of containers that have been restarted, for phrases of refused passwords,
    tokens and roles. The name of what is found is told, never a line. Off by default, because logs are others'."""

    def __post_init__(self) -> None:
        self.interval_overrides()
        if self.etcd_metrics_url and not _on_loopback(self.etcd_metrics_url):
            raise ValueError(f'etcd_metrics_url: "{self.etcd_metrics_url}" is not http(s) with an address of loopback')

    def interval_overrides(self) -> dict[str, float]:
        """`intervals` by collector, in seconds. Raises ValueError."""
        overrides = {}
        for entry in self.intervals:
            name, equals, text = entry.partition("=")
            try:
                seconds = float(text)
            except ValueError:
                seconds = math.nan
            if not equals or not name.strip() or not 0.1 <= seconds <= 3600:
                raise ValueError(f'intervals: "{entry}" is not "name=seconds" with 0.1 to 3600 seconds')
            overrides[name.strip()] = seconds
        return overrides


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What the agent may take of the host."""

    cpu_percent: float = field(
        default=DEFAULT_PERCENT, metadata={"min": 0.05, "max": 100.0, "unit": "percent of one core"}
    )
    """CPU time of the whole agent, over a minute. If it takes more, the dearest of what is read by the clock is read
    less often: at most ten times less, once a minute at least, never what the kernel tells. The coverage says so."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How what was read gets to the aggregator.

    There is no size of a buffer to set: while the aggregator is away, how counters moved is kept in at most 1 MiB, the
    older the coarser, and what else changes is merged into what the agent holds anyway."""

    batch_interval_s: float = field(default=5.0, metadata={"min": 0.2, "max": 300.0, "unit": "seconds"})
    """Time between batches of counters. Changes of interfaces, routes, mounts and the first move of an error counter
    do not wait for it. 5 s is 2.5 times cheaper than 1 s, on both ends."""
    heartbeat_interval_s: float = field(default=5.0, metadata={"min": 0.2, "max": 5.0, "unit": "seconds"})
    """A sign of life is sent when nothing else was for so long. The aggregator gives an agent up after 15 s of silence,
    hence the maximum."""
    ack_timeout_s: float = field(default=10.0, metadata={"min": 0.5, "max": 120.0, "unit": "seconds"})
    """A message that is not acknowledged within this time has met a dead connection, which is then made anew. Must
    leave the aggregator the time to write a finding to its disk."""
    reconnect_min_s: float = field(default=0.5, metadata={"min": 0.05, "max": 60.0, "unit": "seconds"})
    """Bound of the first, random, delay before connecting again. It doubles with each failure."""
    reconnect_max_s: float = field(default=30.0, metadata={"min": 0.1, "max": 600.0, "unit": "seconds"})
    """Bound that the delay does not exceed."""

    def __post_init__(self) -> None:
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError(
                f"reconnect_min_s ({self.reconnect_min_s:g}) is above reconnect_max_s ({self.reconnect_max_s:g})"
            )


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How the aggregator is known, and by which certificate it knows us. TLS 1.3 only. All files are PEM and are read
    again for each connection; where the new ones cannot be used, the ones before are."""

    ca: str = ""
    """File of the authorities that may have signed the aggregator's certificate."""
    certificate: str = ""
    """File of this agent's certificate ("O=nodetell:agents, CN=the node's name"), with what leads to its authority but
    without that. Empty: none is shown, and a token has to say who this is (token_file)."""
    key: str = ""
    """File of its private key."""
    server_name: str = ""
    """Name that the aggregator's certificate has to have; empty: the host of "aggregator", as it stands there."""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key: one without the other")


@dataclass(frozen=True, slots=True)
class PathMtuSettings:
    """Probing the paths between nodes for the largest packet that passes. Who probes whom is for the aggregator."""

    enabled: bool = True
    """Take part. Small and full-size UDP packets then go to the nodes that answer them: two every minute and path where
    all is well. While no node answers, nothing is sent."""
    port: int = field(default=0, metadata={"min": 0, "max": 65_535})
    """UDP port on which probes of other nodes are answered, for example 7446; 0: none is opened, and this node's
    incoming paths are not probed. Only signed probes of agents of the same aggregator are answered, with 32 bytes."""
    addresses: tuple[str, ...] = ()
    """IP addresses on which the port is opened. None: all, of which every network of the node can be probed."""

    def __post_init__(self) -> None:
        for address in self.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError(f'addresses: "{address}" is no IP address') from None


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """What the agent reads as Prometheus metrics, under node_exporter's names where it has them."""

    listen: str = ""
    """Where they are scraped: "host:port", below /metrics, plain HTTP; port 0: any that is free. Empty: nowhere."""
    expose: bool = False
    """Allow an address that is not loopback: whoever reaches it then reads what the agent reads, unasked."""
    pod_interfaces: bool = False
    """Tell each interface of a pod by itself, too. A node has hundreds of them, and they come and go with the pods:
    without it they are told as one sum."""

    def __post_init__(self) -> None:
        if not self.listen:
            return
        match = _ADDRESS.fullmatch(self.listen)
        if match is None or int(match[1]) > 65_535:
            raise ValueError(f'listen: "{self.listen}" is not "host:port"')
        if not self.expose and not _on_loopback(f"http://{self.listen}"):
            raise ValueError(f'listen: "{self.listen}" is not loopback: set expose = true if that is meant')


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All of the agent's settings."""

    node: str = ""
    """Name of this node, as Kubernetes knows it; empty: the host name. In a pod, set it from spec.nodeName."""
    aggregator: str = "127.0.0.1:7443"
    """Where the aggregator listens: "host:port", "[address]:port" for IPv6."""
    token_file: str = ""
    """File of the token that says who this agent is: a service account's, for the aggregator's audience, bound to its
    pod. It is read again for each connection and twice a minute, and sent when it is another. Empty: none is sent."""
    insecure: bool = False
    """Do without TLS: nothing is encrypted, and whatever listens there is taken for the aggregator. Loopback only."""
    log_level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})
    """Least severe events that are logged, to standard error."""
    alive_file: str = ""
    """File with a sign of life of the event loop, written every 5 s, for an exec probe (alive_check.py). It belongs on
    a tmpfs, so that no disk can hold the loop up. Empty: none."""
    host: HostSettings = field(default_factory=HostSettings)
    collectors: CollectorSettings = field(default_factory=CollectorSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    path_mtu: PathMtuSettings = field(default_factory=PathMtuSettings)
    prometheus: PrometheusSettings = field(default_factory=PrometheusSettings)

    def __post_init__(self) -> None:
        match = _ADDRESS.fullmatch(self.aggregator)
        if match is None or not 0 < int(match[1]) < 65_536:
            raise ValueError(f'aggregator: "{self.aggregator}" is not "host:port"')
        if self.insecure and not _on_loopback(f"http://{self.aggregator}"):
            raise ValueError(f'aggregator: "{self.aggregator}" is not loopback, where insecure = true is not allowed')
        if self.insecure and (self.tls.ca or self.tls.certificate or self.token_file):
            raise ValueError("insecure: true, and tls.ca, tls.certificate or token_file is set: one of them")


def start_problem(settings: AgentSettings) -> str:
    """Why an agent with these settings does not start, beside what never makes sense; empty: it does."""
    if settings.insecure:
        return ""
    if not settings.tls.ca:
        return "tls.ca is not set; to an aggregator on loopback, insecure = true does without"
    if not (settings.tls.certificate or settings.token_file):
        return "neither token_file nor tls.certificate is set, and the aggregator has to be shown one of them"
    return ""
