"""Every code that a signature of this version gives, with what the code decides."""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.signatures import clock, node_health
from aggregator.signatures.code import Code
from aggregator.signatures.control_plane import codes as control_plane
from aggregator.signatures.crash import codes as crash
from aggregator.signatures.mtu import codes as mtu
from aggregator.signatures.scheduler import codes as scheduler
from aggregator.signatures.storage import codes as storage

CODES: Mapping[str, Code] = {
    **mtu.CODES,
    **node_health.CODES,
    **clock.CODES,
    **crash.CODES,
    **scheduler.CODES,
    **storage.CODES,
    **control_plane.CODES,
}
"""By code."""
