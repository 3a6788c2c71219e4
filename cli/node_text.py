"""One host on one page: interfaces and what carries them, drops, disks, volumes, clock, and what could not be read."""

from __future__ import annotations

import re

from nodetell.v1 import facts_pb2

from aggregator.convert import gap_from_coverage
from aggregator.histogram import quantile
from aggregator.model import Gap
from cli.clock_text import offset_sentence
from cli.facts import Change, HostFacts
from cli.link_events_text import link_events
from cli.nodes_table import ready
from cli.render import coverage_text
from cli.report import iso
from cli.storage_text import kernel_log, timeline, unused_disks
from cli.terminal import Look, clean, span, table, wrap
from cli.volumes_text import volumes

_TROUBLE = re.compile(
    r"fail|drop|discard|timeout|retrans|unreach|toobig|err|frag|reasm|noroute|exc|squeeze|missed|collision|nohandler",
    re.IGNORECASE,
)
"""Counters that tell of something lost, late or cut in pieces; the others count ordinary traffic."""
_FOLD = 3
"""So many veths that differ in nothing but their names become one line."""
_MANY = 12
"""Of long lists, so many are shown."""


def node_text(facts: HostFacts, look: Look, *, whole: bool = False) -> str:
    """Everything known of one host. `whole`: every interface by itself, and all counters of trouble."""
    sections = [
        ("interfaces", _links(facts, look, whole=whole)),
        ("drops and errors", _drops(facts, look, whole=whole)),
        ("interfaces while the aggregator was away", link_events(facts, look)),
        ("disks", _disks(facts, look)),
        ("fsync latency", _latency(facts, look)),
        ("volumes", _volumes(facts, look)),
        ("attached and mounted lately", timeline(facts, look)),
        ("the kernel's log", kernel_log(facts, look)),
        ("host", _host(facts, look)),
        ("not read, or not fully", _coverage(facts, look)),
    ]
    lines = _head(facts, look)
    for title, body in sections:
        if body:
            lines += ["", look.style(title, "bold"), *body]
    return "\n".join(lines)


def _head(facts: HostFacts, look: Look) -> list[str]:
    summary = facts.summary
    agent = f"agent {summary.agent_version} {'connected' if summary.connected else 'silent'}"
    heard = summary.connected or summary.heard_at_unix_ms
    parts = [agent, f"facts of {iso(facts.at)}" if facts.at else "no facts yet"] if heard else ["no agent has reported"]
    parts += [f"Ready: {ready(summary)}"] if summary.ready else []
    parts += [f"zone {summary.zone}"] if summary.zone else []
    if (host := facts.first("host")) is not None:
        kernel = " ".join(word for word in (host.kernel_release, host.machine) if word)
        parts += [f"Linux {kernel}"] if kernel else []
        parts += [f"{host.cpus} CPU{'s' if host.cpus != 1 else ''}"] if host.cpus else []
        parts += [f"up {span(facts.at - host.boot_time_unix_ms / 1000)}"] if host.boot_time_unix_ms else []
    return [look.style(clean(summary.node), "bold"), *wrap(", ".join(parts), look.width, "  ")]


def _volumes(facts: HostFacts, look: Look) -> list[str]:
    known = [*volumes(facts, look), *_errors(facts, look), *unused_disks(facts, look)]
    return known or ["  none of the kubelet's"]


# -- network -------------------------------------------------------------------------------------------------------


def _links(facts: HostFacts, look: Look, *, whole: bool) -> list[str]:
    rows: list[tuple[str, ...]] = []
    veths: dict[tuple[str, ...], list[str]] = {}
    for link in sorted(facts.links.values(), key=lambda each: each.ifindex):
        row = (link_kind(link), str(link.mtu), link_state(link), carried_by(link, facts), ", ".join(link.addresses))
        if link.kind == "veth" and not link.addresses and not whole:
            veths.setdefault((*row[:3], _port_of(link, facts)), []).append(link.name)
        else:
            rows.append((link.name, *row))
    for (kind, mtu, state, port), names in veths.items():
        if len(names) < _FOLD:
            by_name = {link.name: link for link in facts.links.values()}
            rows += [(name, kind, mtu, state, carried_by(by_name[name], facts), "") for name in names]
        else:
            rows.append((f"{names[0]} ... ({len(names)})", kind, mtu, state, port, ""))
    return table(("NAME", "KIND", ">MTU", "STATE", "CARRIED BY", "ADDRESSES"), rows, look.width)


def link_kind(link: facts_pb2.Link) -> str:
    """Kind of an interface: "vxlan", "hardware", ..."""
    if link.kind:
        return link.kind
    return "loopback" if link.loopback else "hardware" if link.hardware else ""


def link_state(link: facts_pb2.Link) -> str:
    """ "up", "down", "off" where it is switched off, ..."""
    if not link.up:
        return "off"
    word = facts_pb2.OperState.Name(link.operstate).removeprefix("OPER_STATE_").lower().replace("_", " ")
    return "up" if word == "unknown" else word


