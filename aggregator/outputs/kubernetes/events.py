"""Which Events are due: one on each object when its finding appears, at most one when that changes its stage, one when
it is over. Pure, no input or output.

What waits is kept by finding and object, and what happens meanwhile replaces it: a finding that appears and is over
before its turn has come is not told at all. Those of causes come first, then the most severe; of more than MOST_WAITING
the last ones are dropped, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aggregator.cluster.events import OWN
from aggregator.cluster.state import ClusterState
from aggregator.convert import iso_time
from aggregator.findings import Kind, Record, Transition
from aggregator.outputs.kubernetes.regarding import MOST_OBJECTS, Regarding, chosen, is_seen, resolve
from aggregator.outputs.kubernetes.words import camel, is_warning, rank, told

MOST_WAITING = 1_000
"""Events that wait for their turn: a quarter of an hour at one a second."""
LABEL = "nodetell.dev/finding"


class Step(StrEnum):
    """Why an Event is written: its action."""

    APPEARED = "Appeared"
    STAGE_CHANGED = "StageChanged"
    RESOLVED = "Resolved"


@dataclass(slots=True)
class _Waiting:
    step: Step
    at: float
    """When it happened, seconds since the epoch."""
    number: int
    """In which order they came."""


@dataclass(slots=True)
class _Story:
    """What has been told of a finding, and what is to be."""

    record: Record
    told: dict[str, str] = field(default_factory=dict)
    """UID by object that it was told of; empty where an earlier life has done that."""
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    """By object."""
    restaged: bool = False
    """It was told that the stage has changed."""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """An Event that can be written."""

    step: Step
    record: Record
    thing: str
    """As the finding names it."""
    object: Regarding
    at: float
    """When it happened, seconds since the epoch."""

    @property
    def namespace(self) -> str:
        """That it is in: its object's, or "default" where that has none, as the API server wants it."""
        return self.object.namespace or "default"

    @property
    def name(self) -> str:
        """The same whenever the same is told of the same object, so that it is told once and then counted."""
        about = "\x1f".join((self.object.uid, self.object.kind, self.step.value))
        return f"nodetell-{self.record.finding.id}-{hashlib.sha256(about.encode()).hexdigest()[:10]}"


