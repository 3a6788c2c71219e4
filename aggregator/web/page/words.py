"""How the page says times, lengths of time, amounts and codes. Pure.

Templates call nothing else for it, so that a time reads the same wherever it stands.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aggregator.convert import iso_time
from aggregator.model import Evidence
from aggregator.node_state import MAX_TIME_S
from aggregator.signatures.catalog import CODES

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_SOURCES = {
    "passive": "observed calls",
    "probe": "the agent's own calls",
    "ip-link.json": "interfaces",
    "rtnetlink": "interfaces",
    "/proc/1/mountinfo": "the host's mounts",
    "proc/1/mountinfo": "the host's mounts",
    "kmsg": "the kernel's log",
    "/dev/kmsg": "the kernel's log",
    "adjtimex": "the host's kernel",
    "path-mtu probe": "probes between nodes",
}
_SIGNALS = {
    "fsync.p99": "99th percentile of fsync",
    "fsync.p50": "median of fsync",
    "fsync.calls": "fsyncs counted",
    "fsync.rate": "fsyncs per second",
    "api.p99": "API server, 99th percentile of",
    "api.p99.usual": "... and what is usual for",
    "etcd_request.p99": "API server waiting for etcd, 99th percentile of",
    "etcd_request.p99.usual": "... and what is usual for",
    "counter.request_rate": "requests to the API server",
    "counter.request_rate.usual": "... and what is usual for",
    "link.mtu": "MTU of",
    "veth.mtu": "MTU of",
    "route.mtu": "MTU of the route through",
    "tunnel.overhead": "added to each packet by",
    "path.mtu": "largest packet that arrives",
    "counter.delta": "rise of",
    "node.ready": "Ready, says the API server",
    "node.out": "out of use",
    "node.stops.volume_zone": "cannot take the pod",
    "lease.age": "lease not renewed for",
    "nodes": "nodes in",
    "pod.pending": "waits for a node",
    "pod.waiting": "waits",
    "scheduler.says": "the scheduler says",
    "apiserver.says": "the API server says",
    "volume.place": "can be used in",
    "volume.mounted": "mounted at",
    "volumeattachment.attached": "counts as attached",
    "volumeattachment.age": "attached for",
    "container.restarts": "restarts",
    "container.exit_code": "exit code",
    "container.alive": "lived",
    "container.waiting": "waits",
    "clock.offset": "clock is off by",
    "message": "last words",
}


def stamp(at: float) -> str:
    """A moment in full: "2026-07-01 02:54:30 UTC"."""
    return f"{_moment(at):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: float, now: float) -> str:
    """A moment beside another one: on its day the time alone, "02:54:30 UTC"."""
    return f"{_moment(at):%H:%M:%S} UTC" if _moment(at).date() == _moment(now).date() else stamp(at)


def machine(at: float) -> str:
    """For the attribute of <time>."""
    return iso_time(at)


def lasting(seconds: float) -> str:
    """A length of time in its two greatest units: "3 d 4 h", "27 min", "12 s"."""
    rest = int(max(0.0, seconds))
    parts: list[str] = []
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and unit == "min" and length * count >= 600):
            break
    return " ".join(parts) or "0 s"


def ago(seconds: float) -> str:
    """ "27 min ago", "now"."""
    return f"{lasting(seconds)} ago" if seconds >= 1 else "now"


def counted(count: int, noun: str, plural: str = "") -> str:
    """ "1 node", "5,000 nodes", "no nodes"."""
    words = noun if count == 1 else plural or f"{noun}s"
    return f"{count:,} {words}" if count else f"no {words}"


def value(fact: Evidence) -> str:
    """What was read, with its unit, thousands kept apart."""
    match fact.value:
        case bool():
            text = "yes" if fact.value else "no"
        case int():
            text = lasting(fact.value) if fact.unit == "s" and fact.value >= 120 else f"{fact.value:,}"
        case float():
            text = f"{fact.value:,.4g}" if abs(fact.value) < 10_000 else f"{fact.value:,.0f}"
        case _:
            text = fact.value
    return (
        text
        if isinstance(fact.value, int) and fact.unit == "s" and fact.value >= 120
        else f"{text} {fact.unit}".rstrip()
    )


def signal(name: str) -> str:
    """What a signal is, in words; its own name where there are none."""
    if name.startswith("event."):
        return f"event {name.removeprefix('event.')}"
    return _SIGNALS.get(name, name)


def source(name: str) -> str:
    """Where a fact was read, in words."""
    if name.startswith("kube/"):
        return f"API server, {name.removeprefix('kube/')}"
    return _SOURCES.get(name, name)


def title(code: str) -> str:
    """What a code means, as a sentence; the code itself where an operator's own signature has made it."""
    known = CODES.get(code)
    if known is None:
        return code
    return known.headline[:1].upper() + known.headline[1:]


def milliseconds(microseconds: float) -> str:
    """A latency: "248 ms", "7.1 ms", "1.25 s"."""
    if microseconds >= 999_500:
        return f"{microseconds / 1e6:.3g} s"
    return f"{microseconds / 1000:.3g} ms"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    amount = float(count)
    for unit in _BYTES:
        if amount < 1024 or unit == _BYTES[-1]:
            return f"{amount:.4g} {unit}" if amount < 1024 else f"{amount:,.0f} {unit}"
        amount /= 1024
    raise AssertionError


def rate(per_second: float) -> str:
    """Something per second: "0", "0.2/s", "1,240/s"."""
    if not per_second:
        return "0"
    if per_second < 0.05:
        return f"{per_second * 3600:.2g}/h"
    return f"{per_second:.2g}/s" if per_second < 10 else f"{per_second:,.0f}/s"


def some(names: tuple[str, ...] | list[str], most: int = 6) -> str:
    """The first of several names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def harmless(text: str) -> str:
    """Text from a host with everything that could turn or hide what is read (control, format, bidi) escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(min(max(0.0, at), float(MAX_TIME_S)), UTC)
