"""Whether a loop is a matter of identity: what its own words, those it shares an identity with, and its clock say.

Each piece of evidence is by itself enough for the suspicion; two make it critical. A loop whose own words tell of
something else is none, whatever it shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Pod
from aggregator.node_state import NodeState
from aggregator.signatures.clock import wrong_clock
from aggregator.signatures.crash.cadence import Loop
from aggregator.signatures.crash.decide import APP_ERROR, IDENTITY, Cause
from aggregator.signatures.crash.ways import Way
from aggregator.signatures.thresholds import Thresholds

RAPID_S = 300.0
"""Whoever is refused gives up soon: a container that lives longer does not end for that."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A container in a loop, with what can be said of it alone."""

    pod: Pod
    loop: Loop
    cause: Cause
    began: float
    """When it began to fail, seconds since the epoch, as far as can be told."""
    workload: str
    """"Kind/namespace/name" of what it is a pod of in the end."""
    way: Way | None = None
    """Over which paths it waited in vain for an answer; None: it did not."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One piece of evidence."""

    kind: str
    """"phrase", "shared" or "clock"."""
    text: str
    shared: str = ""
    """Of what is shared: "ServiceAccount/ns/name", "Secret/ns/name"."""


def proofs(
    suspects: Iterable[Suspect], hosts: Mapping[str, NodeState], fine: Mapping[str, frozenset[str]], limits: Thresholds
) -> dict[tuple[str, str], list[Proof]]:
    """Evidence of identity by (pod key, container). `fine`: nodes where pods of a workload run well, by workload."""
    possible = [each for each in suspects if _possible(each)]
    together = _together(possible, limits.identity_together_s)
    found: dict[tuple[str, str], list[Proof]] = {}
    for each in possible:
        pieces = []
        if each.cause.code == IDENTITY:
            pieces.append(Proof("phrase", f'its last words are of authentication: "{each.cause.phrase}"'))
        pieces += [together[shared] for shared in identities(each.pod) if shared in together]
        clock = _clock(each, hosts, fine.get(each.workload, frozenset()), limits)
        if clock is not None:
            pieces.append(clock)
        if pieces:
            found[each.pod.key, each.loop.container.name] = pieces
    return found


def _possible(suspect: Suspect) -> bool:
    code = suspect.loop.end.exit_code
    alive = suspect.loop.alive_s
    return (
        suspect.cause.code in (IDENTITY, APP_ERROR)
        and (code == 1 or code >= 128)
        and (alive is None or alive < RAPID_S)
    )


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
        if len(began) > 1 and max(began.values()) - min(began.values()) <= within_s:
            kind, _, name = shared.partition("/")
            minutes = (max(began.values()) - min(began.values())) / 60
            text = (
                f"{len(began)} workloads that share {kind} {name} began to fail within {minutes:.0f} min of each other"
            )
            found[shared] = Proof("shared", text, shared)
    return found


def _clock(suspect: Suspect, hosts: Mapping[str, NodeState], fine: frozenset[str], limits: Thresholds) -> Proof | None:
    """The clock of its node is wrong, and those of all nodes where the same workload runs well are not."""
    here = wrong_clock(hosts.get(suspect.pod.node), limits)
    if not here or any(wrong_clock(hosts.get(node), limits) for node in fine if node != suspect.pod.node):
        return None
    return Proof("clock", f"the clock of {suspect.pod.node} {here}, those where it runs well are right")
