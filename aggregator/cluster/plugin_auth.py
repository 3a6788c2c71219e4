"""Tokens from a credential plug-in (client.authentication.k8s.io), which is ended where nobody waits for it any more.

lightkube's own starts the plug-in as well, and leaves it running when the request has been given up: one that waits for
a login would be started again and again beside itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Generator
from subprocess import DEVNULL, PIPE

import httpx2
import msgspec
from lightkube.config.client_adapter import ExecAuth
from lightkube.config.models import UserExec
from lightkube.core.exceptions import ConfigError


class _Status(msgspec.Struct):
    token: str


class _Credential(msgspec.Struct):
    status: _Status


class PluginAuth(httpx2.Auth):
    """Asks the plug-in for a token when none is held, and again when the server does not take it (401)."""

    def __init__(self, plugin: UserExec) -> None:
        self._plugin = plugin
        self._sync = ExecAuth(plugin)
        self._bearer = ""

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """For a command, which can be interrupted, and whose plug-in may ask at the terminal."""
        yield from self._sync.sync_auth_flow(request)

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """For the aggregator. Raises ConfigError."""
        if self._bearer:
            request.headers["Authorization"] = self._bearer
            response = yield request
            if response.status_code != 401:
                return
        self._bearer = f"Bearer {await self._token()}"
        request.headers["Authorization"] = self._bearer
        yield request

    async def _token(self) -> str:
        plugin = self._plugin
        env = os.environ | {each.name: each.value for each in plugin.env or []}
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command, *(plugin.args or []), env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
        except OSError as error:
            hint = f" ({plugin.installHint})" if plugin.installHint else ""
            raise ConfigError(f"it cannot be started: {error.strerror}{hint}") from error
        try:
            said, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            raise ConfigError(f"exit status {process.returncode}: {complaint.decode(errors='replace').strip()}")
        try:
            return msgspec.json.decode(said, type=_Credential).status.token
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"it gave no token: {error}") from None
