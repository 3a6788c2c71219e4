"""How findings are said in Events and conditions: names in CamelCase, and sentences that fit."""

from __future__ import annotations

import re

from aggregator.findings import Record
from aggregator.model import Finding, Severity

MOST_BYTES = 1_024
"""Of an Event's note; the API server refuses longer ones (k8s.io/kubernetes pkg/apis/core/validation/events.go)."""
_MOST_NAME = 128
_BETWEEN = re.compile(r"[^0-9A-Za-z]+")


def camel(name: str) -> str:
    """ "mtu.overlay_exceeds_underlay" as a reason: "MtuOverlayExceedsUnderlay"."""
    return "".join(part[:1].upper() + part[1:] for part in _BETWEEN.split(name))[:_MOST_NAME]


def told(finding: Finding, before: str = "") -> str:
    """The summary, and the id that `nodetell explain` takes, in at most MOST_BYTES."""
    mark = marked(finding)
    return cut(before + finding.summary, MOST_BYTES - len(mark.encode())) + mark


def marked(finding: Finding) -> str:
    """How what is told of a finding ends."""
    return f" [{finding.id}]"


def cut(text: str, most: int) -> str:
    """At most so many bytes of it, as UTF-8."""
    data = text.encode(errors="replace")
    if len(data) <= most:
        return data.decode()
    return data[: most - 3].decode(errors="ignore") + "..."


def rank(record: Record) -> tuple[bool, int]:
    """What is told first: causes before what they cause, then the more severe."""
    return bool(record.finding.caused_by), -record.finding.severity


def is_warning(finding: Finding) -> bool:
    """It is more than a remark."""
    return finding.severity >= Severity.WARNING
