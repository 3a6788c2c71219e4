"""Decisions of incident 5, each by itself and at its very edge."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from nodetell.v1 import agent_pb2

from aggregator.cluster.api_metrics import Histogram, Sample
from aggregator.cluster.metric_families import (
    APF_REJECTED,
    APF_SEATS,
    APF_SEATS_LIMIT,
    REQUEST_SECONDS,
    REQUESTS,
    SYSTEM_CLIENTS,
    WEBHOOK_SECONDS,
    Labels,
)
from aggregator.cluster.metrics_history import Latency, MetricsHistory
from aggregator.cluster.objects import Lease
from aggregator.cluster.state import ClusterState
from aggregator.model import Finding, RuledOut, Severity, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case
from aggregator.signatures.control_plane import leases
from aggregator.signatures.control_plane.baseline import Usual, usual
from aggregator.signatures.control_plane.climb import Api, Climb, Traffic
from aggregator.signatures.control_plane.facts import fact, latencies, traffic
from aggregator.signatures.control_plane.fairness import throttled
from aggregator.signatures.control_plane.late_leases import PREFIX
from aggregator.signatures.control_plane.past import Comparison, Window, _Good
from aggregator.signatures.control_plane.pieces import waited_us
from aggregator.signatures.control_plane.requests import Grown, clients, failing, grown, surge
from aggregator.signatures.control_plane.slowness import EtcdSeen, cases
from aggregator.signatures.control_plane.webhooks import slow
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

NOW = 1_790_000_000.0
LIMITS = Thresholds()
BOUNDS = (0.1, 0.2, 0.4, 0.8, 1.6)
Counts = Mapping[str, Mapping[Labels, float]]
"""By family and labels."""


# -- what is usual -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "deviation", "now", "exceeded"),
    [
        (10, 0, 20, True),
        (10, 0, 19.9, False),
        (10, 2.5, 20, False),
        (10, 2.5, 20.1, True),
        (10, 100, 25, False),
        (10, 1, 15, False),
    ],
)
def test_twice_as_much_and_beyond_where_it_strays(value: float, deviation: float, now: float, exceeded: bool) -> None:
    assert Usual(value, deviation, 600).exceeded(now, 2.0) is exceeded


def test_the_spread_is_that_of_a_normal_distribution() -> None:
    assert usual([1, 2, 3, 4, 100], 60) == Usual(3, 1.4826, 60)
    assert usual([], 60) is None


# -- of an API server's figures --------------------------------------------------------------------------------------


def sample(at: float, counters: Counts, levels: Counts | None = None) -> Sample:
    return Sample(NOW + at, NOW - 86_400, counters, levels or {}, {})


def history(*samples: Sample) -> MetricsHistory:
    found = MetricsHistory()
    for each in samples:
        found.add(each)
    return found


def view_of(metrics: MetricsHistory) -> ClusterView:
    return ClusterView("test", {}, ClusterState(), NOW, metrics)


def requests(at: float, **counts: float) -> Sample:
    """Requests since the process began, by verb: LIST of secrets, GET of pods, WATCH of pods."""
    of = {"LIST": "secrets", "GET": "pods", "WATCH": "pods"}
    return sample(at, {REQUESTS: {(verb, of[verb], "200"): count for verb, count in counts.items()}})


def test_requests_that_have_grown_by_what_they_were_in_the_hour_before() -> None:
    metrics = history(
        requests(-1200, LIST=0, GET=0), requests(-60, LIST=114, GET=11_400), requests(0, LIST=174, GET=12_000)
    )
    (found,) = grown(metrics, 60, LIMITS)
    assert found == Grown("LIST secrets", 1.0, found.before)
    assert found.before == pytest.approx(0.1)


def test_where_nothing_is_known_of_the_hour_before_by_what_they_were_since_the_server_began() -> None:
    metrics = history(requests(-60, LIST=8634, GET=86_340), requests(0, LIST=8934, GET=86_400))
    (found,) = grown(metrics, 60, LIMITS)
    assert (found.what, found.now) == ("LIST secrets", 5.0)
    assert found.before == pytest.approx(0.1)


def test_nothing_has_grown_where_all_is_as_it_was() -> None:
    metrics = history(requests(-1200, GET=0), requests(-600, GET=600), requests(-60, GET=1140), requests(0, GET=1200))
    assert grown(metrics, 60, LIMITS) == []
    assert clients(metrics, 60, LIMITS) == []


def test_watches_are_no_requests_that_grow() -> None:
    metrics = history(requests(-1200, WATCH=0), requests(-60, WATCH=0), requests(0, WATCH=6000))
    assert grown(metrics, 60, LIMITS) == []


def test_what_makes_up_less_than_a_tenth_of_the_growth_is_left_out() -> None:
    before = requests(-1200, LIST=0, GET=0), requests(-60, LIST=0, GET=0)
    assert [each.what for each in grown(history(*before, requests(0, LIST=540, GET=60)), 60, LIMITS)] == [
        "LIST secrets",
        "GET pods",
    ]
    assert [each.what for each in grown(history(*before, requests(0, LIST=546, GET=60)), 60, LIMITS)] == [
        "LIST secrets"
    ]


def errors(bad: float, good: float) -> list[Case]:
    """A window in which so many requests failed."""
    begin: Counts = {REQUESTS: {("GET", "pods", "200"): 0.0, ("GET", "pods", "500"): 0.0}}
    end: Counts = {REQUESTS: {("GET", "pods", "200"): good, ("GET", "pods", "500"): bad}}
    api = Api(Window(NOW - 60, NOW, {}, {}))
    return list(failing(view_of(history(sample(-60, begin), sample(0, end))), api, LIMITS))


def test_one_in_a_hundred_may_fail_and_four_of_any_number() -> None:
    assert not errors(4, 0)
    assert not errors(5, 495)
    assert errors(5, 494)
    assert errors(50, 451)[0].severity is None
    assert errors(50, 450)[0].severity is Severity.CRITICAL


def test_a_surge_names_what_grew_and_who_asks() -> None:
    listed, client = ("LIST", "secrets", "200"), ("kube-controller-manager",)
    counts = ((-1200, 0.0, 0.0), (-60, 114.0, 0.0), (0, 189.4, 33.3))
    samples = (sample(at, {REQUESTS: {listed: lists}, SYSTEM_CLIENTS: {client: asks}}) for at, lists, asks in counts)
    load = Traffic(20.0, 5.0, climbed=True)
    of = Api(Window(NOW - 60, NOW, {}, {}), (climb(),), traffic=load, since=NOW - 90)
    case = surge(view_of(history(*samples)), of, LIMITS)
    assert case is not None
    assert case.statement == (
        "The 99th percentile of LIST is 500 ms, usually 50 ms, and requests have grown with it (20.0 requests/s, 300 % "
        "more than usual), most of all LIST secrets: 1.3/s, before 0.1/s; of the control plane's own clients "
        "kube-controller-manager (0.0/s to 0.6/s) grew"
    )
    assert case.evidence[-2:] == (
        fact("counter.request_rate", "LIST secrets", 1.3, "requests/s", NOW),
        fact("counter.client_rate", "kube-controller-manager", 0.6, "requests/s", NOW),
    )
    assert case.since == NOW - 90
    nobody = surge(VIEW, of, LIMITS)
    assert nobody is not None
    assert nobody.statement.endswith("(20.0 requests/s, 300 % more than usual)")
    assert surge(VIEW, api(), LIMITS) is None


# -- priority and fairness ---------------------------------------------------------------------------------------------


def rejected(count: float, level: str = "workload-low") -> list[Case]:
    begin: Counts = {APF_REJECTED: {(level, "a", "queue-full"): 0.0, (level, "b", "time-out"): 0.0}}
    end: Counts = {APF_REJECTED: {(level, "a", "queue-full"): count, (level, "b", "time-out"): 0.0}}
    seats: Counts = {APF_SEATS: {(level,): 12.4}, APF_SEATS_LIMIT: {(level,): 50.0}}
    metrics = history(sample(-60, begin), sample(0, end, seats))
    return list(throttled(view_of(metrics), Api(Window(NOW - 60, NOW, {}, {})), LIMITS))


def test_seats_of_a_level_that_rejects_are_told() -> None:
    (case,) = rejected(5)
    assert case.evidence == (
        fact("counter.apf.seats", "workload-low", 12, "seats", NOW),
        fact("counter.apf.seats.limit", "workload-low", 50, "seats", NOW),
        fact("counter.apf_rejected", "workload-low", 5, "requests", NOW),
    )
    assert case.severity is None
    assert case.since == NOW - 60
    assert "(most of them: a, queue-full)" in case.statement
    assert not rejected(4)


@pytest.mark.parametrize("level", ["system", "node-high", "leader-election"])
def test_levels_of_the_clusters_own_components_are_critical(level: str) -> None:
    assert rejected(5, level)[0].severity is Severity.CRITICAL


# -- slowness ----------------------------------------------------------------------------------------------------------


def climb(name: str = "LIST", p99_ms: float = 500.0, past_ms: float = 50.0, counts: tuple[int, ...] = ()) -> Climb:
    return Climb(name, Latency(BOUNDS, counts or (0, 0, 0, 100, 0, 0), 60.0, 60.0), p99_ms, past_ms)


def api(*verbs: Climb, etcd: tuple[Climb, ...] = (), etcd_flat: bool = False) -> Api:
    window = Window(NOW - 60, NOW, {}, {})
    load = Traffic(20.0, 25.0, climbed=False)
    return Api(window, verbs or (climb(),), etcd, traffic=load, etcd_flat=etcd_flat, since=NOW - 60)


def fsyncs(node: str, p99_ms: float) -> Finding:
    told = fact("fsync.p99", "etcd", p99_ms, "ms", NOW)
    return Finding("f", "cp.etcd_slow_fsync", "i", Stage.RISK, Severity.WARNING, "", (node,), (told,), "")


def only(found: list[Case]) -> Case:
    (case,) = found
    return case


VIEW = view_of(MetricsHistory())
NO_SURGE = RuledOut("cp.api_traffic_surge", "20.0 requests/s, 20 % fewer than usual")


@pytest.mark.parametrize(("p99_ms", "severity"), [(999.9, None), (1000.0, Severity.CRITICAL)])
def test_a_second_is_critical_whatever_makes_it(p99_ms: float, severity: Severity | None) -> None:
    worst = climb(p99_ms=p99_ms)
    saturation = only(cases(VIEW, api(worst), EtcdSeen([fsyncs("cp-1", 30.0)]), LIMITS))
    unseen = only(cases(VIEW, api(worst, etcd=(climb("update", 80, 8),)), EtcdSeen(), LIMITS))
    latency = only(cases(VIEW, api(worst), EtcdSeen(), LIMITS))
    assert [each.code for each in (saturation, unseen, latency)] == ["cp.saturation"] * 2 + ["cp.apiserver_latency"]
    for case in (saturation, unseen, latency):
        assert case.severity is severity
        assert case.ruled_out[0] == NO_SURGE
        assert case.since == NOW - 60
        assert case.objects == ("ApiServer/test",)


def test_an_etcd_that_is_fast_is_ruled_out_by_its_slowest_member() -> None:
    case = only(cases(VIEW, api(), EtcdSeen(measured={"cp-1": 7.25, "cp-2": 5.0, "cp-3": 7.25}), LIMITS))
    fast = RuledOut("cp.etcd_slow_fsync", "etcd's fsyncs on cp-3 take 7.2 ms (99th percentile)")
    assert case.ruled_out == (NO_SURGE, fast)
    flat = only(cases(VIEW, api(etcd_flat=True), EtcdSeen(measured={"cp-1": 7.25}), LIMITS))
    assert [each.code for each in flat.ruled_out] == ["cp.api_traffic_surge", "cp.saturation"]


def test_slow_fsyncs_on_several_nodes_are_told_by_the_slowest() -> None:
    case = only(cases(VIEW, api(), EtcdSeen([fsyncs("cp-2", 30.0), fsyncs("cp-1", 45.0)]), LIMITS))
    assert case.statement.startswith(
        "etcd's fsyncs on cp-1, cp-2 take 45 ms (99th percentile), and so the API server's"
    )
    assert case.nodes == ("cp-1", "cp-2")
    assert case.evidence[:2] == (fact("fsync.p99", "etcd", 30.0, "ms", NOW), fact("fsync.p99", "etcd", 45.0, "ms", NOW))


def test_with_slow_fsyncs_that_nobody_feels_it_is_something_else() -> None:
    assert only(cases(VIEW, api(etcd_flat=True), EtcdSeen([fsyncs("cp-1", 30.0)]), LIMITS)).code == (
        "cp.apiserver_latency"
    )


def test_slow_lists_of_etcd_alone_are_of_the_lists() -> None:
    lists = (climb("list", 900, 90),)
    assert only(cases(VIEW, api(etcd=lists), EtcdSeen(), LIMITS)).code == "cp.apiserver_latency"


def test_without_slow_verbs_or_a_known_past_there_is_nothing() -> None:
    assert cases(VIEW, Api(), EtcdSeen([fsyncs("cp-1", 30.0)]), LIMITS) == []
    assert cases(VIEW, Api(verbs=(climb(),)), EtcdSeen(), LIMITS) == []


def test_facts_have_what_is_usual_beside_what_is() -> None:
    many = tuple(climb(f"V{number}", 100.06, 50.04) for number in range(7))
    found = latencies(Api(Window(NOW - 60, NOW, {}, {}), many, (climb("get", 9.96, 1.0),)))
    assert len(found) == 2 * (5 + 1)
    assert found[:2] == [fact("api.p99", "V0", 100.1, "ms", NOW), fact("api.p99.usual", "V0", 50.0, "ms", NOW)]
    assert found[-2:] == [
        fact("etcd_request.p99", "get", 10.0, "ms", NOW),
        fact("etcd_request.p99.usual", "get", 1.0, "ms", NOW),
    ]
    assert traffic(api()) == [
        fact("counter.request_rate", "all requests", 20.0, "requests/s", NOW),
        fact("counter.request_rate.usual", "all requests", 25.0, "requests/s", NOW),
    ]
    assert traffic(Api()) == []
    assert fact("a", "b", 1, "c", 2.0).source == "kube/metrics"


# -- webhooks ----------------------------------------------------------------------------------------------------------


def hooked(counts: tuple[int, ...], verb: str = "POST", writes: tuple[int, ...] = (0, 0, 0, 100, 0, 0)) -> list[Case]:
    """Webhook "hook" with calls in these buckets, while writes take as long as that."""
    key = (WEBHOOK_SECONDS, ("hook",))
    window = Window(NOW - 60, NOW, {key: Latency(BOUNDS, counts, 30.0, 60.0)}, {})
    return slow(VIEW, Api(window, (climb(verb, 800.0, 100.0, writes),), since=NOW - 60), LIMITS)


def test_a_webhook_that_takes_half_of_the_time_of_half_of_the_slow_writes_makes_up_the_latency() -> None:
    case = only(hooked((50, 0, 0, 50, 0, 0)))
    assert case.statement == (
        "admission webhook hook takes 792 ms (99th percentile of 100 calls), which makes up the latency of POST: "
        "800 ms, usually 100 ms"
    )
    assert case.weight == pytest.approx(0.792)
    assert case.since == NOW - 60


@pytest.mark.parametrize(
    ("counts", "verb"),
    [
        ((51, 0, 0, 49, 0, 0), "POST"),
        ((0, 0, 100, 0, 0, 0), "GET"),
        ((0, 100, 0, 0, 0, 0), "POST"),
        ((0, 0, 0, 19, 0, 0), "POST"),
    ],
    ids=["too-few-slow-calls", "a-read-is-slow-too", "too-fast", "no-tail"],
)
def test_otherwise_it_does_not(counts: tuple[int, ...], verb: str) -> None:
    assert not hooked(counts, verb, (0, 0, 0, 100, 0, 0))


# -- leases ------------------------------------------------------------------------------------------------------------


def late_nodes(late: int, of: int, age: float = 30.0, *, agents: bool = True) -> list[Case]:
    """So many node leases are late, while the agents of their nodes report."""
    state = ClusterState()
    state.set_known("leases", known=True)
    hosts = {}
    for number in range(of):
        renewed = NOW - (age + number if number < late else 5.0)
        state.keep("leases", f"{PREFIX}n{number}", Lease("kube-node-lease", f"n{number}", renewed=renewed))
        if agents:
            hosts[f"n{number}"] = NodeState(f"n{number}")
            hosts[f"n{number}"].apply(agent_pb2.Update(full=True, at_unix_ms=round(NOW * 1000)))
    return list(leases.cases(ClusterView("test", hosts, state, NOW), LIMITS))


def test_more_than_a_tenth_of_the_node_leases_and_two_at_least() -> None:
    assert not late_nodes(1, 2)
    assert not late_nodes(3, 30)
    assert not late_nodes(4, 30, agents=False)
    case = only(late_nodes(4, 30))
    assert case.statement == (
        "4 of 30 node leases are older than 20 s, the oldest 33 s, while the agents of these nodes report: "
        "n3, n2, n1, n0"
    )
    assert case.severity is None
    assert case.since == NOW - 33 + 20
    assert all(each.at == NOW for each in case.evidence)


def test_those_that_are_older_than_a_lease_lasts_are_critical_and_five_are_named() -> None:
    case = only(late_nodes(7, 30, age=34.0))
    assert "the oldest 40 s" in case.statement
    assert case.statement.endswith("n6, n5, n4, n3, n2 and 2 more")
    assert case.severity is None
    assert only(late_nodes(7, 30, age=34.5)).severity is Severity.CRITICAL


# -- the past ----------------------------------------------------------------------------------------------------------


def test_where_windows_tell_too_little_the_time_before_the_first_sample_is_one_more() -> None:
    key = (REQUEST_SECONDS, ("GET",))
    first = Sample(NOW - 60, NOW - 3660, {}, {}, {REQUEST_SECONDS: {("GET",): Histogram((1.0,), (100.0, 0.0), 30.0)}})
    good = _Good(NOW - 120, NOW - 60, {key: 0.5}, {key: 0.1}, {key: 2.0})
    short = Comparison([good], 60.0, 600.0, history(first))
    assert short.mean(key) == pytest.approx(0.2)
    assert Comparison([good], 600.0, 600.0, history(first)).mean(key) == 0.1
    assert Comparison([], 600.0, 600.0, history(first)).mean(key) == pytest.approx(0.3)
    assert Comparison([], 600.0, 600.0, MetricsHistory()).mean(key) is None


def test_calls_wait_for_the_middle_of_their_bucket_and_those_beyond_for_the_last_bound() -> None:
    assert waited_us([1, 1, 1], [100, 300]) == 50 + 200 + 300
