"""What is not switched on is not there: nothing is told to anybody whom the settings do not name."""

from __future__ import annotations

from aggregator.settings import AggregatorSettings, AlertmanagerSettings, OtlpSettings, WebhookSettings
from aggregator.surfaces import surfaces
from tests.outputs import Situation


def names(settings: AggregatorSettings) -> list[str]:
    """Of the surfaces that there are with these settings."""
    return [surface.name for surface in surfaces(Situation().made(settings))]


def test_by_default_nobody_is_told_anything() -> None:
    assert names(AggregatorSettings()) == []


def test_each_is_switched_on_by_naming_whom_to_tell() -> None:
    https = "https://receiver.example.com"
    assert names(AggregatorSettings(alertmanager=AlertmanagerSettings(urls=(https,)))) == ["alertmanager"]
    webhook = WebhookSettings(url=https, secret_file="/secret")  # noqa: S106  # a file's name
    assert names(AggregatorSettings(webhook=webhook)) == ["webhook"]
    assert names(AggregatorSettings(otlp=OtlpSettings(endpoint=https))) == ["otlp"]
