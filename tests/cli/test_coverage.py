"""Each signal of a node: what is said of it, and what would make it better."""

from __future__ import annotations

import pytest
from nodetell import signals
from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from agent.reading import Reading, source_item
from cli.coverage_text import SignalState, coverage_json, coverage_page, states
from cli.facts import HostFacts
from cli.node_text import node_text
from cli.terminal import Look

LOOK = Look(width=100, colour=False)


def facts(reading: Reading, agent: pb.AgentStatus | None = None) -> HostFacts:
    """A node of which this is known."""
    response = operator_pb2.GetNodeResponse()
    response.summary.node = "worker-3"
    response.facts.items.extend(reading.items.values())
    response.facts.items.extend(source_item(*each) for each in reading.sources.items())
    response.facts.items.add(key="agent", agent=agent or pb.AgentStatus())
    return HostFacts(response)


def of(name: str, reading: Reading, *grants: str) -> SignalState:
    """One signal."""
    return next(each for each in states(facts(reading, pb.AgentStatus(grants=grants))) if each.signal.name == name)


def read(signal: str, source: str) -> Reading:
    reading = Reading()
    reading.source(signal, source)
    return reading


def test_every_signal_of_the_table_is_there_once() -> None:
    assert [each.signal for each in states(facts(Reading()))] == list(signals.SIGNALS)


def test_what_is_read_without_a_gap_is_measured_and_asks_for_nothing() -> None:
    state = of("links", read("links", "rtnetlink"), "host_network")
    assert (state.status, state.source, state.reasons, state.lacking) == ("measured", "rtnetlink", (), ())


@pytest.mark.parametrize(
    ("source", "status", "expected"),
    [
        ("", pb.COVERAGE_STATUS_MISSING, "unavailable"),
        ("", pb.COVERAGE_STATUS_DENIED, "denied"),
        ("", pb.COVERAGE_STATUS_DAMAGED, "damaged"),
        ("", pb.COVERAGE_STATUS_DEGRADED, "unavailable"),
        ("sysfs", pb.COVERAGE_STATUS_MISSING, "degraded"),
        ("sysfs", pb.COVERAGE_STATUS_DENIED, "degraded"),
        ("sysfs", pb.COVERAGE_STATUS_DEGRADED, "degraded"),
        ("sysfs", pb.COVERAGE_STATUS_DAMAGED, "damaged"),
    ],
)
def test_the_word_for_it(source: str, status: int, expected: str) -> None:
    reading = read("links", source) if source else Reading()
    reading.gap("links", "because", detail="x", status=status)
    assert of("links", reading).status == expected


def test_only_what_was_not_given_is_asked_for() -> None:
    reading = read("links", "sysfs")
    reading.gap("links", "no kinds", detail="kinds", status=pb.COVERAGE_STATUS_DEGRADED)
    state = of("links", reading, "host_sys", "host_proc")
    assert [(way.source, [need.name for need in needs]) for way, needs in state.lacking] == [
        ("rtnetlink", ["host_network"])
    ]
    assert of("links", reading, "host_network", "host_sys").lacking == ()


def test_a_source_by_a_name_of_its_own_is_the_best_way() -> None:
    reading = read("fsync", "fexit")
    reading.gap("fsync", "blind to io_uring", detail="sensor", status=pb.COVERAGE_STATUS_DEGRADED)
    assert of("fsync", reading, "sensor").lacking == ()
    assert [way.source for way, _ in of("fsync", Reading()).lacking] == ["sensor", "probe"]


def test_a_collector_that_fails_is_said_of_all_its_signals() -> None:
    reading = Reading()
    reading.gap("protocols", "it hangs", detail="collector")
    for name in ("protocols", "conntrack", "pressure"):
        assert ("it hangs", "") in of(name, reading).reasons


def test_an_agent_that_tells_no_grants_is_not_told_what_it_lacks() -> None:
    host = facts(Reading())
    host.items = [item for item in host.items if item.WhichOneof("fact") != "agent"]
    assert all(not each.lacking for each in states(host))


def test_a_signal_of_a_later_version_is_shown() -> None:
    reading = Reading()
    reading.gap("tea", "the kettle\x1b[31m is off", remedy="switch it on")
    page = coverage_page(facts(reading), LOOK)
    assert "tea: unavailable" in page
    assert "to enable it: switch it on" in page
    assert "\x1b" not in page


def test_the_page_has_the_lines_of_the_manifest() -> None:
    reading = Reading()
    reading.gap("conntrack", "only its own namespace", status=pb.COVERAGE_STATUS_DENIED)
    page = coverage_page(facts(reading), LOOK).splitlines()
    start = page.index("conntrack: denied (connection tracking)")
    assert page[start : start + 6] == [
        "conntrack: denied (connection tracking)",
        "  only its own namespace",
        "  from /proc/sys/net/netfilter, tier 2: the host's network namespace; no capability",
        "    spec:",
        "      hostNetwork: true",
        "      dnsPolicy: ClusterFirstWithHostNet",
    ]


def test_the_same_as_json() -> None:
    reading = Reading()
    reading.gap("conntrack", "only its own namespace", status=pb.COVERAGE_STATUS_DENIED)
    document = coverage_json(facts(reading))
    assert document["node"] == "worker-3"
    assert next(each for each in document["signals"] if each["signal"] == "conntrack") == {
        "signal": "conntrack",
        "status": "denied",
        "what": "connection tracking",
        "source": None,
        "because": [{"reason": "only its own namespace", "remedy": None}],
        "enable": [
            {
                "source": "/proc/sys/net/netfilter",
                "tier": 2,
                "needs": "host_network",
                "lines": {"spec": ["hostNetwork: true", "dnsPolicy: ClusterFirstWithHostNet"]},
            }
        ],
    }


def test_what_the_agent_itself_takes_is_on_its_page() -> None:
    status = pb.AgentStatus(
        cpu_mpercent=420, cpu_budget_mpercent=500, rss_bytes=45 << 20, stretched=["protocols", "links"]
    )
    page = " ".join(node_text(facts(Reading(), status), LOOK).split())
    assert "agent: takes 0.42 % of its 0.5 % of a core, memory 45 MiB; to keep to it reads less often: " in page
    assert "protocols, links" in page
