"""The files in manifests/monitoring as tests and people need them.

`python -m tests.metrics.monitoring` writes prometheus-rule.yaml anew, which is rules.yaml as an object of the
Prometheus Operator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not

PLACE = Path(__file__).resolve().parents[2] / "manifests" / "monitoring"
RULES, OBJECT, DASHBOARD = PLACE / "rules.yaml", PLACE / "prometheus-rule.yaml", PLACE / "grafana-dashboard.json"
_NAME = re.compile(r"(?:nodetell|node|process)_[a-zA-Z0-9_]+")
_MACROS = {"$__rate_interval": "1m", "$instance": ".*"}


def rules() -> dict[str, Any]:
    """rules.yaml."""
    found: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return found


def rules_object() -> str:
    """The same for the Prometheus Operator."""
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "nodetell",
            "namespace": "nodetell",
            "labels": {"app.kubernetes.io/name": "nodetell", "app.kubernetes.io/component": "monitoring"},
        },
        "spec": rules(),
    }
    head = "# Made of rules.yaml by `python -m tests.metrics.monitoring`: change that.\n"
    text: str = yaml.safe_dump(made, sort_keys=False, width=140, allow_unicode=True)
    return head + text


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def questions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of all that the dashboard and the rules ask, with Grafana's macros filled in."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            question = target["expr"]
            for macro, value in _MACROS.items():
                question = question.replace(macro, value)
            yield panel["title"], question
    for group in rules()["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def names(question: str) -> set[str]:
    """Metrics that a question asks for, as they are declared: of a histogram's series the histogram."""
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in _NAME.findall(question)}


if __name__ == "__main__":
    OBJECT.write_text(rules_object())
