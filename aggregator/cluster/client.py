"""The aggregator's connection to the API server: GET and nothing else, with credentials that are renewed on disk.

Its answers are either 200 or an ApiError. A client is built anew when a file that it was built from has changed or the
server stopped to accept what it shows; what is under way on the old one goes on there, as watches may for minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx2
from lightkube.core.exceptions import ConfigError

from aggregator.cluster import credentials as own
from aggregator.cluster.answers import ApiError, Cause, refusal
from aggregator.cluster.credentials import Credentials, KubeError, Source, one_line
from aggregator.cluster.pace import Pace
from aggregator.cluster.server_time import ServerTime

_REFUSAL_BYTES = 64 << 10
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=4, keepalive_expiry=75.0)
"""Kept longer than the metrics' interval: behind a balancer, the next connection may lead to another API server, whose
counters are others."""
_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""The kernel finds out within half a minute that the other host is gone, where nothing need ever come from it."""


@dataclass(slots=True)
class _Client:
    """An HTTP client, and how many use it."""

    http: httpx2.AsyncClient
    credentials: Credentials
    users: int = 0
    retired: bool = False
    first: asyncio.Lock | None = None
    """Held by one request at a time until one was answered: a plug-in is to be started once, not for each resource."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer, or not us."""

    since: float
    """Seconds since the epoch."""
    reason: str
    cause: Cause


