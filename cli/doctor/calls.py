"""Every call that the aggregator makes to the API server, as RBAC has them, made of the tables that it reads by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.cluster.resources import CREDENTIALS, METRICS_PATH, WATCHED, Resource
from aggregator.outputs.kubernetes.rights import CONDITIONS, EVENTS
from aggregator.trust.review import ACCESS_REVIEWS, TOKEN_REVIEWS

REVIEWS = (TOKEN_REVIEWS, ACCESS_REVIEWS)
"""What decides who may connect: without them no agent and no operator gets in by a token."""


@dataclass(frozen=True, slots=True)
class Call:
    """One verb on one kind of thing."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    """Empty: in all namespaces, or it has none."""
    path: str = ""
    """A path that is no resource; then there is neither group nor resource."""

    @property
    def is_review(self) -> bool:
        """Without it nobody is let in by a token."""
        return f"/apis/{self.group}/v1/{self.resource}" in REVIEWS

    @property
    def shown(self) -> str:
        """As `kubectl auth can-i` takes it: "list pods", "list leases.coordination.k8s.io -n kube-system"."""
        what = self.path or (f"{self.resource}.{self.group}" if self.group else self.resource)
        return f"{self.verb} {what}" + (f" -n {self.namespace}" if self.namespace else "")

    @property
    def rule(self) -> str:
        """The RBAC rule that allows it."""
        if self.path:
            return f'nonResourceURLs: ["{self.path}"], verbs: ["{self.verb}"]'
        return Resource(self.resource, self.group, namespace=self.namespace).rule(self.verb)


def calls(
    *,
    secret_metadata: bool = False,
    credential_expiry: bool = False,
    events: bool = False,
    node_conditions: bool = False,
) -> tuple[Call, ...]:
    """Those that an aggregator with these of its settings makes: two of kubernetes, two of objects."""
    reads = tuple(_calls(secret_metadata=secret_metadata, credential_expiry=credential_expiry))
    writes = (*((EVENTS,) if events else ()), *((CONDITIONS,) if node_conditions else ()))
    return (*reads, *(Call(verb, right.group, right.resource) for right in writes for verb in right.verbs))


def _calls(*, secret_metadata: bool, credential_expiry: bool) -> Iterator[Call]:
    for resource in WATCHED + (CREDENTIALS if secret_metadata else ()):
        for verb in ("list", "watch"):
            yield Call(verb, resource.group, resource.plural, resource.namespace)
    yield Call("get", path=METRICS_PATH)
    for path in REVIEWS:
        _, _, group, _, plural = path.split("/")
        yield Call("create", group, plural)
    if credential_expiry:
        yield Call("get", "", "secrets")
