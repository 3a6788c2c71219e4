"""The tables of docs/prometheus.md: made of the metrics that are declared, and of the alert rules.

`python -m tests.house.metrics_page` writes them anew; test_metrics_page.py fails where the page is not what this makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from nodetell import scrape
from nodetell.metrics import Metric

from agent.metrics import exporter
from aggregator.metrics import declared
from tests.metrics.monitoring import rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "prometheus.md"
COMMON = (*scrape.OF_SCRAPES, *scrape.OF_PROCESS)
OF_AGENT = tuple(metric for metric in exporter.METRICS if metric not in COMMON)
OF_NODE = tuple(metric for metric in OF_AGENT if metric.name.startswith("node_"))


def table(metrics: Iterable[Metric]) -> str:
    """Name, type, labels and meaning."""
    rows = ["| metric | type | labels | what it is |", "| --- | --- | --- | --- |"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind.value} | {labels} | {_cell(metric.help)} |")
    return "\n".join(rows)


def alerts() -> str:
    """Of manifests/monitoring/rules.yaml."""
    rows = ["| alert | severity | for | when |", "| --- | --- | --- | --- |"]
    for group in rules()["groups"]:
        for rule in group["rules"]:
            when = _cell(rule["expr"])
            rows.append(f"| {rule['alert']} | {rule['labels']['severity']} | {rule.get('for', '')} | `{when}` |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def tables() -> Mapping[str, str]:
    """By name of the place in the page."""
    return {
        "aggregator": table(declared.METRICS),
        "agent": table(metric for metric in OF_AGENT if metric not in OF_NODE),
        "node_exporter": table(OF_NODE),
        "both": table(COMMON),
        "alerts": alerts(),
    }


def filled(page: str) -> str:
    """The page with its tables as they have to be. Raises ValueError where a place is not there."""
    for name, text in tables().items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"{begin} ... {end}")
        page = re.sub(f"{begin}.*{end}", lambda _, made=f"{begin}\n{text}\n{end}": made, page, flags=re.DOTALL)  # type: ignore[misc]
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
