"""docs/alerts.md: the kustomization it shows builds, and what it sets are settings."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell.settings import load

from aggregator.settings import AggregatorSettings
from release import kustomize

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "alerts.md").read_text()


def test_what_the_page_shows_for_a_cluster_is_what_kustomize_takes(tmp_path: Path) -> None:
    library = kustomize.available()
    if library is None:
        pytest.skip(f"needs: kustomize as a library (make manifests); there is none for {platform.machine()}")
    shown = re.findall(r"```yaml\n(.*?)```", PAGE.partition("## In a cluster")[2], re.DOTALL)
    for name, text in zip(("kustomization.yaml", "alerts.yaml"), shown, strict=True):
        (tmp_path / name).write_text(text)
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    made = list(yaml.safe_load_all(kustomize.build(tmp_path, library)))
    deployment = next(each for each in made if each["kind"] == "Deployment")
    policy = next(each for each in made if each["metadata"]["name"] == "nodetell-aggregator-alerts")
    template = deployment["spec"]["template"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    env = {each["name"]: each.get("value", "") for each in template["spec"]["containers"][0]["env"]}
    settings = load(AggregatorSettings, None, env, {}, "NODETELL_AGGREGATOR_")
    assert settings.alertmanager.urls == ("http://alertmanager-operated.monitoring:9093",)
    mounts = [each["mountPath"] for each in template["spec"]["containers"][0]["volumeMounts"]]
    assert str(Path(settings.webhook.secret_file).parent) in mounts


def test_every_setting_of_alerts_stands_in_the_page() -> None:
    for name in ("urls", "ca", "token_file", "plaintext", "resend_s", "quiet_start_s", "least_severity", "secret_file"):
        assert name in PAGE
