"""Versions that differ, and clocks that do."""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.signatures.thresholds import Thresholds
from aggregator.wording import some
from cli.doctor.model import (
    AGENT,
    AGGREGATOR,
    Check,
    Reading,
    State,
    Unread,
    at,
    count,
    entries,
    name_of,
    parts,
    pod_spec,
    text,
)

MOST_OFF_S = Thresholds().clock_offset_s
"""As node.clock_skew has it: beyond that, tokens are from the future or out of date."""


def check_versions(reading: Reading) -> Iterator[Check]:
    """What runs, as it says itself, and the images that were asked for."""
    images = {
        text(container, "image"): part
        for plural, part in (("daemonsets", AGENT), ("deployments", AGGREGATOR))
        for each in parts(reading.of(plural), part)
        for container in entries(pod_spec(each), "containers")
    }
    if len(images) > 1:
        named = ", ".join(f"{image} ({part})" for image, part in sorted(images.items()))
        what = "parts of the installation have different images"
        yield Check("versions", State.WRONG, what, named, "apply one set of manifests")
    yield from _under_way(reading)
    told = reading.aggregator
    if isinstance(told, Unread):
        return  # told once for all
    others: dict[str, list[str]] = {}
    for node in told.nodes:
        if node.connected and node.version and node.version != told.version:
            others.setdefault(node.version, []).append(node.name)
    for version, names in sorted(others.items()):
        what = f"the aggregator is of version {told.version}, {count(len(names), 'agent')} of {version}: {some(names)}"
        why = "they understand each other; what only one of them knows is missing"
        yield Check("versions", State.WRONG, what, why, "wait for the update to end, or apply one set of manifests")
    if told.version != reading.version:
        what = f"this command is of version {reading.version}, the aggregator of {told.version}"
        yield Check("versions", State.WRONG, what, "what only one of them knows is not shown", "use the same version")
    elif not others:
        yield Check("versions", State.OK, f"aggregator, agents and this command are of version {told.version}")


def _under_way(reading: Reading) -> Iterator[Check]:
    """An update of the agents that has not come to its end, or that got stuck."""
    for each in parts(reading.of("daemonsets"), AGENT):
        wanted, updated = (at(each, "status", key) for key in ("desiredNumberScheduled", "updatedNumberScheduled"))
        if isinstance(wanted, int) and isinstance(updated, int) and updated < wanted:
            what = f"DaemonSet {name_of(each)}: {updated} of {wanted} agents are as it says now"
            why = "an update is under way, or it waits for agents that do not become ready"
            do = f"kubectl -n {reading.namespace} rollout status daemonset {name_of(each)}"
            yield Check("versions", State.WRONG, what, why, do)


def check_clocks(reading: Reading) -> Iterator[Check]:
    """The API server's beside ours, and the agents' beside the aggregator's."""
    if reading.server_ahead is None and reading.api_unread is None:
        yield Unread("the API server told no time").check("clocks", "the API server's clock beside this host's")
    elif reading.server_ahead is not None:
        ahead, bound = reading.server_ahead
        if abs(ahead) - bound > MOST_OFF_S:
            way = "ahead of" if ahead > 0 else "behind"
            what = f"the API server's clock is {abs(ahead):,.0f} s {way} this host's"
            why = "one of them is wrong: certificates and tokens are judged by it"
            yield Check("clocks", State.WRONG, what, why, "compare both with a third (chronyc tracking, timedatectl)")
        else:
            yield Check("clocks", State.OK, f"the API server's clock agrees with this host's to {MOST_OFF_S:g} s")
    told = reading.aggregator
    if isinstance(told, Unread):
        return
    measured = [(each, each.offset_s) for each in told.nodes if each.offset_s is not None]
    off = [(each, offset) for each, offset in measured if abs(offset) - each.bound_s > MOST_OFF_S]
    if off:
        named = some([f"{each.name} ({offset:+,.1f} s)" for each, offset in sorted(off, key=lambda e: -abs(e[1]))])
        what = f"the clock of {len(off)} of {len(measured)} nodes is off: {named}"
        do = "see their time daemons; where it is nearly all of them, the aggregator's node"
        yield Check("clocks", State.WRONG, what, "tokens and certificates are refused as out of date there", do)
    elif measured:
        yield Check("clocks", State.OK, f"clocks of {len(measured)} nodes agree with the aggregator's")
