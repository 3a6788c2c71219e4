"""etcd's own metrics: in a bundle its file, live a URL on this very host that the operator names.

It is asked in a thread of its own lane, over loopback only, with a bound on time and size: an etcd that hangs delays
nothing else. Without a client certificate only etcd's metrics listener answers (--listen-metrics-urls).
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from urllib.parse import urlsplit

from nodetell.v1 import facts_pb2 as pb

from agent.collectors import gaps
from agent.collectors.etcd_metrics import COMMIT, COUNTERS, FILE, MAX_BYTES, WAL, EtcdText, parse_etcd
from agent.collectors.keep import Kept, two_digits
from agent.host import Failure, Host, ReadError
from agent.reading import Block, Reading

KEY = "etcd"
TIMEOUT_S = 5.0
LIVE_BYTES = 8 << 20
"""An etcd's text is a few hundred kilobytes; more is something else's."""
_CHUNK = 64 << 10
_REMEDY = (
    "let etcd listen with --listen-metrics-urls=http://127.0.0.1:2381, and name it: etcd_metrics_url in [collectors]"
)


class EtcdCollector:
    """Item and block "etcd", and latencies "latency/passive/etcd/..." of its own counting."""

    name = "etcd"
    lane = "etcd"

    def __init__(self, url: str = "") -> None:
        """`url`: of etcd's metrics on this host; empty: a live etcd is not asked."""
        self.interval_s = 10.0 if url else 300.0
        self._url = url
        self._kept = Kept()

    def collect(self, host: Host, now: float) -> Reading:  # noqa: ARG002  # what etcd counts carries no time
        """What it says now; nothing at all where nobody asked for it."""
        reading = Reading()
        if host.live and not self._url:
            return self._kept.settle(reading)
        source = self._url if host.live else FILE
        try:
            raw = fetch(self._url) if host.live else host.read(FILE, MAX_BYTES)
        except ReadError as error:
            if host.live or error.failure is not Failure.ABSENT:
                gaps.add(reading, "etcd", error, lost="the size of its database is not known", remedy=_REMEDY)
            return self._kept.settle(reading)
        text = parse_etcd(raw)
        if not text.levels and not text.counters:
            gaps.damage(reading, "etcd", source, ["no metrics of an etcd in it"])
            return self._kept.settle(reading)
        reading.source("etcd", source)
        _put(reading, text)
        for name, file_class in ((WAL, "wal"), (COMMIT, "commit")) if host.live else ((COMMIT, "commit"),):
            _put_latency(reading, text, name, file_class, source)
        problems = [text.problems[name] for name in sorted(text.problems) if name not in (WAL, COMMIT)]
        gaps.damage(reading, "etcd", source, problems)
        return self._kept.settle(reading)


def _put(reading: Reading, text: EtcdText) -> None:
    levels = text.levels
    etcd = pb.Etcd()
    for name in ("database_bytes", "in_use_bytes", "proposals_pending"):
        if name in levels:
            setattr(etcd, name, two_digits(levels[name]))
    if "quota_bytes" in levels:
        etcd.quota_bytes = levels["quota_bytes"]
    for name in ("has_leader", "is_leader"):
        if name in levels:
            setattr(etcd, name, levels[name] != 0)
    reading.add(pb.Item(key=KEY, etcd=etcd))
    names = tuple(name for name in COUNTERS.values() if name in text.counters)
    if names:
        reading.blocks[KEY] = Block(names, tuple(text.counters[name] for name in names))


def _put_latency(reading: Reading, text: EtcdText, name: str, file_class: str, source: str) -> None:
    try:
        histogram = text.histogram(name, file_class)
    except ValueError as error:
        if name in text.buckets or name in text.problems:
            gaps.damage(reading, "etcd", source, [str(error)], detail=file_class)
        return
    histogram.put(reading)


def fetch(url: str, timeout_s: float = TIMEOUT_S, most: int = LIVE_BYTES) -> bytes:
    """A text from a server on this host; `timeout_s` is for all of it. Raises ReadError."""
    until = time.monotonic() + timeout_s
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout_s)
    try:
        connection.request("GET", parts.path or "/metrics", headers={"Accept": "text/plain"})
        if connection.sock is None:
            raise ReadError(Failure.DAMAGED, url, "the connection ended at once")
        held = connection.sock
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            denied = answer.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN)
            raise ReadError(Failure.DENIED if denied else Failure.DAMAGED, url, f"HTTP status {answer.status}")
        return _body(url, answer, held, until, most)
    except ConnectionRefusedError:
        raise ReadError(Failure.ABSENT, url, "nothing listens there") from None
    except TimeoutError:
        raise ReadError(Failure.ABSENT, url, f"no answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ReadError(Failure.DAMAGED, url, " ".join(str(error).split()) or type(error).__name__) from error
    finally:
        connection.close()


def _body(url: str, answer: http.client.HTTPResponse, held: socket.socket, until: float, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        held.settimeout(left)
        part = answer.read1(_CHUNK)
        if not part:
            return b"".join(parts)
        size += len(part)
        if size > most:
            raise ReadError(Failure.DAMAGED, url, f"more than {most:,} bytes")
        parts.append(part)


def _connection(scheme: str, host: str, port: int | None, timeout_s: float) -> http.client.HTTPConnection:
    if scheme == "https":
        # It stays on this host: that the certificate is for another name says nothing, and no secret is sent.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)
