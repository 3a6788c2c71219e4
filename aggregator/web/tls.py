"""The HTTP server's own end of TLS: 1.3 only, the same files as for agents, read again when they change.

A context is chosen at each new connection. Files that cannot be used leave the ones before in use, which is said once.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nodetell.fingerprint import Fingerprint, fingerprint
from nodetell.logs import event
from nodetell.pem import PemError, load_pair, read_authorities, read_pair

from aggregator.settings import TlsSettings

_log = logging.getLogger("nodetell.aggregator")


@dataclass(slots=True)
class Contexts:
    """What is shown to clients, and by what theirs are checked. Raises PemError when it is made of unusable files."""

    settings: TlsSettings
    clock: Callable[[], float] = time.time
    current: ssl.SSLContext = field(init=False)
    """What the next connection gets."""
    _print: tuple[Fingerprint, ...] = field(init=False)
    _said: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._print = self._fingerprint()
        self.current = self._load()

    def listening(self) -> ssl.SSLContext:
        """For the listening socket: its connections go on with the current context."""
        context = self._load()
        context.sni_callback = self._choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:  # noqa: ARG002
        """OpenSSL asks at each connection, whether a name is asked for or not."""
        self.renew()
        connection.context = self.current

    def renew(self) -> None:
        """Read the files again, if they have changed."""
        now = self._fingerprint()
        if now == self._print:
            return
        try:
            self.current = self._load()
        except PemError as error:
            if str(error) != self._said:
                self._said = str(error)
                event(
                    _log, logging.ERROR, "certificate_not_renewed", surface="http", reason=error, used="the one before"
                )
            return
        self._print, self._said = now, ""
        event(_log, logging.INFO, "certificate", surface="http", file=self.settings.certificate)

    def _load(self) -> ssl.SSLContext:
        tls = self.settings
        pair = read_pair(tls.certificate, tls.key, now=self.clock())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # each connection shows its certificate anew
        context.set_alpn_protocols(["http/1.1"])
        load_pair(context, pair)
        if tls.client_ca:
            context.load_verify_locations(cadata=read_authorities(tls.client_ca, now=self.clock()).decode("ascii"))
            context.verify_mode = ssl.CERT_OPTIONAL  # a browser without one shows a token
        return context

    def _fingerprint(self) -> tuple[Fingerprint, ...]:
        tls = self.settings
        return tuple(map(fingerprint, (tls.certificate, tls.key, *([tls.client_ca] if tls.client_ca else ()))))
