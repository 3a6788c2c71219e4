"""How cases of one cause become one finding: which of them speaks, and what each adds."""

from __future__ import annotations

from aggregator.model import Evidence, Finding, RuledOut, Severity, Stage, finding_id
from aggregator.signatures.case import MOST_EVIDENCE, Case, api_evidence, fair_share, first_of_each, gather
from aggregator.signatures.code import Code

AT = 1_790_000_000.0
CODES = {
    "x.spreads": Code("x.spreads", "inc", "wrong", "it is over", ("do this",), Severity.INFO, Severity.WARNING),
    "x.stays": Code("x.stays", "inc", "wrong", "it is over", ("do this",), Severity.INFO, spreads=False),
}


def fact(number: int, node: str = "") -> Evidence:
    return api_evidence("pods", f"ns/p{number}", "phase", number, at=AT, node=node)


def case(
    statement: str = "it is so",
    *,
    code: str = "x.spreads",
    about: tuple[str, ...] = ("cause",),
    objects: tuple[str, ...] = ("Pod/ns/p1",),
    evidence: tuple[Evidence, ...] = (),
    nodes: tuple[str, ...] = (),
    stage: Stage = Stage.ACTIVE,
    severity: Severity | None = None,
    weight: float = 0.0,
    ruled_out: tuple[RuledOut, ...] = (),
    remedies: tuple[str, ...] = (),
    since: float = 0.0,
) -> Case:
    return Case(code, about, statement, objects, evidence, nodes, stage, severity, weight, ruled_out, remedies, since)


def one(*cases: Case) -> Finding:
    (finding,) = gather("c", cases, CODES)
    return finding


def test_a_fact_of_the_api_server_says_so() -> None:
    told = api_evidence("pods", "ns/p", "restarts", 7, at=AT, unit="times", node="n")
    assert told == Evidence("n", "restarts", "ns/p", 7, "times", "kube/pods", AT)
    plain = api_evidence("pods", "ns/p1", "phase", 1, at=AT)
    assert plain == Evidence("", "phase", "ns/p1", 1, "", "kube/pods", AT)


def test_one_case_is_one_finding_with_all_that_it_says() -> None:
    rule = RuledOut("x.other", "no")
    finding = one(case(evidence=(fact(1),), nodes=("n",), ruled_out=(rule,), remedies=("first",), since=AT))
    assert finding == Finding(
        id=finding_id("x.spreads", "c", "cause"),
        code="x.spreads",
        incident="inc",
        stage=Stage.ACTIVE,
        severity=Severity.WARNING,
        summary="it is so.",
        nodes=("n",),
        evidence=(fact(1),),
        clears_when="it is over",
        objects=("Pod/ns/p1",),
        ruled_out=(rule,),
        remediation=("first", "do this"),
        since=AT,
    )


def test_cases_of_one_code_and_cause_are_one_finding_and_others_are_not() -> None:
    found = gather("c", [case(about=("b",)), case(code="x.stays"), case(about=("a",)), case(about=("b",))], CODES)
    assert [each.id for each in found] == [
        finding_id("x.spreads", "c", "a"),
        finding_id("x.spreads", "c", "b"),
        finding_id("x.stays", "c", "cause"),
    ]
    assert gather("other", [case(about=("a",))], CODES)[0].id != found[0].id


def test_the_weightiest_active_case_speaks_and_counts_the_others() -> None:
    light = case("light", objects=("Pod/ns/a",), weight=5.0)
    heavy = case("heavy", objects=("Pod/ns/z",), weight=6.0)
    risk = case("risk", objects=("Pod/ns/b",), weight=99.0, stage=Stage.RISK)
    finding = one(light, risk, heavy)
    assert finding.summary == "heavy (and 2 more for the same cause)."
    assert finding.objects == ("Pod/ns/z", "Pod/ns/a", "Pod/ns/b")
    assert finding.stage is Stage.ACTIVE
    assert one(risk).stage is Stage.RISK
    assert one(case("b", objects=("Pod/ns/b",)), case("a", objects=("Pod/ns/a",))).summary.startswith("a (and 1 more")


def test_several_cases_of_one_object_are_not_more() -> None:
    again = case("again", objects=("Pod/ns/p1", "PersistentVolumeClaim/ns/c"))
    finding = one(case(weight=1.0), again)
    assert finding.summary == "it is so."
    assert finding.objects == ("Pod/ns/p1", "PersistentVolumeClaim/ns/c")


def test_severity_is_the_code_s_by_stage_unless_a_case_decides() -> None:
    assert one(case()).severity is Severity.WARNING
    assert one(case(stage=Stage.RISK)).severity is Severity.INFO
    assert one(case(stage=Stage.RISK, severity=Severity.CRITICAL)).severity is Severity.CRITICAL
    assert one(case(severity=Severity.INFO)).severity is Severity.INFO
    assert one(case(severity=Severity.INFO), case(objects=("Pod/ns/q",))).severity is Severity.WARNING
    risk = case(stage=Stage.RISK, severity=Severity.CRITICAL)
    assert one(case(severity=Severity.INFO), risk).severity is Severity.INFO, "nobody suffers from a mere risk"


def test_what_is_active_on_several_nodes_is_critical_where_it_spreads() -> None:
    assert one(case(nodes=("a",)), case(nodes=("b",))).severity is Severity.CRITICAL
    assert one(case(nodes=("a", "b"))).severity is Severity.CRITICAL
    assert one(case(nodes=("a",)), case(nodes=("a",))).severity is Severity.WARNING
    assert one(case(nodes=("a",)), case(nodes=("b",), stage=Stage.RISK)).severity is Severity.WARNING
    stays = one(case(code="x.stays", nodes=("b",)), case(code="x.stays", nodes=("a",)))
    assert (stays.severity, stays.nodes) == (Severity.WARNING, ("a", "b"))


def test_it_began_when_the_first_began_that_says_so() -> None:
    assert one(case(since=AT), case(), case(since=AT - 5)).since == AT - 5
    assert one(case()).since == 0.0


def test_remedies_of_cases_come_first_and_once() -> None:
    finding = one(case(remedies=("b", "a"), weight=1.0), case(remedies=("a", "c")))
    assert finding.remediation == ("b", "a", "c", "do this")


def test_the_first_of_each_that_is_ruled_out_is_told_by_code() -> None:
    rules = [RuledOut("y", "1"), RuledOut("x", "2"), RuledOut("y", "3")]
    assert first_of_each(rules) == (rules[1], rules[0])


def test_too_much_evidence_is_cut_between_cases_and_never_within_the_first() -> None:
    many = tuple(fact(number) for number in range(MOST_EVIDENCE + 3))
    assert fair_share([many]) == many
    assert fair_share([many, (fact(99),)]) == many
    full, rest = many[: MOST_EVIDENCE - 1], (fact(98), fact(99))
    assert fair_share([full, rest]) == full
    assert fair_share([full, rest[:1]]) == (*full, rest[0])
    assert fair_share([(), full, (), rest[:1], rest[1:]]) == (*full, rest[0])
    assert fair_share([(fact(1),), (fact(1), fact(2))]) == (fact(1), fact(2))
