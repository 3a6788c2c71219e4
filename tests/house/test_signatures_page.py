"""The pages on signatures: the tables are those of the diagnosis, and the worked example works, installed for real."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aggregator import extend
from aggregator.signatures.catalog import CODES
from aggregator.signatures.stages import stages_of
from aggregator.signatures.thresholds import Thresholds
from cli.signatures import page
from tests.lab.cluster import Lab

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/signatures.md").read_text()


def test_the_page_of_codes_and_thresholds_is_current() -> None:
    current = (ROOT / "docs/thresholds.md").read_text()
    assert page() == current, "`make docs` writes it anew"


def test_every_threshold_is_used_and_says_what_it_means() -> None:
    sources = "\n".join(
        path.read_text() for path in (ROOT / "aggregator").rglob("*.py") if path.name != "thresholds.py"
    )
    fields = dataclasses.fields(Thresholds)
    assert not [field.name for field in fields if not re.search(rf"\.{field.name}\b", sources)], "nobody reads it"
    assert not [field.name for field in fields if f"`{field.name}`" not in page()]
    # A share has no unit; everything that is counted or timed has.
    assert not [
        each.name
        for each in fields
        if "unit" not in each.metadata and not re.search("ratio|share|percentile", each.name)
    ]


def stage_words(code: str) -> set[str]:
    """The stages that docs/findings.md names for a code."""
    text = (ROOT / "docs/findings.md").read_text()
    section = re.search(rf"^## {re.escape(code)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    stage = re.search(r"\*\*Stage:\*\* ([^.]*)", section[1]) if section else None
    return set(re.findall(r"\b(risk|active)\b", stage[1])) if stage else set()


@pytest.mark.parametrize("code", CODES)
def test_stages_are_those_of_the_document(code: str) -> None:
    words = stage_words(code)
    assert not words or {stage.value for stage in stages_of(code)} == words


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_example_is_short() -> None:
    assert len(block("python").splitlines()) < 40


def test_the_surface_is_documented() -> None:
    named = set(re.findall(r"`(\w+)", DOCUMENT.split("## What you can rely on")[1].split("## Rules")[0]))
    assert set(extend.__all__) <= named


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the document's example is installed into."""
    made = tmp_path_factory.mktemp("acme")
    (made / "source").mkdir()
    (made / "source/acme_kernels.py").write_text(block("python"))
    (made / "source/pyproject.toml").write_text(block("toml"))
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    pip = (sys.executable, "-m", "pip", "install", *options, "--target", str(made / "site"), str(made / "source"))
    done = subprocess.run(pip, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return made / "site"


def nodetell(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(each) for each in (ROOT, ROOT / "proto", place))
    words = (sys.executable, "-P", "-m", "cli.main", *arguments)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    return subprocess.run(words, capture_output=True, text=True, env=env, timeout=50, check=False)


def test_the_example_finds_what_it_says(place: Path, tmp_path: Path) -> None:
    lab = Lab("acme")
    for name, kernel in (("n1", "6.8.0-31-generic"), ("n2", "6.8.0-31-generic"), ("n3", "6.8.0-40-generic")):
        lab.node(name)
        lab.host(name).file("proc/sys/kernel/osrelease", kernel + "\n")
    lab.write(tmp_path / "bundle")
    done = nodetell(place, "diagnose", str(tmp_path / "bundle"), "--format", "json")
    assert done.returncode == 1, done.stderr
    (finding,) = (each for each in json.loads(done.stdout)["findings"] if each["code"] == "acme.bad_kernel")
    assert finding["nodes"] == ["n1", "n2"]
    assert finding["stage"] == "risk"
    assert "n1 runs kernel 6.8.0-31-generic, which loses its NIC's queues" in finding["summary"]
    told = nodetell(place, "explain", "acme.bad_kernel", str(tmp_path / "bundle"))
    assert "Drain the node" in told.stdout


def test_it_is_listed_with_the_others(place: Path) -> None:
    done = nodetell(place, "signatures", "--format", "json")
    assert done.returncode == 0, done.stderr
    listed = {each["code"]: each for each in json.loads(done.stdout)["codes"]}
    assert set(CODES) < set(listed)
    assert listed["acme.bad_kernel"]["source"] == "acme-kernels 1.0"
    assert listed["crash.oom"]["source"] == "built in"
    text = nodetell(place, "signatures").stdout
    assert "acme.bad_kernel" in text
    assert "[acme-kernels 1.0]" in text


def test_the_aggregator_loads_it_too(place: Path) -> None:
    path = os.pathsep.join(str(each) for each in (ROOT, ROOT / "proto", place))
    settings = ("--listen", "127.0.0.1:0", "--insecure", "--state-directory", "", "--kubernetes.enabled", "off")
    words = (sys.executable, "-P", "-m", "cli.main", "aggregator", *settings)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        told = []
        for line in process.stderr:
            told.append(line)
            if "event=listening" in line:
                break
        process.terminate()
        process.stderr.read()
    (added,) = (line for line in told if "event=signature_added" in line)
    assert 'signature=acme_kernels source="acme-kernels 1.0"' in added


def test_one_that_is_broken_is_told_and_in_nobodys_way(place: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "acme_broken-2.0.dist-info"
    info.mkdir(parents=True)
    (site / "acme_broken.py").write_text("import nobody_has_this\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[nodetell.signatures]\nbroken = acme_broken:EXTENSION\n")
    both = Path(f"{place}{os.pathsep}{site}")
    lab = Lab("acme")
    lab.node("n1")
    lab.host("n1").file("proc/sys/kernel/osrelease", "6.8.0-31-generic\n")
    lab.write(tmp_path / "bundle")
    report = json.loads(nodetell(both, "diagnose", str(tmp_path / "bundle"), "--format", "json").stdout)
    assert "acme.bad_kernel" in {each["code"] for each in report["findings"]}
    (gap,) = (each for each in report["coverage"] if each["signal"] == "diagnosis/broken")
    assert gap["because"].startswith(
        "signature broken of acme-broken 2.0 is not used: acme_broken:EXTENSION: ModuleNot"
    )
    listed = json.loads(nodetell(both, "signatures", "--format", "json").stdout)
    assert [each["signature"] for each in listed["refused"]] == ["broken"]
