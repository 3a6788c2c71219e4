"""What the scheduler says of a pod, as a label: the reason that decides, and the others beside it."""

from __future__ import annotations

from aggregator.messages import nodes
from aggregator.messages.api_server import TIMEOUT_RULES
from aggregator.messages.model import Classification
from aggregator.messages.rules import beside, first
from aggregator.messages.said import Said
from aggregator.messages.scheduling import is_gated, parse

_PREEMPTION_NONE = "sched.preemption_none"

_SCHEDULING_REASONS = frozenset({"failedscheduling", "unschedulable", "schedulinggated", "nottriggerscaleup"})

_SCHEDULING_SHAPES = (
    "nodes are available:",
    "nodes are available that match all of",
    "pod didn't trigger scale-up",
    "scheduling is blocked due to non-empty scheduling gates",
    "pod has unbound immediate persistentvolumeclaims",
)

_TAINT_MEANS = {
    "node.kubernetes.io/disk-pressure": nodes.DISK_PRESSURE,
    "node.kubernetes.io/memory-pressure": nodes.MEMORY_PRESSURE,
    "node.kubernetes.io/pid-pressure": nodes.PID_PRESSURE,
    "node.kubernetes.io/unreachable": nodes.NODE_LOST,
}


def judge(said: Said) -> Classification | None:
    """What the scheduler, or an autoscaler, says. None: it is somebody else."""
    if said.reason not in _SCHEDULING_REASONS and not said.has(*_SCHEDULING_SHAPES):
        return None
    says = parse(said.written.message)
    if said.reason == "schedulinggated" or is_gated(says):
        gate = next((reason.text for reason in says.reasons), "SchedulingGated")
        return Classification("", phrase=gate, no_fault=True, why="the pod waits at a gate that somebody set")
    main = says.main
    if main is None:
        return first(TIMEOUT_RULES, said.text) or Classification("", why="the scheduler says no reason")
    codes = [reason.code for reason in sorted(says.reasons, key=lambda each: -each.count)]
    codes += [_TAINT_MEANS[reason.taint] for reason in says.reasons if reason.taint in _TAINT_MEANS]
    if said.has("no preemption victims found"):
        codes.append(_PREEMPTION_NONE)
    count = f"{main.count} of {says.total} nodes" if says.total and main.count else "the pod"
    return Classification(main.code, beside(main.code, codes), main.text, why=f"what stops {count}")
