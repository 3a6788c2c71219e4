"""Serving metrics to Prometheus, by its own client library: text, HTTP server, limits. Loaded only where it is wanted.

Whoever can connect may be hostile. So few connections are served at a time and none for long, they come no faster than
a pace, and however many ask, the answer is made once a second at most: the rest get the same bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    ThreadingWSGIServer,
    generate_latest,
    gzip_accepted,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from nodetell import __version__
from nodetell.bucket import Bucket
from nodetell.logs import event
from nodetell.metrics import Distribution, Kind, Labels, Metric, Told, one

_log = logging.getLogger("nodetell.metrics")

PATH = "/metrics"
MOST_ROWS = 2_000
"""Rows of one metric: what is beyond is left out, and counted."""
FRESH_S = 1.0
"""An answer is given again to whoever asks within this time."""
AT_ONCE = 4
"""Connections that are served at a time; one more is closed."""
MOST_S = 10.0
"""A connection is open for so long at most, however slowly its peer sends or reads."""
QUIET_S = 5.0
"""A peer that neither sends nor reads for so long is given up."""
PER_S, AT_FIRST = 10.0, 30.0
"""Connections that are taken, in the long run and after a quiet time."""
_LEVEL = 1
"""Of compression: a sixth of the bytes for a tenth of what making the text takes."""
_TEXT = "text/plain; charset=utf-8"

BUILD = Metric("nodetell_build_info", Kind.GAUGE, "Which software this is; always 1.", ("role", "version"))
SECONDS = Metric("nodetell_scrape_seconds", Kind.GAUGE, "How long it took to make the answer before this one.")
LEFT_OUT = Metric(
    "nodetell_scrape_left_out", Kind.GAUGE, f"Rows left out of this answer: a metric has {MOST_ROWS} at most."
)
ANSWERS = Metric("nodetell_scrape_answers_total", Kind.COUNTER, "Answers that were made; they hold for a second.")
REFUSED = Metric(
    "nodetell_scrape_refused_total", Kind.COUNTER, "Connections that were closed unanswered: too many at a time."
)
CPU = Metric("nodetell_scrape_cpu_seconds_total", Kind.COUNTER, "CPU time that answers took.")
OF_SCRAPES = (BUILD, SECONDS, LEFT_OUT, ANSWERS, REFUSED, CPU)
OF_PROCESS = (
    Metric("process_virtual_memory_bytes", Kind.GAUGE, "Virtual memory size in bytes."),
    Metric("process_resident_memory_bytes", Kind.GAUGE, "Resident memory size in bytes."),
    Metric("process_start_time_seconds", Kind.GAUGE, "Start time of the process since unix epoch in seconds."),
    Metric("process_cpu_seconds_total", Kind.COUNTER, "Total user and system CPU time spent in seconds."),
    Metric("process_open_fds", Kind.GAUGE, "Number of open file descriptors."),
    Metric("process_max_fds", Kind.GAUGE, "Maximum number of open file descriptors."),
)
"""What the client library tells of the process itself, in its own words."""


class NotNowError(Exception):
    """There is no answer at present: why, one line."""


class _Answers(Collector):
    """Makes the text, seldom."""

    def __init__(self, told: Callable[[], Iterable[Told]], role: str, refused: Callable[[], int]) -> None:
        self._told, self._role, self._refused = told, role, refused
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._process = ProcessCollector(registry=None)
        self._lock = threading.Lock()
        self.cpu_s = 0.0
        """CPU time that answers took."""
        self._made_at = float("-inf")
        self._took_s = 0.0
        self._made = 0
        self._plain = self._packed = b""

    def get(self, *, packed: bool) -> bytes:
        """The text of now, or of a moment ago. Raises NotNowError."""
        with self._lock:
            begun, cpu = time.monotonic(), time.thread_time()
            if begun - self._made_at >= FRESH_S:
                self._plain, self._packed = generate_latest(self._registry), b""
                self._made_at = time.monotonic()
                self._took_s = self._made_at - begun
                self._made += 1
            if packed and not self._packed:
                self._packed = gzip.compress(self._plain, _LEVEL)
            self.cpu_s += time.thread_time() - cpu
            return self._packed if packed else self._plain

    def collect(self) -> Iterable[Family]:
        """For the library's registry: everything, as its own families."""
        found, left_out = families(self._told())
        own = [
            one(BUILD, 1, self._role, __version__),
            one(SECONDS, self._took_s),
            one(LEFT_OUT, left_out),
            one(ANSWERS, self._made),
            one(REFUSED, self._refused()),
            one(CPU, self.cpu_s),
        ]
        return [*found, *families(own)[0], *self._process.collect()]


