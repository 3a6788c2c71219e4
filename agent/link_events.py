"""What became of interfaces while the aggregator was away: a flap that is over, an MTU that was set back.

Interfaces travel as they are; what came and went between two updates nobody would know of. Disks and mounts have a
timeline of their own, the kernel's log and the counters have times. Bounded: the latest ones are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from nodetell.v1 import facts_pb2 as pb

MAX_EVENTS = 64
_PREFIX = "link/"


class LinkEvents:
    """Items "link_event/NUMBER", the same objects as long as they are told."""

    def __init__(self) -> None:
        self._items: deque[pb.Item] = deque(maxlen=MAX_EVENTS)
        self._number = 0

    @property
    def items(self) -> Iterable[pb.Item]:
        """Oldest first."""
        return self._items

    def note(self, before: Mapping[str, pb.Item], after: Mapping[str, pb.Item], at_unix_ms: int) -> None:
        """Note whose MTU or state is another now. Interfaces that come and go, as those of pods do, are not noted."""
        for key, item in after.items():
            old = before.get(key)
            if old is None or old is item or not key.startswith(_PREFIX):
                continue
            was, link = old.link, item.link
            if (was.mtu, was.up, was.operstate) != (link.mtu, link.up, link.operstate) and was.name == link.name:
                self._add(was, link, at_unix_ms)

    def _add(self, was: pb.Link, link: pb.Link, at_unix_ms: int) -> None:
        event = pb.LinkEvent(
            at_unix_ms=at_unix_ms,
            ifindex=link.ifindex,
            name=link.name,
            mtu_before=was.mtu,
            mtu=link.mtu,
            up_before=was.up,
            up=link.up,
            operstate_before=was.operstate,
            operstate=link.operstate,
        )
        self._number += 1
        self._items.append(pb.Item(key=f"link_event/{self._number}", link_event=event))
