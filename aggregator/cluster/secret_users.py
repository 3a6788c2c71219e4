"""Which pods use which Secrets, kept up to date pod by pod. Made only where dates of Secrets are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState

_NAME = "secret_users"
_KIND = "Secret/"


@dataclass(slots=True)
class _Users:
    revision: int
    """Of the objects that it is of."""
    pods: dict[str, dict[str, Pod]] = field(default_factory=dict)
    """By "namespace/name" of the Secret, then by key of the pod."""

    def take(self, key: str, before: object, after: object) -> None:
        """A pod came, changed or went."""
        if isinstance(before, Pod):
            for secret in secrets_of(before):
                group = self.pods.get(secret, {})
                group.pop(key, None)
                if not group:
                    self.pods.pop(secret, None)
        if isinstance(after, Pod) and not after.terminal:
            for secret in secrets_of(after):
                self.pods.setdefault(secret, {})[key] = after


def secrets_of(pod: Pod) -> Iterator[str]:
    """Secrets that a pod is pulled with or cannot start without, as "namespace/name", each once."""
    read = (each.removeprefix(_KIND) for each in pod.spec.references if each.startswith(_KIND))
    for name in dict.fromkeys((*pod.spec.pull_secrets, *read)):
        yield f"{pod.namespace}/{name}"


def users(state: ClusterState) -> Mapping[str, Mapping[str, Pod]]:
    """Pods that have not ended, by key, by "namespace/name" of each Secret that they use, whether it exists or not."""
    known = state.derived.get(_NAME)
    changes = state.changes(known.revision) if isinstance(known, _Users) else None
    if not isinstance(known, _Users) or changes is None:
        known = state.derived[_NAME] = _Users(state.revision)
        for key, pod in state.pods.items():
            known.take(key, None, pod)
    else:
        for change in changes:
            if change.resource == "pods":
                known.take(change.key, change.before, change.after)
        known.revision = state.revision
    return known.pods
