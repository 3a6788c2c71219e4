"""Settings of the aggregator: every one is described, and where the findings' database goes is told from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from nodetell.setting import settings_of
from nodetell.settings import SettingsError, load, render

from aggregator.settings import (
    AggregatorSettings,
    AlertmanagerSettings,
    HttpSettings,
    OtlpSettings,
    WebhookSettings,
    state_directory,
)

PREFIX = "NODETELL_AGGREGATOR_"


def test_every_setting_is_described_and_what_is_rendered_loads_to_the_same(tmp_path: Path) -> None:
    assert all(setting.doc for setting in settings_of(AggregatorSettings))
    path = tmp_path / "aggregator.toml"
    path.write_text(render(AggregatorSettings(), PREFIX))
    assert load(AggregatorSettings, path, {}, {}, PREFIX) == AggregatorSettings()


def test_what_contradicts_itself_is_told_with_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.toml"
    path.write_text('listen = "0.0.0.0:1"\n[thresholds]\nwindow_s = 600.0\n[fleet]\nhistory_s = 60.0\nmax_nodes = 0\n')
    with pytest.raises(SettingsError) as refused:
        load(AggregatorSettings, path, {}, {}, PREFIX)
    assert any("fleet.max_nodes" in problem for problem in refused.value.problems)
    path.write_text("[thresholds]\nwindow_s = 600.0\n[fleet]\nhistory_s = 60.0\n")
    with pytest.raises(SettingsError, match=r"is shorter than thresholds\.window_s"):
        load(AggregatorSettings, path, {}, {}, PREFIX)


@pytest.mark.parametrize(
    ("setting", "root", "env", "directory"),
    [
        ("", True, {}, None),
        ("/data", True, {}, "/data"),
        ("auto", True, {"XDG_STATE_HOME": "/xdg"}, "/var/lib/nodetell"),
        ("auto", False, {"XDG_STATE_HOME": "/xdg"}, "/xdg/nodetell"),
        ("auto", False, {"XDG_STATE_HOME": "relative"}, "~/.local/state/nodetell"),
        ("auto", False, {}, "~/.local/state/nodetell"),
        ("~/here", False, {}, "~/here"),
    ],
)
def test_where_the_state_is_kept(setting: str, root: bool, env: dict[str, str], directory: str | None) -> None:
    expected = None if directory is None else Path(directory).expanduser()
    assert state_directory(setting, root=root, env=env) == expected


WEBHOOK = {"secret_file": "/secret"}


@pytest.mark.parametrize(
    ("settings", "values", "why"),
    [
        (WebhookSettings, {"url": "https://hook.example.com/x"}, "secret_file: not set, but url is"),
        (WebhookSettings, {"url": "http://hook.example.com/hidden", **WEBHOOK}, "nothing would be encrypted"),
        (WebhookSettings, {"url": "https://user:hidden@hook.example.com", **WEBHOOK}, "belong into a file"),
        (WebhookSettings, {"url": "ftp://hook.example.com/hidden", **WEBHOOK}, "is no address"),
        (WebhookSettings, {"url": "hook.example.com/hidden", **WEBHOOK}, "is no address"),
        (WebhookSettings, {"url": "https://hook.example.com:99999/hidden", **WEBHOOK}, "is no address"),
        (WebhookSettings, {"url": "https://hook.example.com/\nhidden", **WEBHOOK}, "is no address"),
        (WebhookSettings, {"url": "https://hook.example.com/#hidden", **WEBHOOK}, "has a fragment"),
        (AlertmanagerSettings, {"urls": ("http://alertmanager:9093",)}, "http://alertmanager:9093 is http"),
        (
            AlertmanagerSettings,
            {"urls": ("http://alertmanager:9093",), "plaintext": True, "token_file": "/token"},
            "token_file: set, but http://alertmanager:9093 is http",
        ),
        (OtlpSettings, {"endpoint": "http://collector:4318"}, "http://collector:4318 is http"),
        (
            OtlpSettings,
            {"endpoint": "http://collector:4318", "plaintext": True, "headers_file": "/h"},
            "headers_file: set",
        ),
        (HttpSettings, {"url": "nodetell.example.com"}, "is no address"),
    ],
)
def test_where_nothing_may_be_sent_is_refused_and_no_secret_of_an_address_is_quoted(
    settings: Callable[..., object], values: dict[str, object], why: str
) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        settings(**values)
    assert "hidden" not in str(refused.value)


def test_where_something_may_be_sent() -> None:
    for url in ("https://hook.example.com/x?y=z", "http://127.0.0.1:9000/", "http://[::1]:9000", "http://localhost"):
        assert WebhookSettings(url=url, secret_file="/secret").url == url  # noqa: S106  # a file's name
    AlertmanagerSettings(urls=("http://alertmanager:9093", "https://b"), plaintext=True)
    AlertmanagerSettings(urls=("http://127.0.0.1:9093",), token_file="/token")  # noqa: S106  # a file's name
    OtlpSettings(endpoint="http://collector:4318", plaintext=True)
