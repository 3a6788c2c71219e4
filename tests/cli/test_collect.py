"""`nodetell collect`: what is written, where, and that a diagnosis can read it."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

from tests.cli.conftest import Run


def test_a_directory_that_a_diagnosis_reads(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "evidence"
    done = run("collect", path, "--no-kube", "--interval", "0.2", "--node", "node-a", "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [each["name"] for each in document["snapshots"]] == ["t0", "t1"]
    assert document["node"] == "node-a"
    assert "snapshot 2 of 2" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / "t1/nodes/node-a/proc/net/snmp").is_file()
    diagnosis = run("diagnose", path, "--format", "json")
    assert diagnosis.returncode in (0, 1, 2)
    assert json.loads(diagnosis.stdout)["at"] == document["snapshots"][1]["at"]


def test_an_archive_says_the_same_as_its_directory_and_is_private(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "evidence.tar.gz"
    done = run("collect", path, "--no-kube", "--snapshots", "1")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["evidence.tar.gz"]
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", path, "-C", tmp_path / "unpacked"], check=True)
    packed, unpacked = (
        json.loads(run("diagnose", each, "--format", "json").stdout)
        for each in (path, tmp_path / "unpacked" / "evidence")
    )
    assert packed == unpacked


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").write_text("x")
    (tmp_path / "old.tar.gz").write_text("x")
    for path, reason in (
        (tmp_path / "full", "is not empty"),
        (tmp_path / "old.tar.gz", "exists already"),
        (tmp_path / "full/precious", "File exists"),
        (tmp_path / "no/such/x.tar.gz", "there is no directory"),
    ):
        done = run("collect", path, "--no-kube")
        assert done.returncode == 73
        assert done.stderr == f"nodetell: {path}: {reason}\n" or reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "full/precious").read_text() == "x"


def test_a_kubeconfig_that_cannot_be_used_costs_only_the_cluster_part(run: Run, tmp_path: Path) -> None:
    done = run("collect", tmp_path / "e", "--snapshots", "1", "--kubeconfig", tmp_path / "absent", "--format", "json")
    assert done.returncode == 0
    assert any("absent" in problem for problem in json.loads(done.stdout)["problems"])


def test_a_node_name_that_cannot_be_one(run: Run, tmp_path: Path) -> None:
    done = run("collect", tmp_path / "e", "--node", "../x")
    assert done.returncode == 64
    assert "node name" in done.stderr
