"""Parts of incident 5 that timelines of bundles do not show: long pasts, restarts, outages, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.api_metrics import Histogram, Sample
from aggregator.cluster.metric_families import REQUEST_SECONDS, REQUESTS
from aggregator.cluster.metrics_history import Latency, MetricsHistory
from aggregator.cluster.objects import Lease
from aggregator.cluster.state import ClusterState
from aggregator.model import Severity, Stage, Verdict
from aggregator.node_state import NodeState
from aggregator.signatures import control_plane_saturation
from aggregator.signatures.control_plane import etcd_state, leases
from aggregator.signatures.control_plane.baseline import usual
from aggregator.signatures.control_plane.climb import api_of, calls_above
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView, Outage

NOW = 1_790_000_000.0
LIMITS = Thresholds()
BOUNDS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0)
USUAL_MS, SLOW_MS = 20.0, 500.0


@dataclass
class Server:
    """An API server whose metrics are read every half minute."""

    history: MetricsHistory = field(default_factory=MetricsHistory)
    objects: ClusterState = field(default_factory=ClusterState)
    started: float = NOW
    now: float = NOW
    counts: list[float] = field(default_factory=lambda: [0.0] * (len(BOUNDS) + 1))
    total: float = 0.0
    requests: float = 0.0

    def run(self, seconds: float, ms: float = USUAL_MS, rate: float = 20.0) -> Verdict:
        """Let time pass; what is said at its end."""
        found = self.verdict()
        for _ in range(round(seconds / 30)):
            self.now += 30
            place = next((index for index, bound in enumerate(BOUNDS) if ms / 1000 <= bound), len(BOUNDS))
            self.counts[0] += 0.9 * rate * 30
            self.counts[place] += 0.1 * rate * 30
            self.total += rate * 30 * (0.9 * 0.003 + 0.1 * ms / 1000)
            self.requests += rate * 30
            self.history.add(self.sample())
            found = self.verdict()
        return found

    def sample(self) -> Sample:
        """What it says now."""
        return Sample(
            self.now,
            self.started,
            {REQUESTS: {("GET", "pods", "200"): self.requests}},
            {},
            {REQUEST_SECONDS: {("GET",): Histogram(BOUNDS, tuple(self.counts), self.total)}},
        )

    def restart(self) -> None:
        """Another process, which counts from 0."""
        self.started, self.counts, self.total, self.requests = self.now, [0.0] * (len(BOUNDS) + 1), 0.0, 0.0

    def view(self) -> ClusterView:
        """As a signature sees it."""
        return ClusterView("test", {}, self.objects, self.now, self.history)

    def verdict(self) -> Verdict:
        """Of the signature."""
        return control_plane_saturation.evaluate(self.view(), LIMITS)


def codes(verdict: Verdict) -> list[str]:
    """Of its findings."""
    return [finding.code for finding in verdict.findings]


def test_nothing_is_judged_before_ten_minutes_of_data() -> None:
    server = Server()
    assert codes(server.run(270)) == []
    slow = server.run(120, SLOW_MS)
    assert codes(slow) == []
    assert any("less than ten minutes" in gap.because for gap in slow.gaps)


def test_a_climb_is_found_within_a_window_and_over_within_one() -> None:
    server = Server()
    server.run(1200)
    slow = server.run(60, SLOW_MS)
    assert codes(slow) == ["cp.apiserver_latency"]
    assert server.now - 120 <= slow.findings[0].since <= server.now
    assert codes(server.run(90)) == []


def test_an_incident_of_an_hour_and_a_half_does_not_become_what_is_usual() -> None:
    server = Server()
    server.run(3600)
    first = server.run(60, SLOW_MS)
    last = server.run(5400, SLOW_MS)
    assert codes(last) == ["cp.apiserver_latency"]
    assert last.findings[0].id == first.findings[0].id
    assert last.findings[0].since == first.findings[0].since
    assert codes(server.run(90)) == []


def test_after_half_a_day_the_new_state_is_the_usual_one() -> None:
    server = Server()
    server.run(3600)
    assert codes(server.run(6 * 3600, SLOW_MS)) == []
    assert codes(server.run(90, SLOW_MS * 8)) == ["cp.apiserver_latency"]


def test_a_restart_of_the_api_server_is_neither_a_surge_nor_slow() -> None:
    server = Server()
    server.run(1800)
    server.restart()
    for _ in range(6):
        assert codes(server.run(30)) == []


def test_a_figure_that_always_strays_has_not_climbed() -> None:
    server = Server()
    for _ in range(20):
        server.run(60, USUAL_MS)
        server.run(60, 190)
    assert codes(server.run(60, 190)) == []


def test_more_traffic_is_told_from_a_slow_server() -> None:
    server = Server()
    server.run(1800)
    found = server.run(60, SLOW_MS, rate=60)
    assert codes(found) == ["cp.api_traffic_surge"]
    assert "200 % more than usual" in found.findings[0].summary


def test_api_servers_behind_one_address_are_no_surge_when_another_is_heard() -> None:
    one = Server()
    other = Server(one.history, one.objects, started=NOW - 86_400)
    one.run(1800)
    other.now = one.now
    other.requests, other.total, other.counts = 1e6, 3e3, [1e6, *[0.0] * len(BOUNDS)]
    one.history.add(other.sample())
    # From now on both are heard in each window: twice the requests of one, and both are slow.
    for _ in range(4):
        other.run(30, SLOW_MS)
        one.now = other.now - 1
        one.now -= 29
        found = one.run(30, SLOW_MS)
    assert codes(found) == ["cp.apiserver_latency"]
    assert "each of 2 API servers" in found.findings[0].summary


def test_while_no_sample_comes_nothing_is_worked_out_anew() -> None:
    server = Server()
    server.run(1800)
    api = api_of(server.view(), LIMITS)
    assert api_of(server.view(), LIMITS) is api
    begun = time.perf_counter()
    for _ in range(200):
        server.verdict()
    assert (time.perf_counter() - begun) / 200 < 0.005


def test_a_long_history_at_first_sight_says_what_it_says_step_by_step() -> None:
    server = Server()
    server.run(1200)
    told = server.run(60, SLOW_MS)
    anew = control_plane_saturation.evaluate(
        ClusterView("test", {}, ClusterState(), server.now, server.history), LIMITS
    )
    assert codes(anew) == codes(told)


# -- outage ------------------------------------------------------------------------------------------------------------


def silent(seconds: float) -> Verdict:
    """The API server has not answered for so long."""
    outage = Outage(NOW - seconds, seconds, "https://10.0.0.1:6443: no answer in time")
    return control_plane_saturation.evaluate(ClusterView("test", {}, now=NOW - seconds, outage=outage), LIMITS)


def test_an_api_server_that_does_not_answer_is_critical_and_a_blip_is_nothing() -> None:
    assert silent(20).findings == []
    (found,) = silent(95).findings
    assert (found.code, found.stage, found.severity) == ("cp.apiserver_timeout", Stage.ACTIVE, Severity.CRITICAL)
    assert "no answer in time" in found.summary
    assert "95 s" in found.summary
    assert found.id == silent(300).findings[0].id
    # It is told by whoever asked: the silence of the API server must not make it unconfirmed.
    assert not any(evidence.source.startswith("kube/") for evidence in found.evidence)


# -- leases ------------------------------------------------------------------------------------------------------------

MANAGER = "kube-system/kube-controller-manager"


def watched(renewals: Mapping[float, float], transitions: Mapping[float, int] | None = None) -> Verdict:
    """The controller manager's lease, renewed at these times (by its own clock), as it is seen over time."""
    objects = ClusterState()
    objects.set_known("leases", known=True)
    view = ClusterView("test", {}, objects, NOW)
    for at in range(0, 601, 5):
        heard = [renewals[each] for each in sorted(renewals) if each <= at]
        changed = [count for each, count in (transitions or {}).items() if each <= at]
        if heard:
            lease = Lease("kube-system", "kube-controller-manager", uid="u", holder="cp-1_a", duration_s=15)
            lease = Lease(**{name: getattr(lease, name) for name in lease.__struct_fields__} | {
                "renewed": NOW + heard[-1], "transitions": max(changed, default=1)})  # fmt: skip
            objects.keep("leases", MANAGER, lease)
        view = ClusterView("test", {}, objects, NOW + at)
        leases.note(objects, view.now)
    return control_plane_saturation.evaluate(view, LIMITS)


