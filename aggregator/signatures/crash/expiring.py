"""Credentials that are about to expire, or have: a warning before anybody is refused, and evidence once somebody is.

Only dates are known here, and only of Secrets that pods use. One whose life is short is renewed late: a tenth of its
life is warning enough. What has expired and is accepted all the same is nobody's fault: somebody else vouches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aggregator.cluster.objects import Expiry, Pod
from aggregator.cluster.secret_users import users
from aggregator.cluster.state import ClusterState
from aggregator.model import Evidence, Severity, Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.crash.cause import IDENTITY, UNAUTHORIZED
from aggregator.signatures.crash.pulls import registry_of
from aggregator.signatures.crash.telling import root_of
from aggregator.signatures.crash.troubled import Troubled
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from aggregator.wording import some, span

_SLACK_S = 60.0
"""What follows may seem to have begun so much earlier: the first failure is told by another clock."""
_RENEW = "Renew it, and see what was to renew it in time"
_REMEDIES = {
    UNAUTHORIZED: f"{_RENEW}: a login that is a token wants a job that does, or the kubelet's credential provider.",
    IDENTITY: f"{_RENEW}; then whether its pods read it again or have to be restarted.",
}


@dataclass(frozen=True, slots=True)
class Expired:
    """A credential that was not good any more when a pod began to fail."""

    object: str
    """"Secret/ns/name"."""
    what: str
    """"token", "certificate", "login for ghcr.io"."""
    at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class _Use:
    """What pods use a Secret for."""

    key: str
    pods: Mapping[str, Pod]
    code: str
    """What they will suffer from."""
    about: tuple[str, ...]


def expired_before(names: Iterable[str], began: float, state: ClusterState) -> tuple[Expired, ...]:
    """What of the Secrets among these ("Secret/ns/name") had expired when the pod began to fail, and is accepted from
    nobody since."""
    found = []
    for name in names if state.secret_dates else ():
        key = name.removeprefix("Secret/")
        held = state.secret_dates.get(key)
        for each in held.expiries if held is not None else ():
            if each.at <= began + _SLACK_S and not _works_since(each.at, users(state).get(key, {})):
                found.append(Expired(name, _what(each), each.at))
                break
    return tuple(found)


def login_expired(pod: Pod, image: str, since: float, state: ClusterState) -> Expired | None:
    """What the pod shows to the image's registry, where that had expired when the pull was first refused."""
    registry = registry_of(image)
    for name in pod.spec.pull_secrets if state.secret_dates else ():
        held = state.secret_dates.get(f"{pod.namespace}/{name}")
        for each in held.expiries if held is not None else ():
            if each.registry == registry and each.at <= since + _SLACK_S:
                return Expired(f"Secret/{pod.namespace}/{name}", _what(each), each.at)
    return None


def said_of(expired: Expired, began: float) -> str:
    """A clause about it."""
    kind, _, name = expired.object.partition("/")
    return f"the {expired.what} in {kind} {name} expired {span(began - expired.at)} before it began to fail"


def warnings(view: ClusterView, limits: Thresholds, known: Troubled) -> Iterator[Case]:
    """A case for each credential that pods use and that will be refused soon, or would be by now."""
    state = view.objects
    if not state.secret_dates:
        return
    using = users(state)
    for key, held in state.secret_dates.items():
        for each in held.expiries:
            if each.at - view.now <= _notice(each, limits):
                pods = {name: pod for name, pod in using.get(key, {}).items() if not pod.deleted}
                yield from _warnings_of(view, key, each, pods, known)


def _warnings_of(
    view: ClusterView, key: str, expiry: Expiry, pods: Mapping[str, Pod], known: Troubled
) -> Iterator[Case]:
    name = key.partition("/")[2]
    pulled = {each: pod for each, pod in pods.items() if name in pod.spec.pull_secrets and _pulls(pod, expiry.registry)}
    if expiry.registry and pulled and not _pulled_since(expiry, pulled, known):
        yield _warning(view, expiry, _Use(key, pulled, UNAUTHORIZED, (expiry.registry, name)))
    read = {each: pod for each, pod in pods.items() if f"Secret/{name}" in pod.spec.references}
    if read and not _works_since(expiry.at, read):
        yield _warning(view, expiry, _Use(key, read, IDENTITY, (f"Secret/{key}",)))


def _warning(view: ClusterView, expiry: Expiry, use: _Use) -> Case:
    left = expiry.at - view.now
    when = f"expires in {span(left)}" if left > 0 else f"expired {span(-left)} ago"
    workloads = sorted({root_of(view.objects, pod) for pod in use.pods.values()})
    uses = ("is pulled with it", "are pulled with it") if use.code == UNAUTHORIZED else ("reads it", "read it")
    return Case(
        use.code,
        use.about,
        f"the {_what(expiry)} in Secret {use.key} {when}, at {_stamp(expiry.at)}; "
        f"{some(workloads)} {uses[len(workloads) > 1]}",
        (f"Secret/{use.key}", *workloads, *(f"Pod/{each}" for each in sorted(use.pods))),
        (_evidence(use.key, expiry.kind, expiry.at, view.now),),
        stage=Stage.RISK,
        severity=Severity.WARNING,
        weight=-left,
        remedies=(_REMEDIES[use.code],),
        since=expiry.at if left <= 0 else 0.0,
    )


def evidence_of_expired(expired: Expired, at: float) -> Evidence:
    """The date. `at`: up to when the view is current."""
    return _evidence(expired.object.removeprefix("Secret/"), expired.what.partition(" ")[0], expired.at, at)


def _evidence(key: str, kind: str, expires: float, at: float) -> Evidence:
    return api_evidence("secrets", key, f"{kind}.expires", _stamp(expires), at=at)


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _notice(expiry: Expiry, limits: Thresholds) -> float:
    """How long before it expires that is worth a word, seconds."""
    life = expiry.at - expiry.issued if expiry.issued else float("inf")
    return min(limits.credential_expiry_warning_s, limits.credential_expiry_share * life)


def _what(expiry: Expiry) -> str:
    return f"login for {expiry.registry}" if expiry.registry else expiry.kind


def _pulls(pod: Pod, registry: str) -> bool:
    return any(registry_of(each.image) == registry for each in pod.spec.containers)


def _pulled_since(expiry: Expiry, pods: Mapping[str, Pod], known: Troubled) -> bool:
    """One of the pods has got an image from that registry since."""
    pulled = known.pulled.get(expiry.registry, {}).values()
    return any(event.last > expiry.at + _SLACK_S and event.object in pods for event in pulled)


def _works_since(at: float, pods: Mapping[str, Pod]) -> bool:
    """A container of one of the pods has been started since, and the pod is ready."""
    for pod in pods.values():
        ready = pod.condition("Ready")
        if ready is not None and ready.status == "True":
            for each in pod.containers:
                state = each.state
                if state is not None and state.kind == "running" and state.started > at + _SLACK_S:
                    return True
    return False
