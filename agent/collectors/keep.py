"""Keeps what did not change the same object: "unchanged" is then an identity test all the way to the wire."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from agent.reading import Block, Reading


class Kept:
    """The items and blocks of a collector's reading before."""

    def __init__(self) -> None:
        self._items: dict[str, pb.Item] = {}
        self._blocks: dict[str, Block] = {}

    def settle(self, reading: Reading) -> Reading:
        """The reading, with the earlier object in place of each equal one. It is the one to compare with next time."""
        for key, item in reading.items.items():
            before = self._items.get(key)
            if before is not item and before is not None and before == item:
                reading.items[key] = before
        for subject, block in reading.blocks.items():
            earlier = self._blocks.get(subject)
            if earlier is not block and earlier is not None and earlier.names == block.names:
                same = earlier.values == block.values
                reading.blocks[subject] = earlier if same else Block(earlier.names, block.values)
        self._items = dict(reading.items)
        self._blocks = dict(reading.blocks)
        return reading


def percent_steps(part: float, whole: float) -> int:
    """part / whole in hundredths of a percent, rounded to whole percents so that a steady gauge stays quiet."""
    return 100 * round(100 * part / whole) if whole > 0 else 0


def two_digits(value: int) -> int:
    """Rounded to two significant digits, for the same reason."""
    step = int("1" + "0" * (len(str(abs(value))) - 2))
    magnitude = (abs(value) + step // 2) // step * step
    return magnitude if value >= 0 else -magnitude
