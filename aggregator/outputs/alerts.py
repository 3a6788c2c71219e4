"""Alertmanager and the webhook as surfaces: who is told what, and from which file they go on after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from nodetell.logs import event
from nodetell.metrics import Told

from aggregator.database import StoreError
from aggregator.findings import Kind, Record, Transition
from aggregator.known import Known
from aggregator.model import Gap, Severity
from aggregator.outputs.alertmanager import Alerts, address
from aggregator.outputs.courier import Courier, Letters, Manner
from aggregator.outputs.meters import metrics
from aggregator.outputs.outbox import Outbox
from aggregator.outputs.receiver import Receiver
from aggregator.outputs.webhook import Notices
from aggregator.outputs.wording import links
from aggregator.surfaces import Made, SurfaceError

_log = logging.getLogger("nodetell.aggregator")

_CLOSE_S = 0.2


def alertmanager(made: Made) -> AlertSurface:
    """Alerts, to all Alertmanagers that the settings name."""
    wanted = made.settings.alertmanager
    least = Severity[wanted.least_severity.upper()]
    manner = Manner("alertmanager", least, wanted.quiet_start_s, wanted.resend_s)
    form = Alerts(wanted, made.known.cluster, links(made.settings))
    return AlertSurface(manner, [Receiver(address(url), wanted.ca) for url in dict.fromkeys(wanted.urls)], form, made)


def webhook(made: Made) -> AlertSurface:
    """Notices, to the address that the settings name."""
    wanted = made.settings.webhook
    manner = Manner("webhook", Severity[wanted.least_severity.upper()], wanted.quiet_start_s)
    form = Notices(wanted.secret_file, made.known.cluster, links(made.settings))
    return AlertSurface(manner, [Receiver(wanted.url, wanted.ca)], form, made)


class AlertSurface:
    """Receivers of one kind (surfaces.Surface)."""

    def __init__(self, manner: Manner, receivers: Sequence[Receiver], form: Letters, made: Made) -> None:
        self.name = manner.name
        self._manner, self._receivers, self._form, self._made = manner, receivers, form, made
        self._known: Known = made.known
        directory = made.directory
        self._outbox = Outbox(directory / f"{manner.name}.sqlite" if directory is not None else None, made.clock)
        self._standing: dict[str, Record] = {}
        self._couriers: list[Courier] = []
        self._tasks: list[asyncio.Task[None]] = []
        made.meters.add(self.name, self.meter)

    async def start(self) -> str:
        """Begin; it can be reached nowhere. Raises SurfaceError."""
        try:
            rows = await asyncio.to_thread(self._outbox.open, [receiver.key for receiver in self._receivers])
        except StoreError as error:
            raise SurfaceError(f"{self.name}: {error}") from error
        if self._made.directory is None:
            reason = "there is no state directory: what waits to be sent is forgotten with the process"
            event(_log, logging.WARNING, "output_in_memory", name=self.name, reason=reason)
        self._standing |= {record.finding.id: record for record in self._known.standing()}
        for receiver in self._receivers:
            courier = Courier(
                self._manner,
                receiver,
                self._form,
                outbox=self._outbox,
                known=self._known,
                standing=self._standing,
                clock=self._made.clock,
            )
            self._couriers.append(courier)
            name = f"{self.name} {receiver.origin}"
            self._tasks.append(asyncio.create_task(courier.run(rows[receiver.key]), name=name))
        self._known.listeners.append(self._heard)
        return ""

    async def aclose(self) -> None:
        """Stop. What was not sent yet is, after the next start."""
        with contextlib.suppress(ValueError):
            self._known.listeners.remove(self._heard)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closing = (*(receiver.aclose() for receiver in self._receivers), asyncio.to_thread(self._outbox.close))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*closing, return_exceptions=True)

    def gaps(self) -> list[Gap]:
        """Who does not take what, and since when; what can't be kept."""
        found = [gap for courier in self._couriers for gap in courier.gaps()]
        signal = f"output/{self.name}"
        if self._outbox.problem:
            found.append(Gap("", signal, "degraded", f"what waits can't be stored: {self._outbox.problem}"))
        if self._outbox.notice:
            found.append(Gap("", signal, "damaged", self._outbox.notice))
        if self._made.directory is None:
            because = "what waits to be sent, and what was sent, is forgotten with the process"
            found.append(Gap("", signal, "degraded", because, "set state_directory"))
        return found

    def meter(self) -> Iterable[Told]:
        """Posts, and what waits."""
        couriers = self._couriers
        waiting = sum(courier.waiting for courier in couriers)
        return metrics(self.name, [courier.trouble for courier in couriers], waiting)

    def _heard(self, transition: Transition) -> None:
        record = transition.record
        if transition.kind is Kind.RESOLVED:
            self._standing.pop(record.finding.id, None)
        else:
            self._standing[record.finding.id] = record
        for courier in self._couriers:
            courier.heard(transition)
