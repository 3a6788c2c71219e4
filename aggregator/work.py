"""What an aggregator has done since it started, counted: for its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from nodetell.metrics import Timing

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: from a quiet node's update to what nobody should wait for."""


def timing() -> Timing:
    """Of something that takes a millisecond or ten seconds."""
    return Timing(_BOUNDS)


@dataclass(slots=True)
class Work:
    """Of the fleet. One event loop owns it."""

    updates: int = 0
    """Updates that were taken in."""
    not_stored: int = 0
    """... and given back to their agents."""
    evaluations: Timing = field(default_factory=timing)
    failed: int = 0
    """Evaluations that met a defect."""
    signatures_failed: int = 0
    """Signatures that could not be evaluated the last time."""
