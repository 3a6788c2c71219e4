"""Reads until when Secrets are good: only those that pods use, each by its name, and only where the operator says so.

By name, because that is the least right there is: `get` lists nothing, and may be granted in some namespaces only, or
for some names. A watch would hand over every Secret of the cluster, and again with every change of one. What comes is
turned into dates at once and overwritten; no error, log or coverage entry has more of it than names.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from nodetell.logs import event

from aggregator.cluster.answers import ApiError, Cause
from aggregator.cluster.client import ApiClient
from aggregator.cluster.objects import SecretDates
from aggregator.cluster.secret_dates import dates_of
from aggregator.cluster.secret_users import users
from aggregator.cluster.state import ClusterState
from aggregator.model import Gap

_log = logging.getLogger("nodetell.aggregator")

SIGNAL = "kube/secret_dates"
RULE = 'apiGroups: [""], resources: ["secrets"], verbs: ["get"]'
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
"""Names that a Secret can have: a pod may ask for others, and they would be part of a path."""
_MOST_BYTES = 4 << 20
"""A Secret is below 1 MiB."""


@dataclass(frozen=True, slots=True)
class DatePace:
    """Durations in seconds."""

    look_s: float = 5.0
    """Between two looks what is to be read."""
    apart_s: float = 0.2
    """Between two Secrets: 5 a second at most."""
    again_s: float = 3600.0
    """A Secret is read again after so long, or once its metadata (where they are followed) say that it changed ..."""
    soon_s: float = 60.0
    """... but after so long when something in it will have expired within `near_s`: it may have been renewed."""
    near_s: float = 86_400.0
    refused_s: float = 600.0
    """One that may not be read, or is not there."""
    away_s: float = 20.0
    """After the API server did not answer."""


@dataclass(slots=True)
class _Plan:
    """When a Secret is read next, seconds of the monotonic clock, and why it could not be the last time."""

    due: float
    problem: str = ""
    denied: bool = False


class DateReader:
    """Keeps the dates of Secrets in a ClusterState."""

    def __init__(
        self,
        api: ApiClient,
        state: ClusterState,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        pace: DatePace | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._api, self._state, self._clock, self._monotonic = api, state, clock, monotonic
        self._pace, self._chance = pace or DatePace(), chance or random.Random()  # noqa: S311  # jitter
        self._plans: dict[str, _Plan] = {}
        self._told = False

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            for key in self._due():
                if not await self._read(key):
                    await asyncio.sleep(self._pace.away_s)
                    break
                await asyncio.sleep(self._pace.apart_s)
            self._tell()
            await asyncio.sleep(self._pace.look_s)

    def gaps(self) -> list[Gap]:
        """What may not be read, or cannot be, in one line."""
        failed = sorted((key, plan) for key, plan in self._plans.items() if plan.problem)
        if not failed:
            return []
        (first, plan), count = failed[0], len(self._plans)
        because = f"{len(failed):,} of {count:,} Secrets that pods use: {first}: {plan.problem}"
        remedy = f"allow it: {RULE} (manifests: credential-expiry.yaml)" if plan.denied else ""
        return [Gap("", SIGNAL, "missing" if len(failed) == count else "degraded", because, remedy)]

    def _due(self) -> list[str]:
        """Secrets that are to be read now; what no pod uses any more is forgotten."""
        used, now = users(self._state), self._monotonic()
        for key in [key for key in self._plans if key not in used]:
            del self._plans[key]
            self._state.secret_dates.pop(key, None)
        for key in used:
            if key not in self._plans and _NAME.fullmatch(key.partition("/")[2]):
                self._plans[key] = _Plan(now)
        return [key for key, plan in self._plans.items() if plan.due <= now or self._has_changed(key)]

    def _has_changed(self, key: str) -> bool:
        held, seen = self._state.secret_dates.get(key), self._state.secrets.get(key)
        return held is not None and seen is not None and held.version != seen.version

    async def _read(self, key: str) -> bool:
        """Read one; False: the API server is not there."""
        pace, problem, denied, after_s = self._pace, "", False, self._pace.refused_s
        try:
            found = await self._fetch(key)
        except ApiError as error:
            if error.cause not in (Cause.DENIED, Cause.ABSENT, Cause.ODD):
                return False  # what is known stays
            found, denied = None, error.cause is Cause.DENIED
            problem = str(error) if denied or error.cause is Cause.ODD else ""
        except Exception as error:  # noqa: BLE001  # one Secret must not cost the others; the error may hold its contents
            found, problem = None, f"it cannot be read ({type(error).__name__})"
        if found is None:
            self._state.secret_dates.pop(key, None)
        else:
            self._state.secret_dates[key] = found
            near = found.expiries and found.expiries[0].at - self._clock() < pace.near_s
            after_s = pace.soon_s if near else pace.again_s
        due = self._monotonic() + after_s * self._chance.uniform(0.9, 1.1)
        self._plans[key] = _Plan(due, problem, denied)
        return True

    async def _fetch(self, key: str) -> SecretDates:
        """Raises ApiError."""
        namespace, _, name = key.partition("/")
        body = bytearray()
        try:
            async with self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", {}) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise ApiError(Cause.ODD, f"more than {_MOST_BYTES:,} bytes")
            found = dates_of(body)
        finally:
            body[:] = bytes(len(body))
        if found is None:
            raise ApiError(Cause.ODD, "the answer is no Secret")
        return found

    def _tell(self) -> None:
        """Log once that Secrets may not be read, and once that they may again."""
        denied = [key for key, plan in self._plans.items() if plan.denied]
        if bool(denied) != self._told:
            self._told = bool(denied)
            if denied:
                facts = {"secrets": len(denied), "first": denied[0], "rule": RULE}
                event(_log, logging.WARNING, "kube_secret_dates_denied", **facts)
            else:
                event(_log, logging.INFO, "kube_secret_dates_readable")
