"""What comes out of an aggregator beside its gRPC services, each switched on by settings of its own: the one visible
place where they are made. What is off is not even imported.

A surface owns its tasks, never holds up what agents and operators wait for, and tells under coverage what it cannot do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nodetell.metrics import Meters

from aggregator.known import Known
from aggregator.model import Gap
from aggregator.settings import AggregatorSettings
from aggregator.trust.operators import OperatorTrust

if TYPE_CHECKING:  # it takes 24 MiB
    from aggregator.cluster.credentials import Source


class SurfaceError(Exception):
    """A surface can't do what the settings ask for: its name and why, one line. The aggregator does not start."""


class Surface(Protocol):
    """One of them."""

    name: str
    """For logs: "http", "alertmanager", ..."""

    async def start(self) -> str:
        """Begin; where it can be reached ("http://127.0.0.1:7444"), or empty. Raises SurfaceError."""

    async def aclose(self) -> None:
        """Stop, within half a second. Never raises; harmless where it was not started."""

    def gaps(self) -> list[Gap]:
        """What it cannot do at present, and why (signal "output/NAME")."""


@dataclass(frozen=True, slots=True)
class Made:
    """What surfaces may need."""

    settings: AggregatorSettings
    known: Known
    operators: OperatorTrust | None
    """None: nobody is asked who they are (insecure = true)."""
    api: Source | None
    """Who we are to the API server; None: it is not asked."""
    directory: Path | None
    """The state directory; None: nowhere."""
    clock: Callable[[], float]
    """Seconds since the epoch."""
    meters: Meters = field(default_factory=Meters)
    """What there is to count. A surface adds its own, and declares it in aggregator/metrics/declared.py."""


def surfaces(made: Made) -> list[Surface]:
    """Those that the settings switch on, not started. Raises SurfaceError."""
    found: list[Surface] = []
    if made.settings.http.listen:
        from aggregator.web.server import HttpSurface  # noqa: PLC0415  # what is off is not imported

        found.append(HttpSurface(made))
    if made.settings.objects.events or made.settings.objects.node_conditions:
        from aggregator.outputs.kubernetes.surface import ObjectsSurface  # noqa: PLC0415

        found.append(ObjectsSurface(made))
    if made.settings.alertmanager.urls:
        from aggregator.outputs.alerts import alertmanager  # noqa: PLC0415

        found.append(alertmanager(made))
    if made.settings.webhook.url:
        from aggregator.outputs.alerts import webhook  # noqa: PLC0415

        found.append(webhook(made))
    if made.settings.prometheus.listen:
        from aggregator.outputs.prometheus import PrometheusSurface  # noqa: PLC0415

        found.append(PrometheusSurface(made))
    if made.settings.otlp.endpoint:
        from aggregator.outputs.otlp import OtlpSurface  # noqa: PLC0415

        found.append(OtlpSurface(made))
    return found
