"""A node as operators' clients get it, in the list of nodes and by itself: what its state and the API server say. How
its agent is heard, whoever hears it adds."""

from __future__ import annotations

from collections.abc import Iterable

from nodetell.v1 import facts_pb2, operator_pb2

from aggregator.cluster.zones import zone_of
from aggregator.convert import changes, milliseconds, node_facts
from aggregator.node_figures import figures, fill
from aggregator.node_state import NodeState
from aggregator.node_volumes import unknown_resources, volumes_of_node
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView


def summary_of(state: NodeState, findings: int, thresholds: Thresholds) -> operator_pb2.NodeSummary:
    """A host; `findings`: how many that stand name it."""
    clock = state.clock_offset
    summary = operator_pb2.NodeSummary(
        node=state.name,
        facts_at_unix_ms=milliseconds(state.at),
        links=len(state.of("link")),
        disks=len(state.of("disk")),
        volumes=len(state.of("volume")),
        coverage_gaps=len(state.of("coverage")),
        coalesced_updates=state.coalesced_updates,
        dropped_samples=state.dropped_samples,
        findings=findings,
        clock_offset_us=round(clock.offset_s * 1e6) if clock is not None else None,
        clock_bound_us=round(clock.bound_s * 1e6) if clock is not None else 0,
        clock_measured_unix_ms=milliseconds(clock.at) if clock is not None else 0,
        clock_from_most=clock is not None and clock.from_most,
    )
    fill(summary, figures(state, thresholds))
    return summary


def with_api(summary: operator_pb2.NodeSummary, view: ClusterView) -> operator_pb2.NodeSummary:
    """The same summary, with what the API server says of the node."""
    node = view.nodes.get(summary.node)
    if node is not None:
        summary.ready, summary.cordoned = node.ready, node.unschedulable
        summary.zone = zone_of(node)
    return summary


def node_answer(
    view: ClusterView,
    name: str,
    summary: operator_pb2.NodeSummary | None = None,
    state: NodeState | None = None,
    limited: Iterable[facts_pb2.Item] = (),
) -> operator_pb2.GetNodeResponse | None:
    """Everything known of a node; None: nobody knows it. `state`: of its host, where an agent has told of it;
    `limited`: coverage entries for what of it is left out."""
    if state is None and name not in view.nodes:
        return None
    return operator_pb2.GetNodeResponse(
        summary=with_api(summary or operator_pb2.NodeSummary(node=name), view),
        facts=node_facts(state, limited) if state is not None else None,
        changes=changes(state) if state is not None else (),
        volumes=volumes_of_node(view, name),
        api_unknown=unknown_resources(view),
    )
