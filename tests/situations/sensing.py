"""The sensor in a lab: one kernel runs all nodes, so each node is told of its own namespaces alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from nodetell.v1 import sensor_pb2

from agent.sensor.report import Sensor
from agent.sensor.settings import SensorSettings
from aggregator.node_state import NodeState
from tests.netns import Namespace


@dataclass(frozen=True, slots=True)
class SentAgain:
    """Segments that TCP sent again to one peer, as a node reports them."""

    large: int
    small: int
    timeouts: int
    """In a row."""

    @property
    def black_hole(self) -> bool:
        """Time-outs again and again, on large segments only. Random loss is repaired without them.

        A peer that dies amid a transfer looks the same until somebody connects to it anew: then a small one is sent
        again too.
        """
        return self.timeouts >= 3 and self.large >= 3 and self.small == 0


class NodeSensor:
    """What a node's own sensor would report. Stands where agent.sensor.client.SensorClient does."""

    def __init__(self, sensor: Sensor, node: Namespace, pod: Namespace) -> None:
        self._sensor = sensor
        self._own, self._pod = _inode(node), _inode(pod)

    def report(self) -> sensor_pb2.SensorReport:
        """Everything, less what is of other namespaces."""
        report = self._sensor.report()
        report.own_netns = self._own
        rows = [row for row in report.retransmits if row.netns in {self._own, self._pod}]
        del report.retransmits[:]
        report.retransmits.extend(rows)
        return report


def sent_again(state: NodeState, peer: str) -> SentAgain:
    """What is known of a node's connections to a peer, its pods' and its own."""
    rows = [item for item in state.of("retransmits") if item.retransmits.peer == peer]
    large, small = (sum(state.level(row.key, counter) or 0 for row in rows) for counter in ("large", "small"))
    return SentAgain(large, small, max((row.retransmits.consecutive_timeouts for row in rows), default=0))


@contextlib.contextmanager
def sensing() -> Iterator[Sensor]:
    """The sensor, counting retransmissions. Skips the test where the kernel refuses all its methods."""
    sensor = Sensor(SensorSettings(fsync=False, drops=False))
    sensor.start()
    try:
        if not sensor.running:
            refused = "; ".join(m.refused for m in sensor.report().methods if m.signal == "retransmits")
            pytest.skip(f"needs: BPF: {refused}")
        yield sensor
    finally:
        sensor.close()


def _inode(inside: Namespace) -> int:
    return os.stat(f"/run/netns/{inside.name}").st_ino