def families(told: Iterable[Told], most_rows: int = MOST_ROWS) -> tuple[list[Family], int]:
    """As the library's families, one for each metric, and how many rows were left out.

    Of rows with the same labels, which a host whose names are odd can bring about, the first counts.
    """
    found: dict[str, Family] = {}
    seen: dict[str, set[Labels]] = {}
    left_out = 0
    for each in told:
        metric = each.metric
        family = found.get(metric.name)
        if family is None:
            family = found[metric.name] = Family(metric.name.removesuffix("_total"), metric.help, metric.kind.value)
            seen[metric.name] = set()
        have = seen[metric.name]
        for values, value in each.rows:
            if len(have) >= most_rows or values in have:
                left_out += 1
                continue
            have.add(values)
            labels = dict(zip(metric.labels, values, strict=True))
            if isinstance(value, Distribution):
                family.samples += _samples(metric.name, labels, value)
            else:
                family.samples.append(Sample(metric.name, labels, value))
    return [family for family in found.values() if family.samples], left_out


def _samples(name: str, labels: dict[str, str], value: Distribution) -> Iterable[Sample]:
    *totals, count = accumulate(value.counts)
    for bound, total in zip(value.bounds, totals, strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": repr(float(bound))}, total)
    yield Sample(f"{name}_bucket", {**labels, "le": "+Inf"}, count)
    yield Sample(f"{name}_count", labels, count)
    if value.sum is not None:
        yield Sample(f"{name}_sum", labels, value.sum)


class _Handler(WSGIRequestHandler):
    timeout = QUIET_S
    server_version, sys_version = "nodetell", ""

    def log_message(self, *_: Any) -> None:
        """What peers ask for is not worth a line."""


class _Server(ThreadingWSGIServer):
    request_queue_size = 16

    def __init__(self, family: int, address: tuple[str, int]) -> None:
        self.address_family = family
        self.refused = 0
        self._since: dict[socket.socket, float] = {}
        self._pace = Bucket(PER_S, AT_FIRST)
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Without asking the network for our own name, as the library's would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # of TCP
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  # the library's contract
        """Take connections at a pace; the kernel holds back the rest."""
        self._pace.spend(1.0, time.monotonic())
        time.sleep(min(self._pace.owed_s(time.monotonic()), 0.2))
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have it served by a thread, if not too many are."""
        with self._lock:
            full = len(self._since) >= AT_ONCE
            if full:
                self.refused += 1
            else:
                self._since[request] = time.monotonic()
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Its place is free."""
        with self._lock:
            self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: end connections that take too long. Their threads then meet the end of the stream."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, since in self._since.items() if now - since > MOST_S]
            for request in late:
                with contextlib.suppress(OSError):  # its peer was faster
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news."""


class ScrapeServer:
    """Answers GET /metrics, in threads of its own, with what `told` tells; it is called in one of them, one at a time.

    `told` may raise NotNowError.
    """

    def __init__(self, told: Callable[[], Iterable[Told]], role: str) -> None:
        self._answers = _Answers(told, role, lambda: self._server.refused if self._server is not None else 0)
        self._server: _Server | None = None

    @property
    def cpu_s(self) -> float:
        """CPU time that answers have taken in this process."""
        return self._answers.cpu_s

    def start(self, listen: str) -> str:
        """Listen on "host:port"; where it is reached. Raises OSError, whose text is for people."""
        host, _, port = listen.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        server = self._server = _Server(family, (str(address[0]), int(address[1])))
        server.set_app(self._app)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return f"http://{host}:{server.server_port}{PATH}"

    def close(self) -> None:
        """Stop listening; answers under way are left to end by themselves. Harmless where nothing was started."""
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(OSError):
                server.socket.shutdown(socket.SHUT_RDWR)  # wakes its thread, which else looks up twice a second
            server.shutdown()
            server.socket.close()

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        headers = [("Content-Type", _TEXT)]
        if environ["PATH_INFO"] != PATH:
            return _brief(start_response, "404 Not Found", f"metrics are at {PATH}", headers)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _brief(start_response, "405 Method Not Allowed", "GET", [*headers, ("Allow", "GET, HEAD")])
        packed = gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", ""))
        try:
            body = self._answers.get(packed=packed)
        except NotNowError as error:
            return _brief(start_response, "503 Service Unavailable", str(error), headers)
        except Exception as error:  # noqa: BLE001  # a defect: the peer is told, and asks again
            event(_log, logging.ERROR, "scrape_failed", reason=f"{type(error).__name__}: {error}")
            return _brief(start_response, "500 Internal Server Error", "see the log", headers)
        headers = [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4), ("Content-Length", str(len(body)))]
        start_response("200 OK", [*headers, *([("Content-Encoding", "gzip")] if packed else [])])
        return [body] if environ["REQUEST_METHOD"] == "GET" else [b""]


def _brief(start_response: Callable[..., Any], status: str, text: str, headers: list[tuple[str, str]]) -> list[bytes]:
    start_response(status, headers)
    return [f"{text}\n".encode()]
