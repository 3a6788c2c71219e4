"""The overview: five incidents as five states, causes first, what changed in the last hour, how much is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aggregator.findings import Kind, Record, Transition
from aggregator.model import Stage
from aggregator.view import ClusterView
from aggregator.web.page import incidents as named
from aggregator.web.page import words
from aggregator.web.page.models import QUIET, UNSEEN, Badge, Brief, Incident, brief, incidents, worst
from aggregator.web.page.models_seen import Seen

SHOWN = 8
"""Incidents that are told in full; of the others, a line each."""
LINES = 40
LAST_S = 3600.0
CHANGES = 40


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the five."""

    incident: named.Incident
    badge: Badge
    count: int
    why: str
    """Why it cannot be seen; empty: it can."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened."""

    at: float
    what: str
    """ "appeared", "changed", "over" or "began"."""
    finding: Brief


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown."""

    headline: str
    badge: Badge
    tiles: tuple[Tile, ...]
    told: tuple[Incident, ...]
    lines: tuple[Incident, ...]
    more: int
    """Incidents that are not even a line here."""
    changes: tuple[Change, ...]
    more_changes: int
    seen: Seen


def overview(
    view: ClusterView,
    standing: Sequence[Record],
    resolved: Sequence[Record],
    changed: Iterable[Transition],
    *,
    seen: Seen,
    now: float,
) -> Overview:
    """`changed`: transitions that the page has heard of; `now`: seconds since the epoch."""
    found, count = incidents(standing, SHOWN + LINES)
    changes = recent(standing, resolved, changed, now)
    return Overview(
        headline=_headline(standing, found, count),
        badge=worst(standing) if standing or seen.heard or seen.api else UNSEEN,
        tiles=tuple(_tile(each, view, standing) for each in _shown_incidents(standing)),
        told=tuple(found[:SHOWN]),
        lines=tuple(found[SHOWN : SHOWN + LINES]),
        more=count - len(found),
        changes=tuple(changes[:CHANGES]),
        more_changes=max(0, len(changes) - CHANGES),
        seen=seen,
    )


def _headline(standing: Sequence[Record], found: Sequence[Incident], count: int) -> str:
    """`found`: of `count` incidents those that are shown, which begin with all that are active."""
    if not standing:
        return "Quiet"
    active = sum(record.finding.stage is Stage.ACTIVE for record in standing)
    if not active:
        return f"{words.counted(count, 'risk')}: nobody suffers yet"
    risks = len(standing) - active
    ahead = f", {words.counted(risks, 'risk')} beside {'it' if active == 1 else 'them'}" if risks else ""
    causes = sum(each.badge.stage == "active" for each in found)
    told = len(found) == count or causes < len(found)
    cause = f", with {words.counted(causes, 'cause')}" if told and 0 < causes < active else ""
    return f"{words.counted(active, 'active finding')}{cause}{ahead}"


def _shown_incidents(standing: Sequence[Record]) -> list[named.Incident]:
    """The five always; what stands beside them where there is something of it."""
    there = dict.fromkeys(record.finding.incident for record in standing)
    five = {each.key for each in named.FIVE}
    return [*named.FIVE, *(named.named(key) for key in sorted(there) if key not in five)]


def _tile(incident: named.Incident, view: ClusterView, standing: Sequence[Record]) -> Tile:
    own = [record for record in standing if record.finding.incident == incident.key]
    if own:
        return Tile(incident, worst(own), len(own), "")
    why = unseen(incident.key, view)
    return Tile(incident, UNSEEN if why else QUIET, 0, why)


def unseen(incident: str, view: ClusterView) -> str:
    """Why nothing at all can be said of an incident; empty: something can."""
    api = "the API server's objects are not known"
    match incident:
        case "crash_loop" | "scheduler_stuck":
            return "" if view.objects.knows("pods") else api
        case "mtu_mismatch" | "network":
            return "" if any(state.of("link") for state in view.hosts.values()) else "no node's interfaces are known"
        case "storage_gravity":
            told = view.objects.knows("persistentvolumes") or any(state.of("volume") for state in view.hosts.values())
            return "" if told else "neither volumes of the API server nor of any node are known"
        case "control_plane_saturation":
            told = view.metrics.processes > 0 or any(state.of("latency") for state in view.hosts.values())
            return "" if told else "neither fsync latencies nor the API server's own metrics are read"
        case _:
            return ""


def recent(
    standing: Sequence[Record], resolved: Sequence[Record], changed: Iterable[Transition], now: float
) -> list[Change]:
    """What happened in the last hour, the newest first."""
    since = now - LAST_S
    changes = [Change(record.resolved, "over", brief(record)) for record in resolved if record.resolved is not None]
    for record in [*standing, *(each for each in resolved if each.resolved is not None)]:
        begun = record.finding.since
        if since <= begun <= now:
            changes.append(Change(begun, "began", brief(record)))
        elif record.first_seen:
            changes.append(Change(record.first_seen, "appeared", brief(record)))
    changes += [Change(each.at, "changed", brief(each.record)) for each in changed if each.kind is Kind.CHANGED]
    return sorted(
        (each for each in changes if since <= each.at <= now + 1), key=lambda each: (-each.at, each.finding.id)
    )
