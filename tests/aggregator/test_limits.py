"""A node that says too much: what is over a limit is left out and said, and what was good before stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import grpc
import pytest
from nodetell import signals
from nodetell.v1 import agent_pb2, operator_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.delta import DeltaEncoder
from agent.reading import Block, Reading
from aggregator import engine, limits
from aggregator.cluster.metrics_history import MetricsHistory
from aggregator.cluster.state import ClusterState
from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.limits import NodeLimits, Reached
from aggregator.model import Evidence, Finding, Severity, Stage, Verdict
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState
from aggregator.query import OperatorService
from aggregator.signatures.thresholds import Thresholds
from aggregator.store import Store
from aggregator.view import ClusterView

EPOCH_MS = 1_800_000_000_000
SMALL = NodeLimits(
    interfaces=3,
    mounts=2,
    coverage_entries=2,
    tunnels=1,
    routes=2,
    volumes=2,
    disks=2,
    pod_interfaces=2,
    facts_of_a_kind=2,
    facts=6,
    fact_bytes=200,
    facts_bytes=600,
    name_bytes=20,
    series=6,
    schemas=2,
    counters_of_a_schema=4,
    counter_name_bytes=8,
    samples=3,
    increments=5,
)


def link(number: int, name: str = "") -> pb.Item:
    return pb.Item(key=f"link/{number}", link=pb.Link(ifindex=number, name=name or f"veth{number}"))


def _tunnel(number: int) -> pb.Item:
    return pb.Item(key=f"link/t{number}", link=pb.Link(kind="vxlan", tunnel=pb.Tunnel(id=number)))


def update(*items: pb.Item, at: int = 0, full: bool = True) -> agent_pb2.Update:
    return agent_pb2.Update(at_unix_ms=EPOCH_MS + 1000 * at, full=full, items=items)


def with_counters(*rows: tuple[str, int, list[str], list[int]]) -> agent_pb2.Update:
    """(subject, first slot, names, values)"""
    made = update(link(1))
    for number, (subject, slot, names, values) in enumerate(rows, 1):
        made.schemas.add(id=number, names=names)
        made.blocks.add(first_slot=slot, schema=number, subject=subject, values=values)
    return made


@pytest.mark.parametrize(
    ("said", "limit", "count"),
    [
        (update(*(link(n) for n in range(5))), "interfaces", 2),
        (update(link(1), *(pb.Item(key=f"mount/{n}", mount=pb.Mount(id=n)) for n in range(6))), "mounts", 4),
        (
            update(link(1), *(pb.Item(key=f"coverage/{n}", coverage=pb.Coverage()) for n in range(3))),
            "coverage_entries",
            1,
        ),
        (update(link(1), *(pb.Item(key=f"disk/{n}", disk=pb.Disk()) for n in range(5))), "disks", 3),
        (update(link(1), *(pb.Item(key=f"usage/{n}", usage=pb.Usage()) for n in range(5))), "facts_of_a_kind", 3),
        (update(link(1), *(_tunnel(n) for n in range(5))), "tunnels", 4),
        (
            update(
                link(1),
                *(pb.Item(key=f"disk/{n}", disk=pb.Disk()) for n in range(2)),
                *(pb.Item(key=f"route/{n}", route=pb.Route()) for n in range(2)),
                *(pb.Item(key=f"volume/{n}", volume=pb.Volume()) for n in range(2)),
            ),
            "facts",
            1,
        ),
        (update(link(1), link(2, "x" * 300)), "fact_bytes", 1),
        (
            update(
                link(1),
                *(pb.Item(key=f"d{n}{n}", disk=pb.Disk(name="x" * 150)) for n in range(1)),
                *(pb.Item(key=f"v{n}", volume=pb.Volume(path="x" * 150)) for n in range(2)),
                *(pb.Item(key=f"r{n}", route=pb.Route(source="x" * 150)) for n in range(2)),
            ),
            "facts_bytes",
            2,
        ),
        (update(link(1), pb.Item(key="k" * 21, usage=pb.Usage())), "name_bytes", 1),
        (
            with_counters(("a", 1, ["x", "y", "z"], [1, 2, 3]), ("b", 9, ["p", "q", "r", "s"], [1, 2, 3, 4])),
            "series",
            4,
        ),
        (with_counters(*((f"s{n}", 9 * n, [f"n{n}"], [n]) for n in range(3))), "schemas", 1),
        (with_counters(("a", 1, list("abcde"), [1, 2, 3, 4, 5])), "counters_of_a_schema", 1),
        (with_counters(("a", 1, ["x" * 9], [1])), "counter_name_bytes", 1),
    ],
)
def test_what_is_over_a_limit_is_left_out_counted_and_said_and_the_rest_is_taken(
    said: agent_pb2.Update, limit: str, count: int
) -> None:
    state = NodeState("a", at_most=SMALL)
    state.apply(said)
    assert "link/1" in state.items
    assert (state.reached[limit].now, state.reached[limit].total) == (count, count)
    told = [each for each in state.coverage() if f"its limit {limit} is {SMALL.at_most(limit):,}" in each.because]
    assert len(told) == 1
    assert f"leaves out {count:,}" in told[0].because
    state.apply(update(link(7), at=5))
    assert set(state.items) == {"link/7"}
    assert state.coverage() == []
    assert (state.reached[limit].now, state.reached[limit].total) == (0, count)


def test_one_limit_keeps_nothing_else_out() -> None:
    state = NodeState("a", at_most=SMALL)
    state.apply(update(*(link(n) for n in range(8)), pb.Item(key="disk/1", disk=pb.Disk(name="sda"))))
    assert set(state.items) == {"link/0", "link/1", "link/2", "disk/1"}
    state.apply(update(link(2, "new"), link(9), at=1, full=False))
    assert state.items["link/2"].link.name == "new"
    assert "link/9" not in state.items
    gone = agent_pb2.Update(at_unix_ms=EPOCH_MS + 2000, removed_items=["link/0", "link/8"])
    state.apply(gone)
    state.apply(update(link(10), at=3, full=False))
    assert set(state.items) == {"link/1", "link/2", "link/10", "disk/1"}


def test_an_item_that_has_grown_too_long_is_not_remembered_as_it_was() -> None:
    state = NodeState("a", at_most=SMALL)
    state.apply(update(link(1), link(2)))
    state.apply(update(link(2, "x" * 300), at=1, full=False))
    assert set(state.items) == {"link/1"}


def test_counters_of_a_block_that_was_left_out_are_passed_over_and_all_others_are_counted() -> None:
    state = NodeState("a", at_most=SMALL)
    state.apply(with_counters(("a", 1, ["x", "y", "z"], [1, 2, 3]), ("b", 9, ["p", "q", "r", "s"], [1, 2, 3, 4])))
    rises = update(at=5, full=False)
    rises.samples.add(slot_gaps=[1, 9], increments=[7, 1])
    state.apply(rises)
    assert state.level("a", "x") == 8
    assert "b" not in state.counters


def test_blocks_without_a_counter_count_too() -> None:
    state = NodeState("a", at_most=SMALL)
    said = update(link(1))
    said.schemas.add(id=1, names=[])
    for number in range(9):
        said.blocks.add(first_slot=1, schema=1, subject=f"s{number}")
    state.apply(said)
    assert len(state.counters) == SMALL.series
    assert state.reached["series"].now == 3


@pytest.mark.parametrize(
    ("samples", "reason"), [([1, 1, 1, 1], "4 samples: the limit samples is 3"), ([3, 3], "6 increments")]
)
def test_too_many_samples_are_refused_for_then_the_agent_tells_all_and_no_counter_is_wrong(
    samples: list[int], reason: str
) -> None:
    state = NodeState("a", at_most=SMALL)
    state.apply(with_counters(("a", 1, ["x", "y", "z"], [1, 2, 3])))
    bad = update(at=5, full=False)
    for each in samples:
        bad.samples.add(slot_gaps=[1] * each, increments=[1] * each)
    with pytest.raises(UpdateError, match=reason):
        state.apply(bad)
    assert state.level("a", "x") == 1


def test_samples_from_long_before_any_window_cost_no_checkpoint() -> None:
    state = NodeState("a", history_s=60.0)
    state.apply(with_counters(("a", 1, ["x"], [1])))
    late = update(at=100_000, full=False)
    for second in range(0, 100_000, 500):
        late.samples.add(at_offset_ms=(second - 100_000) * 1000, slot_gaps=[1], increments=[1])
    packed = _count_checkpoints(state, lambda: state.apply(late))
    assert state.level("a", "x") == 201
    assert packed <= 2


def _count_checkpoints(state: NodeState, act: Callable[[], None]) -> int:
    before = len(state._checkpoints)
    taken = 0
    thin_out = state._thin_out

    def count() -> None:
        nonlocal taken
        taken += 1
        thin_out()

    state._thin_out = count  # type: ignore[method-assign]
    act()
    assert len(state._checkpoints) >= before - taken
    return taken


def test_a_host_of_a_thousand_pods_is_far_from_every_limit() -> None:
    names = tuple(f"counter_{n}" for n in range(25))
    reading = Reading()
    for number in range(1_200):
        reading.add(link(number))
        reading.blocks[f"link/{number}"] = Block(names, tuple(range(25)))
    for number in range(1_200):
        path = f"/var/lib/kubelet/pods/{number:036}/volumes/kubernetes.io~csi/pvc-{number:036}/mount"
        volume = pb.Volume(path=path, volume_name=f"pvc-{number:036}", staging_path=path, pod_uid=f"{number:036}")
        reading.add(pb.Item(key=f"volume/{number}", volume=volume))
        reading.add(pb.Item(key=f"mount/{number}", mount=pb.Mount(mount_point=path, source=path)))
    state = NodeState("a")
    state.apply(DeltaEncoder().full(reading, EPOCH_MS))
    assert state.reached == {}
    assert len(state.items) == 3_600


def test_findings_that_one_agent_makes_up_by_the_thousand_are_bounded_and_those_of_others_stay() -> None:
    def made_up(view: ClusterView, _thresholds: Thresholds) -> Verdict:
        verdict = Verdict()
        for name in view.hosts:
            for number in range(9 if name == "hostile" else 2):
                severity = Severity.CRITICAL if number == 8 else Severity.WARNING
                verdict.findings.append(_finding(f"{name}-{number}", severity, name))
        verdict.findings += [_finding(f"api-{n}", Severity.INFO, "hostile", "kube/pods") for n in range(5)]
        return verdict

    hosts = {name: NodeState(name) for name in ("hostile", "a", "b")}
    view = ClusterView("c", hosts, ClusterState(), 1.0, MetricsHistory(), None)
    judged = engine.judge(view, Thresholds(), (("made_up", made_up),), (), most_findings=3)
    of_hostile = [each.id for each in judged.verdict.findings if each.id.startswith("hostile")]
    assert sorted(of_hostile) == ["hostile-0", "hostile-1", "hostile-8"]
    assert sum(each.id.startswith(("a-", "b-")) for each in judged.verdict.findings) == 4
    assert sum(each.id.startswith("api-") for each in judged.verdict.findings) == 5
    (gap,) = [each for each in judged.verdict.gaps if each.signal == "diagnosis/limit"]
    assert (gap.node, gap.because.startswith("6 findings")) == ("hostile", True)


def _finding(key: str, severity: Severity, node: str, source: str = "rtnetlink") -> Finding:
    evidence = (Evidence(node, "link.mtu", "x", 1, "bytes", source, 1.0),)
    return Finding(key, "x.y", "x", Stage.RISK, severity, "x", (node,), evidence, "never")


def test_what_a_limit_keeps_out_is_shown_under_a_signal_that_operators_know() -> None:
    nodes = {each.name: Reached(1, 2) for each in fields(limits.NodeLimits)}
    paces = {name: Reached(1, 2) for name in ("messages_per_s", "work_share", "streams_per_s", "message_bytes")}
    items = [*limits.limit_items(nodes), *limits.pace_items(paces)]
    assert len({item.key for item in items}) == len(nodes) + len(paces)
    for item in items:
        (signal,) = signals.of_gap(item.key)
        assert signal.name == item.coverage.signal
        assert item.coverage.status == pb.COVERAGE_STATUS_DEGRADED
    told = {each.limit: (each.now, each.total) for each in limits.limits_reached(nodes | paces)}
    assert told == dict.fromkeys((*nodes, *paces), (1, 2))


def test_questions_beyond_those_being_worked_on_are_refused_and_the_refusal_is_told() -> None:
    async def run() -> None:
        fleet = Fleet(Store(None), FindingBook())
        service = OperatorService(fleet, lambda: 1.0)
        service._questions = limits.OPERATOR.questions
        with pytest.raises(Refusal, match="RESOURCE_EXHAUSTED"):
            await service.WhatIf(operator_pb2.WhatIfRequest(), Context())
        assert [gap.node for gap in fleet.gaps() if "limit questions" in gap.because] == [""]

    asyncio.run(run())


class Refusal(Exception):  # noqa: N818  # what gRPC raises has no name of its own
    """The call was ended."""


class Context:
    """As much of gRPC's as a refusal needs."""

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Refusal(f"{code.name}: {details}")


def test_every_limit_is_documented_where_it_stands() -> None:
    text = Path(limits.__file__).read_text(encoding="utf-8")
    for each in (*fields(limits.NodeLimits), *fields(limits.PeerLimits), *fields(limits.OperatorLimits)):
        assert f"    {each.name}: " in text
        after = text.split(f"    {each.name}: ", 1)[1].split("\n", 1)[1]
        assert after.lstrip().startswith('"""'), each.name


def test_an_item_that_says_nothing_any_more_is_gone_from_its_kind_where_a_limit_is_reached_too() -> None:
    state = NodeState("n", at_most=NodeLimits(interfaces=2))
    state.apply(update(link(1), link(2)))
    assert [item.key for item in state.of("link")] == ["link/1", "link/2"]
    said = update(pb.Item(key="link/1"), link(3), link(4), at=1, full=False)
    state.apply(said)
    assert [item.key for item in state.of("link")] == ["link/2", "link/3"]
    assert list(state.items) == ["link/2", "link/3"]
    assert "link/1" in said.removed_items  # whoever follows the updates must hear of it
