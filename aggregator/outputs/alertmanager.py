"""Findings as alerts of Alertmanager, by its API v2.

What an alert is to Alertmanager is its labels, so they stay as they were when it was first sent, whatever becomes of
the finding, with one exception: one that gets another severity is another alert, and the old one is resolved beside it.
What explains what is said by labels, too ("chain", "explained"), so that inhibition rules can hold back what follows
from something else. Each alert says when it ends by itself and is sent again long before: an Alertmanager that
was restarted gets them all again, and an aggregator that is gone for good leaves none behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.convert import iso_time, seconds
from aggregator.findings import Record
from aggregator.outputs.courier import Delivery
from aggregator.outputs.receiver import secret_lines
from aggregator.outputs.rows import Row
from aggregator.outputs.wording import Links, explained, names, stage_words
from aggregator.settings import AlertmanagerSettings

PATH = "/api/v2/alerts"
HOLD_S = 600.0
"""An alert ends by itself after so long at least, unless it is sent again."""
HOLD_RESENDS = 10
KEPT_RESOLVED_S = 900.0
"""What is over is sent again for so long, for an Alertmanager that was restarted before it could tell anybody."""
MOST_TEXT = 2_000
"""Characters of an annotation."""
DELIVERY = Delivery(most=200, kept_resolved_s=KEPT_RESOLVED_S)
_NAMESPACED = ("Pod", "PersistentVolumeClaim", "Secret", "ServiceAccount", "Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class Alerts:
    """The form of alerts (rows.Form)."""

    settings: AlertmanagerSettings
    cluster: str
    link: Links
    delivery: Delivery = DELIVERY

    def key(self, payload: Mapping[str, Any]) -> str:
        """Labels are what an alert is."""
        labels = json.dumps(payload["labels"], sort_keys=True)
        return hashlib.sha256(labels.encode()).hexdigest()[:24]

    def payload(self, record: Record, standing: Mapping[str, Record], before: Row | None) -> dict[str, Any]:
        """The alert, but for when it ends."""
        finding = record.finding
        why = explained(finding, standing)
        if before is not None:
            labels = {**before.payload["labels"], "severity": finding.severity.word}
        else:
            labels = _labels(record, self.cluster, why.root)
        texts = {
            "summary": finding.summary,
            "description": f"{finding.summary} ({stage_words(finding.stage)})"
            + (f" It follows from: {why.cause}" if why.cause else "")
            + (f" Do first: {' '.join(why.first)}" if why.first else ""),
            "cause": why.cause,
            "first": "\n".join(why.first),
            "clears_when": finding.clears_when,
            "stage": finding.stage.value,
            "since": iso_time(finding.since) if finding.since else "",
            "nodes": names(finding.nodes),
            "objects": names(finding.objects),
            "unconfirmed": record.unconfirmed,
            "resolved_because": record.because,
            "link": (link := self.link(finding.id)),
        }
        alert = {
            "labels": labels,
            "annotations": {name: text[:MOST_TEXT] for name, text in texts.items() if text},
            # Not since when it has been so: an alert that is older than its route's group_wait is notified of at once,
            # before Alertmanager has seen what inhibits it.
            "startsAt": iso_time(record.first_seen),
        }
        return alert | {"generatorURL": link} if link else alert

    def ended(self, payload: Mapping[str, Any], at: float, because: str) -> dict[str, Any]:
        """The alert of a finding that nothing more is known of than that it is over."""
        del at  # it stands in the row
        return {**payload, "annotations": {**payload["annotations"], "resolved_because": because}}

    def body(self, rows: Sequence[Row], now: float) -> bytes:
        """Of a post."""
        hold = max(HOLD_S, HOLD_RESENDS * self.settings.resend_s)
        alerts = []
        for row in rows:
            ends = now + hold if row.over is None else max(row.over, seconds(row.payload["startsAt"]))
            alerts.append({**row.payload, "endsAt": iso_time(ends)})
        return json.dumps(alerts, ensure_ascii=False).encode()

    def headers(self, body: bytes, now: float) -> dict[str, str]:
        """Of a post. Raises OSError or ValueError where the token can't be read."""
        del body, now
        found = {"Content-Type": "application/json"}
        if self.settings.token_file:
            found["Authorization"] = f"Bearer {secret_lines(self.settings.token_file)[0]}"
        return found


def address(url: str) -> str:
    """Where alerts are posted, by Alertmanager's base address."""
    return url.rstrip("/") + PATH


def _labels(record: Record, cluster: str, root: str) -> dict[str, str]:
    finding = record.finding
    labels = {
        "alertname": finding.code,
        "incident": finding.incident,
        "severity": finding.severity.word,
        "cluster": cluster,
        "finding": finding.id,
        "chain": root,
        "explained": "false" if root == finding.id else "true",
    }
    if len(finding.nodes) == 1:
        labels["node"] = finding.nodes[0]
    if len(finding.objects) == 1:
        labels["object"] = finding.objects[0]
    spaces = {_namespace(each) for each in finding.objects}
    if len(spaces) == 1 and (space := spaces.pop()):
        labels["namespace"] = space
    return {name: value for name, value in labels.items() if value}


def _namespace(thing: str) -> str:
    """Of an object "Kind/namespace/name"; empty: it has none."""
    kind, _, rest = thing.partition("/")
    return rest.partition("/")[0] if kind in _NAMESPACED and "/" in rest else ""
