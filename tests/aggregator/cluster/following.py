"""What tests of the live view share: a watch of a whole cluster at a day's pace within a second."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregator.cluster.credentials import Source
from aggregator.cluster.pace import Pace
from aggregator.cluster.resources import WATCHED
from aggregator.cluster.scrape import MetricsReader
from aggregator.cluster.watch import ClusterWatch
from aggregator.settings import KubernetesSettings
from tests.held import Held

FAST = Pace(
    connect_s=1.0,
    answer_s=0.5,
    watch_s=(1.0, 1.0),
    silent_s=0.15,
    silent_unmarked_s=0.3,
    first_retry_s=0.01,
    last_retry_s=0.05,
    recall_s=0.01,
    denied_s=0.05,
    denied_check_s=0.02,
    absent_s=0.05,
    stagger_s=0.0,
    settled_s=0.03,
    grace_s=0.2,
    look_s=0.02,
)
"""A day's durations within a second."""
PATIENT = replace(FAST, connect_s=10.0, answer_s=10.0, watch_s=(10.0, 10.0), silent_s=10.0, silent_unmarked_s=10.0)
"""The same where the server is never at fault: a busy machine must not be taken for a server that has gone."""
PATHS = {resource.name: next(resource.paths()) for resource in WATCHED}
"""Where each resource is."""


def kubeconfig(folder: Path, url: str, **user: str) -> Path:
    """A kubeconfig for this server."""
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "clusters": [{"name": "a", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
        "users": [{"name": "u", "user": user or {"token": "t0ken"}}],
    }
    path.write_text(json.dumps(config))
    return path


class Watching:
    """A watch at work, and what came of it."""

    def __init__(self, watch: ClusterWatch, held: Held) -> None:
        self.watch, self.held = watch, held

    async def until(self, holds: Callable[[], bool], what: str = "") -> None:
        """Wait for it, 15 s at most."""
        end = time.monotonic() + 15
        while not holds():
            assert time.monotonic() < end, f"{what}: {self.watch.stale()} {self.watch.standings()}"
            await asyncio.sleep(0.002)

    def states(self) -> dict[str, str]:
        """How well each resource is known."""
        return {standing.resource.name: standing.state.value for standing in self.watch.standings()}


@asynccontextmanager
async def watching(
    folder: Path,
    url: str,
    pace: Pace = FAST,
    *,
    metrics: MetricsReader[Any] | None = None,
    settings: KubernetesSettings | None = None,
    seed: int = 1,
) -> AsyncIterator[Watching]:
    """Watch the server there."""
    held = Held()
    watch = ClusterWatch(
        Source(kubeconfig(folder, url)),
        held,
        settings or KubernetesSettings(page_size=10),
        env={},
        pace=pace,
        metrics=metrics,
        chance=random.Random(seed),  # noqa: S311  # jitter
    )
    task = asyncio.create_task(watch.run())
    try:
        yield Watching(watch, held)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
