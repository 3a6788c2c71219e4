"""The measured process: a whole aggregator whose surfaces are switched on and off while its agents go on.

As a program it takes its Orders as a line of JSON on standard input, and then one line each time: the settings of the
surfaces to switch on in place of those that are on, by table ({"http": {"listen": "127.0.0.1:0"}}). It answers each
with a line: where they can be reached, by name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from unittest import mock

from aggregator import main as aggregator_main
from aggregator.outputs.kubernetes import surface as objects_surface
from aggregator.settings import AggregatorSettings, KubernetesSettings
from aggregator.surfaces import Made, Surface, surfaces


@dataclass(frozen=True, slots=True)
class Orders:
    """How the aggregator is to be."""

    directory: str
    """Its state."""
    kubeconfig: str


def settings_of(base: AggregatorSettings, tables: Mapping[str, Mapping[str, Any]]) -> AggregatorSettings:
    """With these tables in place of the defaults."""
    kinds = {field.name: type(getattr(base, field.name)) for field in fields(base)}
    made = {}
    for name, table in tables.items():
        made[name] = kinds[name](
            **{key: tuple(each) if isinstance(each, list) else each for key, each in table.items()}
        )
    return replace(base, **made)


class Switches:
    """The surfaces that are on."""

    def __init__(self) -> None:
        self.made: Made | None = None
        self._on: list[Surface] = []

    def none_yet(self, made: Made) -> list[Surface]:
        """In place of aggregator.surfaces.surfaces: what they would be made of is kept."""
        self.made = made
        return []

    async def only(self, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Switch these on, and all others off; where they are reached."""
        for each in self._on:
            await each.aclose()
        assert self.made is not None  # the aggregator listens
        self._on = surfaces(replace(self.made, settings=settings_of(self.made.settings, tables)))
        return {each.name: await each.start() for each in self._on}


async def run() -> None:
    """The program."""
    logging.disable(logging.CRITICAL)
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    orders = Orders(**json.loads(await words.readline()))
    settings = AggregatorSettings(
        listen="127.0.0.1:0",
        insecure=True,
        state_directory=orders.directory,
        log_level="error",
        kubernetes=KubernetesSettings(enabled="on", kubeconfig=orders.kubeconfig),
    )
    stop, switches = asyncio.Event(), Switches()
    objects_surface.QUIET_S = 1.0  # what it writes is measured, not the minute before

    def ready(address: str, _: Mapping[str, str]) -> None:
        print(json.dumps({"listening": address}), flush=True)  # its output

    with mock.patch.object(aggregator_main, "surfaces", switches.none_yet):
        running = asyncio.create_task(aggregator_main.run(settings, stop, ready))
        while line := await words.readline():
            print(json.dumps(await switches.only(json.loads(line))), flush=True)
        await switches.only({})
        stop.set()
        await running


if __name__ == "__main__":
    asyncio.run(run())
