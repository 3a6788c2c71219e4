"""A story: the chain that matters most, its evidence in order, what else belongs to it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings

from aggregator.causes import link
from aggregator.model import Evidence, RuledOut, Severity, Stage
from aggregator.story import MOST_EVIDENCE, tell
from tests.aggregator.test_causes import AT, finding, webs

LOST = finding(
    "lost",
    "node.lost",
    "Node/n1",
    since=AT,
    evidence=(Evidence("n1", "node.ready", "n1", "Unknown", "", "kube/nodes", AT + 400),),
    remediation=("Find out whether it runs.",),
    clears_when="it reports again",
)
ZONE = finding(
    "zone",
    "storage.zone_mismatch",
    "Node/n1",
    "PersistentVolumeClaim/db/data",
    since=AT + 60,
    ruled_out=(RuledOut("sched.node_affinity", "the pod may use n2"),),
    clears_when="a node is there",
)
PODS = finding(
    "pods",
    "sched.volume_zone",
    "PersistentVolumeClaim/db/data",
    since=AT + 61,
    severity=Severity.CRITICAL,
    evidence=(Evidence("", "scheduler.says", "db/pg-0", "0/3", "", "kube/pods", AT + 300),),
    remediation=("Bring a node there.",),
    clears_when="the pods have a node",
)
STALE = finding("stale", "storage.stale_attachment", "Node/n1")
OTHER = finding("other", "net.dns")
CHAIN = link([OTHER, PODS, STALE, ZONE, LOST]).findings


@pytest.mark.parametrize("asked", ["lost", "zone", "pods"])
def test_it_is_one_story_whichever_part_of_it_is_asked_for(asked: str) -> None:
    story = tell(CHAIN, asked)
    assert [step.finding.id for step in story.chain] == ["lost", "zone", "pods"]
    assert [step.shared for step in story.chain] == [(), ("Node/n1",), ("PersistentVolumeClaim/db/data",)]
    assert (story.cause.id, story.symptom.id, story.asked.id) == ("lost", "pods", asked)
    assert [each.id for each in story.also_effects] == ["stale"]
    assert story.also_causes == ()
    assert story.severity is Severity.CRITICAL
    assert [fact.signal for fact in story.evidence] == ["scheduler.says", "node.ready"], "oldest first"
    assert [(code, other.code) for code, other in story.ruled_out] == [("storage.zone_mismatch", "sched.node_affinity")]
    assert (story.first, story.then) == (("Find out whether it runs.",), ("Bring a node there.",))
    assert [each.code for each in story.over_when] == ["node.lost", "storage.zone_mismatch", "sched.volume_zone"]


def test_what_stands_beside_the_chain_has_its_own() -> None:
    story = tell(CHAIN, "stale")
    assert [step.finding.id for step in story.chain] == ["lost", "stale"]
    assert {each.id for each in story.also_effects} == {"zone", "pods"}


def test_one_that_nothing_explains_is_its_own_cause() -> None:
    story = tell(CHAIN, "other")
    assert (story.cause.id, story.symptom.id, story.then) == ("other", "other", ())


def test_a_risk_has_not_begun() -> None:
    assert not tell([finding("a", "x.a", stage=Stage.RISK)], "a").has_begun
    assert tell(CHAIN, "pods").has_begun


def test_much_evidence_is_cut_and_no_step_goes_without() -> None:
    many = tuple(Evidence("n", "s", str(n), n, "", "src", AT) for n in range(100))
    few = (Evidence("n", "t", "x", 1, "", "src", AT - 5),)
    story = tell([finding("a", "x.a", evidence=many), finding("b", "x.b", evidence=few, caused_by=("a",))], "b")
    assert len(story.evidence) == MOST_EVIDENCE
    assert story.evidence[0] == few[0]
    assert story.more_evidence == 101 - MOST_EVIDENCE


def test_an_unknown_one_has_no_story() -> None:
    with pytest.raises(KeyError):
        tell(CHAIN, "nobody")


@given(webs())
@settings(max_examples=60, deadline=None)
def test_every_finding_of_any_web_has_a_story(web: tuple[list[object], list[object]]) -> None:
    findings = link(web[0], web[1]).findings  # type: ignore[arg-type]  # as webs makes them
    for each in findings:
        story = tell(findings, each.id)
        chain = [step.finding for step in story.chain]
        assert each in chain
        assert all(above.id in below.caused_by for above, below in itertools.pairwise(chain))
        others = {other.id for other in (*story.also_causes, *story.also_effects)}
        assert not others & {one.id for one in chain}
