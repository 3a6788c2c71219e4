"""What tests of the HTTP server share: one that runs over real sockets, and whoever asks it."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from aggregator.findings import Record
from aggregator.known import Known
from aggregator.model import Finding, Gap, Severity, Stage
from aggregator.signatures.thresholds import Thresholds
from aggregator.trust.operators import OperatorTrust
from aggregator.view import ClusterView
from aggregator.web.server import HttpServer, Site, make_site
from aggregator.web.tls import Contexts
from cli.bundle_known import BundleKnown, known_of
from cli.report import Report
from tests.trust import Files

BUNDLE = Path(__file__).parents[1] / "fixtures/hosts/vxlan-over-too-small-underlay"
"""A host on which a finding stands."""
AT = 1_795_341_660.0  # 2026-11-22T10:01:00Z


def bundle() -> BundleKnown:
    """That host, diagnosed."""
    return known_of(str(BUNDLE))


def finding(number: int, **more: Any) -> Finding:
    """One of many."""
    fields: dict[str, Any] = {
        "id": f"mtu-{number:05}",
        "code": "mtu.path_below_link",
        "incident": "mtu_mismatch",
        "stage": Stage.RISK,
        "severity": Severity.WARNING,
        "summary": f"The summary of {number}.",
        "nodes": (f"n{number}",),
        "evidence": (),
        "clears_when": "it is over",
    }
    return Finding(**(fields | more))


def made_up(findings: list[Finding], gaps: list[Gap] | None = None, view: ClusterView | None = None) -> BundleKnown:
    """Something that is known, and never changes."""
    records = [Record(each, "", AT, AT) for each in findings]
    return BundleKnown(Report("c", AT, records, gaps or []), view or ClusterView("c", {}), Thresholds(), {})


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Running:
    """A server, and a client of it that sends no cookie by itself."""

    site: Site
    address: str
    ca: str = ""

    def context(self, shows: Files | None = None) -> ssl.SSLContext | bool:
        """For a connection that shows a certificate, or none."""
        if not self.ca:
            return True
        context = ssl.create_default_context(cafile=self.ca)
        if shows is not None:
            context.load_cert_chain(shows.certificate, shows.key)
        return context

    async def get(
        self, path: str, shows: Files | None = None, method: str = "GET", *, raw: bool = False, **more: Any
    ) -> Answer:
        """Ask on a new connection, follow nothing. `raw`: the path as it stands here."""
        url = URL(self.address + path, encoded=raw)
        connector = aiohttp.TCPConnector(ssl=self.context(shows), force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.request(method, url, allow_redirects=False, **more) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    async def api(self, path: str, **more: Any) -> Any:
        """What the API says, which must be an answer."""
        answer = await self.get(f"/api/v1{path}", **more)
        assert answer.status == 200, answer.text
        return answer.json


@contextlib.asynccontextmanager
async def running(
    known: Known, operators: OperatorTrust | None = None, tls: Contexts | None = None, ca: str = "", page: bool = True
) -> AsyncIterator[Running]:
    """A server over real sockets."""
    site = make_site(known, operators, page=page)
    server = HttpServer(site, "127.0.0.1:0", tls)
    try:
        yield Running(site, await server.start(), ca)
    finally:
        await server.aclose()
