"""Settings of the aggregator: every one is described, and where the findings' database goes is told from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodetell.setting import settings_of
from nodetell.settings import SettingsError, load, render

from aggregator.settings import AggregatorSettings, state_directory

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
