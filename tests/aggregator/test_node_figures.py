"""The figures of a table of nodes: what is not known stays unknown, and what is worst is told."""

from __future__ import annotations

import pytest
from nodetell.v1 import agent_pb2, operator_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.node_figures import NodeFigures, figures, fill
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds

EPOCH = 1_800_000_000
THRESHOLDS = Thresholds()
BOUNDS = [1_000, 2_000, 4_000, 8_000]


def latency(key: str, process: str, **more: object) -> pb.Item:
    fields = {"method": pb.LATENCY_METHOD_PASSIVE, "bounds_us": BOUNDS, "device": "8:0"} | more
    return pb.Item(key=key, latency=pb.LatencySource(process=process, **fields))  # type: ignore[arg-type]


def path(peer: str, interface_mtu: int, path_mtu: int | None) -> pb.Item:
    found = pb.PathMtu(peer=peer, interface_mtu=interface_mtu)
    if path_mtu is not None:
        found.path_mtu = path_mtu
    return pb.Item(key=f"path_mtu/{peer}/{interface_mtu}", path_mtu=found)


def host(items: list[pb.Item], *blocks: tuple[str, list[str], list[int]]) -> NodeState:
    """A host that was read once."""
    state = NodeState("a")
    schemas = [pb.CounterSchema(id=number, names=names) for number, (_, names, _) in enumerate(blocks, 1)]
    at_slot, told = 0, []
    for number, (subject, _, values) in enumerate(blocks, 1):
        told.append(pb.CounterBlock(first_slot=at_slot, schema=number, subject=subject, values=values))
        at_slot += len(values)
    state.apply(agent_pb2.Update(full=True, at_unix_ms=EPOCH * 1000, items=items, schemas=schemas, blocks=told))
    return state


def rise(state: NodeState, after_s: float, **slots: int) -> None:
    """So many seconds after the last reading, counters rose by so much: slot_3=10."""
    places = sorted((int(slot.removeprefix("slot_")), more) for slot, more in slots.items())
    gaps = [place - before for (place, _), before in zip(places, [0, *(place for place, _ in places)], strict=False)]
    sample = pb.CounterSample(slot_gaps=gaps, increments=[more for _, more in places])
    state.apply(agent_pb2.Update(at_unix_ms=round((state.at + after_s) * 1000), samples=[sample]))


def test_of_a_host_that_tells_nothing_nothing_is_known() -> None:
    assert figures(host([]), THRESHOLDS) == NodeFigures()
    summary = operator_pb2.NodeSummary()
    fill(summary, figures(NodeState("never heard"), THRESHOLDS))
    assert not any(summary.HasField(name) for name in ("fsync_p99_us", "drops_per_s", "path_mtu"))


def test_the_worst_tail_of_the_window_is_told_with_its_process() -> None:
    names = [f"le_{bound}us" for bound in BOUNDS] + ["above"]
    state = host(
        [latency("latency/a", "postgres"), latency("latency/b", "etcd", file_class="wal")],
        ("latency/a", names, [10_000, 0, 0, 0, 0]),
        ("latency/b", names, [0, 0, 0, 0, 5_000]),
    )
    assert figures(state, THRESHOLDS).fsync_p99_us is None  # what was before the agent came says nothing of now
    rise(state, 10, slot_0=100, slot_5=10)
    assert figures(state, THRESHOLDS).fsync_process == "postgres"  # of ten calls there is no tail
    rise(state, 10, slot_8=100)
    told = figures(state, THRESHOLDS)
    assert told.fsync_process == "etcd"
    assert told.fsync_p99_us is not None
    assert 4_000 < told.fsync_p99_us <= 8_000


def test_drops_are_those_of_interfaces_per_second_of_the_window() -> None:
    state = host(
        [],
        ("link/2", ["rx_packets", "rx_dropped", "tx_dropped", "rx_errors"], [9, 500, 0, 7]),
        ("softnet", ["dropped"], [3]),
    )
    assert figures(state, THRESHOLDS).drops_per_s is None  # read once: no rate yet
    rise(state, 60, slot_0=1_000)
    assert figures(state, THRESHOLDS).drops_per_s == 0
    for _ in range(12):
        rise(state, 5, slot_0=10, slot_1=3, slot_2=2, slot_3=90, slot_4=40)
    assert figures(state, THRESHOLDS).drops_per_s == pytest.approx(1.0, rel=0.15)
    state.touch(state.at + 120)
    assert figures(state, THRESHOLDS).drops_per_s == 0


def test_without_interface_counters_drops_are_not_known() -> None:
    state = host([], ("softnet", ["dropped"], [3]))
    rise(state, 60, slot_0=40)
    assert figures(state, THRESHOLDS).drops_per_s is None


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ([("b", 1500, 1500), ("c", 1450, 1450)], (1450, 1450, "c", 0)),
        ([("b", 9000, 8000), ("c", 1450, 1400)], (8000, 9000, "b", 0)),
        ([("b", 1500, 1400), ("c", 1450, None)], (1400, 1500, "b", 1)),
        ([("b", 1500, None)], (None, 0, "", 1)),
        ([("b", 1400, 1500)], (1500, 1400, "b", 0)),
    ],
)
def test_the_path_that_lacks_most_is_told(paths: list[tuple[str, int, int | None]], told: tuple[object, ...]) -> None:
    found = figures(host([path(*each) for each in paths]), THRESHOLDS)
    assert (found.path_mtu, found.path_interface_mtu, found.path_peer, found.paths_unanswered) == told


def test_figures_are_kept_while_the_host_is_the_same_and_for_some_seconds() -> None:
    state = host([path("b", 1500, 1500)])
    first = figures(state, THRESHOLDS)
    assert figures(state, THRESHOLDS) is first
    state.touch(state.at + 4)
    assert figures(state, THRESHOLDS) is first
    state.touch(state.at + 1)
    assert figures(state, THRESHOLDS) is not first
    assert figures(state, Thresholds(window_s=30)) == first


def test_a_summary_says_them() -> None:
    summary = operator_pb2.NodeSummary()
    fill(summary, NodeFigures(1_500, "etcd", 0.0, 1_400, 1_500, "b", 2))
    assert (summary.fsync_p99_us, summary.fsync_process) == (1_500, "etcd")
    assert summary.HasField("drops_per_s")
    assert summary.drops_per_s == 0
    paths = summary.path_mtu, summary.path_interface_mtu, summary.path_peer, summary.paths_unanswered
    assert paths == (1_400, 1_500, "b", 2)
