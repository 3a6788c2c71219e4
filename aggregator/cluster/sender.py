"""The connection by which something is sent to the API server; the client that reads (client.py) can't.

Two send by it, and nobody else: trust/review.py, which asks who calls, and outputs/kubernetes/, which writes Events and
conditions where the operator has switched that on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import httpx2
from lightkube.core.exceptions import ConfigError

from aggregator.cluster import credentials as own
from aggregator.cluster.answers import ApiError, Cause, refusal
from aggregator.cluster.client import open_http, reason_of
from aggregator.cluster.credentials import Credentials, KubeError, Source, one_line
from aggregator.cluster.pace import Pace

JSON = "application/json"
_SHOWN_BYTES = 64 << 10


class Sender:
    """Sends one request at a time or several, with credentials that are renewed on disk. Made in the event loop that it
    is used in."""

    def __init__(
        self, source: Source, env: Mapping[str, str], *, answer_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._source, self._env, self._clock = source, env, clock
        self._pace = Pace(connect_s=answer_s, answer_s=answer_s)
        self._http: httpx2.AsyncClient | None = None
        self._credentials: Credentials | None = None
        self._print = b""
        self._retired: set[httpx2.AsyncClient] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def send(
        self, method: str, path: str, content: bytes, *, content_type: str = JSON, accept: str = JSON
    ) -> httpx2.Response:
        """The whole answer, with status 200 or 201. Raises ApiError for anything else; not longer than the time for an
        answer."""
        try:
            async with asyncio.timeout(self._pace.answer_s):
                answer = await self._sent(method, path, content, {"Content-Type": content_type, "Accept": accept})
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise ApiError(Cause.UNREACHABLE, "no answer in time", silent=True) from error
        except KubeError as error:
            raise ApiError(Cause.CREDENTIALS, str(error)) from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            self._print = b""  # it may be our certificates, or theirs
            raise ApiError(Cause.UNREACHABLE, reason_of(error)) from error
        except (ConfigError, ValueError, LookupError, TypeError) as error:  # by a plug-in, or what it printed
            raise ApiError(Cause.CREDENTIALS, f"the request failed: {one_line(error)}") from error
        if answer.status_code not in (200, 201):
            refused = refusal(answer.status_code, answer.headers, answer.content[:_SHOWN_BYTES], self._clock())
            if refused.cause is Cause.UNAUTHORIZED:
                self._print = b""
            raise refused
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        for each in (*self._retired, *([self._http] if self._http is not None else ())):
            await each.aclose()

    async def _sent(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        http, credentials = self._client()
        extensions = {"sni_hostname": credentials.tls_name} if credentials.tls_name else {}
        return await http.request(method, path, content=content, headers=headers, extensions=extensions)

    def _client(self) -> tuple[httpx2.AsyncClient, Credentials]:
        """The client, built anew if what it was built from has changed. Raises KubeError."""
        held, known = self._http, self._credentials
        now = own.fingerprint(self._source, known)
        if held is not None and known is not None and now == self._print:
            return held, known
        try:
            now = own.fingerprint(self._source, own.load(self._source, self._env))  # before what it is of is read
            credentials = own.load(self._source, self._env)
            built = open_http(credentials, self._pace)
        except KubeError:
            if held is None or known is None or not self._print:
                raise
            return held, known  # a file that is being replaced
        if held is not None:
            self._retire(held)
        self._http, self._credentials, self._print = built, credentials, now
        return built, credentials

    def _retire(self, http: httpx2.AsyncClient) -> None:
        """Close it once what is under way on it is over."""
        self._retired.add(http)

        def close() -> None:
            self._retired.discard(http)
            closing = loop.create_task(http.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

        loop = asyncio.get_running_loop()
        loop.call_later(2 * self._pace.answer_s, close)
