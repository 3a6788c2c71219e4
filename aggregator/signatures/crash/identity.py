"""Whether a loop is a matter of identity: what its words, those it shares one with, its changes, dates and clock say.

Each piece of evidence is by itself enough for the suspicion; two make it critical. A loop whose own words tell of
something else is none, whatever it shares, and so is one whose connections hang: nobody has refused it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Pod
from aggregator.node_state import NodeState
from aggregator.signatures.clock import is_told, skew_of, wrong_clock
from aggregator.signatures.crash.cadence import Loop
from aggregator.signatures.crash.cause import APP_ERROR, IDENTITY, Cause
from aggregator.signatures.crash.changed import Changed
from aggregator.signatures.crash.ending import End
from aggregator.signatures.crash.expiring import Expired, said_of
from aggregator.signatures.crash.logged import Logged
from aggregator.signatures.crash.ways import Way
from aggregator.signatures.thresholds import Thresholds
from aggregator.wording import span

RAPID_S = 300.0
"""Whoever is refused gives up soon: a container that lives longer does not end for that."""


@dataclass(frozen=True, slots=True)
class Fine:
    """Where other pods of the same controller are ready."""

    nodes: frozenset[str] = frozenset()
    since: float = 0.0
    """When the youngest of them was started, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A container in a loop, with what can be said of it alone."""

    pod: Pod
    loop: Loop
    cause: Cause
    seen: End
    began: float
    """When it began to fail, seconds since the epoch, as far as can be told."""
    workload: str
    """"Kind/namespace/name" of what it is a pod of in the end."""
    way: Way | None = None
    """Over which paths it waited in vain for an answer; None: it did not."""
    hangs: str = ""
    """That connections of it time out again and again, as a clause; empty: none is known to."""
    fine: Fine = Fine()
    changed: tuple[Changed, ...] = ()
    """What of its identity was changed shortly before."""
    expired: tuple[Expired, ...] = ()
    """What of its identity was not good any more."""
    logged: Logged | None = None
    """What the end of its log tells of a refused identity; None: nothing that is known."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One piece of evidence."""

    kind: str
    """"phrase", "shared", "changed", "expired" or "clock"."""
    text: str
    object: str = ""
    """Of what is shared, was changed or has expired: "ServiceAccount/ns/name", "Secret/ns/name"."""


def proofs(
    suspects: Iterable[Suspect], hosts: Mapping[str, NodeState], limits: Thresholds
) -> dict[tuple[str, str], list[Proof]]:
    """Evidence of identity by (pod key, container)."""
    possible = [each for each in suspects if _possible(each)]
    together = _together([each for each in possible if not _works_elsewhere(each)], limits.identity_together_s)
    found: dict[tuple[str, str], list[Proof]] = {}
    for each in possible:
        pieces = []
        if each.cause.code == IDENTITY:
            pieces.append(Proof("phrase", f'its last words are of authentication: "{each.cause.phrase}"'))
        elif each.logged is not None:
            pieces.append(Proof("phrase", f"the end of its log tells of {each.logged.meaning}"))
        if not _works_elsewhere(each):
            pieces += [together[shared] for shared in identities(each.pod) if shared in together]
            pieces += [_changed(change, each) for change in each.changed]
            pieces += [Proof("expired", said_of(one, each.began), one.object) for one in each.expired]
        clock = _clock(each, hosts, limits)
        if clock is not None:
            pieces.append(clock)
        if pieces:
            found[each.pod.key, each.loop.container.name] = pieces
    return found


def _possible(suspect: Suspect) -> bool:
    code = suspect.loop.end.exit_code
    alive = suspect.loop.alive_s
    return (
        (
            suspect.cause.code == IDENTITY
            or (suspect.cause.code == APP_ERROR and (suspect.logged is not None or not suspect.cause.own_error))
        )
        and (code == 1 or code >= 128)
        and (alive is None or alive < RAPID_S)
        and not suspect.hangs
    )


def _works_elsewhere(suspect: Suspect) -> bool:
    """Another pod of the same has started since, with the same identity, and runs well: it is not refused as such."""
    return suspect.fine.since > suspect.began


def identities(pod: Pod) -> list[str]:
    """What the pod is known by: its ServiceAccount unless it is everybody's, the Secrets that it reads."""
    own = [f"ServiceAccount/{pod.namespace}/{pod.spec.service_account}"]
    if pod.spec.service_account in ("", "default"):
        own = []
    secrets = (each.removeprefix("Secret/") for each in pod.spec.references if each.startswith("Secret/"))
    return own + [f"Secret/{pod.namespace}/{name}" for name in secrets]


def _together(suspects: list[Suspect], within_s: float) -> dict[str, Proof]:
    """What several unrelated workloads share that began to fail together."""
    groups: dict[str, list[Suspect]] = {}
    for each in suspects:
        for shared in identities(each.pod):
            groups.setdefault(shared, []).append(each)
    found = {}
    for shared, members in groups.items():
        began: dict[str, float] = {}
        for each in members:
            began[each.workload] = min(each.began, began.get(each.workload, each.began))
        apart = max(began.values()) - min(began.values())
        if len(began) > 1 and apart <= within_s:
            kind, _, name = shared.partition("/")
            text = f"{len(began)} workloads that share {kind} {name} began to fail {_within(apart)}"
            found[shared] = Proof("shared", text, shared)
    return found


def _within(apart: float) -> str:
    return f"within {span(apart)} of each other" if apart >= 1 else "at once"


def _changed(change: Changed, suspect: Suspect) -> Proof:
    kind, _, name = change.object.partition("/")
    before = span(max(0.0, suspect.began - change.at))
    return Proof("changed", f"{kind} {name} was changed {before} before it began to fail", change.object)


def _clock(suspect: Suspect, hosts: Mapping[str, NodeState], limits: Thresholds) -> Proof | None:
    """The clock of its node is wrong, and those of all nodes where the same workload runs well are not.

    A clock that is off refuses by itself; that nobody disciplines it counts only against nodes where it is.
    """
    here, host = wrong_clock(hosts.get(suspect.pod.node), limits), hosts.get(suspect.pod.node)
    if not here:
        return None
    fine = suspect.fine.nodes - {suspect.pod.node}
    if any(wrong_clock(hosts.get(node), limits) for node in fine):
        return None
    known = [node for node in fine if node in hosts and is_told(hosts[node])]
    if not known and (host is None or skew_of(host.name, host, limits) is None):
        return None
    others = ", those where it runs well are right" if known else ""
    return Proof("clock", f"the clock of {suspect.pod.node} {here}{others}")
