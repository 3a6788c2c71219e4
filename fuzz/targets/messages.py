"""The classifier of messages, and the scheduler's messages taken apart."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from functools import cache

from aggregator.messages import Classification, Message, classify, scheduling
from aggregator.messages.families import FAMILIES
from aggregator.messages.rules import Rule
from aggregator.messages.text import HEAD, TAIL
from fuzz.target import MutateBytes, Target

_REASONS = (
    "", "FailedScheduling", "FailedMount", "FailedAttachVolume", "BackOff", "Failed", "Unhealthy", "ProvisioningFailed",
    "FailedCreatePodSandBox", "OOMKilled", "Error", "FailedCreate", "NodeNotReady", "VolumeResizeFailed",
    "ErrImagePull",
)  # fmt: skip
_OBJECTS = ("", "Pod", "Node", "PersistentVolumeClaim", "kernel-log", "etcd-log", "container-log", "Job")


def message_of(case: bytes) -> Message:
    """Object, reason and exit code by the first three bytes, or as the first line says; the rest is the message."""
    head, text = case[:3].ljust(3, b"\0"), case[3:].decode("utf-8", "replace")
    reason = _REASONS[head[1] % len(_REASONS)]
    if head[0] & 0x80:
        reason, _, text = text.partition("\n")
    exit_code = head[2] - 1 if head[2] < 200 else None
    return Message(_OBJECTS[head[0] % len(_OBJECTS)], reason, exit_code, text)


def check(case: bytes) -> None:
    """It never fails, says nothing that is not in the table, and quotes only what stands there."""
    message = message_of(case)
    said = classify(message)
    assert isinstance(said, Classification)
    assert said.label in FAMILIES or not said.label
    assert len(said.also) <= 4
    assert all(code in FAMILIES and code != said.label for code in said.also)
    assert len(said.phrase) <= 200
    assert "\n" not in said.phrase
    taken = scheduling.parse(message.message)
    assert all(reason.count >= 0 and len(reason.text) <= HEAD + TAIL for reason in taken.reasons)
    assert taken.main is None or taken.main in taken.reasons


@cache
def _phrases() -> Sequence[str]:
    """All phrases of all rules, their signs filled in."""
    from aggregator.messages import classify as _  # noqa: F401  # all areas are imported

    found: set[str] = set()
    for rule in _rules():
        found.update((*rule.phrases, *rule.needs, *rule.unless))
    filled = (re.sub("[|]", "", phrase).replace("*", "pvc-1").replace("#", "137").replace("…", " ") for phrase in found)
    return sorted(filled)


def _rules() -> Iterable[Rule]:
    import sys

    for name, module in list(sys.modules.items()):
        if name.startswith("aggregator.messages."):
            for value in vars(module).values():
                for each in value if isinstance(value, tuple | list) else (value,):
                    if isinstance(each, Rule):
                        yield each


def _seeds() -> Iterable[bytes]:
    for number, phrase in enumerate(_phrases()):
        yield bytes((number % 8, number % len(_REASONS), 255)) + phrase.encode()
    for text in (
        "0/5 nodes are available: 3 node(s) had untolerated taint {key: v}, 2 Insufficient cpu. preemption: 0/5",
        "No nodes are available that match all of the predicates: Insufficient cpu (4), MatchNodeSelector (2).",
        "pod didn't trigger scale-up: 1 max node group size reached, 2 node(s) didn't match Pod's node affinity",
    ):
        yield b"\x01\x01\xff" + text.encode()


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """Bytes, or a phrase of a rule put in somewhere, or a piece repeated many times."""
    step = chance.randrange(4)
    if step <= 1 or len(case) < 4:
        return mutate_bytes(case, most)
    at = chance.randrange(3, len(case))
    if step == 2:
        phrase = chance.choice(_phrases()).encode()
        return case[:at] + chance.choice((b" ", b"", b": ", b"\n")) + phrase + case[at:]
    piece = case[at : at + chance.randrange(1, 30)]
    return case[:at] + piece * chance.choice((2, 2, 10, 60)) + case[at:]


TARGET = Target(check, _seeds, mutate=mutate, max_bytes=280)
