"""Pieces of evidence out of the API server's own metrics."""

from __future__ import annotations

from aggregator.model import Evidence
from aggregator.signatures.case import API
from aggregator.signatures.control_plane.climb import Api, Climb
from aggregator.view import ClusterView

SOURCE = f"{API}metrics"
_MOST = 5
API_SERVER = "ApiServer"
"""Kind of the object that findings about the control plane share: the API server, by the name of its cluster."""


def api_server(view: ClusterView) -> str:
    """It as an object of findings."""
    return f"{API_SERVER}/{view.cluster}"


def fact(signal: str, subject: str, value: float | int | str, unit: str, at: float) -> Evidence:
    """What the API server's metrics say of a subject."""
    return Evidence("", signal, subject, value, unit, SOURCE, at)


def latencies(api: Api) -> list[Evidence]:
    """Of the verbs and of etcd's operations that have climbed, each with what is usual."""
    at = api.window.end if api.window is not None else 0.0
    found = []
    for prefix, climbs in (("api", api.verbs), ("etcd_request", api.etcd)):
        for climb in climbs[:_MOST]:
            found += _both(f"{prefix}.p99", climb, at)
    return found


def _both(signal: str, climb: Climb, at: float) -> list[Evidence]:
    return [
        fact(signal, climb.name, round(climb.p99_ms, 1), "ms", at),
        fact(f"{signal}.usual", climb.name, round(climb.past_ms, 1), "ms", at),
    ]


def traffic(api: Api) -> list[Evidence]:
    """Requests per second, now and usually."""
    if api.traffic is None or api.window is None:
        return []
    at = api.window.end
    return [
        fact("counter.request_rate", "all requests", round(api.traffic.now, 1), "requests/s", at),
        fact("counter.request_rate.usual", "all requests", round(api.traffic.past, 1), "requests/s", at),
    ]
