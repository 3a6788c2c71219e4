"""Which probes are answered. Pure: bytes and a time in, bytes or nothing out.

Answered are probes signed with a key that a plan granted, each once, and not more than a fixed rate of them, for each
key and for all together. Whatever else comes is counted and stays without any answer, so that the port tells nobody
that it is there. Nor can it be turned on others: where a probe claims to come from, no more bytes go than were sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.pathmtu import datagram
from agent.pathmtu.datagram import Key

RATE_PER_KEY, BURST_PER_KEY = 50.0, 200.0
"""Answers per second to one prober in the long run, and at once: five whole searches."""
RATE, BURST = 500.0, 2_000.0
"""The same for all of them together."""
_WINDOW = 1024
"""How far a probe may come behind later ones and still count as new."""


@dataclass(slots=True)
class Bucket:
    """A token bucket."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """One token, if there is one."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Tally:
    """What has come so far."""

    answered: int = 0
    foreign: int = 0
    """No probe, of a key that was not granted, wrongly signed, or cut short."""
    repeated: int = 0
    """Numbers that were seen before: replays, or copies that the network made."""
    limited: int = 0
    """Beyond the rate."""


@dataclass(slots=True)
class _Granted:
    key: Key
    bucket: Bucket
    highest: int = 0
    seen: int = 0
    """Bit n: highest - n was seen."""


@dataclass(slots=True)
class Answers:
    """The keys granted, and what was answered under each."""

    tally: Tally = field(default_factory=Tally)
    _keys: dict[bytes, _Granted] = field(default_factory=dict)
    _before: dict[bytes, _Granted] = field(default_factory=dict)
    """Keys of the plan before: the other end may not have its new ones yet."""
    _all: Bucket = field(default_factory=lambda: Bucket(RATE, BURST, BURST, 0.0))

    def grant(self, keys: Iterable[Key], now: float) -> None:
        """Answer probes of these keys, and for one more plan those of the keys before. `now`: monotonic seconds."""
        known = {**self._before, **self._keys}
        self._before = self._keys
        self._keys = {}
        for key in keys:
            granted = known.get(key.id)
            if granted is None or granted.key != key:
                granted = _Granted(key, Bucket(RATE_PER_KEY, BURST_PER_KEY, BURST_PER_KEY, now))
            self._keys[key.id] = granted

    @property
    def keys(self) -> int:
        """How many keys are granted."""
        return len(self._keys)

    def answer(self, received: bytes, now: float, *, ipv6: bool) -> bytes | None:
        """The answer to a datagram that has come; None: it gets none. `now`: monotonic seconds."""
        name = datagram.key_id(received)
        granted = self._keys.get(name) or self._before.get(name)
        found = datagram.read_probe(received, granted.key, ipv6=ipv6) if granted is not None else None
        if granted is None or found is None:
            self.tally.foreign += 1
            return None
        number, size = found
        if _is_known(granted, number):
            self.tally.repeated += 1
            return None
        if not granted.bucket.take(now) or not self._all.take(now):
            self.tally.limited += 1
            return None
        _remember(granted, number)
        self.tally.answered += 1
        return datagram.answer(granted.key, number, size)


def _is_known(granted: _Granted, number: int) -> bool:
    behind = granted.highest - number
    return behind >= _WINDOW or (behind >= 0 and bool(granted.seen >> behind & 1))


def _remember(granted: _Granted, number: int) -> None:
    ahead = number - granted.highest
    if ahead > 0:
        granted.seen = (granted.seen << min(ahead, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
        granted.highest = number
    else:
        granted.seen |= 1 << -ahead
