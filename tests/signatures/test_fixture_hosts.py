"""Every fixture host gives exactly its expected findings, none besides, through the collectors of production."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.hosts.bundle import open_bundle
from cli.diagnose import diagnose
from tests.fixtures.make_hosts import HERE, write_all

SITUATIONS = sorted(path.name for path in HERE.iterdir())


@pytest.mark.parametrize("situation", SITUATIONS)
def test_exactly_its_expected_findings(situation: str) -> None:
    expected = json.loads((HERE / situation / "expected.json").read_text())
    with open_bundle(HERE / situation) as bundle:
        report = diagnose(bundle)
    found = [
        {"code": f.code, "stage": f.stage.value, "severity": f.severity.word, "nodes": list(f.nodes)}
        for f in (record.finding for record in report.records)
    ]
    assert sorted(found, key=str) == sorted(expected["findings"], key=str), expected["why"]
    gaps = [{"node": gap.node, "signal": gap.signal, "status": gap.status} for gap in report.gaps]
    for gap in expected["coverage"]:
        assert gap in gaps
    assert all(gap in expected["coverage"] for gap in gaps if gap["status"] == "damaged")


def test_the_committed_hosts_are_what_their_source_says(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert _files(HERE) == _files(tmp_path)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
