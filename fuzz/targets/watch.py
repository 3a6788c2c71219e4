"""A watch of the API server: bytes to lines, lines to events, events to objects."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from aggregator.cluster import watch_event
from aggregator.cluster.answers import ApiError
from aggregator.cluster.decode import DecodeError, Decoder, peek
from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.lines import LineSplitter, LineTooLongError
from aggregator.cluster.state import ClusterState
from fuzz import kube, mutators
from fuzz.target import MutateBytes, Target, sometimes

_LIMIT = 3_000
"""Of a line in these cases."""
_GOOD = kube.text({"metadata": {"name": "known-as-good", "namespace": "n", "uid": "u", "resourceVersion": "9"}})
_KEYS = ("known-as-good", "n/known-as-good")


def check(case: bytes) -> None:
    """Lines are what stands between line ends; an event that is none loses no other, and nothing else is raised."""
    resource, step, stream = (
        kube.resource_of(case[0] if case else 0),
        (case[1] if len(case) > 1 else 0) * 8 + 1,
        case[2:],
    )
    splitter, lines = LineSplitter(_LIMIT), []
    try:
        for at in range(0, len(stream), step):
            lines += splitter.feed(stream[at : at + step])
    except LineTooLongError:
        assert max(map(len, stream.split(b"\n"))) > _LIMIT
    else:
        assert lines == [line for line in stream.split(b"\n")[:-1] if line and not line.isspace()]
    state, decoder = ClusterState(), Decoder()
    sink = ClusterSink(state)
    sink.put(resource, msgspec.Raw(_GOOD))
    kept = any(state.get(resource, key) is not None for key in _KEYS)
    spoken_of = False
    for line in lines:
        try:
            event = watch_event.parse(line)
        except ApiError as error:
            assert "\n" not in str(error)
            continue
        assert watch_event.order(event.version, event.version) in (0, 1)
        spoken_of |= _decoded(resource, event.item, decoder) in _KEYS
        if event.type == "DELETED":
            sink.drop(resource, event.item)
        else:
            sink.put(resource, event.item)
    assert not kept or spoken_of or any(state.get(resource, key) is not None for key in _KEYS)
    assert all("\n" not in problem for problem in sink.problems(resource))


def _decoded(resource: str, item: msgspec.Raw, decoder: Decoder) -> str:
    """Key of the object; empty: it cannot be told."""
    try:
        key = peek(resource, item).key
    except DecodeError as error:
        assert "\n" not in str(error)
        return ""
    try:
        first = decoder.decode(resource, item)
    except DecodeError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1_000
        return key
    if sometimes(bytes(item), 4):
        assert first == decoder.decode(resource, item, key)
    assert first.key == key
    return key


def _seeds() -> Iterable[bytes]:
    for number, thing in kube.objects():
        yield bytes((number, 255)) + kube.text({"type": "ADDED", "object": thing}) + b"\n"
    number, small = (
        2,
        {"kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}},
    )
    events = [kube.text({"type": kind, "object": small}) for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")]
    yield bytes((number, 3)) + b"\n".join(events) + b"\n"
    status = {
        "kind": "Status",
        "code": 410,
        "message": "too old",
        "details": {"retryAfterSeconds": 1, "causes": [{"reason": "x"}]},
    }
    yield bytes((number, 9)) + kube.text({"type": "ERROR", "object": status}) + b"\n\r\n"


def mutate(case: bytes, most: int, chance: random.Random, mutate_bytes: MutateBytes) -> bytes:
    """One line's JSON, the order of lines, or bytes."""
    lines = case[2:].split(b"\n")
    at, step = chance.randrange(len(lines)), chance.randrange(10)
    if step == 0 or not lines[at].startswith(b"{"):
        return mutate_bytes(case, most)
    if step == 1:
        lines.insert(at, lines[at])
    elif step == 2:
        del lines[at]
    elif step == 3:
        return bytes((chance.randrange(256), chance.randrange(256))) + case[2:]
    else:
        lines[at] = mutators.document(lines[at], most, chance, mutate_bytes)
    return case[:2] + b"\n".join(lines)


TARGET = Target(check, _seeds, words=(b'"metadata":{', b'"type":"DELETED"'), mutate=mutate, max_bytes=3_000)
