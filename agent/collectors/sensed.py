"""What the collectors that ask the sensor have in common: pods by control group, and how methods become coverage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import sensor_pb2

from agent.hosts.files import printable
from agent.reading import Block, Reading

INTERVAL_S = 2.5
"""Time between two questions to the sensor, which all its collectors share."""
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)")
_LINE = 900
_U64 = (1 << 64) - 1


def pod_of(cgroup_path: str) -> str:
    """UID of the pod that a control group belongs to; empty: none.

    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope" with underscores
    in UID (systemd), "/kubepods/burstable/podUID/ID" (cgroupfs); static pods have 32 digits without hyphens.
    """
    match = _POD.search(cgroup_path)
    return match[1].replace("_", "-") if match else ""


def tell_methods(reading: Reading, signal: str, report: sensor_pb2.SensorReport, beside: str = "") -> str:
    """Coverage of a signal by its methods: what runs, what it cannot see, what was refused and why.

    Returns the name of the method that runs; empty: none does. `beside` is said of a method that runs.
    """
    methods = [method for method in report.methods if method.signal == signal]
    running = next((method for method in methods if method.running), None)
    refused = "; ".join(_refusal(method) for method in methods if not method.running)
    if running is None:
        because = printable(f"the sensor runs, but counts nothing here: {refused or 'nothing was tried'}", _LINE)
        reading.gap(signal, because, detail="sensor", remedy="see docs/sensor.md for what each method needs")
        return ""
    parts = [f"by {running.name}"]
    if running.blind:
        parts.append(f"it does not see {', '.join(running.blind)}")
    if share := observed(running):
        parts.append(f"it is on for {share / 10:g} % of the time, and counts are of that share")
    parts += [part for part in (beside, refused) if part]
    reading.gap(signal, printable("; ".join(parts), _LINE), detail="sensor", status=pb.COVERAGE_STATUS_DEGRADED)
    return running.name


def observed(method: sensor_pb2.SensorMethod) -> int:
    """Share of the time in which a method is on, thousandths, to a twentieth so that it stays the same; 0: always."""
    return 0 if method.observed_permille >= 975 else max(10, round(method.observed_permille / 50) * 50)


def _refusal(method: sensor_pb2.SensorMethod) -> str:
    return f"{method.name} refused: {method.refused}" if method.name else method.refused


def tell_losses(reading: Reading, signal: str, counts: Mapping[str, int]) -> None:
    """What the sensor could not count, if there is any."""
    lost = [f"{_rounded(count):,} {what}" for what, count in counts.items() if count]
    if lost:
        because = f"the sensor's tables were full: about {', '.join(lost)}"
        reading.gap(signal, because, detail="losses", status=pb.COVERAGE_STATUS_DEGRADED)


def tell_left_out(reading: Reading, signal: str, left_out: int, what: str) -> None:
    """That only the largest rows are told."""
    if left_out > 0:
        because = f"only those with most are told: about {_rounded(left_out):,} more {what}"
        reading.gap(signal, because, detail="left_out", status=pb.COVERAGE_STATUS_DEGRADED)


def put(reading: Reading, item: pb.Item, names: tuple[str, ...], values: Iterable[int]) -> None:
    """Add an item and its counters; what is summed up and more than a counter holds is the most that it does."""
    reading.add(item)
    reading.blocks[item.key] = Block(names, tuple(min(value, _U64) for value in values))


def _rounded(count: int) -> int:
    """To one digit, so that coverage does not change with every packet."""
    step = int("1" + "0" * (len(str(count)) - 1))
    return count // step * step
