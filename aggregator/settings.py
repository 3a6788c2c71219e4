"""Settings of the aggregator. Each field is a key of the configuration file; its docstring is what operators read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aggregator.signatures.thresholds import Thresholds

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
_ACCOUNT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
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
    """How long the past is kept: the life of findings, and nodes' minute values.

    What stands is kept as long as it does, and so is what nodes are rebuilt from after a start."""

    retention_days: float = field(default=7.0, metadata={"min": 0.1, "max": 3650.0, "unit": "days"})
    """Findings that are over, minute values and damaged files that were moved aside are forgotten after so long."""
    max_mib: int = field(default=2048, metadata={"min": 8, "max": 1_048_576, "unit": "MiB"})
    """... or earlier, the oldest first, where all files of state_directory together would take more. Findings take a
    quarter of it at most."""


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
    credential_expiry: bool = False
    """Read until when the Secrets are good that pods are pulled with or cannot start without, to warn of it: dates of
    tokens and certificates. Each is got by its name, turned into dates and dropped; nothing else of it is kept, logged
    or shown. Needs the right to get secrets, everywhere or where a Role grants it."""
    metrics_interval_s: float = field(default=30.0, metadata={"min": 0.0, "max": 3600.0, "unit": "s"})
    """Time between two reads of the API server's own metrics, some megabytes each. 0: they are not read."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What agents and operators are shown, and whose certificates are taken. TLS 1.3 only. All files are PEM, are read
    again when they change, and stay as they were where the new ones cannot be used."""

    certificate: str = ""
    """File of the aggregator's certificate, with what leads to its authority but without that: the names that agents
    and operators connect to are its alternative names."""
    key: str = ""
    """File of its private key."""
    client_ca: str = ""
    """File of the authorities whose certificates agents ("O=nodetell:agents, CN=the node's name") and operators
    ("O=nodetell:operators, CN=their name") show. Empty: no certificates are taken, tokens are."""
    certificate_listen: str = ""
    """A second address for those who show a certificate, where others show a token: no port does both. Empty: with
    tls.client_ca, whoever connects must show a certificate."""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key: one without the other")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca: set, but certificate is not")
        if self.certificate_listen:
            _check_address("certificate_listen", self.certificate_listen)
            if not self.client_ca:
                raise ValueError("certificate_listen: set, but client_ca is not")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """How agents and operators prove who they are, beside certificates (tls.client_ca)."""

    agents: str = field(default="auto", metadata={"choices": ("auto", "token", "certificate")})
    """What agents must show. "token": one of a service account, bound to a pod, which the API server is asked about.
    "certificate": one for their node. "auto": either, and what is shown is checked; of both, both."""
    token_audience: str = "nodetell"  # noqa: S105  # no password
    """What service-account tokens must be made for. A token for the API server itself is not taken."""
    agent_service_account: str = "nodetell/nodetell-agent"
    """"namespace/name" of the service account that agents run as. Tokens of others are not taken from agents, and this
    one's not from operators."""
    operator_tokens_file: str = ""
    """File of operators' tokens: a line "name sha256", the SHA-256 of the token in hexadecimal, for each. Read again
    when it changes. Where the API server is asked, service-account tokens of those who may "get" "findings" of the
    group "nodetell.dev" are taken, too."""

    def __post_init__(self) -> None:
        if not self.token_audience or self.token_audience != self.token_audience.strip():
            raise ValueError(f'token_audience: "{self.token_audience}" is no name')
        if not _ACCOUNT.fullmatch(self.agent_service_account):
            raise ValueError(f'agent_service_account: "{self.agent_service_account}" is not "namespace/name"')


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The page and the HTTP API. Off where no address is named; `nodetell up` names one on loopback."""

    listen: str = ""
    """Where browsers and scripts connect: "host:port"; port 0: any that is free. HTTPS with tls.certificate, and who
    asks has to prove who they are as any operator does; HTTP with insecure = true, on loopback only. Empty: nowhere."""
    page: bool = True
    """Serve the page, too. False: only the HTTP API."""
    url: str = ""
    """Where browsers reach the page from outside, for the links in alerts ("https://nodetell.example.com/"). Empty: the
    address of http.listen, where that is one to connect to."""

    def __post_init__(self) -> None:
        if self.listen:
            _check_address("listen", self.listen)
        if self.url:
            _check_url("url", self.url, plaintext=True)


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """The aggregator's findings, coverage and its own state as Prometheus metrics."""

    listen: str = ""
    """Where they are scraped: "host:port", below /metrics, plain HTTP; port 0: any that is free. Empty: nowhere."""
    expose: bool = False
    """Allow an address that is not loopback: whoever reaches it then reads names of nodes and findings, unasked."""

    def __post_init__(self) -> None:
        if self.listen:
            _check_address("listen", self.listen)
            if not self.expose and not is_loopback(self.listen):
                raise ValueError(f'listen: "{self.listen}" is not loopback: set expose = true if that is meant')


