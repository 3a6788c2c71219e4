"""The agent's settings: what is refused, and why."""

from __future__ import annotations

import pytest
from nodetell.setting import settings_of
from nodetell.settings import SettingsError, load

from agent.settings import AgentSettings, CollectorSettings

PREFIX = "NODETELL_AGENT_"


def problems(**flags: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(AgentSettings, None, {}, {name.replace("__", "."): value for name, value in flags.items()}, PREFIX)
    return caught.value.problems


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "[::1]:7443", "aggregator.monitoring.svc:1"])
def test_addresses(address: str) -> None:
    assert load(AgentSettings, None, {PREFIX + "AGGREGATOR": address}, {}, PREFIX).aggregator == address


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:65536", "::1:7443", "http://host:1", "a b:1"])
def test_no_addresses(address: str) -> None:
    (problem,) = problems(aggregator=address)
    assert f'aggregator: "{address}" is not "host:port"' in problem


@pytest.mark.parametrize("entry", ["disks", "=5", "disks=", "disks=x", "disks=0", "disks=nan", "disks=1e9"])
def test_no_intervals(entry: str) -> None:
    (problem,) = problems(collectors__intervals=[entry])
    assert f'intervals: "{entry}" is not "name=seconds"' in problem


def test_intervals() -> None:
    assert CollectorSettings(intervals=("disks=5", "usage = 0.5")).interval_overrides() == {"disks": 5.0, "usage": 0.5}


def test_delays_that_contradict_each_other() -> None:
    (problem,) = problems(stream__reconnect_min_s=10, stream__reconnect_max_s=5)
    assert "reconnect_min_s (10) is above reconnect_max_s (5)" in problem


def test_every_setting_is_explained_and_its_default_is_within_its_limits() -> None:
    for setting in settings_of(AgentSettings):
        assert setting.doc, setting.dotted
        if "min" in setting.metadata:
            assert setting.metadata["min"] <= setting.default <= setting.metadata["max"]