class ApiClient:
    """Reads from the API server. One for all of an aggregator's reading."""

    def __init__(
        self,
        source: Source,
        env: Mapping[str, str],
        pace: Pace,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._env, self._pace, self._clock = source, env, pace, clock
        self._client: _Client | None = None
        self._print = b""
        self._suspect = False
        self._answered = asyncio.Event()
        self.time = ServerTime(clock, monotonic)
        self.outage: Outage | None = None
        """Since when nothing has succeeded; None: the last request did, or none was made."""
        self.renewals = 0
        """How often credentials were read."""
        self.moves = 0
        """How often the credentials led to another server: no version of the former one means anything there."""
        self.problem = ""
        """Why changed credentials could not be used, while the former ones still are."""

    @property
    def server(self) -> str:
        """URL of the API server; until it is known, where it should be told."""
        return self._client.credentials.server if self._client is not None else str(self._source.path)

    @contextlib.asynccontextmanager
    async def get(
        self,
        path: str,
        parameters: Mapping[str, str],
        *,
        accept: str = "application/json",
        silent_s: float = 0.0,
    ) -> AsyncIterator[httpx2.Response]:
        """An answer with status 200, whose body is to be read within the context. `silent_s`: between two pieces of it.

        Raises ApiError, also for what happens within the context to the connection.
        """
        try:
            client = await self._current()
        except KubeError as error:
            raise self._failed(ApiError(Cause.CREDENTIALS, str(error))) from error
        client.users += 1
        try:
            async with self._sent(client, path, parameters, accept, silent_s) as answer:
                yield answer
        except httpx2.TimeoutException as error:
            waited = "connection" if isinstance(error, httpx2.ConnectTimeout) else "answer"
            raise self._failed(ApiError(Cause.UNREACHABLE, f"no {waited} in time", silent=True)) from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            self._suspect = self._suspect or _by_tls(error)
            silent = any(isinstance(each, OSError) and each.errno == errno.ETIMEDOUT for each in _chain(error))
            raise self._failed(ApiError(Cause.UNREACHABLE, reason_of(error), silent=silent)) from error
        finally:
            client.users -= 1
            await self._close_if_unused(client)

    @contextlib.asynccontextmanager
    async def _sent(
        self, client: _Client, path: str, parameters: Mapping[str, str], accept: str, silent_s: float
    ) -> AsyncIterator[httpx2.Response]:
        name, pace = client.credentials.tls_name, self._pace
        request = client.http.build_request(
            "GET",
            path,
            params=parameters,
            headers={"Accept": accept},
            timeout=httpx2.Timeout(
                self._pace.answer_s, connect=self._pace.connect_s, read=silent_s or self._pace.answer_s
            ),
            extensions={"sni_hostname": name} if name else {},
        )
        asked_at = self._clock()
        try:
            # Around it all: a plug-in that is asked for a token may hang, too.
            async with asyncio.timeout(pace.connect_s + pace.answer_s), client.first or contextlib.nullcontext():
                answer = await client.http.send(request, stream=True)
                client.first = None
        except TimeoutError as error:
            raise self._failed(ApiError(Cause.UNREACHABLE, "no answer in time")) from error
        except (ConfigError, ValueError, LookupError, TypeError) as error:  # by a plug-in, or what it printed
            user = client.credentials.config.user
            what = f"the plug-in {user.exec.command}" if user is not None and user.exec is not None else "the request"
            raise self._failed(ApiError(Cause.CREDENTIALS, f"{what} failed: {one_line(error)}")) from error
        try:
            self.time.heard(answer.headers.get("date"), asked_at)
            if answer.status_code != 200:
                raise self._failed(refusal(answer.status_code, answer.headers, await _beginning(answer), self._clock()))
            self._succeeded()
            yield answer
        finally:
            await answer.aclose()

    async def wait_for_return(self, seconds: float) -> bool:
        """Wait so long, or until a request succeeds after none did; True: one has."""
        answered = self._answered
        try:
            async with asyncio.timeout(seconds):
                await answered.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Close all connections that are not in use."""
        if self._client is not None:
            self._client.retired = True
            await self._close_if_unused(self._client)
            self._client = None

    async def _current(self) -> _Client:
        """The client, built anew if what it was built from has changed. Raises KubeError."""
        held = self._client
        now = own.fingerprint(self._source, held.credentials if held is not None else None)
        if held is not None and now == self._print and not self._suspect:
            return held
        try:
            # The print is taken before what it is of is read: what changes meanwhile is noticed next time.
            now = own.fingerprint(self._source, own.load(self._source, self._env))
            credentials = own.load(self._source, self._env)
            built = _Client(open_http(credentials, self._pace), credentials)
            user = credentials.config.user
            if user is not None and user.exec is not None:
                built.first = asyncio.Lock()
        except KubeError as error:
            if held is None or self._suspect:
                raise
            # A file that is being replaced: what we hold is good until the server says otherwise.
            self.problem = str(error)
            return held
        self._client, self._print, self._suspect, self.problem = built, now, False, ""
        self.renewals += 1
        if not self._source.in_cluster:
            # Whoever makes another context current means kubectl, not an aggregator that runs.
            self._source = dataclasses.replace(self._source, context=credentials.config.context_name)
        if held is not None and held.credentials.server != credentials.server:
            self.moves += 1
        if held is not None:
            held.retired = True
            await self._close_if_unused(held)
        return built

    async def _close_if_unused(self, client: _Client) -> None:
        if client.retired and not client.users:
            await client.http.aclose()

    def _failed(self, error: ApiError) -> ApiError:
        if error.cause is Cause.UNAUTHORIZED:
            self._suspect = True
        if error.cause in _OUTAGES:
            since = self.outage.since if self.outage is not None else self._clock()
            self.outage = Outage(since, str(error), error.cause)
        return error

    def _succeeded(self) -> None:
        if self.outage is not None:
            self.outage = None
            self._answered.set()
            self._answered = asyncio.Event()


_OUTAGES = frozenset({Cause.UNREACHABLE, Cause.UNAUTHORIZED, Cause.CREDENTIALS, Cause.FAILED})


def open_http(credentials: Credentials, pace: Pace) -> httpx2.AsyncClient:
    """A client with these credentials. Raises KubeError."""
    context, auth = own.tls(credentials), own.auth(credentials)
    try:
        transport = httpx2.AsyncHTTPTransport(
            verify=context, trust_env=False, limits=_LIMITS, proxy=credentials.proxy, socket_options=_SOCKET_OPTIONS
        )
        headers = [*credentials.headers, ("User-Agent", "nodetell")]
        if credentials.in_cluster:
            # The network there is wide, and compressing a list of all pods takes seconds of the API server's CPU.
            headers.append(("Accept-Encoding", "identity"))
        return httpx2.AsyncClient(
            base_url=credentials.server,
            auth=auth,
            headers=headers,
            transport=transport,
            trust_env=False,
            timeout=httpx2.Timeout(pace.answer_s, connect=pace.connect_s),
        )
    except (ImportError, ValueError, TypeError, httpx2.InvalidURL) as error:
        raise KubeError(f"{credentials.server}: {one_line(error)}") from error


async def _beginning(answer: httpx2.Response) -> bytes:
    body = b""
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) >= _REFUSAL_BYTES:
            break
    return body[:_REFUSAL_BYTES]


def reason_of(error: BaseException) -> str:
    """The innermost reason that says something: "Connection refused" rather than "All connection attempts failed"."""
    reasons = [reason for each in _chain(error) if (reason := _system_reason(each))]
    if reasons:
        return " ".join(reasons[-1].split())
    return one_line(error) if isinstance(error, Exception) else type(error).__name__


def _system_reason(error: BaseException) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return ""
    if isinstance(error, ssl.SSLError | socket.gaierror):  # they have numbers of their own
        return error.strerror
    return os.strerror(error.errno) if error.errno else error.strerror  # the text may be asyncio's, with the address


def _by_tls(error: BaseException) -> bool:
    """The connection failed in its TLS: our certificates, or theirs."""
    return any("SSL" in type(each).__name__ or "SSL" in str(each) for each in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, what caused that; of several at once the first."""
    each: BaseException | None = error
    for _ in range(20):
        if each is None:
            return
        yield each
        each = each.exceptions[0] if isinstance(each, BaseExceptionGroup) else each.__cause__ or each.__context__