def test_a_holder_whose_clock_is_behind_and_who_renews_is_alive() -> None:
    assert watched({at: at - 300.0 for at in range(0, 601, 2)}).findings == []


def test_a_holder_whose_clock_is_ahead_is_found_dead_all_the_same() -> None:
    alive = {float(at): at + 3.0 for at in range(0, 541, 2)}
    assert codes(watched(alive)) == ["cp.lease_renew_failed"]


def test_changes_of_a_leader_are_counted_as_they_are_seen() -> None:
    renewals = {float(at): float(at) for at in range(0, 601, 2)}
    assert codes(watched(renewals, {100: 2, 200: 3, 500: 4})) == ["cp.leader_lost"]
    assert codes(watched(renewals, {100: 2, 500: 3})) == []


# -- figures -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=60), st.floats(0.001, 1000))
def test_what_is_usual_does_not_move_for_one_window(values: list[float], odd: float) -> None:
    plain = usual(values * 3, 600)
    spoiled = usual([*values * 3, odd], 600)
    assert plain is not None
    assert spoiled is not None
    assert min(values) <= plain.value <= max(values)
    assert min(values) <= spoiled.value <= max(values)
    assert not plain.exceeded(plain.value, 1.5)


@given(st.lists(st.integers(0, 1000), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1), st.floats(0.0, 6.0))
def test_calls_above_a_latency_are_some_of_all(counts: list[int], limit: float) -> None:
    latency = Latency(BOUNDS, tuple(counts), 1.0, 60.0)
    above = calls_above(latency, limit)
    assert 0 <= above <= latency.calls
    assert above >= calls_above(latency, limit + 0.5)
    assert calls_above(latency, 0.0) == latency.calls


def test_a_member_tells_since_when_its_database_has_been_so_large_if_it_was_seen_to_be_smaller() -> None:
    state = NodeState("cp-1")

    def told(minute: int, size: float) -> list[float]:
        etcd = pb.Etcd(database_bytes=round(size * 1e9), quota_bytes=2_000_000_000)
        at_ms = round((NOW + 60 * minute) * 1000)
        state.apply(agent_pb2.Update(full=True, at_unix_ms=at_ms, items=[pb.Item(key="etcd", etcd=etcd)]))
        cases = etcd_state.of_host(ClusterView("test", {"cp-1": state}), state, LIMITS)
        return [(case.since - NOW) / 60 if case.since else 0.0 for case in cases]

    assert told(1, 1.7) == [0.0], "nobody saw it before"
    assert told(2, 1.9) == [0.0]
    assert told(3, 0.4) == []
    assert told(4, 1.6) == [4.0]
    assert told(5, 2.1) == [4.0]
    assert told(6, 1.0) == []
    assert told(7, 1.7) == [7.0]
