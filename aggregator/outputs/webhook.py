"""Findings as signed JSON, posted to an address: many in one post, each when it appears, changes or is over.

A post is signed over its time and its body, so that whoever takes it can tell that it is ours, whole and of now, and a
notice keeps its number however often it has to be sent, so that one that arrives twice can be told. docs/alerts.md is
the contract.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregator.convert import iso_time
from aggregator.findings import Kind, Record
from aggregator.outputs.courier import Delivery
from aggregator.outputs.receiver import secret_lines
from aggregator.outputs.rows import Row
from aggregator.outputs.wording import Links, bounded, explained

VERSION = 1
"""Of the JSON. Keys may be added within one; what takes them must not mind."""
TIMESTAMP = "Nodetell-Timestamp"
SIGNATURE = "Nodetell-Signature"
LEAST_SECRET = 16
"""Characters."""
DELIVERY = Delivery(most=100)


@dataclass(frozen=True, slots=True)
class Notices:
    """The form of notices (rows.Form)."""

    secret_file: str
    cluster: str
    link: Links
    delivery: Delivery = DELIVERY

    def key(self, payload: Mapping[str, Any]) -> str:
        """A finding stays one, whatever becomes of it."""
        key: str = payload["finding"]["id"]
        return key

    def payload(self, record: Record, standing: Mapping[str, Record], before: Row | None) -> dict[str, Any]:
        """What is said of one finding, but for what happened to it."""
        why = explained(record.finding, standing)
        # Until it has taken one notice, what is new stays new to it.
        fresh = before is None or (before.due and before.payload["event"] == Kind.APPEARED)
        event = Kind.RESOLVED if record.resolved is not None else Kind.APPEARED if fresh else Kind.CHANGED
        said = {"event": event.value, "root": why.root, "cause": why.cause, "first": list(why.first)}
        return said | {"link": self.link(record.finding.id), "finding": bounded(record)}

    def ended(self, payload: Mapping[str, Any], at: float, because: str) -> dict[str, Any]:
        """What is said of a finding that nothing more is known of than that it is over."""
        life = {"resolved": iso_time(at), "resolved_because": because}
        return {**payload, "event": Kind.RESOLVED.value, "finding": payload["finding"] | life}

    def body(self, rows: Sequence[Row], now: float) -> bytes:
        """Of a post."""
        notices = [{"id": f"{row.finding}-{row.number}", **row.payload} for row in rows]
        post = {"version": VERSION, "cluster": self.cluster, "sent_at": iso_time(now), "notices": notices}
        return json.dumps(post, ensure_ascii=False).encode()

    def headers(self, body: bytes, now: float) -> dict[str, str]:
        """Of a post. Raises OSError or ValueError where the secret can't be read."""
        at = str(int(now))
        signatures = [signature(secret, at, body) for secret in secret_lines(self.secret_file, LEAST_SECRET)]
        return {"Content-Type": "application/json", TIMESTAMP: at, SIGNATURE: ",".join(signatures)}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """ "v1=" and HMAC-SHA-256 in hexadecimal of the timestamp, a point and the body."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
