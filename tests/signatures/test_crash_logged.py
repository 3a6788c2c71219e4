"""What agents find at the end of crashing containers' logs is a phrase of authentication: if their own, of this run."""

from __future__ import annotations

from typing import Any

import pytest
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from aggregator.model import Finding, Severity
from aggregator.signatures import crash_loop
from aggregator.signatures.thresholds import Thresholds
from tests.lab.cluster import Lab
from tests.signatures.crash_worlds import POD, End, cluster, crashes, secrets, with_secret


def found(lab: Lab, **fields: Any) -> dict[str, Finding]:
    """Findings of crash_loop where the agent of n1 has told of this pattern."""
    view = lab.view()
    item: dict[str, Any] = {
        "pod_uid": lab.store.uid("Pod", POD),
        "container": "app",
        "pattern": "password",
        "run": 7,
    } | fields
    told = pb.LogPattern(at_unix_ms=round((view.now - 60) * 1000), **item)
    state = view.hosts["n1"]
    update = agent_pb2.Update(at_unix_ms=round(state.at * 1000), items=[pb.Item(key="log_pattern/x", log_pattern=told)])
    state.apply(update)
    return {each.code: each for each in crash_loop.evaluate(view, Thresholds()).findings}


def crashing(message: str = "") -> Lab:
    lab = cluster()
    crashes(lab, End(1, message))
    return lab


def test_it_is_a_suspicion_by_itself() -> None:
    finding = found(crashing())["crash.identity"]
    assert finding.severity is Severity.WARNING
    assert "the end of its log tells of a password or user that was refused" in finding.summary
    assert ("n1", "log.pattern", f"{POD}/app", "password", "", "/var/log/pods") in {
        (each.node, each.signal, each.subject, each.value, each.unit, each.source) for each in finding.evidence
    }
    assert "identity.phrase" in {each.signal for each in finding.evidence}


@pytest.mark.parametrize("run", [6, 7])
def test_the_run_that_ended_last_and_the_one_since_count(run: int) -> None:
    assert "crash.identity" in found(crashing(), run=run)


@pytest.mark.parametrize(
    "fields", [{"run": 4}, {"container": "proxy"}, {"pod_uid": "0"}, {"pattern": "of-a-newer-agent"}], ids=str
)
def test_what_another_wrote_does_not(fields: dict[str, Any]) -> None:
    assert found(crashing(), **fields).keys() == {"crash.app_error"}


def test_a_traceback_of_a_refusal_is_one() -> None:
    assert "crash.identity" in found(crashing("Traceback (most recent call last): OperationalError"))


def test_its_words_and_its_log_are_one_piece_of_evidence() -> None:
    lab = crashing('FATAL: password authentication failed for user "app"')
    assert found(lab)["crash.identity"].severity is Severity.WARNING


def test_with_a_changed_secret_it_is_critical() -> None:
    lab = cluster()
    secrets(lab, ("db-credentials", -9_000_000, -1500))
    crashes(lab, End(1), patch=with_secret("db-credentials"))
    assert found(lab)["crash.identity"].severity is Severity.CRITICAL


def test_it_explains_no_other_end() -> None:
    lab = cluster()
    crashes(lab, End(137, reason="OOMKilled"))
    assert found(lab).keys() == {"crash.oom"}
