"""What the sensor answers over its socket: the frame, the report, and what collectors make of it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from typing import cast

from google.protobuf.message import DecodeError
from nodetell.v1 import sensor_pb2 as pb

from agent.collectors.base import Collector
from agent.collectors.drops import DropsCollector
from agent.collectors.fsync import FsyncCollector
from agent.collectors.retransmits import RetransmitsCollector
from agent.delta import DeltaEncoder
from agent.host import Host, ReadError
from agent.reading import merged
from agent.sensor.client import SensorClient
from agent.sensor.wire import LENGTH
from aggregator.node_state import NodeState
from fuzz import mutators
from fuzz.hosts import host_of, tell
from fuzz.target import MutateBytes, Target, sometimes

_MOUNTS = b"25 1 259:0 / / rw - ext4 /dev/nvme0n1 rw\n26 25 0:5 / /dev/shm rw - tmpfs tmpfs rw\n"


class _LiveHost:
    """A live host of which nothing is read but its mounts."""

    live, name = True, "node-1"

    def __init__(self) -> None:
        self.read = host_of({"proc/1/mountinfo": _MOUNTS}).read


class _Sensor:
    """Answers every question with the same bytes."""

    path = "/run/sensor.sock"

    def __init__(self, report: pb.SensorReport) -> None:
        self._report = report

    def report(self) -> pb.SensorReport:
        """As SensorClient.report."""
        return self._report


def check(case: bytes) -> None:
    """A report is taken whole or not at all; of whatever report, what is made of it can be told."""
    if case[:1] == b"\0":
        _framed(case[1:])
    try:
        report = pb.SensorReport.FromString(case[1:])
    except DecodeError:
        return
    sensor, host = cast("SensorClient", _Sensor(report)), cast("Host", _LiveHost())
    running: list[Collector] = [FsyncCollector(sensor=sensor), DropsCollector(sensor), RetransmitsCollector(sensor)]
    encoder, state = DeltaEncoder(), NodeState("node-1")
    told = sometimes(case, 4)
    for number in range(1 + told):
        reading = merged({each.name: each.collect(host, 1e9 + number) for each in running})
        if told:
            tell(reading, encoder, state, 1_000_000_000_000 + number)


def _framed(answer: bytes) -> None:
    """What a client makes of an answer that comes over a real socket."""
    ours, theirs = socket.socketpair()
    client = SensorClient("/nowhere/sensor.sock")
    client._socket = ours
    try:
        theirs.sendall(answer[:8_000])
        theirs.shutdown(socket.SHUT_WR)
        try:
            assert len(client.report().SerializeToString()) <= 2 * len(answer) + 16
        except ReadError as error:
            assert "\n" not in str(error)
    finally:
        client.close()
        theirs.close()


def _seeds() -> Iterable[bytes]:
    report = pb.SensorReport(version="1", started_unix_ms=5, bounds_us=[64, 1000], cpu_us=7, own_netns=9)
    for signal in ("fsync", "drops", "retransmits"):
        report.methods.add(signal=signal, name="tp_btf x", running=True, blind=["y"], observed_permille=1000)
        report.methods.add(signal=signal, name="kprobe", refused="EPERM")
    report.latencies.add(
        process="etcd", device_major=259, file_class=1, cgroup_id=5, counts=[1, 2, 3], sum_ns=9, max_ns=5
    )
    report.drops.add(reason="PKT_TOO_BIG", site="ip_forward", ifindex=2, interface="eth0", netns=9, count=5)
    report.retransmits.add(
        netns=9, peer="10.0.0.2", large=5, small=1, consecutive_timeouts=3, cgroup_path="/kubepods/x"
    )
    report.losses.drops_not_counted = 12
    raw = report.SerializeToString()
    yield b"\1" + raw
    yield b"\0" + LENGTH.pack(len(raw)) + raw
    yield b"\0" + LENGTH.pack(1 << 31)


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """The report field by field, or bytes."""
    if case[:1] == b"\0" or chance.randrange(10) == 0:
        return mutate_bytes(case, most)
    report = pb.SensorReport()
    try:
        report.MergeFromString(case[1:])
    except DecodeError:
        return mutate_bytes(case, most)
    for _ in range(chance.choice((1, 1, 2, 4))):
        mutators.message(report, chance)
    return b"\1" + report.SerializeToString()


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=1_200)
