"""A node's interfaces as a table: what each column says, and what rows are sorted by."""

from __future__ import annotations

from collections.abc import Sequence

from nodetell.v1 import facts_pb2

from cli.facts import HostFacts
from cli.listing import Column
from cli.node_text import carried_by, link_kind, link_state

Row = tuple[facts_pb2.Link, HostFacts]
"""An interface, and the host that it is of."""


def rows(facts: HostFacts) -> list[Row]:
    """All interfaces of a host, in the kernel's order."""
    return [(link, facts) for link in sorted(facts.links.values(), key=lambda link: link.ifindex)]


def _moved(row: Row, *names: str) -> int | None:
    """By how much counters rose since the agent began; None: they are not known."""
    link, facts = row
    subject = f"link/{link.ifindex}"
    known = facts.counters.get(subject, {})
    if not any(name in known for name in names):
        return None
    changes = facts.changes.get(subject, {})
    return sum(changes[name].increment for name in names if name in changes)


def _drops(row: Row) -> int | None:
    return _moved(row, "rx_dropped", "rx_missed_errors", "tx_dropped")


def _text(count: int | None) -> str:
    return "" if count is None else str(count)


COLUMNS: Sequence[Column[Row]] = (
    Column("NAME", "of the interface", lambda row: row[0].name),
    Column("KIND", "hardware, veth, vxlan, ...", lambda row: link_kind(row[0])),
    Column("MTU", "in bytes", lambda row: str(row[0].mtu), lambda row: row[0].mtu, right=True),
    Column("STATE", "up, down, off, ...", lambda row: link_state(row[0])),
    Column("CARRIED BY", "what is below it, and of which bridge it is a port", lambda row: carried_by(*row)),
    Column("ADDRESSES", "with their prefix length", lambda row: ",".join(row[0].addresses)),
    Column(
        "DROPS", "packets dropped since the agent began", lambda row: _text(_drops(row)), _drops, right=True, wide=True
    ),
    Column("INDEX", "the kernel's number", lambda row: str(row[0].ifindex), lambda row: row[0].ifindex, True, True),
)
"""All columns."""
