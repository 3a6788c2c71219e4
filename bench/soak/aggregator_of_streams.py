"""The aggregator's end of streams that are cut again and again."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict

from aggregator.main import run
from aggregator.settings import AggregatorSettings
from bench.soak.meter import sample
from bench.soak.told import told


async def live() -> None:
    """A whole one on loopback; the first line is its address."""
    stop, begun = asyncio.Event(), time.monotonic()

    def ready(address: str, _: Mapping[str, str]) -> None:
        sys.stdout.write(json.dumps({"listening": address}) + "\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        settings = AggregatorSettings(listen="127.0.0.1:0", insecure=True, state_directory=folder, log_level="error")
        running = asyncio.create_task(run(settings, stop, ready))
        await told(lambda: asdict(sample((time.monotonic() - begun) / 3_600)))
        stop.set()
        await running