def carried_by(link: facts_pb2.Link, facts: HostFacts) -> str:
    """What an interface's packets go through, in words."""
    parts = []
    if link.HasField("tunnel"):
        parts.append(_underlay(link.tunnel, facts))
    elif link.kind == "veth":
        parts.append(_veth_peer(link, facts))
    elif link.lower:
        parts.append(f"over {_name(link.lower, facts)}")
    if link.kind in ("bridge", "bond", "team"):
        ports = [each for each in facts.links.values() if each.master == link.ifindex]
        parts.append(f"{len(ports)} port{'' if len(ports) == 1 else 's'}")
    parts.append(_port_of(link, facts))
    return ", ".join(part for part in parts if part)


def _underlay(tunnel: facts_pb2.Tunnel, facts: HostFacts) -> str:
    number = f"id {tunnel.id} " if tunnel.id else ""
    if tunnel.underlay in facts.links:
        below = facts.links[tunnel.underlay]
        return f"{number}over {below.name} (MTU {below.mtu})"
    if tunnel.external:
        return "decided for each packet (metadata mode)"
    return f"{number}over a device that could not be told"


def _veth_peer(link: facts_pb2.Link, facts: HostFacts) -> str:
    if link.lower:
        return f"pair with {_name(link.lower, facts)}"
    return "pair into another namespace" if link.HasField("peer_ifindex") else ""


def _port_of(link: facts_pb2.Link, facts: HostFacts) -> str:
    return f"port of {_name(link.master, facts)}" if link.master else ""


def _name(ifindex: int, facts: HostFacts) -> str:
    link = facts.links.get(ifindex)
    return link.name if link else f"interface {ifindex}"


def _drops(facts: HostFacts, look: Look, *, whole: bool) -> list[str]:
    """Counters of trouble, each by itself: a sum over interfaces would hide the one. Those that move come first."""
    rows = []
    for subject, counters in facts.counters.items():
        prefix, _, rest = subject.partition("/")
        if prefix not in ("link", "protocol"):
            continue
        of = _name(int(rest), facts) if prefix == "link" and rest.isdigit() else rest
        for name, value in counters.items():
            if value and _TROUBLE.search(name):
                change = facts.changes.get(subject, {}).get(name, Change(0, 0.0))
                rose = f"{change.increment:,} in {span(change.over_s)}" if change.increment else ""
                rows.append((not change.increment, prefix, (of, name, rose, f"{value:,}")))
    if not rows:
        return ["  none counted since boot"] if facts.counters else []
    rows.sort(key=lambda row: row[:2])
    shown = [row for _, _, row in (rows if whole else rows[:_MANY])]
    lines = table(("OF", "COUNTER", ">SINCE THE AGENT BEGAN", ">SINCE BOOT"), shown, look.width)
    more = f"and {len(rows) - len(shown)} more counters: --format wide shows them"
    return lines + (wrap(more, look.width, "  ") if len(rows) > len(shown) else [])


# -- storage -------------------------------------------------------------------------------------------------------


def _disks(facts: HostFacts, look: Look) -> list[str]:
    rows, idle = [], []
    for item in facts.of("disk"):
        disk, counters = item.disk, facts.counters.get(item.key, {})
        if disk.whole_disk:
            continue
        if not counters.get("reads_completed") and not counters.get("writes_completed"):
            idle.append(disk.name)
            continue
        size = _bytes(disk.size_bytes) if disk.HasField("size_bytes") else ""
        what = disk.model or disk.backing_file or disk.serial
        rows.append((disk.name, disk.dev, size, what, _flush(item, counters, facts)))
    lines = table(("NAME", "DEVICE", ">SIZE", "WHAT", "MEAN FLUSH"), rows, look.width) if rows else []
    if rows:
        blind = "mean flush: the device's own count; it sees no throttled control group and no write-through cache"
        lines += wrap(blind, look.width, "  ", "    ")
    if idle:
        named = ", ".join(idle[:_MANY]) + (", ..." if len(idle) > _MANY else "")
        lines += wrap(f"without any I/O since boot: {len(idle)} ({named})", look.width, "  ", "    ")
    return lines


def _flush(item: facts_pb2.Item, counters: dict[str, int], facts: HostFacts) -> str:
    if "flushes_completed" not in counters:
        return "not counted by this kernel"
    if item.disk.write_cache == "write through":
        return "none: write through"
    changes = facts.changes.get(item.key, {})
    recent = changes.get("flushes_completed", Change(0, 0.0))
    parts = []
    if recent.increment:
        mean = changes.get("flush_ms", Change(0, 0.0)).increment / recent.increment
        parts.append(f"{mean:.1f} ms ({recent.increment:,} in {span(recent.over_s)})")
    if counters["flushes_completed"]:
        mean = counters.get("flush_ms", 0) / counters["flushes_completed"]
        parts.append(f"{mean:.1f} ms since boot ({counters['flushes_completed']:,})")
    return ", ".join(parts) or "no flush since boot"


