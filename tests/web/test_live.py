"""The HTTP API of a running aggregator: an agent tells, and it is answered; and thousands of requests that somebody
else has thought of, made from the API's own description."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from aggregator.main import run
from aggregator.settings import AggregatorSettings, HttpSettings
from aggregator.web.api.routes import OPERATIONS
from aggregator.web.server import make_site
from tests.aggregator.test_main import an_agent, tunnel_host
from tests.web.site import Running, made_up
from tests.web.test_events import following

EXAMPLES = 12
"""Of each operation."""


@dataclass
class Aggregator:
    """One in a thread of its own."""

    http: str = ""
    _stop: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _up: threading.Event = field(default_factory=threading.Event)
    status: int | None = None

    def serve(self) -> None:
        """Until it is told to stop."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        listening: asyncio.Future[str] = self._loop.create_future()
        given_settings = AggregatorSettings(
            listen="127.0.0.1:0",
            insecure=True,
            state_directory="",
            log_level="error",
            http=HttpSettings(listen="127.0.0.1:0"),
        )

        def ready(listen: str, surfaces: Any) -> None:
            self.http = surfaces["http"]
            listening.set_result(listen)

        serving = asyncio.create_task(run(given_settings, self._stop, ready))
        telling = asyncio.create_task(self._tell(listening))
        self.status = await serving
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self, listening: asyncio.Future[str]) -> None:
        """An agent that tells of a misfit, and stays."""
        async with an_agent(await listening) as agent:
            await agent.send(tunnel_host(1400))
            self._up.set()
            await asyncio.Event().wait()

    def wait(self) -> None:
        """Until the agent's word is taken."""
        assert self._up.wait(30)

    def stop(self) -> None:
        """And end."""
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)


def test_an_address_that_is_taken_is_named_and_nothing_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        given = AggregatorSettings(
            listen="127.0.0.1:0", insecure=True, state_directory="", http=HttpSettings(listen=where)
        )
        assert asyncio.run(run(given, asyncio.Event())) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "event=not_started" in line]
    reason = f"http.listen: {where}: can't listen there: address already in use"
    assert [line.partition("reason=")[2] for line in said] == [f'"{reason}"']


@contextmanager
def _aggregator() -> Iterator[Aggregator]:
    one = Aggregator()
    thread = threading.Thread(target=one.serve)
    thread.start()
    try:
        one.wait()
        yield one
    finally:
        one.stop()
        thread.join(20)
    assert one.status == 0


@pytest.fixture(scope="module")
def aggregator() -> Iterator[Aggregator]:
    with _aggregator() as one:
        yield one


def test_what_an_agent_tells_is_answered(aggregator: Aggregator) -> None:
    async def scene() -> None:
        at = Running(make_site(made_up([]), None, page=False), aggregator.http)
        async with following(at) as stream:
            kind, which = await stream.event()
            if kind == "synced":  # it was there before the agent's first word
                kind, which = await stream.event()
            assert kind in ("standing", "appeared")
        found = await at.api(f"/findings/{which}")
        assert (found["code"], found["nodes"]) == ("mtu.overlay_exceeds_underlay", ["a"])
        assert found["first_seen"] <= found["last_seen"]
        story = await at.api(f"/findings/{which}/story")
        assert story["what_to_do_first"]
        assert [each["node"] for each in (await at.api("/nodes"))["nodes"]] == ["a"]
        series = (await at.api("/nodes/a/series"))["series"]
        assert series == []  # nothing is stored without a directory
        cluster = await at.api("/cluster")
        assert cluster["live"] is True
        assert {"incident": "mtu_mismatch", "state": "risk", "severity": "warning", "findings": 1} in cluster[
            "incidents"
        ] or cluster["findings"]["standing"] == 1
        assert ("a", "fsync") in [(gap["node"], gap["signal"]) for gap in (await at.api("/coverage"))["coverage"]]

    asyncio.run(scene())


@pytest.fixture(scope="module")
def description(aggregator: Aggregator) -> Any:
    """The API's own, with names of what there is among those that are tried."""
    with urllib.request.urlopen(f"{aggregator.http}/api/v1/openapi.json", timeout=20) as answer:  # noqa: S310  # ours
        document = json.loads(answer.read())
    with urllib.request.urlopen(f"{aggregator.http}/api/v1/findings", timeout=20) as answer:  # noqa: S310  # ours
        (finding,) = json.loads(answer.read())["findings"]
    there = {"id": finding["id"], "name": "a"}
    for path in document["paths"].values():
        for parameter in path["get"]["parameters"]:
            if parameter["in"] == "path":
                parameter["schema"] = {"type": "string", "enum": [there[parameter["name"]], "none"]}
    del document["paths"]["/events"]  # it has no end: test_events
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"{aggregator.http}/api/v1")
    return schema


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", [each.path for each in OPERATIONS if each.path != "/events"])
def test_nothing_that_is_asked_breaks_the_description(description: Any, path: str, mode: GenerationMode) -> None:
    # One of two parameters must be there, or one must not be later than the other: no schema says that.
    related = path == "/whatif" or path.endswith(("/series", "/points"))
    left_out = [positive_data_acceptance] if related else []
    operation = description[path]["GET"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def asked(case: Any) -> None:
        case.call_and_validate(excluded_checks=left_out)

    try:
        asked()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # an address without parameters has no wrong ones
