"""What the events about a pod say of its volumes, in the words of the attach-detach controller, kubelet and driver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aggregator.cluster.objects import Event, Pod, Volume
from aggregator.messages.classify import classify
from aggregator.messages.model import Message
from aggregator.model import Evidence
from aggregator.signatures.case import API
from aggregator.signatures.storage.facts import Facts
from aggregator.wording import quoted

ATTACHED = "SuccessfulAttachVolume"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that says why a pod does not have a volume."""

    event: Event
    label: str
    """Code of the cause family."""

    def names(self, volume: Volume) -> bool:
        """It is about this volume, or names none."""
        message = self.event.message
        return volume.name in message or bool(volume.handle and volume.handle in message) or 'volume "' not in message

    def evidence(self, node: str) -> Evidence:
        """What it said, and when."""
        return Evidence(
            node,
            f"event.{self.event.reason}",
            f"{self.event.kind}/{self.event.object}",
            quoted(self.event.message),
            "",
            f"{API}events",
            self.event.last,
        )


def refusals(facts: Facts, pod: Pod) -> list[Refusal]:
    """Warnings about this very pod that are about storage, latest first; those before a success are over."""
    return sorted(_refusals(facts, pod), key=lambda refusal: -refusal.event.last)


def _refusals(facts: Facts, pod: Pod) -> Iterator[Refusal]:
    events = facts.view.objects.events_of("Pod", pod.key)
    for event in events:
        if event.type == "Normal" or (event.object_uid and pod.uid and event.object_uid != pod.uid):
            continue
        said = classify(Message("Pod", event.reason, None, event.message))
        for label in (said.label, *said.also):
            if label.startswith("storage.") and not said.no_fault:
                yield Refusal(event, label)
                break


def attached_since(facts: Facts, pod: Pod, volume: Volume) -> float:
    """When the attach-detach controller last told that the volume was attached for the pod; 0.0: it did not."""
    events = facts.view.objects.events_of("Pod", pod.key)
    return max((each.last for each in events if each.reason == ATTACHED and volume.name in each.message), default=0.0)
