"""What the API server must allow for findings to be written to it: one table for all that ask for these rights or name
them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one kind of thing, and what is not written without them."""

    what: str
    group: str
    resource: str
    verbs: tuple[str, ...]

    @property
    def rule(self) -> str:
        """The RBAC rule that allows it."""
        verbs = ", ".join(f'"{verb}"' for verb in self.verbs)
        return f'apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: [{verbs}]'


EVENTS = Right("Events", "events.k8s.io", "events", ("create", "patch"))
CONDITIONS = Right("conditions of nodes", "", "nodes/status", ("patch",))
ROLE = "nodetell-objects"
"""The ClusterRole of the manifests that has both."""
