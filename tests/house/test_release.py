"""What goes with a release: locks with hashes, licences, a bill of materials, an audit that can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from release import audit, licences, locks, sbom


@pytest.mark.parametrize("role", locks.roles())
def test_every_locked_version_has_the_hashes_of_its_files(role: str) -> None:
    pinned = locks.read(role)
    assert pinned
    assert all(entry.hashes for entry in pinned)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("psutil>=7\n", "not a pinned version: 'psutil>=7'"),
        ("psutil==7.2.2\n", "psutil has no hash"),
        ("-e .\n", "not a pinned version: '-e .'"),
    ],
)
def test_a_lock_that_would_let_anything_in_is_an_error(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "agent.txt").write_text(text)
    with pytest.raises(ValueError, match=r"agent\.txt: ") as caught:
        locks.read("agent", tmp_path)
    assert reason in str(caught.value)


def test_an_agent_is_made_of_what_its_lock_names_and_no_more() -> None:
    assert {entry.name for entry in locks.read("agent")} == {
        *("grpcio", "prometheus-client", "protobuf", "psutil", "typing-extensions")
    }
    whole = {(entry.name, entry.version) for entry in locks.read("run")}
    for role in ("agent", "aggregator"):
        assert {(entry.name, entry.version) for entry in locks.read(role)} <= whole


def test_the_page_of_licences_has_every_locked_version_and_its_licence_is_allowed() -> None:
    said = {}
    for line in licences.PAGE.read_text().splitlines():
        if line.startswith("| `"):
            name, versions, spdx, used = (cell.strip() for cell in line.strip("|").split("|"))
            said[name.strip("`")] = (versions, spdx, used)
    rows = licences.rows()
    assert {name: (versions, used) for name, versions, _, used in rows} == {
        name: (versions, used) for name, (versions, _, used) in said.items()
    }, "make licences"
    assert [name for name, (_, spdx, _) in said.items() if not licences.allowed(spdx)] == []
    # What only other locks install may be absent here; what is here has to say what the page says.
    assert [name for name, _, spdx, _ in rows if spdx and spdx != said[name][1]] == []


@pytest.mark.parametrize(
    ("spdx", "expected"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-2.0-or-later OR Apache-2.0", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT AND BSD-3-Clause)", True),
        ("", False),
    ],
)
def test_one_of_the_alternatives_has_to_be_on_the_list(spdx: str, expected: bool) -> None:
    assert licences.allowed(spdx) == expected


@pytest.mark.parametrize(
    ("stated", "free_text", "classifiers", "expected"),
    [
        ("MIT", "whatever", [], "MIT"),
        ("", "MIT License", [], "MIT"),
        ("", "The licence of licences", ["OSI Approved :: MIT License"], "MIT"),
        ("", "The licence of licences", ["Other/Proprietary License"], ""),
        ("", "", [], ""),
    ],
)
def test_what_a_distribution_says_becomes_an_identifier(
    stated: str, free_text: str, classifiers: list[str], expected: str
) -> None:
    assert licences.expression(stated, free_text, classifiers) == expected


def _bom(*names: str) -> dict[str, Any]:
    return {"bomFormat": "CycloneDX", "components": [{"name": name, "version": "1"} for name in names]}


def test_a_bill_of_materials_has_the_licence_of_each_component() -> None:
    bom = sbom.with_licences(_bom("A_b", "c", "d"), {"a-b": "MIT", "c": "MIT OR ISC", "d": "LicenseRef-Public-Domain"})
    assert [component["licenses"] for component in bom["components"]] == [
        [{"license": {"id": "MIT"}}],
        [{"expression": "MIT OR ISC"}],
        [{"license": {"name": "LicenseRef-Public-Domain"}}],
    ]
    with pytest.raises(ValueError, match="d 1: licence unknown"):
        sbom.with_licences(_bom("d"), {})


def test_a_bill_of_materials_is_written_the_same_each_time() -> None:
    bom = _bom("a")
    backwards = dict(reversed(bom.items()))
    assert sbom.text(bom) == sbom.text(backwards)
    assert json.loads(sbom.text(bom)) == bom


def test_an_audit_is_clean_only_if_every_version_was_answered_for() -> None:
    clean = audit.Answer("psutil", "7.2.2")
    known = audit.Answer("pycrypto", "2.6.1", ("PYSEC-2018-97",))
    unknown = audit.Answer("msgspec", "0.20.0", unanswered="the index has no page for this version")
    assert audit.verdict([clean]) == (["audit: 1 of 1 versions have no known vulnerability"], 0)
    lines, status = audit.verdict([clean, known, unknown])
    assert status == 1
    assert lines == [
        "audit: pycrypto 2.6.1: PYSEC-2018-97",
        "audit: msgspec 0.20.0: not audited: the index has no page for this version",
        "audit: 1 of 3 versions have no known vulnerability",
    ]
    assert audit.verdict([clean, known])[1] == 1
    assert audit.verdict([])[1] == 1


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"info": {"version": "1.2"}, "vulnerabilities": []}, True),
        ({"info": {"version": "1.3"}, "vulnerabilities": []}, False),
        ({"info": {"version": "1.2"}}, False),
        ({"info": None, "vulnerabilities": []}, False),
        ([], False),
    ],
)
def test_the_page_of_another_version_is_no_answer(page: object, expected: bool) -> None:
    assert audit.stands_for(page, "1.2") == expected


def test_which_page_a_version_falls_back_to() -> None:
    assert audit.page_of_project("https://index.example/pypi/psutil/7.2.2/json") == (
        "https://index.example/pypi/psutil/json",
        "7.2.2",
    )
    assert audit.page_of_project("https://index.example/pypi/psutil/json") is None
    assert audit.page_of_project("https://index.example/simple/psutil/") is None
