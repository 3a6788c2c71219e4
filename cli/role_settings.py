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


def start_problem(role: str, settings: Any) -> str:
    """Why a role with these settings does not start although each makes sense; empty: it does."""
    if role == "agent":
        from agent.settings import start_problem as of_agent  # noqa: PLC0415

        return of_agent(settings)
    if role == "aggregator":
        from aggregator.settings import start_problem as of_aggregator  # noqa: PLC0415

        return of_aggregator(settings)
    return ""


def env_prefix(role: str) -> str:
    """What the names of its environment variables begin with."""
    return f"NODETELL_{role.upper()}_"