@dataclass(frozen=True, slots=True)
class ObjectsSettings:
    """What is written to the API server: nothing, unless switched on here and allowed by a ClusterRole of its own."""

    events: bool = False
    """Write an Event on the objects that a finding names, when it appears and when it is over."""
    node_conditions: bool = False
    """Keep conditions on Nodes for as long as findings name them. They clear themselves when the finding does."""
    writes_per_s: float = field(default=1.0, metadata={"min": 0.01, "max": 1.0, "unit": "1/s"})
    """Writes to the API server at most, however large an incident is."""


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """Findings as alerts of Alertmanager (API v2)."""

    urls: tuple[str, ...] = ()
    """Base addresses, all of which get every alert ("https://alertmanager-0.alertmanager:9093"). None: off."""
    plaintext: bool = False
    """Take http for another host than this one, too, as Alertmanager mostly listens in a cluster: whoever is on the way
    can then read the findings and forge alerts. Not with token_file."""
    ca: str = ""
    """File of the authorities that may have signed its certificate, PEM; read again when it changes. Empty: the
    system's."""
    token_file: str = ""
    """File of a bearer token that it wants to see; read again when it changes. Empty: none."""
    least_severity: str = field(default="warning", metadata={"choices": ("info", "warning", "critical")})
    """Findings less severe than this are not sent."""
    quiet_start_s: float = field(default=120.0, metadata={"min": 0.0, "max": 3600.0, "unit": "s"})
    """After a start, nothing new is sent for so long: what a restart unsettles is no alert. What was alerted before
    goes on to stand, and what waited to be sent is."""
    resend_s: float = field(default=60.0, metadata={"min": 1.0, "max": 600.0, "unit": "s"})
    """Alerts that stand are sent again so often. Alertmanager takes one for resolved that it has not been told of for
    ten times as long, ten minutes at least."""

    def __post_init__(self) -> None:
        for url in self.urls:
            _check_url("urls", url, plaintext=self.plaintext)
            if self.token_file and urlsplit(url).scheme == "http" and not _is_loopback_url(url):
                raise ValueError(f"token_file: set, but {origin(url)} is http: whoever is on the way would have it")


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Findings as signed JSON, posted to an address."""

    url: str = ""
    """Where they are posted: https, or http on loopback. Empty: off."""
    secret_file: str = ""
    """File of the secret that bodies are signed with (HMAC-SHA-256), 16 characters at least; read again when it
    changes. Needed. Of several lines each is a secret, and each signs: so it can be changed without a pause."""
    ca: str = ""
    """File of the authorities that may have signed its certificate, PEM; read again when it changes. Empty: the
    system's."""
    least_severity: str = field(default="warning", metadata={"choices": ("info", "warning", "critical")})
    """Findings less severe than this are not sent."""
    quiet_start_s: float = field(default=120.0, metadata={"min": 0.0, "max": 3600.0, "unit": "s"})
    """After a start, nothing new is sent for so long: what a restart unsettles is no news. What waited to be sent
    is."""

    def __post_init__(self) -> None:
        if self.url:
            _check_url("url", self.url, plaintext=False)
            if not self.secret_file:
                raise ValueError("secret_file: not set, but url is")


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Findings as log records and signals as metrics, by OpenTelemetry's protocol over HTTP (OTLP). Variables of the
    environment that begin with OTEL_ change nothing."""

    endpoint: str = ""
    """Base address of the receiver ("https://collector:4318"). Empty: off."""
    plaintext: bool = False
    """Take http for another host than this one, too, as collectors mostly listen in a cluster: whoever is on the way
    can then read what is sent. Not with headers_file."""
    ca: str = ""
    """File of the authorities that may have signed its certificate, PEM; read again when it changes. Empty: the
    system's."""
    headers_file: str = ""
    """File of headers that it wants to see, a line "name: value" for each; read again when it changes. Empty: none."""
    interval_s: float = field(default=60.0, metadata={"min": 1.0, "max": 3600.0, "unit": "s"})
    """Time between two exports of metrics. Findings are sent when they change."""

    def __post_init__(self) -> None:
        if self.endpoint:
            _check_url("endpoint", self.endpoint, plaintext=self.plaintext)
            if self.headers_file and urlsplit(self.endpoint).scheme == "http" and not _is_loopback_url(self.endpoint):
                where = origin(self.endpoint)
                raise ValueError(f"headers_file: set, but {where} is http: whoever is on the way would have them")


