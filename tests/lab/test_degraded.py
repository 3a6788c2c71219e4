"""Every scenario of the tests, seen with less: what is not known is never taken for absent, and no rule breaks on it.

With every host read as sparsely as a collection of `cat` and `ip` reads it, the judgement is the same. With one list of
the API server missing, or all hosts, there is a diagnosis, whatever it can still say.
"""

from __future__ import annotations

import pytest

from tests.lab.__main__ import load_all
from tests.lab.cluster import Lab
from tests.lab.scenario import SCENARIOS, judge
from tests.lab.shapes import KINDS

load_all()
NAMES = sorted(SCENARIOS)
LESS = [*(resource for resource, _ in KINDS.values()), "hosts"]


def keep_only(lab: Lab, unwanted: str) -> None:
    """Take files out of the snapshots so far: those whose path holds this."""
    lab.snapshots = [
        (name, at, {path: content for path, content in files.items() if unwanted not in path})
        for name, at, files in lab.snapshots
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_sparse_collection_is_enough(name: str) -> None:
    case = SCENARIOS[name]()
    for detail in ("/proc/partitions", "/holders/", "/diskseq"):
        keep_only(case.lab, detail)
    for host in case.lab.hosts.values():
        host.thorough = False
    judge(case)


@pytest.mark.parametrize(("name", "less"), [(name, LESS[i % len(LESS)]) for i, name in enumerate(NAMES)])
def test_with_less_there_is_a_diagnosis(name: str, less: str) -> None:
    lab = SCENARIOS[name]().lab
    if less == "hosts":
        keep_only(lab, "nodes/")
        lab.hosts.clear()
    else:
        lab.unlisted.add(less)
        keep_only(lab, f"kube/{less}.json")
    lab.diagnose()  # asserts that no signature failed
