"""Recorded scenarios of whole clusters, where a collection of them is at hand (NODETELL_SHARED names its parent).

Only codes that this version diagnoses are judged: what a scenario expects of others is not, what it forbids is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from agent.hosts.bundle import open_bundle
from aggregator.model import Severity
from aggregator.signatures.catalog import CODES
from cli.diagnose import diagnose

_SHARED = os.environ.get("NODETELL_SHARED", "")
SCENARIOS = sorted(Path(_SHARED, "scenarios").glob("*/expected.json")) if _SHARED else []


@pytest.mark.skipif(not SCENARIOS, reason="NODETELL_SHARED names no directory with scenarios")
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.parent.name)
def test_scenario(path: Path) -> None:
    expected = json.loads(path.read_text())
    with open_bundle(path.parent) as bundle:
        report = diagnose(bundle)
    findings = [record.finding for record in report.records]
    codes = {finding.code for finding in findings}
    by_id = {finding.id: finding for finding in findings}
    assert not codes & set(expected["forbid"]), expected["why"]
    wanted_codes: set[str] = set()
    for want in expected["expect"]:
        either = {want["code"], *want.get("or_code", [])}
        wanted_codes |= either
        if not either <= set(CODES):
            continue
        candidates = [
            finding
            for finding in findings
            if finding.code in either
            and finding.stage.value in want["stage"].split("|")
            and finding.severity >= Severity[want["min_severity"].upper()]
            and set(want["nodes"]) <= set(finding.nodes)
            and set(want["objects"]) <= set(finding.objects)
        ]
        assert candidates, f"{want} is not among {sorted(codes)}: {expected['why']}"
        cause = want.get("caused_by")
        if cause in CODES:
            assert any(
                by_id[above].code == cause for found in candidates for above in found.caused_by if above in by_id
            )
    surplus = (
        {finding.code for finding in findings if finding.severity >= Severity.WARNING}
        - wanted_codes
        - set(expected["allow"])
    )
    assert not surplus, expected["why"]
