"""OpenTelemetry as a surface: findings when they change, signals from time to time, to a receiver of OTLP over HTTP.

Records wait in memory while the receiver is away, so many at most; of metrics only the newest matter. What is sent is
made in threads, nodes are looked at a few at a time, and nothing here is global or has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import Metric

from aggregator.findings import Transition
from aggregator.model import Gap
from aggregator.outputs import otlp_form as form
from aggregator.outputs.meters import metrics
from aggregator.outputs.receiver import NOT_UNDERSTOOD, Answer, Receiver, reason_of, secret_lines
from aggregator.outputs.trouble import Trouble
from aggregator.surfaces import Made

GATHER_S = 1.0
"""What happens to findings is sent so much later, with all that happened meanwhile."""
SPACE_S = 0.2
"""Between two posts of them."""
MOST_WAITING = 10_000
"""Records that wait for a receiver that is away; the oldest go first."""
MOST_AT_ONCE = 200
"""Records in one post."""
NODES_AT_ONCE, NODES_A_POST = 100, 1_000
"""Nodes that are looked at in one go, and whose metrics are one post."""
_CLOSE_S = 0.2
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}):\s{0,20}(\S.{0,8000})")
_OURS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}


class OtlpSurface:
    """One receiver of both (surfaces.Surface)."""

    name = "otlp"

    def __init__(self, made: Made) -> None:
        self._settings, self._known, self._clock = made.settings.otlp, made.known, made.clock
        base = self._settings.endpoint.rstrip("/")
        self._logs = Receiver(f"{base}/v1/logs", self._settings.ca)
        self._metrics = Receiver(f"{base}/v1/metrics", self._settings.ca)
        self._trouble = {each: Trouble(self.name, each, made.clock) for each in (self._logs, self._metrics)}
        self._told_by = form.resource(self._known.cluster)
        self._waiting: deque[Transition] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()
        self._most = MOST_AT_ONCE
        self._lost, self._left_out = 0, ""
        self._tasks: list[asyncio.Task[None]] = []
        troubles = list(self._trouble.values())
        made.meters.add(self.name, lambda: metrics(self.name, troubles, len(self._waiting)))

    async def start(self) -> str:
        """Begin; it can be reached nowhere."""
        for work, name in ((self._tell_findings, "findings"), (self._tell_signals, "signals")):
            self._tasks.append(asyncio.create_task(self._guarded(work), name=f"otlp {name}"))
        self._known.listeners.append(self._heard)
        return ""

    async def aclose(self) -> None:
        """Stop; what waits is sent if the receiver takes it at once."""
        with contextlib.suppress(ValueError):
            self._known.listeners.remove(self._heard)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        last = [self._post_findings()] if self._waiting and not self._trouble[self._logs].said("") else []
        for step in (*last, self._logs.aclose(), self._metrics.aclose()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await step

    def gaps(self) -> list[Gap]:
        """What the receiver does not take, and since when."""
        found = self._trouble[self._logs].said(f"{len(self._waiting)} log records wait to be sent")
        found += self._trouble[self._metrics].said("metrics are not sent")
        if self._lost:
            found.append(f"{self._logs.origin}: {self._lost} log records were dropped: it was away, or refused them")
        if self._left_out:
            found.append(f"{self._logs.origin}: of what it takes, {self._left_out}")
        return [Gap("", "output/otlp", "degraded", because) for because in found]

    # -- findings ----------------------------------------------------------------------------------------------------

    def _heard(self, transition: Transition) -> None:
        self._lost += len(self._waiting) == MOST_WAITING
        self._waiting.append(transition)
        self._wake.set()

    async def _tell_findings(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(GATHER_S)
            await self._post_findings()
            await asyncio.sleep(max(SPACE_S, self._trouble[self._logs].not_before - time.monotonic()))

    async def _post_findings(self) -> None:
        batch = list(islice(self._waiting, self._most))
        now = self._clock()

        def body() -> bytes:
            return form.logs_body([form.log_record(each, now) for each in batch], self._told_by)

        answer = await self._post(self._logs, body)
        if answer.status in NOT_UNDERSTOOD and len(batch) > 1:
            self._most = len(batch) // 2
            return
        if answer.status in NOT_UNDERSTOOD:
            self._lost += 1
            self._trouble[self._logs].log("output_given_up", id=batch[0].record.finding.id, reason=answer.reason)
        elif not answer.taken:
            return
        else:
            self._most = min(2 * self._most, MOST_AT_ONCE)
            self._left_out = form.not_taken(ExportLogsServiceResponse, answer.body) or self._left_out
        for each in batch:
            if self._waiting and self._waiting[0] is each:  # it may have been pushed out meanwhile
                self._waiting.popleft()

    # -- signals -----------------------------------------------------------------------------------------------------

    async def _tell_signals(self) -> None:
        while True:
            await asyncio.sleep(self._settings.interval_s)
            await self._post_signals()

    async def _post_signals(self) -> None:
        now, connected, names = self._clock(), 0, self._known.node_names()
        for first in range(0, len(names), NODES_A_POST):
            summaries = []
            for begin in range(first, min(first + NODES_A_POST, len(names)), NODES_AT_ONCE):
                summaries += self._known.summaries(names[begin : begin + NODES_AT_ONCE])
                await asyncio.sleep(0)  # others get to run
            connected += sum(each.connected for each in summaries)
            if not await self._post_metrics(await asyncio.to_thread(form.node_metrics, summaries, now)):
                return
        standing = self._known.standing()
        totals = form.total_metrics(len(names), connected, now)
        await self._post_metrics([*totals, *await asyncio.to_thread(form.finding_metrics, standing, now)])

    async def _post_metrics(self, gauges: Sequence[Metric]) -> bool:
        answer = await self._post(self._metrics, lambda: form.metrics_body(gauges, self._told_by))
        if answer.taken:
            self._left_out = form.not_taken(ExportMetricsServiceResponse, answer.body) or self._left_out
        return answer.taken

    # -- both --------------------------------------------------------------------------------------------------------

    async def _post(self, receiver: Receiver, body: Callable[[], bytes]) -> Answer:
        try:
            headers = await asyncio.to_thread(self._headers)
        except (OSError, ValueError) as error:
            answer = Answer(0, reason_of(error))
        else:
            answer = await receiver.post(await asyncio.to_thread(body), headers)
        if answer.taken or (receiver is self._logs and answer.status in NOT_UNDERSTOOD):
            self._trouble[receiver].over(taken=answer.taken)
        else:
            self._trouble[receiver].failed(answer)
        return answer

    def _headers(self) -> Mapping[str, str]:
        if not self._settings.headers_file:
            return _OURS
        found = {}
        for number, line in enumerate(secret_lines(self._settings.headers_file), 1):
            match = _HEADER.fullmatch(line)
            if match is None:
                raise ValueError(f'{self._settings.headers_file}: header {number} is not "name: value"')
            found[match[1]] = match[2]
        return {name: value for name, value in found.items() if name.title() not in _OURS} | _OURS

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """A defect is said, and the work goes on."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # as said
                self._trouble[self._logs].log("output_failed", reason=repr(error))
                self._trouble[self._logs].failed(Answer(0, f"a defect: {type(error).__name__}"))
                await asyncio.sleep(GATHER_S)
