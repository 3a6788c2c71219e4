"""What a rule sees on one host, before the same cause on several hosts becomes one finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.model import Evidence, RuledOut, Stage
from aggregator.node_state import Delta, NodeState

Cause = tuple[str, tuple[str, ...]]
"""(code, about) of an observation."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One rule that holds on one host."""

    code: str
    about: tuple[str, ...]
    """What it is about, without numbers: observations of a code with the same `about` are one finding."""
    node: str
    stage: Stage
    statement: str
    """A clause with the numbers in it, true of this host."""
    evidence: tuple[Evidence, ...]
    ruled_out: tuple[RuledOut, ...] = ()
    causes: tuple[Cause, ...] = ()
    """Observations that explain this one, if they are there too."""
    remedies: tuple[str, ...] = ()
    """Remedies that depend on this host's facts; they come before those of the code."""
    workloads: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Paths that it is about: "Path/NODE/NODE" between two nodes, "Path/NODE/ADDRESS", or all of "Path/NODE"."""


class Moves:
    """By how much counters rose in the window, on one host. Unknown counters are None, never 0."""

    def __init__(self, state: NodeState, window_s: float) -> None:
        self.state = state
        self.window_s = window_s
        self._rises: dict[str, Mapping[str, Delta] | None] = {}

    def of(self, subject: str, counter: str) -> int | None:
        """Increment of one counter; None: it is not known, or nothing can be said of it yet."""
        rises = self._of(subject)
        if rises is None or (counter not in rises and self.state.level(subject, counter) is None):
            return None
        return rises[counter].increment if counter in rises else 0

    def since_it_appeared(self, subject: str, counter: str) -> int | None:
        """The same, of a subject that began to exist while the host was watched: its first value is a rise, too."""
        rise = self.of(subject, counter)
        state = self.state.counters.get(subject)
        if rise is not None or state is None:
            return rise
        appeared = state.first_at > min(other.first_at for other in self.state.counters.values())
        return self.state.level(subject, counter) if appeared else None

    def sum_of(self, subject: str, counters: tuple[str, ...]) -> int | None:
        """Sum over counters of ONE subject; None where none of them is known. Interfaces are never summed up."""
        known = [rise for counter in counters if (rise := self.of(subject, counter)) is not None]
        return sum(known) if known else None

    def seconds(self, subject: str, counter: str) -> float:
        """How long a counter was really watched, at most the window; 0: not at all."""
        rises = self._of(subject)
        if rises is None:
            return 0.0
        if counter in rises:
            return rises[counter].seconds
        delta = self.state.delta(subject, counter, self.window_s)
        return 0.0 if delta is None else delta.seconds

    def reaches(self, subject: str, counter: str, per_minute: int) -> bool:
        """The counter rose by at least so much a minute, and by at least that in all."""
        return enough(self.of(subject, counter) or 0, per_minute, self.seconds(subject, counter))

    def _of(self, subject: str) -> Mapping[str, Delta] | None:
        if subject not in self._rises:
            self._rises[subject] = self.state.increments(subject, self.window_s)
        return self._rises[subject]


@dataclass(slots=True)
class Witness:
    """Makes evidence of one host without repeating its name and time."""

    node: str
    at: float

    def level(self, signal: str, subject: str, value: float | int | str | bool, unit: str, source: str) -> Evidence:
        """A value as it is now."""
        return Evidence(self.node, signal, subject, value, unit, source, self.at)

    def rise(self, subject: str, value: int, seconds: float, source: str, unit: str = "packets") -> Evidence:
        """By how much a counter rose; the window is in the signal's unit."""
        return Evidence(self.node, "counter.delta", subject, value, f"{unit} in {seconds:g} s", source, self.at)


def enough(increment: int, per_minute: int, seconds: float) -> bool:
    """An increment of at least `per_minute`, over as long as was watched, and of that at least in a shorter time."""
    return increment >= per_minute * max(1.0, seconds / 60.0)
