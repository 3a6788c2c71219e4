"""Our arithmetic beside what real schedulers said, pod by pod, where recorded clusters are at hand (NODETELL_SHARED).

The scheduler names the first filter that says no to a node, and all amounts that are short there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from agent.hosts.bundle import open_bundle
from aggregator.cluster.objects import Pod
from aggregator.cluster.state import ClusterState
from aggregator.messages.scheduling import Kind, parse
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit
from aggregator.scheduling.stops import INSUFFICIENT, RESOURCES, TOO_LARGE
from aggregator.signatures.scheduler.decision import CODES_OF
from cli.diagnose import join

_SHARED = os.environ.get("NODETELL_SHARED", "")
BUNDLES = sorted(Path(_SHARED, "scenarios").glob("*/bundle.json")) if _SHARED else []
RECORDINGS = Path(_SHARED, "recordings") if _SHARED else None
_FILES = {"pvcs": "persistentvolumeclaims", "pvs": "persistentvolumes"}


def said(pod: Pod) -> Counter[str] | None:
    """Nodes by code, as the scheduler says; None: it says nothing of single nodes."""
    condition = pod.condition("PodScheduled")
    reasons = parse(condition.message).reasons if condition is not None else ()
    if not reasons or any(not reason.count or reason.kind in (Kind.OTHER, Kind.GATED) for reason in reasons):
        return None
    found: Counter[str] = Counter()
    for reason in reasons:
        found[CODES_OF[reason.kind] + (f" {reason.resource}" if reason.kind is Kind.RESOURCES else "")] += reason.count
    return found


def worked_out(state: ClusterState, pod: Pod) -> Counter[str]:
    """The same by our arithmetic."""
    fit = Fit(Cluster(state), pod)
    found: Counter[str] = Counter()
    for node in state.nodes.values():
        stops = fit.stops(node)
        first = [stop for stop in stops if stop.code in RESOURCES] if stops[0].code in RESOURCES else stops[:1]
        for stop in first:
            amount = stop.code in (INSUFFICIENT, TOO_LARGE)
            found[f"{INSUFFICIENT} {stop.about}" if amount else stop.code] += 1
    return found


def compared(folder: Path) -> int:
    """Number of pods whose message says how many nodes stop them, each compared."""
    with open_bundle(folder) as bundle:
        state = join(bundle).view.objects
    count = 0
    for pod in state.waiting.values():
        if (told := said(pod)) is not None and state.knows("nodes", "pods"):
            assert worked_out(state, pod) == told, f"{folder.name}: {pod.key}"
            count += 1
    return count


@pytest.mark.skipif(not BUNDLES, reason="NODETELL_SHARED names no directory with scenarios")
def test_recorded_scenarios() -> None:
    assert sum(compared(path.parent) for path in BUNDLES)


@pytest.mark.skipif(RECORDINGS is None, reason="NODETELL_SHARED names no directory with recordings")
def test_recorded_responses(tmp_path: Path) -> None:
    assert RECORDINGS is not None
    kube = tmp_path / "t0" / "kube"
    kube.mkdir(parents=True)
    for name in ("nodes", "pods", "pvcs", "pvs", "storageclasses", "csinodes", "volumeattachments"):
        if (RECORDINGS / f"{name}.json").exists():
            shutil.copyfile(RECORDINGS / f"{name}.json", kube / f"{_FILES.get(name, name)}.json")
    snapshots = [{"name": "t0", "at": "2026-11-22T11:00:00Z"}]
    (tmp_path / "bundle.json").write_text(json.dumps({"format": 1, "cluster": "r", "snapshots": snapshots}))
    assert compared(tmp_path) > 1
