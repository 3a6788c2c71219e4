"""What an aggregator tells an agent to probe and to answer, part by part."""

from __future__ import annotations

import random
from collections.abc import Iterable

from google.protobuf.message import DecodeError
from nodetell.limits import MAX_PROBE_GRANTS, MAX_PROBE_INTERVAL_MS, MAX_PROBE_TARGETS, MIN_PROBE_INTERVAL_MS
from nodetell.v1 import agent_pb2

from agent.pathmtu.plan import VIAS, Assembly, PlanError
from fuzz import mutators, records
from fuzz.target import MutateBytes, Target


def check(case: bytes) -> None:
    """A plan is within bounds, whatever is asked for, or is not followed."""
    assembly = Assembly()
    for _, data in records.unpacked(case):
        try:
            plan = assembly.take(agent_pb2.ProbePlan.FromString(data))
        except DecodeError:
            continue
        except PlanError as error:
            assert "\n" not in str(error)
            continue
        if plan is not None:
            assert MIN_PROBE_INTERVAL_MS <= 1000 * plan.interval_s <= MAX_PROBE_INTERVAL_MS
            assert len(plan.targets) <= MAX_PROBE_TARGETS
            assert len(plan.grants) <= MAX_PROBE_GRANTS
            assert all(0 < target.port < 65_536 and target.via in VIAS for target in plan.targets)


def _plan(part: int, parts: int) -> agent_pb2.ProbePlan:
    plan = agent_pb2.ProbePlan(version=3, interval_ms=60_000, part=part, parts=parts)
    for address in ("10.0.0.2", "fd00::2"):
        target = plan.targets.add(peer="node-2", via="overlay", address=address, port=40_000 + part)
        target.key.id, target.key.key = bytes(8), bytes(16)
    plan.grants.add(id=bytes(8), key=bytes(16))
    return plan


def _seeds() -> Iterable[bytes]:
    yield records.packed([(0, _plan(0, 1).SerializeToString())])
    yield records.packed((0, _plan(part, 3).SerializeToString()) for part in range(3))


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One part field by field, the order of parts, or bytes."""
    found = list(records.unpacked(case))
    if not found or chance.randrange(10) == 0:
        return mutate_bytes(case, most)
    at, step = chance.randrange(len(found)), chance.randrange(8)
    if step == 0:
        found.insert(chance.randrange(len(found) + 1), found[at])
        return records.packed(found)
    part = agent_pb2.ProbePlan()
    try:
        part.MergeFromString(found[at][1])
    except DecodeError:
        return mutate_bytes(case, most)
    for _ in range(chance.choice((1, 1, 3))):
        mutators.message(part, chance)
    found[at] = 0, part.SerializeToString()
    return records.packed(found)


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=1_000)