@dataclass(frozen=True, slots=True)
class AggregatorSettings:
    """All of the aggregator's settings."""

    listen: str = "127.0.0.1:7443"
    """Where agents and operators connect: "host:port", "[address]:port" for IPv6; port 0: any that is free."""
    insecure: bool = False
    """Do without TLS: nothing is encrypted, nobody is asked who they are, and whoever reaches the port can read the
    findings and report facts in any node's name. On loopback only."""
    cluster: str = "default"
    """Name of the cluster, for reports."""
    state_directory: str = AUTOMATIC
    """Directory of the findings' database. "auto": /var/lib/nodetell for root, else nodetell below $XDG_STATE_HOME
    (default ~/.local/state). Empty: nowhere, and findings are forgotten with the process."""
    log_level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})
    """Least severe events that are logged, to standard error."""
    alive_file: str = ""
    """File with a sign of life of the event loop, written every 5 s, for an exec probe (alive_check.py). It belongs on
    a tmpfs, so that no disk can hold the loop up. Empty: none."""
    fleet: FleetSettings = field(default_factory=FleetSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    path_mtu: PathMtuSettings = field(default_factory=PathMtuSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    prometheus: PrometheusSettings = field(default_factory=PrometheusSettings)
    objects: ObjectsSettings = field(default_factory=ObjectsSettings)
    alertmanager: AlertmanagerSettings = field(default_factory=AlertmanagerSettings)
    webhook: WebhookSettings = field(default_factory=WebhookSettings)
    otlp: OtlpSettings = field(default_factory=OtlpSettings)
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        _check_address("listen", self.listen)
        if self.insecure and self.tls.certificate:
            raise ValueError("insecure: true, and tls.certificate is set: one of them")
        if self.insecure and not is_loopback(self.listen):
            raise ValueError(f'listen: "{self.listen}" is not loopback, where insecure = true is not allowed')
        if self.insecure and self.http.listen and not is_loopback(self.http.listen):
            raise ValueError(f'http.listen: "{self.http.listen}" is not loopback, where insecure = true is not allowed')
        if self.fleet.history_s < self.thresholds.window_s:
            raise ValueError(
                f"fleet.history_s ({self.fleet.history_s:g}) is shorter than thresholds.window_s "
                f"({self.thresholds.window_s:g})"
            )


def start_problem(settings: AggregatorSettings) -> str:
    """Why an aggregator with these settings does not start, beside what never makes sense; empty: it does."""
    if settings.tls.certificate or settings.insecure:
        return ""
    return "tls.certificate and tls.key are not set; on loopback, insecure = true does without"


def _check_address(name: str, address: str) -> None:
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65_535:
        raise ValueError(f'{name}: "{address}" is not "host:port"')


def _check_url(name: str, url: str, *, plaintext: bool) -> None:
    """Raise ValueError for what is no address to send things to. `plaintext`: http may leave this host."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or url != url.strip() or not url.isprintable():
        raise ValueError(f'{name}: is no address like "https://host:port"')  # it may hold a secret
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{name}: {origin(url)} has a user or a password in it, which belong into a file")
    if parts.fragment:
        raise ValueError(f"{name}: {origin(url)} has a fragment (#) in it")
    if parts.scheme == "http" and not plaintext and not _is_loopback_url(url):
        raise ValueError(f"{name}: {origin(url)} is http, and not on loopback: nothing would be encrypted")


def origin(url: str) -> str:
    """Of a URL what is no secret: it may have one in its path."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _is_loopback_url(url: str) -> bool:
    return is_loopback(f"{urlsplit(url).hostname}:0")


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
