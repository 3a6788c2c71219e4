"""The bench of the API server's view, in small: it takes everything in, and says so when something is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cluster_view
from bench.cluster_objects import Size, pages
from bench.cluster_view import Figures, Taken, main, report


def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    assert main(["--pods", "400", "--nodes", "20", "--changed", "0.1", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert figures["problems"] == []
    assert figures["listed_per_s"] > 0
    assert figures["watched_per_s"] > 0
    assert 0 < figures["longest_slice_s"] < 5
    assert figures["rss"] >= figures["rss_before"] > 0
    assert "400 pods and 20 nodes" in printed
    assert "longest slice" in printed


def test_the_objects_are_a_cluster_that_hangs_together() -> None:
    taken = Taken()
    listed = taken.list(pages(Size(400, 20)))
    state = taken.state
    assert listed["pods"].objects == len(state.pods) == 400
    assert all(pod.node in state.nodes for pod in state.pods.values())
    claims = [f"{pod.namespace}/{each.claim}" for pod in state.pods.values() for each in pod.claims]
    assert sorted(claims) == sorted(state.claims)
    for claim in state.claims.values():
        volume = state.volume_of(claim)
        assert volume is not None
        assert state.claim_of(volume) is claim
        (attachment,) = state.attachments_of(volume.name).values()
        assert attachment.node in state.nodes
    assert len({id(pod.spec) for pod in state.pods.values()}) < 60
    assert {pod.pinned_node for pod in state.pods.values()} - {""} == set(state.nodes)
    assert state.knows("leases", "events", "replicasets", "statefulsets")


def test_the_same_objects_on_every_run() -> None:
    assert list(pages(Size(60, 3))) == list(pages(Size(60, 3)))
    assert list(pages(Size(60, 3), only="pods")) != list(pages(Size(60, 3), 0.5, only="pods"))


def test_what_is_lost_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = Figures(pods=1, nodes=1, relist_unchanged_s=1.0, problems=["1 pods and 0 nodes are missing"])
    monkeypatch.setattr(cluster_view, "measured", lambda *_: figures)
    assert main([]) == 1
    assert "problem: 1 pods" in capsys.readouterr().out
    assert "problem: 1 pods" in report(figures)
