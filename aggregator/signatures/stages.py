"""In which stages findings of a code come: most are of something that somebody suffers from; some warn before that."""

from __future__ import annotations

from aggregator.model import Stage

RISK = (Stage.RISK,)
ACTIVE = (Stage.ACTIVE,)
BOTH = (Stage.RISK, Stage.ACTIVE)

_STAGES: dict[str, tuple[Stage, ...]] = {
    "cp.etcd_slow_fsync": BOTH,
    "cp.no_space": BOTH,
    "crash.identity": BOTH,
    "disk.slow_fsync": RISK,
    "image.unauthorized": BOTH,
    "mtu.fragmenting": RISK,
    "mtu.inconsistent_across_nodes": RISK,
    "mtu.inconsistent_on_node": BOTH,
    "mtu.overlay_exceeds_underlay": BOTH,
    "mtu.path_smaller": RISK,
    "node.clock_skew": BOTH,
    "sched.headroom_low": RISK,
    "sched.pdb_deadlock": RISK,
    "sched.stuck_waiting": RISK,
    "storage.immediate_binding": RISK,
    "storage.io_error_readonly": BOTH,
    "storage.orphaned_device": BOTH,
    "storage.stale_attachment": BOTH,
    "storage.stranded_on_loss": RISK,
    "storage.zone_mismatch": BOTH,
}
"""Of built-in codes; those that are not here are active."""


def stages_of(code: str) -> tuple[Stage, ...]:
    """The stages of a built-in code's findings."""
    return _STAGES.get(code, ACTIVE)
