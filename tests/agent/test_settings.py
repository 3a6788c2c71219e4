"""The agent's settings: what is refused, and why."""

from __future__ import annotations

import pytest
from nodetell.setting import settings_of
from nodetell.settings import SettingsError, load

from agent.settings import AgentSettings, CollectorSettings, TlsSettings, start_problem

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


@pytest.mark.parametrize("address", ["127.0.0.1:7443", "[::1]:7443", "localhost:7443"])
def test_doing_without_tls_on_loopback(address: str) -> None:
    assert start_problem(load(AgentSettings, None, {}, {"aggregator": address, "insecure": "true"}, PREFIX)) == ""


@pytest.mark.parametrize("address", ["192.0.2.1:7443", "nodetell-aggregator:7443", "[fd00::1]:7443", "0.0.0.0:7443"])
def test_doing_without_tls_elsewhere(address: str) -> None:
    (problem,) = problems(aggregator=address, insecure="true")
    assert f'aggregator: "{address}" is not loopback, where insecure = true is not allowed' in problem


@pytest.mark.parametrize("also", [{"tls__ca": "ca.crt"}, {"token_file": "t"}])
def test_doing_without_tls_and_with_it(also: dict[str, object]) -> None:
    (problem,) = problems(insecure="true", **also)
    assert "insecure: true, and tls.ca, tls.certificate or token_file is set: one of them" in problem


def test_half_a_pair() -> None:
    (problem,) = problems(tls__certificate="a.crt")
    assert "certificate and key: one without the other" in problem


def test_what_is_missing_for_a_start() -> None:
    """And is not for printing the settings, which is how operators begin."""
    assert "tls.ca is not set; to an aggregator on loopback, insecure = true" in start_problem(AgentSettings())
    assert "neither token_file nor tls.certificate is set" in start_problem(AgentSettings(tls=TlsSettings("ca.crt")))
    assert start_problem(AgentSettings(tls=TlsSettings("ca.crt"), token_file="t")) == ""  # noqa: S106  # a name
    assert start_problem(AgentSettings(tls=TlsSettings("ca.crt", "a.crt", "a.key"))) == ""
