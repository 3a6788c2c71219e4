"""The page of a host: disks that nobody uses, what the kernel's log told, and what came and went."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from cli.facts import HostFacts
from cli.node_text import node_text
from cli.storage_text import timeline
from cli.terminal import Look

AT_MS = 1_795_341_660_000  # 2026-11-22T10:01:00Z


def facts(*items: pb.Item) -> HostFacts:
    return HostFacts(operator_pb2.GetNodeResponse(facts=pb.NodeFacts(node="n", items=items)))


def kernel_event(of_class: int, **fields: object) -> pb.KernelEvent:
    event = pb.KernelEvent(**fields)  # type: ignore[arg-type]  # fields by name, for brevity
    setattr(event, "class", of_class)
    return event


def test_an_unused_disk_is_named_and_a_used_one_is_not() -> None:
    identity = pb.DeviceIdentity(dev="259:4", name="nvme3n1", serial="vol0bad", by_id=["nvme-x_vol0bad"])
    unused = pb.AttachedDevice(
        identity=identity, size_bytes=20 << 30, use=pb.DEVICE_USE_UNUSED, unused_since_unix_ms=AT_MS
    )
    used = pb.AttachedDevice(identity=pb.DeviceIdentity(name="nvme0n1"), use=pb.DEVICE_USE_MOUNTED)
    text = node_text(
        facts(pb.Item(key="device/259:4", attached_device=unused), pb.Item(key="device/259:0", attached_device=used)),
        Look(200),
    )
    line = "nvme3n1 is attached and not used, since 2026-11-22T10:01:00Z or before: 20 GiB, vol0bad, nvme-x_vol0bad"
    assert line in text
    assert "nvme0n1" not in text


def test_the_kernels_log_is_told_by_class_the_latest_first() -> None:
    old = kernel_event(pb.KERNEL_EVENT_CLASS_IO_ERROR, subject="sdb", count=1_200, last_unix_ms=AT_MS - 60_000)
    new = kernel_event(pb.KERNEL_EVENT_CLASS_OOM_KILL, subject="java", count=1, last_unix_ms=AT_MS, pod_uid="u-1")
    later = kernel_event(77, subject="\x1b[31m", count=1)
    items = [pb.Item(key=f"kernel/{number}", kernel_event=event) for number, event in enumerate((old, new, later))]
    body = node_text(facts(*items), Look(100)).partition("the kernel's log\n")[2].splitlines()
    assert body[0].split() == ["WHAT", "OF", "TIMES", "LAST", "FOR"]
    assert body[1].split() == ["oom", "kill", "java", "1", "2026-11-22T10:01:00Z", "pod", "u-1"]
    assert body[2].split() == ["io", "error", "sdb", "1,200", "2026-11-22T10:00:00Z"]
    assert body[3].split()[0] == "77"
    assert all(line.isprintable() for line in body)


def test_the_last_of_the_timeline_come_first() -> None:
    kinds = [pb.ATTACH_EVENT_KIND_ATTACHED, pb.ATTACH_EVENT_KIND_MOUNTED, pb.ATTACH_EVENT_KIND_REMOUNTED]
    events = [
        pb.AttachEvent(kind=kinds[number % 3], at_unix_ms=AT_MS, device=f"d{number}", mount_point="/m", read_only=True)
        for number in range(8, 30)
    ]
    items = [pb.Item(key=f"attach/{number}", attach_event=event) for number, event in enumerate(events, 8)]
    lines = timeline(facts(*reversed(items)), Look(100))
    assert [line.split()[-2] for line in lines[1:]] == [f"d{number}" for number in range(29, 17, -1)]
    assert lines[1].split() == ["2026-11-22T10:01:00Z", "remounted", "read-only", "d29", "/m"]


def test_a_page_without_any_of_it_has_no_heading_for_it() -> None:
    text = node_text(facts(), Look(100))
    assert "lately" not in text
    assert "kernel" not in text
