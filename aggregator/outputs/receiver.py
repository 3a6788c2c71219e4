"""One address that alerts and notices are posted to, and how it answers.

Nothing that it does can hurt: it has so many seconds, redirects are not followed, of its answer no more than a little
is read and nothing is unpacked, cookies and the environment's proxies are nobody's business. What it says is quoted in
one line; the path of its address and what is sent along are in no message, for they may be secrets.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from nodetell import __version__
from nodetell.fingerprint import Fingerprint, fingerprint

from aggregator.settings import origin
from aggregator.wording import quoted

TIMEOUT_S = 10.0
"""For all of it: the connection, TLS, the request, the answer."""
READ_BYTES = 2_048
"""Of an answer's body."""
MOST_RETRY_AFTER_S = 300.0
NOT_UNDERSTOOD = frozenset({400, 413, 415, 422})
"""Answers to what is wrong in itself, and no better the next time."""
_CLOSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a post."""

    status: int
    """Of HTTP; 0: there was no answer."""
    reason: str = ""
    """Why it was not taken, one line; empty: it was."""
    retry_after_s: float = 0.0
    """How long it wants to be left alone."""
    body: bytes = b""
    """What it says to what it has taken, if that is short."""

    @property
    def taken(self) -> bool:
        """It has it."""
        return not self.reason


class Receiver:
    """Where things are posted. One event loop owns it."""

    def __init__(self, url: str, ca: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        self.origin = origin(url)
        """For messages."""
        self.key = hashlib.sha256(url.encode()).hexdigest()[:16]
        """For the outbox: the address may have a secret in it."""
        self._url, self._ca, self._timeout_s = url, ca, timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._seen: Fingerprint = ()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send it. Never raises but what ends the task."""
        try:
            async with asyncio.timeout(self._timeout_s):
                session = await self._connected()
                sent = session.post(self._url, data=body, headers=headers, allow_redirects=False)
                async with sent as response:
                    return await _answer(response)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ssl.SSLError is an OSError
            return Answer(0, _why(error))

    async def aclose(self) -> None:
        """Let go of its connection."""
        session, self._session = self._session, None
        if session is not None:
            async with asyncio.timeout(_CLOSE_S):
                await session.close()

    async def _connected(self) -> aiohttp.ClientSession:
        """The session, a new one where its authorities have changed. Raises OSError."""
        seen = await asyncio.to_thread(fingerprint, self._ca)
        if self._session is None or seen != self._seen:
            context = await asyncio.to_thread(_context, self._ca) if self._url.startswith("https:") else True
            await self.aclose()
            self._seen = seen
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=1),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"nodetell/{__version__}", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _why(error: Exception) -> str:
    """In words."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            said = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return f"its certificate is not taken: {quoted(said)}"
        case aiohttp.ClientConnectorError():
            below = error.os_error
            number = below.errno or 0
            said = os.strerror(number) if number > 0 else below.strerror or str(below)
            return f"no connection: {quoted(said.lower())}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection ended before an answer"
        case aiohttp.ClientResponseError():
            return "its answer is no HTTP"
        case OSError() if error.filename or error.errno is None:  # of ours
            return reason_of(error)
        case _:
            return f"{type(error).__name__}: {quoted(str(error))}"


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    if 200 <= response.status < 300:
        body = await _read(response)
        if body is None:
            response.close()  # it goes on and on: the connection is not used again
        return Answer(response.status, body=body or b"")
    said = quoted((await _read(response) or b"").decode("utf-8", "replace"))
    response.close()
    if 300 <= response.status < 400:
        return Answer(response.status, f"it answers {response.status}, a redirect, which is not followed")
    after = response.headers.get("Retry-After", "")
    return Answer(
        response.status,
        f"it answers {response.status}" + (f": {said}" if said else ""),
        min(float(after), MOST_RETRY_AFTER_S) if after.isascii() and after.isdigit() else 0.0,
    )


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; of one that is long nothing, if it was taken, and else its beginning."""
    found = b""
    while len(found) < READ_BYTES and (part := await response.content.read(READ_BYTES - len(found))):
        found += part
    return found if len(found) < READ_BYTES or response.status >= 300 else None


def _context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:  # an OSError, too
        raise OSError(f"{ca}: holds no certificate that can be used") from error
    except OSError as error:  # which does not say of what
        raise OSError(error.errno, error.strerror, ca) from error
    if not ca and not _has_authorities(context):
        raise OSError("there are no authorities of the system here: name some (ca)")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _has_authorities(context: ssl.SSLContext) -> bool:
    """Files of a directory are read as they are needed, and so not counted by the context."""
    folder = ssl.get_default_verify_paths().capath  # None where it is not there
    return bool(context.get_ca_certs()) or bool(folder and any(Path(folder).iterdir()))


def reason_of(error: Exception) -> str:
    """Why a file of ours can't be used, one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


def secret_lines(path: str, least: int = 1) -> list[str]:
    """What stands in a file of secrets, line by line. Raises OSError, and ValueError without quoting any of it."""
    with Path(path).open("rb") as file:
        text = file.read(1 << 16).decode("latin-1")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: is empty")
    if any(len(line) < least for line in lines):
        raise ValueError(f"{path}: line with fewer than {least} characters")
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError(f"{path}: holds characters that are none of ASCII's")
    return lines
