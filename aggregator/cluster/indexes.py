"""Which objects belong together: the questions about pods, volumes, attachments and events that are asked all the time.

Each index is brought up to date by the one object that came, changed or went, at the cost of what that object touches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from aggregator.cluster.objects import ApiObject, Attachment, Event, Pod, Volume

_K = TypeVar("_K")
_T = TypeVar("_T")
Grouped = dict[str, dict[str, _T]]
"""By what they have in common, then by key."""


class PodIndex:
    """Pods by all that they are asked for."""

    def __init__(self) -> None:
        self.by_uid: dict[str, Pod] = {}
        self.on_node: Grouped[Pod] = {}
        self.of_owner: Grouped[Pod] = {}
        """By UID of the controller."""
        self.of_claim: Grouped[Pod] = {}
        """By "namespace/name" of the claim."""
        self.waiting: dict[str, Pod] = {}
        """No node, and not ended."""
        self.starting: dict[str, Pod] = {}
        """A node, and Pending."""
        self.requested: dict[str, dict[str, int]] = {}
        """Requests of the pods that have not ended, by node; amounts of zero are left out, "pods" is their number."""

    def change(self, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
        """This pod came (before is None), changed, or went (after is None)."""
        if isinstance(before, Pod):
            self._take(key, before)
        if isinstance(after, Pod):
            self._give(key, after)

    def _take(self, key: str, pod: Pod) -> None:
        if self.by_uid.get(pod.uid) is pod:
            del self.by_uid[pod.uid]
        _take(self.on_node, pod.node, key)
        _take(self.of_owner, pod.owner.uid if pod.owner is not None else "", key)
        for claim in pod.claims:
            _take(self.of_claim, f"{pod.namespace}/{claim.claim}", key)
        self.waiting.pop(key, None)
        self.starting.pop(key, None)
        self._count(pod, -1)

    def _give(self, key: str, pod: Pod) -> None:
        if pod.uid:
            self.by_uid[pod.uid] = pod
        _give(self.on_node, pod.node, key, pod)
        _give(self.of_owner, pod.owner.uid if pod.owner is not None else "", key, pod)
        for claim in pod.claims:
            _give(self.of_claim, f"{pod.namespace}/{claim.claim}", key, pod)
        if not pod.terminal:
            if not pod.node:
                self.waiting[key] = pod
            elif pod.phase == "Pending":
                self.starting[key] = pod
        self._count(pod, 1)

    def _count(self, pod: Pod, sign: int) -> None:
        if not pod.node or pod.terminal:
            return
        requested = self.requested.setdefault(pod.node, {})
        for name, amount in (("pods", 1), *pod.spec.requests.items()):
            total = requested.get(name, 0) + sign * amount
            if total:
                requested[name] = total
            else:
                requested.pop(name, None)
        if not requested:
            del self.requested[pod.node]


class VolumeIndex:
    """PersistentVolumes by what the outside calls them."""

    def __init__(self) -> None:
        self.by_handle: Grouped[Volume] = {}

    def change(self, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
        """This volume came, changed, or went."""
        if isinstance(before, Volume):
            _take(self.by_handle, before.handle, key)
        if isinstance(after, Volume):
            _give(self.by_handle, after.handle, key, after)


class AttachmentIndex:
    """VolumeAttachments by node and by volume."""

    def __init__(self) -> None:
        self.to_node: Grouped[Attachment] = {}
        self.of_volume: Grouped[Attachment] = {}

    def change(self, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
        """This attachment came, changed, or went."""
        if isinstance(before, Attachment):
            _take(self.to_node, before.node, key)
            _take(self.of_volume, before.volume, key)
        if isinstance(after, Attachment):
            _give(self.to_node, after.node, key, after)
            _give(self.of_volume, after.volume, key, after)


class EventIndex:
    """Events by the object that they are about."""

    def __init__(self) -> None:
        self.about: dict[tuple[str, str], dict[str, Event]] = {}
        """By kind and key of the object."""

    def change(self, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
        """This event came, changed, or went."""
        if isinstance(before, Event):
            _take(self.about, (before.kind, before.object), key)
        if isinstance(after, Event):
            _give(self.about, (after.kind, after.object), key, after)


class Indexes:
    """All indexes, by the resource whose objects they are of."""

    def __init__(self) -> None:
        self.pods = PodIndex()
        self.volumes = VolumeIndex()
        self.attachments = AttachmentIndex()
        self.events = EventIndex()
        self._change: Mapping[str, Callable[[str, ApiObject | None, ApiObject | None], None]] = {}
        self._bind()

    def change(self, resource: str, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
        """An object came (before is None), changed, or went (after is None)."""
        change = self._change.get(resource)
        if change is not None:
            change(key, before, after)

    def clear(self, resource: str) -> None:
        """All objects of the resource went."""
        if resource == "pods":
            self.pods = PodIndex()
        elif resource == "persistentvolumes":
            self.volumes = VolumeIndex()
        elif resource == "volumeattachments":
            self.attachments = AttachmentIndex()
        elif resource == "events":
            self.events = EventIndex()
        self._bind()

    def _bind(self) -> None:
        self._change = {
            "pods": self.pods.change,
            "persistentvolumes": self.volumes.change,
            "volumeattachments": self.attachments.change,
            "events": self.events.change,
        }


def _give(index: dict[_K, dict[str, _T]], name: _K, key: str, thing: _T) -> None:
    if name:
        index.setdefault(name, {})[key] = thing


def _take(index: dict[_K, dict[str, _T]], name: _K, key: str) -> None:
    entries = index.get(name)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[name]
