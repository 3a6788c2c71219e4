"""Findings written to the API server: Events on the objects they name, conditions on their nodes.

One task, the only one that writes: it asks what is due, sends it, and rests. Nothing is written in the first minute,
when agents and objects are still coming in and what stood before is not confirmed yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from nodetell.logs import event
from nodetell.metrics import Told

from aggregator.cluster.sender import Sender
from aggregator.findings import Transition
from aggregator.model import Gap
from aggregator.outputs.kubernetes import conditions, events
from aggregator.outputs.kubernetes.conditions import Patch
from aggregator.outputs.kubernetes.events import MOST_WAITING, Due, Events
from aggregator.outputs.kubernetes.meters import Counters, metrics
from aggregator.outputs.kubernetes.nodes import Nodes
from aggregator.outputs.kubernetes.rights import CONDITIONS, EVENTS
from aggregator.outputs.kubernetes.words import rank
from aggregator.outputs.kubernetes.writer import MERGE, SIGNAL, Write, Writer, is_final
from aggregator.surfaces import Made, SurfaceError

_log = logging.getLogger("nodetell.aggregator")

QUIET_S = 60.0
"""After a start nothing is written for so long."""
LOOK_S = 1.0
"""Between two looks whether something is due."""
ANSWER_S = 10.0
"""A write that is not answered by then is made again."""
AGAIN_S = 30.0
"""After a defect it is tried again."""
COUNTED = 4_096
"""Events that may happen again, and are counted."""


class ObjectsSurface:
    """Events and conditions, as far as the settings switch them on."""

    name = "objects"

    def __init__(
        self,
        made: Made,
        *,
        env: Mapping[str, str] = os.environ,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if made.api is None:
            raise SurfaceError(
                "objects: events and node_conditions are for the API server, and none is asked (kubernetes)"
            )
        self._settings, self._known = made.settings.objects, made.known
        self._clock, self._monotonic, self._sleep = made.clock, monotonic, sleep
        self._instance = socket.gethostname()[:128] or "aggregator"
        sender = Sender(made.api, env, answer_s=ANSWER_S, clock=made.clock)
        self._writer = Writer(sender, 1.0 / self._settings.writes_per_s, monotonic)
        self._events = Events((), 0.0)
        self._nodes = Nodes(())
        self._counts: OrderedDict[tuple[str, str], int] = OrderedDict()
        """How often it has happened, by namespace and name of an Event that was written."""
        self._task: asyncio.Task[None] | None = None
        made.meters.add(self.name, self._metrics)

    @property
    def counters(self) -> Counters:
        """What was done since the start."""
        return self._writer.counters

    async def start(self) -> str:
        """Listen to findings, and write from a minute on. It is reached nowhere."""
        standing = self._known.standing()
        self._nodes = Nodes(standing)
        self._events = Events(standing, self._clock() - QUIET_S)
        self._known.listeners.append(self._take)
        self._task = asyncio.create_task(self._run(), name="objects")
        return ""

    async def aclose(self) -> None:
        """Stop; what waits is not written."""
        with contextlib.suppress(ValueError):
            self._known.listeners.remove(self._take)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._writer.sender.aclose()

    def gaps(self) -> list[Gap]:
        """What cannot be written at present, and why; what was too much."""
        found = self._writer.gaps(self._waiting())
        if self._events.dropped:
            because = (
                f"{self._events.dropped:,} Events were not written, the least severe: more than {MOST_WAITING:,} waited"
            )
            found.append(Gap("", SIGNAL, "degraded", because))
        return found

    def _metrics(self) -> Iterable[Told]:
        return metrics(self.counters, self._waiting(), self._events.dropped)

    def _waiting(self) -> int:
        return self._events.waiting + self._nodes.waiting

    # -- what is due -------------------------------------------------------------------------------------------------

    def _take(self, transition: Transition) -> None:
        if self._settings.node_conditions:
            self._nodes.take(transition)
        if self._settings.events:
            self._events.take(transition)

    def _due(self) -> Due | Patch | None:
        """The most urgent of what may be written; of two that are as urgent the condition, which lasts."""
        view, patch, due = self._known.view(), None, None
        if self._settings.node_conditions and self._writer.may(CONDITIONS):
            patch = self._nodes.next(view, self._monotonic())
        if self._settings.events and self._writer.may(EVENTS):
            due = self._events.next(view.objects)
        if patch is None or due is None:
            return patch or due
        return patch if patch.rank <= rank(due.record) else due

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._sleep(QUIET_S)
        while True:
            try:
                await self._sleep(self._writer.wait_s() if await self._write() else LOOK_S)
            except Exception as error:  # noqa: BLE001  # a defect must not end it, and must not spin
                event(_log, logging.ERROR, "objects_failed", reason=f"{type(error).__name__}: {error}")
                await self._sleep(AGAIN_S)

    async def _write(self) -> bool:
        """Write what is due now; False: nothing is."""
        due = self._due()
        if isinstance(due, Patch):
            await self._patch(due)
        elif due is not None:
            await self._tell(due)
        return due is not None

    async def _patch(self, patch: Patch) -> None:
        view = self._known.view()
        content = conditions.body(patch, view.nodes[patch.node], view.now)
        path = f"/api/v1/nodes/{patch.node}/status?fieldManager=nodetell"
        error = await self._writer.send(Write(CONDITIONS, "PATCH", path, content, MERGE))
        if error is None or is_final(error):
            self._nodes.done(patch, self._monotonic())

    async def _tell(self, due: Due) -> None:
        """An Event; where the very same one is there, that it has happened again."""
        key = due.namespace, due.name
        path = f"/apis/events.k8s.io/v1/namespaces/{due.namespace}/events"
        count = self._counts.get(key, 0)
        if count:
            content = events.again(count + 1, due.at)
            write = Write(EVENTS, "PATCH", f"{path}/{due.name}?fieldManager=nodetell", content, MERGE)
        else:
            write = Write(EVENTS, "POST", f"{path}?fieldManager=nodetell", events.body(due, self._instance))
        error = await self._writer.send(write)
        if error is None:
            self._count(key, count + 1)
            self._events.written(due)
        elif count and error.code == 404:
            self._counts.pop(key, None)  # the API server has dropped it, as it does after an hour: it is made anew
        elif not count and error.code == 409:
            self._count(key, 1)  # an earlier life has made it
        elif is_final(error):
            self._events.refused(due)

    def _count(self, key: tuple[str, str], count: int) -> None:
        self._counts[key] = count
        self._counts.move_to_end(key)
        while len(self._counts) > COUNTED:
            self._counts.popitem(last=False)
