"""Which of many things changed since a moment: asking costs what did, however many there are."""

from __future__ import annotations


class Moves:
    """Names in the order in which they last changed, turn by turn."""

    def __init__(self) -> None:
        self.turn = 0
        """Number of the present turn; the first is 1."""
        self._at: dict[str, int] = {}

    def begin(self) -> None:
        """Another turn."""
        self.turn += 1

    def note(self, name: str) -> None:
        """This one came or changed, in the present turn."""
        self._at.pop(name, None)
        self._at[name] = self.turn

    def forget(self, name: str) -> None:
        """This one is gone."""
        self._at.pop(name, None)

    def since(self, turn: int) -> list[str]:
        """Those that changed after a turn and are not gone, in the order in which they did."""
        names = []
        for name in reversed(self._at):
            if self._at[name] <= turn:
                break
            names.append(name)
        names.reverse()
        return names