class Events:
    """Those that are due, and what has been told."""

    def __init__(self, standing: Iterable[Record], since: float) -> None:
        """Findings that stand have been told by an earlier life, but those that were first seen after `since`."""
        self._stories: dict[str, _Story] = {}
        self._count = 0
        self.waiting = 0
        """Events that wait for their turn."""
        self.dropped = 0
        """Events that were too many."""
        self._writing = ""
        """Id of the finding that an Event was last given out of: what becomes of it is still to be told."""
        for record in standing:
            story = self._stories[record.finding.id] = _Story(record)
            if record.first_seen >= since:
                self._begin(story)
            else:
                story.told = dict.fromkeys(chosen(record.finding), "")

    # -- what happens ------------------------------------------------------------------------------------------------

    def take(self, transition: Transition) -> None:
        """A finding takes a step."""
        record, key = transition.record, transition.record.finding.id
        story = self._stories.get(key)
        if transition.kind is not Kind.RESOLVED:
            if story is None:
                story = self._stories[key] = _Story(record)
            elif story.over:
                self._return(story)
            elif story.record.finding.stage is not record.finding.stage and not story.restaged:
                story.restaged = True
                for thing in story.told:
                    self._add(story, thing, Step.STAGE_CHANGED, transition.at)
            story.record = record
            self._begin(story)
        elif story is not None:
            story.record, story.over = record, True
            self.waiting -= len(story.waiting)
            story.waiting.clear()
            for thing in story.told:
                self._add(story, thing, Step.RESOLVED, transition.at)
            self._tidy(story)

    def _begin(self, story: _Story) -> None:
        """Of objects that it was not told of yet."""
        fresh = [each for each in chosen(story.record.finding) if each not in story.told and each not in story.waiting]
        for thing in fresh[: max(0, MOST_OBJECTS - len(story.told.keys() | story.waiting))]:
            self._add(story, thing, Step.APPEARED, story.record.first_seen)

    def _return(self, story: _Story) -> None:
        """It is back before it was told everywhere that it is over: there, nothing is to be told."""
        story.over = story.restaged = False
        self.waiting -= len(story.waiting)
        story.waiting.clear()

    def _add(self, story: _Story, thing: str, step: Step, at: float) -> None:
        self._count += 1
        self.waiting += thing not in story.waiting
        story.waiting[thing] = _Waiting(step, at, self._count)
        if self.waiting >= 2 * MOST_WAITING:
            self._trim()

    def _trim(self) -> None:
        """The least urgent ones go. Now and then, not at each addition: sorting takes its time."""
        for _, _, story, thing in self._ordered()[MOST_WAITING:]:
            self._give_up(story, thing)
            self.dropped += 1

    def _ordered(self) -> list[tuple[tuple[bool, int], int, _Story, str]]:
        """Rank, number, story and object of all that wait, the most urgent first."""
        return sorted(
            (rank(story.record), each.number, story, thing)
            for story in self._stories.values()
            if story.waiting
            for thing, each in story.waiting.items()
        )

    def _give_up(self, story: _Story, thing: str) -> None:
        """Nothing is to be told of this object."""
        if story.waiting.pop(thing, None) is not None:
            self.waiting -= 1
        if story.over:
            story.told.pop(thing, None)
            self._tidy(story)

    def _tidy(self, story: _Story) -> None:
        key = story.record.finding.id
        if story.over and not story.told and not story.waiting and key != self._writing:
            self._stories.pop(key, None)

    # -- what is written ---------------------------------------------------------------------------------------------

    def next(self, objects: ClusterState) -> Due | None:
        """The most urgent one that can be written now: the finding is confirmed, or over, and the object is there.
        Those whose objects are gone are given up."""
        last, self._writing = self._stories.get(self._writing), ""
        if last is not None:
            self._tidy(last)
        if self.waiting > MOST_WAITING:
            self._trim()
        for _, _, story, thing in self._ordered():
            if story.record.unconfirmed:
                continue
            found = resolve(objects, thing, story.record.finding.objects)
            uid = story.told.get(thing, "")
            if found is not None and (not uid or found.uid == uid):
                waiting, self._writing = story.waiting[thing], story.record.finding.id
                return Due(waiting.step, story.record, thing, found, waiting.at)
            if found is not None or is_seen(objects, thing):
                self._give_up(story, thing)
        return None

    def written(self, due: Due) -> None:
        """It is there. Meanwhile the finding may have gone on."""
        story = self._stories[due.record.finding.id]
        self._taken(story, due)
        if due.step is not Step.RESOLVED:
            story.told[due.thing] = due.object.uid
            if story.over:
                self._add(story, due.thing, Step.RESOLVED, story.record.resolved or due.at)
        elif not story.over:
            story.told.pop(due.thing, None)
            self._begin(story)

    def refused(self, due: Due) -> None:
        """It can't be written, now or ever."""
        self._taken(self._stories[due.record.finding.id], due)

    def _taken(self, story: _Story, due: Due) -> None:
        """It waits no more, unless something else has come in its place meanwhile."""
        waiting = story.waiting.get(due.thing)
        if waiting is not None and waiting.step is due.step:
            self._give_up(story, due.thing)


def body(due: Due, instance: str) -> dict[str, Any]:
    """An Event of events.k8s.io/v1. `instance`: which aggregator writes it."""
    finding = due.record.finding
    before = ""
    if due.step is Step.STAGE_CHANGED:
        before = f"Now {finding.stage.value}: "
    elif due.step is Step.RESOLVED:
        before = f"Over ({due.record.because}): "
    regarding = {
        "apiVersion": due.object.api_version,
        "kind": due.object.kind,
        "name": due.object.name,
        "uid": due.object.uid,
    }
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": due.name, "namespace": due.namespace, "labels": {LABEL: finding.id}},
        "eventTime": micro_time(due.at),
        "reportingController": OWN,
        "reportingInstance": instance,
        "action": due.step.value,
        "reason": camel(finding.code),
        "regarding": regarding | ({"namespace": due.object.namespace} if due.object.namespace else {}),
        "note": told(finding, before),
        "type": "Warning" if due.step is not Step.RESOLVED and is_warning(finding) else "Normal",
    }


def again(count: int, at: float) -> dict[str, Any]:
    """What is patched where the same Event is there already: it has happened so many times, lately then."""
    return {"series": {"count": count, "lastObservedTime": micro_time(at)}}


def micro_time(at: float) -> str:
    """Seconds since the epoch as the API's MicroTime, which has to have six digits."""
    whole = iso_time(at)
    second, _, fraction = whole.removesuffix("Z").partition(".")
    return f"{second}.{fraction.ljust(6, '0')}Z"