def _latency(facts: HostFacts, look: Look) -> list[str]:
    rows = []
    for item in facts.of("latency"):
        source = item.latency
        counts = list(facts.counters.get(item.key, {}).values())
        p50, p99 = (quantile(source.bounds_us, counts, share) for share in (0.5, 0.99))
        method = "probe" if source.method == facts_pb2.LATENCY_METHOD_PROBE else "observed"
        too_few = f"not enough calls ({sum(counts)})"
        rows.append((source.process, source.mount or source.device, method, _ms(p50, too_few), _ms(p99, too_few)))
    return table(("PROCESS", "WHERE", "HOW", ">P50", ">P99"), rows, look.width) if rows else []


def _errors(facts: HostFacts, look: Look) -> list[str]:
    """File systems that met errors."""
    lines = []
    for item in facts.of("filesystem"):
        fs = item.filesystem
        if fs.HasField("errors") and fs.errors:
            text = f"{fs.fs_type} on {fs.device}: {fs.errors:,} errors, the last {iso(fs.last_error_time)}"
            lines += wrap(text, look.width, "  ", "    ")
    for item in facts.of("mount"):
        if item.mount.fs_read_only_word == "emergency_ro":
            text = f"{item.mount.mount_point}: made read-only by the kernel after an error"
            lines += wrap(text, look.width, "  ", "    ")
    return lines


# -- the rest ------------------------------------------------------------------------------------------------------


def _host(facts: HostFacts, look: Look) -> list[str]:
    lines = [*_usage(facts), *_clock(facts), *_agent(facts)]
    for item in facts.of("pressure"):
        pressure = item.pressure
        if pressure.some_avg10_bp:
            some, full = pressure.some_avg10_bp / 100, pressure.full_avg10_bp / 100
            lines.append(f"{pressure.resource} pressure: some {some:g} %, full {full:g} % of the last 10 s")
    if (conntrack := facts.first("conntrack")) is not None and conntrack.max:
        lines.append(f"conntrack: {conntrack.count:,} of {conntrack.max:,} entries")
    return [line for text in lines for line in wrap(text, look.width, "  ", "    ")]


def _usage(facts: HostFacts) -> list[str]:
    usage = facts.first("usage")
    if usage is None:
        return []
    lines = [f"CPU: {usage.cpu_busy_bp / 100:.0f} % busy"] if usage.HasField("cpu_busy_bp") else []
    if usage.memory_total_bytes:
        available, total = _bytes(usage.memory_available_bytes), _bytes(usage.memory_total_bytes)
        lines.append(f"memory: {available} available of {total}")
    return lines


def _clock(facts: HostFacts) -> list[str]:
    clock, measured = facts.first("clock"), offset_sentence(facts.summary)
    if clock is None:
        return [f"clock: {measured}"] if measured else []
    text = "clock: synchronized" if clock.synchronized else "clock: not synchronized"
    if clock.HasField("offset_us"):
        text += f", offset {clock.offset_us / 1000:g} ms"
    if clock.HasField("max_error_us"):
        text += f", error at most {clock.max_error_us / 1000:g} ms"
    return [f"{text}; {measured}" if measured else text]


def _agent(facts: HostFacts) -> list[str]:
    agent = facts.first("agent")
    if agent is None:
        return []
    budget = f"{agent.cpu_budget_mpercent / 1000:g} % of a core"
    measured = agent.HasField("cpu_mpercent")
    took = f"takes {agent.cpu_mpercent / 1000:.2g} % of its {budget}" if measured else f"may take {budget}"
    text = f"agent: {took}, memory {_bytes(agent.rss_bytes)}"
    if agent.stretched:
        text += f"; to keep to it reads less often: {', '.join(agent.stretched)}"
    if facts.summary.coalesced_updates:
        text += f"; {facts.summary.coalesced_updates:,} updates merged into later ones"
    return [text]


def _coverage(facts: HostFacts, look: Look) -> list[str]:
    gaps = [gap_from_coverage("", item.coverage) for item in facts.of("coverage")]
    for item in facts.of("collector"):
        status = item.collector
        if status.hung:
            gaps.append(Gap("", status.name, "degraded", "a read hangs; what is shown of it is old"))
        elif not status.ok and status.error:
            gaps.append(Gap("", status.name, "degraded", status.error))
    if facts.summary.dropped_samples:
        merged = f"{facts.summary.dropped_samples:,} samples of counters"
        lost = f"{merged} could not be told in time and were merged into coarser ones: sums are right, moments are not"
        gaps.append(Gap("", "stream", "degraded", lost))
    return coverage_text(sorted(gaps, key=lambda gap: (gap.signal, gap.because)), look)


def _ms(microseconds: float | None, otherwise: str) -> str:
    return otherwise if microseconds is None else f"{microseconds / 1000:.3g} ms"


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.4g} {unit}" if value < 1024 else f"{value:,.0f} {unit}"
