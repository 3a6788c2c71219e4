"""An API server that does not answer at all."""

from __future__ import annotations

import time
from collections.abc import Iterator

from aggregator.model import Evidence, Severity
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import codes
from aggregator.signatures.control_plane.facts import api_server
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView


def cases(view: ClusterView, thresholds: Thresholds) -> Iterator[Case]:
    """What is told by whoever asked: the API server says nothing then."""
    outage = view.outage
    if outage is None or outage.seconds < thresholds.api_outage_min_s:
        return
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(outage.since))
    yield Case(
        codes.TIMEOUT,
        ("outage",),
        f"the API server has not answered for {outage.seconds:.0f} s, since {began}: {outage.reason}",
        (api_server(view),),
        (Evidence("", "api.silent", "API server", round(outage.seconds), "s", "aggregator", outage.since),),
        severity=Severity.CRITICAL,
        since=outage.since,
    )
