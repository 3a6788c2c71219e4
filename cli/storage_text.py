"""Of one host's page what is about storage as it changes: disks nobody uses, what the kernel's log told, what came."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from cli.facts import HostFacts
from cli.report import iso
from cli.terminal import Look, table, wrap

_EVENTS = 12
"""Of the timeline, so many of the last are shown."""


def unused_disks(facts: HostFacts, look: Look) -> list[str]:
    """Disks that are attached for nobody, each named by all that an operator could look for it by."""
    lines = []
    for item in facts.of("attached_device"):
        device = item.attached_device
        if device.use == pb.DEVICE_USE_UNUSED:
            names = (device.identity.serial, device.identity.wwid, *device.identity.by_id, device.backing_file)
            told = ", ".join(filter(None, [f"{device.size_bytes / 2**30:.4g} GiB", *names]))
            since = iso(device.unused_since_unix_ms // 1000)
            lines += wrap(
                f"{device.identity.name} is attached and not used, since {since} or before: {told}",
                look.width, "  ", "    ",
            )  # fmt: skip
    return lines


def kernel_log(facts: HostFacts, look: Look) -> list[str]:
    """What the kernel's log told, the latest first."""
    events = sorted((item.kernel_event for item in facts.of("kernel_event")), key=lambda each: -each.last_unix_ms)
    rows = [
        (
            _word(pb.KernelEventClass.DESCRIPTOR, getattr(event, "class"), "KERNEL_EVENT_CLASS_"),
            event.subject,
            f"{event.count:,}",
            _at(event.last_unix_ms),
            f"pod {event.pod_uid}" if event.pod_uid else "",
        )
        for event in events
    ]
    return table(("WHAT", "OF", ">TIMES", "LAST", "FOR"), rows, look.width) if rows else []


def timeline(facts: HostFacts, look: Look) -> list[str]:
    """The last disks and mounts that came, went and changed, the latest first."""
    numbered = [(item.key.rpartition("/")[2], item.attach_event) for item in facts.of("attach_event")]
    events = [event for number, event in sorted(numbered, key=lambda each: -int(each[0]) if each[0].isdigit() else 0)]
    rows = []
    for event in events[:_EVENTS]:
        what = _word(pb.AttachEventKind.DESCRIPTOR, event.kind, "ATTACH_EVENT_KIND_")
        if event.kind == pb.ATTACH_EVENT_KIND_REMOUNTED:
            what += " read-only" if event.read_only else " writable"
        rows.append((_at(event.at_unix_ms), what, event.device or event.dev, event.volume_name or event.mount_point))
    return table(("AT", "WHAT", "DEVICE", "WHERE"), rows, look.width) if rows else []


def _at(unix_ms: int) -> str:
    return iso(unix_ms // 1000) if unix_ms else ""


def _word(descriptor: object, number: int, prefix: str) -> str:
    """An enumeration's name as a few plain words; of one that is newer than this program, its number."""
    value = descriptor.values_by_number.get(number)  # type: ignore[attr-defined]  # a descriptor has no useful type
    return value.name.removeprefix(prefix).lower().replace("_", " ") if value is not None else str(number)
