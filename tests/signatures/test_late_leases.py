"""Late leases of nodes, kept as they change, are those that a walk over all leases would find."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cluster.objects import Lease
from aggregator.cluster.state import ClusterState
from aggregator.signatures.control_plane.late_leases import PREFIX, LateLeases

NOW = 1_790_000_000.0
STEPS = st.lists(
    st.tuples(st.sampled_from(["renew", "old", "gone", "clear", "unheard"]), st.integers(0, 4), st.integers(-30, 60)),
    max_size=30,
)


def lease(number: int, renewed: float) -> Lease:
    return Lease("kube-node-lease", f"n{number}", renewed=renewed)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_they_are_as_from_scratch(steps: list[tuple[str, int, int]]) -> None:
    state, kept, now = ClusterState(), LateLeases(), NOW
    revision = 0
    for what, number, seconds in steps:
        now += seconds
        key = f"{PREFIX}n{number}"
        if what == "renew":
            state.keep("leases", key, lease(number, now))
        elif what == "old":
            state.keep("leases", key, lease(number, now - 2 * abs(seconds)))
        elif what == "gone" and key in state.leases:
            state.keep("leases", key, None)
        elif what == "clear":
            state.clear("leases")
        changes = state.changes(revision) if what != "unheard" else None
        if changes is None:
            kept.begin_anew()
        else:
            kept.take(changes)
        revision = state.revision
        anew = LateLeases().late(state, now, 40.0)
        assert sorted(each.name for each in kept.late(state, now, 40.0)) == sorted(each.name for each in anew)
        assert {each.name for each in anew} == {each.name for each in state.leases.values() if each.renewed < now - 40}
        assert kept.number == len(state.leases)


def test_all_are_walked_only_when_one_more_may_be_late() -> None:
    state, kept = ClusterState(), LateLeases()
    for number in range(3):
        state.keep("leases", f"{PREFIX}n{number}", lease(number, NOW + number))
    assert kept.late(state, NOW + 41.5, 40.0) == [lease(0, NOW), lease(1, NOW + 1)]
    with patch.object(ClusterState, "leases", None):  # nobody looks
        assert len(kept.late(state, NOW + 41.5, 40.0)) == 2
        assert len(kept.late(state, NOW + 41.9, 40.0)) == 2
    assert len(kept.late(state, NOW + 42.5, 40.0)) == 3


def test_one_that_is_late_in_a_moment_is_not_forgotten() -> None:
    state, kept = ClusterState(), LateLeases()
    state.keep("leases", f"{PREFIX}n0", lease(0, NOW))
    assert kept.late(state, NOW + 40, 40.0) == []
    assert kept.late(state, NOW + 40.5, 40.0) == [lease(0, NOW)]
