"""The aggregator's own end of TLS: its certificate, whose certificates it takes, both read again when they change.

gRPC asks for them at each new connection, from a thread of its own. Files that cannot be used leave the ones before in
use, which is said once. TLS below 1.3 is impossible (nodetell, which has the reason).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from nodetell.fingerprint import Fingerprint, fingerprint
from nodetell.logs import event
from nodetell.pem import PemError, expires, read_authorities, read_pair

from aggregator.convert import iso_time
from aggregator.settings import TlsSettings

_log = logging.getLogger("nodetell.aggregator")
WARN_S, WARN_SHARE = 7 * 86_400.0, 0.2
"""So long before a certificate expires that nobody has renewed, or in the last fifth of the time that it had left when
it was read if that is shorter, it is said once a day."""


class ServerCertificates:
    """What is shown to clients, and by what theirs are checked. One for each port."""

    def __init__(self, settings: TlsSettings, *, demand: bool, clock: Callable[[], float] = time.time) -> None:
        """`demand`: clients must show a certificate of settings.client_ca. Raises PemError."""
        self._settings, self._demand, self._clock = settings, demand, clock
        self._files = [settings.certificate, settings.key, *([settings.client_ca] if demand else ())]
        self._lock = threading.Lock()
        self._print = self._fingerprint()
        self._said = ""
        self._warned = 0.0
        self._expires = self._warn_from = 0.0
        self.current = self._load()
        """What gRPC uses."""
        self._tell()

    def credentials(self) -> grpc.ServerCredentials:
        """For one port of a server."""
        renewed: Any = self.renewed  # the types do not know that None means "no change"
        return grpc.dynamic_ssl_server_credentials(self.current, renewed, require_client_authentication=self._demand)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is to be used from now on; None: what is used already. Called by gRPC, from any thread."""
        with self._lock:
            self._warn()
            now = self._fingerprint()
            if now == self._print:
                return None
            try:
                self.current = self._load()
            except PemError as error:
                if str(error) != self._said:
                    self._said = str(error)
                    event(_log, logging.ERROR, "certificate_not_renewed", reason=error, used="the one before")
                return None
            # Taken before the files were read: what was turned meanwhile is noticed at the next connection.
            self._print, self._said = now, ""
            self._tell()
            return self.current

    def _load(self) -> grpc.ServerCertificateConfiguration:
        own = read_pair(self._settings.certificate, self._settings.key, now=self._clock())
        clients = read_authorities(self._settings.client_ca, now=self._clock()) if self._demand else None
        self._expires = expires(own.certificate)
        self._warn_from = self._expires - min(WARN_S, WARN_SHARE * (self._expires - self._clock()))
        return grpc.ssl_server_certificate_configuration([(own.key, own.certificate)], root_certificates=clients)

    def _tell(self) -> None:
        facts = {"file": self._settings.certificate, "expires": iso_time(self._expires)}
        event(_log, logging.INFO, "certificate", **facts)

    def _warn(self) -> None:
        now = self._clock()
        if now >= self._warn_from and abs(now - self._warned) >= 86_400:
            self._warned = now
            facts = {"file": self._settings.certificate, "expires": iso_time(self._expires)}
            event(_log, logging.WARNING, "certificate_expires", **facts)

    def _fingerprint(self) -> tuple[Fingerprint, ...]:
        return tuple(map(fingerprint, self._files))
