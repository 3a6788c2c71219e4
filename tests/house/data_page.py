"""The part of docs/data.md that lists every field that leaves a node: made of the .proto files and of WHY below.

`python -m tests.house.data_page` writes it anew; test_data_page.py fails where the page is not what this makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from nodetell.v1 import agent_pb2

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "data.md"
BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"
ROOTS = (agent_pb2.AgentMessage.DESCRIPTOR, agent_pb2.Update.DESCRIPTOR, agent_pb2.PathProof.DESCRIPTOR)
"""All that an agent sends: its messages, what the pieces in them come to, and the proof of a path."""

WHY: dict[str, str] = {
    "AgentMessage": "the stream itself",
    "Hello": "who reports, and whether the aggregator can go on from what it holds",
    "Credential": "the proof of who reports; checked, and kept by nobody",
    "Chunk": "an update cut into messages that pass where large packets do not",
    "Heartbeat": "a quiet node is told from a dead one",
    "ClockReading": "a clock that is wrong breaks tokens, leases and the order of events",
    "Update": "what has changed; what could not be told in time is counted",
    "Backlog": "what was counted while the aggregator was away",
    "CounterSchema": "names of counters, once instead of each time",
    "CounterBlock": "counters: packets, errors, drops, I/O, stalls, latencies",
    "CounterSample": "by how much they rose, and when",
    "PathProof": "whether full-size packets get to the aggregator: random bytes",
    "Item": "one fact under its key",
    "HostInfo": "a reboot is told from a counter that was reset; what the kernel can tell",
    "Link": "MTUs that do not fit, interfaces that are down, whose pods suffer",
    "LinkEvent": "flaps and MTUs that were set back while the aggregator was away",
    "Tunnel": "what a tunnel needs, and what carries it",
    "Route": "MTUs that routes give, and which way tunnels go",
    "Disk": "which disk is slow, full of errors or read-only, and which volume it is",
    "Mount": "what is mounted where, and what has turned read-only",
    "Volume": "volumes that are not attached, not mounted or still held, joined with the API server's view",
    "DeviceIdentity": "the same disk by its names here and at the cloud",
    "AttachedDevice": "disks that are attached for nobody, or missing",
    "AttachEvent": "when a volume was attached, mounted, remounted, detached",
    "KernelEvent": "I/O errors, OOM kills, hung tasks: by class and what they name, never the message",
    "LogPattern": "a refused identity is told from a crash of the program; off unless the operator allows it",
    "LatencySource": "who waits for the disk, and for how long",
    "Etcd": "how near etcd is to its quota, and whether it has a leader",
    "DropReason": "why and where the kernel drops packets",
    "Retransmits": "to whom packets get lost, and whether only large ones do",
    "Conntrack": "a full connection table drops new connections",
    "Pressure": "whether the node waits for CPU, memory or I/O",
    "Usage": "whether the node is busy or out of memory",
    "Clock": "whether the clock is disciplined",
    "Filesystem": "errors that a file system itself has counted",
    "PodLink": "the MTU that pods see",
    "PathMtu": "the largest packet that gets to other nodes",
    "ProbeEndpoint": "where other nodes may probe this one",
    "ProbeAddress": "which addresses of two nodes are on one network",
    "Coverage": "what could not be read, so that nothing is made up",
    "SignalSource": "from what a signal is read",
    "AgentStatus": "what the agent takes of the node",
    "CollectorStatus": "what each collector takes, and whether it works",
}
"""What each message is for."""


def messages() -> list[Descriptor]:
    """Every message that an agent can send, in the order in which they are met."""
    found: dict[str, Descriptor] = {}
    to_visit: list[Any] = list(ROOTS)
    while to_visit:
        message = to_visit.pop(0)
        if message.name not in found:
            found[message.name] = message
            to_visit += [field.message_type for field in message.fields if field.message_type is not None]
    return list(found.values())


def comments() -> dict[str, str]:
    """What the .proto files say of each field ("Link.mtu"), and of each message."""
    said: dict[str, str] = {}
    for path in sorted((ROOT / "proto" / "nodetell" / "v1").glob("*.proto")):
        owner, lines = "", list[str]()
        for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()):
            if line.startswith("//"):
                lines.append(line.removeprefix("//").strip())
                continue
            if match := re.match(r"(?:message|enum) (\w+)", line):
                owner = match[1]
                said[owner] = " ".join(lines)
            elif match := re.match(r"(?:optional |repeated )?[\w.]+ (\w+) = \d+", line):
                said[f"{owner}.{match[1]}"] = " ".join(lines)
            lines = []
    return said


def section() -> str:
    """What stands between the marks."""
    return "\n".join(_lines(comments()))


def _lines(said: dict[str, str]) -> Iterator[str]:
    for message in messages():
        yield f"### {message.name}"
        yield ""
        yield f"Why: {WHY[message.name]}."
        yield ""
        yield "| field | what it is |"
        yield "| --- | --- |"
        for field in message.fields:
            yield f"| `{field.name}` | {_cell(_what(field, said.get(f'{message.name}.{field.name}', ''), said))} |"
        yield ""


def _what(field: FieldDescriptor, comment: str, said: dict[str, str]) -> str:
    kind = field.message_type or field.enum_type
    if kind is None:
        return comment
    if isinstance(kind, EnumDescriptor):
        values = ", ".join(f"`{value.name}`" for value in kind.values)
        return f"{comment or said.get(kind.name, '')} One of {values}."
    return f"{comment or said.get(kind.name, '').split('. ')[0].rstrip('.') + '.'} See {kind.name}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").strip()


def write() -> None:
    """Put the section into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{section()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
