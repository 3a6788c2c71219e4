"""What agents of two nodes say, good or not, and what the aggregator concludes from it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from google.protobuf.message import DecodeError
from nodetell.v1 import agent_pb2
from nodetell.v1 import facts_pb2 as pb

from agent.collectors.registry import collectors
from agent.delta import DeltaEncoder
from agent.reading import Block, Reading, merged
from aggregator.cluster.decode import Decoder
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.convert import gap_to_json, node_facts, record_from_json, record_to_json, record_to_message
from aggregator.engine import judge, prepare
from aggregator.findings import Record
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from fuzz import kube, mutators, records
from fuzz.captures import HOSTS
from fuzz.hosts import host_of
from fuzz.target import MutateBytes, Target
from tests.aggregator.cluster.samples import CREATED_S

_THRESHOLDS = Thresholds()
_NODES = ("node-a", "node-b")
_AT = CREATED_S + 600
_LEFT_OUT = ("usage",)
"""Collectors that read files themselves."""


@cache
def _objects() -> ClusterState:
    """What the API server has: an object of each kind, some of them of the first node."""
    state, decoder = ClusterState(), Decoder()
    for number, thing in kube.objects():
        decoded = decoder.decode(kube.resource_of(number), kube.text(thing))
        state.keep(kube.resource_of(number), decoded.key, decoded.thing)
    for resource in RESOURCES:
        state.set_known(resource, True)
    return state


def kind_of(case: bytes) -> int:
    """Whether the API server is read, by the first record."""
    return case[0] >> 1 & 1 if case else 0


def check(case: bytes) -> None:
    """Each signature can be evaluated with whatever facts there are, and what it finds can be told and stored."""
    hosts = {name: NodeState(name) for name in _NODES}
    for kind, data in records.unpacked(case):
        state = hosts[_NODES[kind % 2]]
        try:
            state.apply(agent_pb2.Update.FromString(data))
        except (UpdateError, DecodeError):
            continue
        prepare(state, _objects().nodes.get(state.name))
    heard = {name: state for name, state in hosts.items() if state.at}
    objects = _objects() if kind_of(case) else ClusterState()
    judgement = judge(ClusterView("c", heard, objects, now=_AT), _THRESHOLDS)
    assert judgement.failed == {}
    assert judgement.left_out == {}
    for finding in judgement.verdict.findings:
        record = Record(finding, "x", _AT, _AT)
        text = json.dumps(record_to_json(record))
        assert record_from_json(json.loads(text), "x").finding.code == finding.code
        record_to_message(record).SerializeToString()
        assert "\n" not in finding.summary
        assert len(text) < 1 << 20
    for gap in judgement.verdict.gaps:
        json.dumps(gap_to_json(gap))
    for state in heard.values():
        node_facts(state).SerializeToString()


def _files(node: Path) -> dict[str, bytes]:
    return {str(place.relative_to(node)): place.read_bytes() for place in sorted(node.rglob("*")) if place.is_file()}


def _seeds() -> Iterable[bytes]:
    for situation in sorted(HOSTS.iterdir()):
        updates: list[tuple[int, bytes]] = []
        for number, node in enumerate(sorted((situation / "t0/nodes").iterdir())[:2]):
            encoder = DeltaEncoder()
            running = [each for each in collectors() if each.name not in _LEFT_OUT]
            for moment in range(2):
                place = situation / f"t{moment}/nodes" / node.name
                if not place.is_dir():
                    continue
                host, at = host_of(_files(place)), _AT + 60 * moment
                reading = merged({each.name: each.collect(host, at) for each in running})
                for key in [key for key, item in reading.items.items() if item.HasField("coverage")]:
                    del reading.items[key]
                update = (
                    encoder.full(reading, round(at * 1000)) if not moment else encoder.delta(reading, round(at * 1000))
                )
                if update is not None:
                    updates.append((number, update.SerializeToString()))
        yield records.packed(updates)
    yield from _one_of_each()
    yield from _trouble()


def _one_of_each() -> Iterable[bytes]:
    """Updates with a few facts of each kind, whose fields say anything."""
    for field in pb.Item.DESCRIPTOR.oneofs_by_name["fact"].fields:
        chance, update = random.Random(field.name), agent_pb2.Update(full=True, at_unix_ms=round(_AT * 1000))
        for number in range(3):
            item = update.items.add(key=f"{field.name}/{number}")
            getattr(item, field.name).SetInParent()
            for _ in range(20):
                mutators.message(getattr(item, field.name), chance)
        yield records.packed([(0, update.SerializeToString())])


def _trouble() -> Iterable[bytes]:
    """A node whose disk, volume, clock, etcd and network card are in trouble."""
    at, ago = round(_AT * 1000), round(_AT * 1000) - 60_000
    items = [
        pb.Item(key="host", host=pb.HostInfo(boot_id="b", boot_time_unix_ms=ago, cpus=2)),
        pb.Item(key="clock", clock=pb.Clock(synchronized=False, offset_us=5_000_000, max_error_us=1)),
        pb.Item(key="disk/259:1", disk=pb.Disk(dev="259:1", name="nvme1n1", size_bytes=1 << 30, serial="s")),
        pb.Item(key="conntrack", conntrack=pb.Conntrack(count=99, max=100)),
        pb.Item(key="etcd", etcd=pb.Etcd(database_bytes=99, in_use_bytes=9, quota_bytes=100, has_leader=False)),
        pb.Item(key="pressure/io", pressure=pb.Pressure(resource="io", some_avg10_bp=9000, full_avg10_bp=9000)),
        pb.Item(
            key="attach/1",
            attach_event=pb.AttachEvent(
                kind="ATTACH_EVENT_KIND_ATTACHED", dev="259:1", device="nvme1n1", at_unix_ms=ago
            ),
        ),
        pb.Item(key="mount/5", mount=pb.Mount(id=5, dev="259:1", mount_point="/x", fs_type="ext4", fs_read_only=True)),
    ]
    for number in pb.KernelEventClass.values():
        event = pb.KernelEvent(subject="nvme1n1", count=5, first_unix_ms=ago, last_unix_ms=at)
        setattr(event, "class", number)
        items.append(pb.Item(key=f"kernel/{number}/nvme1n1", kernel_event=event))
    volume = pb.Volume(
        pod_uid="u", volume_name="pvc-1", mounted=True, fs_read_only=True, fs_read_only_word="ro", errors=5
    )
    volume.dev, volume.fs_type, volume.last_error_time, volume.attached = "259:1", "ext4", ago // 1000, True
    volume.devices.append("nvme1n1")
    items.append(pb.Item(key="volume/u/pvc-1", volume=volume))
    fs = pb.Filesystem(
        device="nvme1n1", fs_type="ext4", errors=5, first_error_time=ago // 1000, last_error_time=ago // 1000
    )
    items.append(pb.Item(key="fs/ext4/nvme1n1", filesystem=fs))
    source = pb.LatencySource(
        process="etcd", device="259:1", method="LATENCY_METHOD_PASSIVE", bounds_us=[1000, 100_000], file_class="wal"
    )
    items.append(pb.Item(key="latency/x", latency=source))
    before, after = (Reading(items={item.key: item for item in items}) for _ in range(2))
    before.blocks = {"latency/x": Block(("le_1000us", "le_100000us", "gt_100000us"), (5, 5, 5))}
    after.blocks = {"latency/x": Block(("le_1000us", "le_100000us", "gt_100000us"), (5, 5, 5_000))}
    encoder = DeltaEncoder()
    updates = [encoder.full(before, at), encoder.delta(after, at + 300_000)]
    for kind in (0, 2):
        yield records.packed((kind, update.SerializeToString()) for update in updates if update is not None)


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One update field by field, or the order of updates, or whose they are."""
    found = list(records.unpacked(case))
    if not found or chance.randrange(20) == 0:
        return mutate_bytes(case, most)
    at, step = chance.randrange(len(found)), chance.randrange(10)
    kind, data = found[at]
    if step == 0:
        del found[at]
    elif step == 1:
        found.insert(chance.randrange(len(found) + 1), (chance.randrange(4), data))
    else:
        update = agent_pb2.Update()
        try:
            update.MergeFromString(data)
        except DecodeError:
            return mutate_bytes(case, most)
        for _ in range(chance.choice((1, 2, 4, 8))):
            if update.items and chance.randrange(4):
                mutators.message(chance.choice(update.items), chance)
            else:
                mutators.message(update, chance)
        found[at] = kind, update.SerializeToString()
    return records.packed(found)


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=8_192, slow_s=5.0)
