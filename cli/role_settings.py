"""The settings class of each role, imported only when it is needed."""

from __future__ import annotations

from typing import Any


def settings_class(role: str) -> type[Any]:
    """The dataclass of "agent", "aggregator" or "sensor"."""
    if role == "agent":
        from agent.settings import AgentSettings  # noqa: PLC0415  # one role's package may be absent

        return AgentSettings
    if role == "sensor":
        from agent.sensor.settings import SensorSettings  # noqa: PLC0415

        return SensorSettings
    from aggregator.settings import AggregatorSettings  # noqa: PLC0415

    return AggregatorSettings


def env_prefix(role: str) -> str:
    """What the names of its environment variables begin with."""
    return f"NODETELL_{role.upper()}_"
