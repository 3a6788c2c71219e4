"""Which lists the API server has, where they are, and the RBAC rule for each: one table for all that read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

METRICS_PATH = "/metrics"
METRICS_RULE = f'nonResourceURLs: ["{METRICS_PATH}"], verbs: ["get"]'
"""The RBAC rule (of a ClusterRole) that allows the API server's own metrics."""


_JSON = "application/json"
_METADATA = "application/json;as={};g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A list to read. Of several API versions the first one that the server has is taken."""

    plural: str
    """As in the URL and in RBAC."""
    group: str = ""
    versions: tuple[str, ...] = ("v1",)
    namespace: str = ""
    """Only this namespace; empty: all."""
    metadata_only: bool = False
    """Of its objects no more than the metadata is asked for, and nothing else is taken."""

    @property
    def accept(self) -> str:
        """What the server is to answer a list with."""
        return _METADATA.format("PartialObjectMetadataList") if self.metadata_only else _JSON

    @property
    def accept_events(self) -> str:
        """What the server is to answer a watch with."""
        return _METADATA.format("PartialObjectMetadata") if self.metadata_only else _JSON

    @property
    def name(self) -> str:
        """As it is called here: "pods", "leases/kube-system"."""
        return f"{self.plural}/{self.namespace}" if self.namespace else self.plural

    def paths(self) -> Iterator[str]:
        """Where it may be."""
        within = f"namespaces/{self.namespace}/" if self.namespace else ""
        for version in self.versions:
            yield (
                f"/apis/{self.group}/{version}/{within}{self.plural}" if self.group else f"/api/{version}/{self.plural}"
            )

    def rule(self, *verbs: str) -> str:
        """The RBAC rule that allows these verbs."""
        asked = ", ".join(f'"{verb}"' for verb in verbs)
        where = f" (a Role in namespace {self.namespace}, or a ClusterRole)" if self.namespace else ""
        return f'apiGroups: ["{self.group}"], resources: ["{self.plural}"], verbs: [{asked}]{where}'


_DRA = ("v1", "v1beta2", "v1beta1")
COLLECTED: tuple[Resource, ...] = (
    *(Resource(name) for name in ("nodes", "pods", "events", "persistentvolumes", "persistentvolumeclaims")),
    *(Resource(name) for name in ("resourcequotas", "services", "serviceaccounts")),
    *(Resource(name, "storage.k8s.io") for name in ("storageclasses", "volumeattachments", "csinodes")),
    Resource("leases", "coordination.k8s.io"),
    Resource("poddisruptionbudgets", "policy"),
    *(Resource(name, "apps") for name in ("replicasets", "statefulsets", "deployments", "daemonsets")),
    Resource("jobs", "batch"),
    Resource("endpointslices", "discovery.k8s.io"),
    *(Resource(name, "resource.k8s.io", _DRA) for name in ("resourceslices", "resourceclaims")),
)
"""What an evidence bundle has a file for."""

WATCHED: tuple[Resource, ...] = (
    Resource("nodes"),
    Resource("pods"),
    *(Resource(name) for name in ("persistentvolumeclaims", "persistentvolumes")),
    *(Resource(name, "storage.k8s.io") for name in ("storageclasses", "volumeattachments", "csinodes")),
    # All other leases are of no use here, and there may be very many of them.
    *(Resource("leases", "coordination.k8s.io", namespace=name) for name in ("kube-node-lease", "kube-system")),
    Resource("poddisruptionbudgets", "policy"),
    Resource("resourcequotas"),
    *(Resource(name, "apps") for name in ("replicasets", "statefulsets")),
    Resource("events"),
)
"""What the aggregator keeps a live view of, in the order in which it is begun with."""

CREDENTIALS: tuple[Resource, ...] = tuple(Resource(name, metadata_only=True) for name in ("serviceaccounts", "secrets"))
"""What tells which identity was changed when, by names and times. Read only where the operator says so: who may list
secrets may read them, for RBAC knows no metadata."""


def watched(*, credentials: bool) -> tuple[Resource, ...]:
    """What a live view is kept of, with or without CREDENTIALS."""
    return WATCHED + CREDENTIALS if credentials else WATCHED
