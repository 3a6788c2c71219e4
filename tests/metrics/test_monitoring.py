"""manifests/monitoring: rules that fire and clear as they say, and nothing asked for that nobody tells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from nodetell import scrape
from nodetell.metrics import FIELD

from agent.metrics import exporter
from aggregator.metrics import declared
from tests import needs
from tests.metrics.monitoring import OBJECT, RULES, dashboard, names, questions, rules, rules_object

CASES = Path(__file__).with_name("rules_test.yaml")
DECLARED = [
    re.compile(metric.name.replace(FIELD, r"\w+"))
    for metric in (*exporter.METRICS, *declared.METRICS, *scrape.OF_SCRAPES)
]


@pytest.mark.parametrize(("where", "question"), list(questions()), ids=lambda text: text[:40])
def test_only_metrics_that_are_told_are_asked_for(where: str, question: str) -> None:
    asked = names(question)
    assert asked or "up{" in question, where
    for name in asked:
        assert any(pattern.fullmatch(name) for pattern in DECLARED), f"{where}: {name}"


def test_the_rules_do_what_they_say(tmp_path: Path) -> None:
    needs.tool("promtool")
    shutil.copy(RULES, tmp_path)
    shutil.copy(CASES, tmp_path)
    assert promtool("test", tmp_path) == ""


def test_a_rule_that_does_not_is_noticed(tmp_path: Path) -> None:
    needs.tool("promtool")
    (tmp_path / RULES.name).write_text(
        RULES.read_text().replace("nodetell_nodes_silent > 0", "nodetell_nodes_silent > 9")
    )
    shutil.copy(CASES, tmp_path)
    assert "NodetellNodesSilent" in promtool("test", tmp_path)


def test_every_alert_has_a_case() -> None:
    cases = CASES.read_text()
    for group in rules()["groups"]:
        for rule in group["rules"]:
            assert f"alertname: {rule['alert']}" in cases
            assert set(rule["labels"]) == {"severity"}
            assert set(rule["annotations"]) == {"summary", "description"}


def test_the_operator_s_object_has_the_same_rules() -> None:
    assert OBJECT.read_text() == rules_object()


def test_the_dashboard_asks_the_data_source_that_is_chosen() -> None:
    board = dashboard()
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert next(each for each in board["templating"]["list"] if each["type"] == "datasource")["name"] == "datasource"
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def promtool(what: str, directory: Path) -> str:
    """What it complains of."""
    command = ["promtool", what, "rules", CASES.name]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
