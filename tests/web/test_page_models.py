"""What the page says, before it is made into HTML: incidents by their causes, tables, stacks, truth tables, times."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from nodetell.v1 import operator_pb2

from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import ClusterState
from aggregator.findings import Kind, Record, Transition
from aggregator.model import Evidence, Finding, Gap, Severity, Stage
from aggregator.view import ClusterView
from aggregator.web.page import words
from aggregator.web.page.incidents import FIVE
from aggregator.web.page.models import incidents, named
from aggregator.web.page.models_finding import finding_page
from aggregator.web.page.models_nodes import COLUMNS, PAGE, Asked, Row, asked, nodes_page, row_of
from aggregator.web.page.models_overview import Overview, overview
from aggregator.web.page.models_seen import limits, seen
from aggregator.web.page.models_stack import stack
from cli.bundle_known import known_of
from tests.lab.scenario import write
from tests.signatures.test_control_plane_timelines import disk_noisy_neighbour__positive_the_whole_chain as slow_disk
from tests.web.site import AT, finding
from tests.world import World


def record(name: str, *causes: str, **more: object) -> Record:
    """Of a finding with this id."""
    resolved = more.pop("resolved", None)
    fields: dict[str, object] = {"id": name, "caused_by": causes, "stage": Stage.ACTIVE} | more
    made: Finding = finding(1, **fields)
    over = resolved if isinstance(resolved, float) else None
    return Record(made, "", AT - 600, AT, resolved=over, because="cleared" if over else "")


CHAIN = [
    record("lost", code="node.lost", incident="node", since=AT - 1600, remediation=("Find out whether it runs.",)),
    record("zone", "lost", code="storage.zone_mismatch", severity=Severity.CRITICAL, since=AT - 1200),
    record("stale", "lost", code="storage.stale_attachment", severity=Severity.CRITICAL, since=AT - 1560),
    record("pods", "zone", code="sched.volume_zone", incident="scheduler_stuck", severity=Severity.CRITICAL),
]


def shown(standing: list[Record], view: ClusterView | None = None, **more: object) -> Overview:
    """The overview of a cluster with one node."""
    there = view or ClusterView("c", {}, ClusterState())
    resolved, changed = more.get("resolved", []), more.get("changed", [])
    assert isinstance(resolved, list)
    assert isinstance(changed, list)
    return overview(there, standing, resolved, changed, seen=seen(there, {"n1": True}, 0), now=AT)


def test_an_incident_is_told_from_what_is_felt_to_its_cause() -> None:
    (told,), count = incidents(CHAIN)
    assert count == 1
    assert (told.root.id, [each.id for each in told.steps], told.suffers.id) == ("lost", ["zone"], "pods")
    assert [each.id for each in told.others] == ["stale"]
    assert told.since == AT - 1600
    assert told.first == ("Find out whether it runs.",)
    assert (told.badge.word, told.badge.stage) == ("critical", "active")


def test_findings_that_name_each_other_are_told_all_the_same() -> None:
    told, count = incidents([record("a", "b"), record("b", "a"), record("alone", "gone")])
    assert count == 2
    assert {each.id for one in told for each in (one.root, one.suffers, *one.steps, *one.others)} == {"a", "b", "alone"}


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=10), st.integers(1, 10))
def test_no_finding_is_ever_left_out(webs: list[list[int]], most: int) -> None:
    records = [record(str(number), *map(str, causes)) for number, causes in enumerate(webs)]
    told, count = incidents(records)
    assert len(told) == count
    named = {each.id for one in told for each in (one.root, one.suffers, *one.steps, *one.others)}
    assert named == {str(number) for number in range(len(webs))}
    assert [each.root.id for each in incidents(records, most)[0]] == [each.root.id for each in told[:most]]


def test_what_happens_comes_before_what_may() -> None:
    risk = record("risk", stage=Stage.RISK, severity=Severity.CRITICAL)
    told, _ = incidents([risk, record("now", severity=Severity.WARNING)])
    assert [each.root.id for each in told] == ["now", "risk"]


@pytest.mark.parametrize(
    ("standing", "headline"),
    [
        ([], "Quiet"),
        (CHAIN, "4 active findings, with 1 cause"),
        ([record("a")], "1 active finding"),
        ([record("a"), record("b", stage=Stage.RISK)], "1 active finding, 1 risk beside it"),
        ([record("b", stage=Stage.RISK)], "1 risk: nobody suffers yet"),
    ],
)
def test_the_headline_counts(standing: list[Record], headline: str) -> None:
    assert shown(standing).headline == headline


def test_the_five_are_always_there_and_what_cannot_be_seen_is_not_called_quiet() -> None:
    model = shown(CHAIN[:1])
    assert [tile.incident.key for tile in model.tiles] == [*(each.key for each in FIVE), "node"]
    states = {tile.incident.key: (tile.badge.key, bool(tile.why)) for tile in model.tiles}
    assert states["scheduler_stuck"] == ("unseen", True)
    assert states["node"] == ("warning", False)
    known = ClusterState()
    known.set_known("pods", True)
    quiet = {tile.incident.key: tile.badge.key for tile in shown([], ClusterView("c", {}, known)).tiles}
    assert quiet["scheduler_stuck"] == quiet["crash_loop"] == "quiet"
    assert quiet["mtu_mismatch"] == "unseen"


def test_the_last_hour_has_what_began_changed_and_ended_the_newest_first() -> None:
    changed = [Transition(Kind.CHANGED, CHAIN[1], AT - 5)]
    over = [record("over", resolved=AT - 60), record("long over", resolved=AT - 4000)]
    old = record("old", since=AT - 90_000)
    model = shown([CHAIN[1], old], resolved=over, changed=changed)
    told = [(each.what, each.finding.id, each.at) for each in model.changes]
    assert told == [
        ("changed", "zone", AT - 5),
        ("over", "over", AT - 60),
        ("appeared", "long over", AT - 600),
        ("appeared", "old", AT - 600),
        ("appeared", "over", AT - 600),
        ("began", "zone", AT - 1200),
    ]


def test_nodes_without_an_agent_are_not_seen() -> None:
    state = ClusterState()
    for name in ("n1", "n2", "n3"):
        state.keep("nodes", name, NodeObject(name))
    state.set_known("nodes", True)
    told = seen(ClusterView("c", {}, state), {"n1": True, "n2": False, "n9": True}, 1)
    assert (told.heard, told.nodes, told.silent, told.share, told.limits) == (2, 4, ("n2", "n3"), 50, 1)
    assert not told.whole


def test_gaps_that_differ_in_the_node_alone_are_one() -> None:
    gaps = [Gap(f"n{number}", "drops", "missing", f"nodes/n{number}/drops: no") for number in range(3)]
    first, second = limits([Gap("", "store", "missing", "full"), *gaps])
    assert (first.signal, first.nodes) == ("store", ())
    assert (second.because, second.nodes) == ("nodes/NODE/drops: no", ("n0", "n1", "n2"))


# -- nodes -------------------------------------------------------------------------------------------------------------


def summaries(count: int) -> list[operator_pb2.NodeSummary]:
    """Nodes that differ in everything."""
    return [
        operator_pb2.NodeSummary(
            node=f"n{number:03}",
            connected=number % 7 != 0,
            findings=number % 3,
            fsync_p99_us=number * 100,
            drops_per_s=float(number % 5),
            path_mtu=1500 - 10 * (number % 4),
            path_interface_mtu=1500,
            clock_offset_us=(-1) ** number * number * 1000,
            heard_at_unix_ms=round((AT - number) * 1000),
        )
        for number in range(count)
    ]


def table(count: int) -> list[Row]:
    """Their rows, and one that no agent tells of."""
    state = ClusterState()
    state.keep("nodes", "bare", NodeObject("bare", labels={"topology.kubernetes.io/zone": "b"}))
    view, told = ClusterView("c", {}, state), summaries(count)
    return [row_of("bare", None, view, 0, AT), *(row_of(each.node, each, view, each.findings, AT) for each in told)]


@pytest.mark.parametrize("column", [column.key for column in COLUMNS])
@pytest.mark.parametrize("down", [True, False])
def test_every_column_sorts_both_ways_and_keeps_what_is_not_known_last(column: str, down: bool) -> None:
    every = table(30)
    page = nodes_page(every, Asked(sort=column, down=down))
    value = next(each for each in COLUMNS if each.key == column).value
    values = [value(row) for row in page.rows]
    known = [each for each in values if each is not None]
    assert known == sorted(known, reverse=down)
    assert values[len(known) :] == [None] * (len(values) - len(known))
    assert len(page.rows) == 31


def test_the_filter_looks_at_names_zones_and_pools_and_pages_are_cut() -> None:
    every = table(120)
    assert [row.name for row in nodes_page(every, asked({"q": "N01", "sort": "node"})).rows] == [
        f"n{number:03}" for number in range(10, 20)
    ]
    assert [row.name for row in nodes_page(every, asked({"zone": "b"})).rows] == ["bare"]
    trouble = nodes_page(every, asked({"only": "trouble"}))
    assert 0 < trouble.found < trouble.every == 121
    last = nodes_page(every, asked({"page": "999", "sort": "node"}))
    assert (last.asked.page, last.pages, len(last.rows)) == (3, 3, 121 - 2 * PAGE)


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(["q", "zone", "only", "sort", "order", "page"]), st.text(max_size=12)))
def test_whatever_an_address_asks_for_something_is_shown_and_its_links_lead_back(query: dict[str, str]) -> None:
    wanted = asked(query)
    page = nodes_page(table(3), wanted)
    assert page.pages == 1
    back = asked({name: values[0] for name, values in parse_qs(wanted.link()[1:]).items()})
    assert back == wanted


def test_a_node_that_nobody_tells_of_has_the_findings_that_name_it() -> None:
    lost = record("lost", objects=("Node/n9", "Pod/a/b"), nodes=("n8",))
    assert named(lost) == {"n8", "n9"}


# -- a finding ---------------------------------------------------------------------------------------------------------


def test_a_finding_is_told_with_its_chain_and_each_fact_under_its_finding() -> None:
    fact = Evidence("n1", "lease.age", "n1", 1605, "s", "kube/leases", AT)
    other = Evidence("", "scheduler.says", "db/pg-0", "0/3", "", "kube/pods", AT)
    chain = [replace(CHAIN[0], finding=replace(CHAIN[0].finding, evidence=(fact,))), *CHAIN[1:3]]
    pods = replace(CHAIN[3], finding=replace(CHAIN[3].finding, evidence=(other, fact), summary="It is Pending."))
    drawn: list[str] = []

    async def draw(finding: Finding, fact: Evidence) -> Markup | None:
        drawn.append(fact.signal)
        return Markup("<svg/>") if finding.id == "pods" else None

    page = asyncio.run(finding_page([*chain, pods], pods, draw))
    assert [link.finding.id for link in page.chain] == ["lost", "zone", "pods"]
    assert page.first == ("Find out whether it runs.",)
    assert (page.since, page.asked.id, page.cause.id, page.symptom.id) == (AT - 1600, "pods", "lost", "pods")
    told = [(each.fact, each.heading.id if each.heading else "", bool(each.chart)) for each in page.evidence]
    assert told == [(fact, "lost", False), (other, "pods", True)]
    assert drawn == ["lease.age", "scheduler.says"]
    assert ("Pending", "the pod is wanted, and no node has been found for it") in page.terms
    assert [each.id for each in page.also_effects] == ["stale"]


def test_what_is_over_has_a_page_of_its_own() -> None:
    over = record("over", resolved=AT - 5)

    async def draw(_: Finding, __: Evidence) -> Markup | None:
        return None

    page = asyncio.run(finding_page(CHAIN, over, draw))
    assert page.alone
    assert page.asked.resolved == AT - 5


# -- one node ----------------------------------------------------------------------------------------------------------


def test_the_stack_goes_from_pods_to_the_device_and_shows_the_misfit() -> None:
    world = World()
    host = world.host("n1")
    host.vxlan(1500, host.nic(1500))
    host.bridge_with_pods(1500)
    world.pass_time(0.0)
    told = stack(world.states["n1"], None, 60.0)
    assert [layer.title for layer in told.layers] == ["Pods", "Bridge", "Tunnel", "Device"]
    assert told.misfits == ("1,500 into flannel.1 + 50 for vxlan = 1,550: does not fit the 1,500 of eth0",)
    assert told.layers[2].below == ((False, told.misfits[0]),)
    boxes = {box.name: box.misfit for layer in told.layers for box in layer.boxes}
    assert boxes == {"2 pods": False, "cni0": False, "flannel.1": True, "eth0": True}
    host.links[1].mtu = 1550
    world.pass_time(5.0)
    mended = stack(world.states["n1"], None, 60.0)
    assert (mended.misfits, mended.layers[2].below[0][0]) == ((), True)


def test_a_pod_that_is_larger_than_its_overlay_stands_out() -> None:
    world = World()
    host = world.host("n1")
    host.vxlan(1450, host.nic(1500))
    host.bridge_with_pods(1450, veth_mtu=1450)
    odd = host.pod_veth(1500, "odd", master=3)
    world.pass_time(0.0)
    host.rise(f"link/{odd.ifindex}", rx_dropped=7)
    world.pass_time(30.0)
    told = stack(world.states["n1"], None, 60.0)
    pods = {box.name: (box.mtu, box.misfit, box.lost) for box in told.layers[0].boxes}
    assert pods == {"2 pods": (1450, False, ""), "odd": (1500, True, "7 rx_dropped in 30 s")}
    assert told.misfits


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (330, "5 min 30 s"),
        (1605, "26 min"),
        (7260, "2 h 1 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_lengths_of_time_have_two_units_at_most(seconds: float, text: str) -> None:
    assert words.lasting(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_234_567, "packets", "1,234,567 packets"),
        (248.53, "ms", "248.5 ms"),
        (1605, "s", "26 min"),
        (15, "s", "15 s"),
        (True, "", "yes"),
        ("Unknown", "", "Unknown"),
    ],
)
def test_values_have_their_unit(value: float | str, unit: str, text: str) -> None:
    assert words.value(Evidence("n", "s", "x", value, unit, "src", AT)) == text


def test_a_time_of_another_day_has_its_day() -> None:
    assert words.clock(AT, AT + 60) == "10:01:00 UTC"
    assert words.clock(AT - 86_400, AT) == "2026-11-21 10:01:00 UTC"
    assert words.stamp(1e30).startswith("9999-")


def test_what_turns_or_hides_text_is_shown_as_what_it_is() -> None:
    assert words.harmless("a\u202eb\x00") == "a\\u202eb\\x00"


# -- a bundle ----------------------------------------------------------------------------------------------------------


def test_a_table_and_a_finding_of_a_bundle_speak_of_one_window(tmp_path: Path) -> None:
    write(slow_disk(), tmp_path)
    known = known_of(str(tmp_path))
    fact = next(
        fact
        for each in known.standing()
        for fact in each.finding.evidence
        if each.finding.code == "cp.etcd_slow_fsync" and fact.signal == "fsync.p99"
    )
    assert isinstance(fact.value, float)
    row = next(each for each in known.summaries() if each.node == fact.node)
    assert row.fsync_p99_us / 1000 == pytest.approx(fact.value, rel=0.01)
