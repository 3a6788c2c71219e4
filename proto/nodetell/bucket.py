"""So much in the long run, and so much at once after a quiet time: the one measure of what may come how fast."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """A token bucket. What is spent beyond what is there is owed. Time is passed in, seconds of any monotonic clock."""

    rate: float
    """A second."""
    most: float
    """What is there after a quiet time."""
    most_owed_s: float = 120.0
    """More is not owed than takes so long to pay back."""
    left: float = field(init=False)
    at: float | None = None
    """When `left` was so much."""

    def __post_init__(self) -> None:
        self.left = self.most

    def spend(self, amount: float, now: float) -> None:
        """Take so much, be it there or not."""
        self._refill(now)
        self.left = max(self.left - amount, -self.rate * self.most_owed_s)

    def take(self, now: float) -> bool:
        """Take one; False: it is not there."""
        self._refill(now)
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True

    def owed_s(self, now: float) -> float:
        """Seconds until nothing is owed."""
        self._refill(now)
        return max(0.0, -self.left / self.rate)

    def _refill(self, now: float) -> None:
        if self.at is not None:
            self.left = min(self.most, self.left + self.rate * max(0.0, now - self.at))
        self.at = now
