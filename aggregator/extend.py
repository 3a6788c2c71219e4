"""What a signature of an operator's own is made of: the names that stay, whatever else moves (docs/signatures.md).

An operator's distribution has an entry point in the group "nodetell.signatures" that is an `Extension`. Its cases are
gathered, linked to their causes, remembered and shown as those of the built-in signatures are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from aggregator.causes import NODE, PATH, Edge
from aggregator.cluster.state import ClusterState
from aggregator.model import Evidence, RuledOut, Severity, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.code import Code
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

__all__ = [
    "NODE",
    "PATH",
    "Case",
    "ClusterState",
    "ClusterView",
    "Code",
    "Edge",
    "Evidence",
    "Extension",
    "NodeState",
    "RuledOut",
    "Severity",
    "Stage",
    "Thresholds",
    "api_evidence",
]

Cases = Callable[[ClusterView, Thresholds], Iterable[Case]]
"""A pure function of the view: no clock, no file, no network, and nothing in the view is changed. It is called after
every change of any host or object, so it is to take a millisecond or two."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A signature from outside. The entry point's name is its name."""

    codes: tuple[Code, ...]
    """All codes that it gives. None of another signature: "acme.bad_kernel" rather than "node.bad_kernel"."""
    cases: Cases
    """What holds now."""
    edges: tuple[Edge, ...] = ()
    """Which findings its own explain, and which explain its own: by objects that both name."""
