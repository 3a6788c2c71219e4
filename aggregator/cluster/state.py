"""All API objects that are kept, with the indexes that the diagnosis asks for, brought up to date object by object.

One change costs what it touches and never a walk over all pods; whoever keeps results of his own asks `changes` what
happened since. Pure: no clock, no input or output. Not thread-safe: one owner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, KeysView, Mapping
from itertools import islice
from typing import NamedTuple, TypeVar, cast

from msgspec import structs

from aggregator.cluster.events import MOST_EVENTS, first_to_go
from aggregator.cluster.objects import (
    NOTHING,
    Amounts,
    ApiObject,
    Attachment,
    Budget,
    Claim,
    CsiNode,
    Event,
    Lease,
    NodeObject,
    Owner,
    Pod,
    Quota,
    StorageClass,
    Volume,
    Workload,
)

RESOURCES = (
    "nodes",
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "storageclasses",
    "volumeattachments",
    "csinodes",
    "events",
    "leases",
    "poddisruptionbudgets",
    "resourcequotas",
    "replicasets",
    "statefulsets",
)
"""Names of the API's resources that are kept."""
JOURNAL = 20_000
"""Changes that are remembered; who asks for older ones begins anew."""


_K = TypeVar("_K")
_T = TypeVar("_T")


class Change(NamedTuple):
    """One object that came (before is None), changed, or went (after is None)."""

    resource: str
    key: str
    before: ApiObject | None
    after: ApiObject | None


class ClusterState:
    """Objects by key: "namespace/name", or the name where the resource has no namespaces."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, ApiObject]] = {resource: {} for resource in RESOURCES}
        self._known: set[str] = set()
        self._journal: deque[Change] = deque(maxlen=JOURNAL)
        self.revision = 0
        """Number of changes so far."""
        self.revisions: dict[str, int] = dict.fromkeys(RESOURCES, 0)
        """By resource: `revision` after its last change. Also grows when the resource becomes known or unknown."""
        self.derived: dict[str, object] = {}
        """What others have worked out from all this, each under a name of its own and with the revision it is of."""
        self.events_dropped = 0
        """Events that were too many to be kept."""
        self._pod_by_uid: dict[str, Pod] = {}
        self._pods_on: dict[str, dict[str, Pod]] = {}
        self._pods_of: dict[str, dict[str, Pod]] = {}
        self._pods_of_claim: dict[str, dict[str, Pod]] = {}
        self._waiting: dict[str, Pod] = {}
        self._starting: dict[str, Pod] = {}
        self._requested: dict[str, dict[str, int]] = {}
        self._by_handle: dict[str, dict[str, Volume]] = {}
        self._attached_to: dict[str, dict[str, Attachment]] = {}
        self._attachments_of: dict[str, dict[str, Attachment]] = {}
        self._events_of: dict[tuple[str, str], dict[str, Event]] = {}

    # -- taking in -------------------------------------------------------------------------------------------------

    def keep(self, resource: str, key: str, thing: ApiObject | None) -> None:
        """Take in the object under this key, or forget it (None). One in which only fields that are not kept have
        changed is no change."""
        objects = self._objects[resource]
        before = objects.get(key)
        if before is thing or (before is not None and thing is not None and _is_the_same(before, thing)):
            return
        if thing is None:
            del objects[key]
        else:
            objects[key] = thing
        index = _INDEXES.get(resource)
        if index is not None:
            index(self, key, before, thing)
        self._record(Change(resource, key, before, thing))
        if resource == "events" and len(objects) > MOST_EVENTS + MOST_EVENTS // 10:
            self._drop_events()

    def clear(self, resource: str) -> None:
        """Forget all objects of the resource at once. Whoever asks for changes from before begins anew."""
        if not self._objects[resource]:
            return
        self._objects[resource] = {}
        for name in _INDEXED_BY.get(resource, ()):
            getattr(self, name).clear()
        self._record(Change(resource, "", None, None))
        self._journal.clear()

    def _drop_events(self) -> None:
        events = sorted(self.events.items(), key=lambda entry: first_to_go(entry[1]))
        for key, _ in events[: len(events) - MOST_EVENTS]:
            self.keep("events", key, None)
            self.events_dropped += 1

    def _record(self, change: Change) -> None:
        self.revision += 1
        self.revisions[change.resource] = self.revision
        self._journal.append(change)

    def set_known(self, resource: str, known: bool) -> None:
        """The resource is listed completely (True), or may not be read: what is kept of it says nothing (False)."""
        if known == (resource in self._known):
            return
        if known:
            self._known.add(resource)
        else:
            self._known.discard(resource)
        self._record(Change(resource, "", None, None))

    # -- asking ----------------------------------------------------------------------------------------------------

    def knows(self, *resources: str) -> bool:
        """All of these are listed completely. What is not known must not be taken for absent."""
        return self._known.issuperset(resources)

    def changes(self, since: int) -> Iterator[Change] | None:
        """What happened after revision `since`, oldest first; None: too long ago, begin anew."""
        count = self.revision - since
        if not 0 <= count <= len(self._journal):
            return None
        return reversed(list(islice(reversed(self._journal), count)))  # from its near end: mostly little has happened

    def get(self, resource: str, key: str) -> ApiObject | None:
        """What is kept under this key."""
        return self._objects[resource].get(key)

    def keys(self, resource: str) -> KeysView[str]:
        """Of all objects of the resource."""
        return self._objects[resource].keys()

    @property
    def nodes(self) -> Mapping[str, NodeObject]:
        """By name."""
        return cast("Mapping[str, NodeObject]", self._objects["nodes"])

    @property
    def pods(self) -> Mapping[str, Pod]:
        """By "namespace/name"."""
        return cast("Mapping[str, Pod]", self._objects["pods"])

    @property
    def claims(self) -> Mapping[str, Claim]:
        """By "namespace/name"."""
        return cast("Mapping[str, Claim]", self._objects["persistentvolumeclaims"])

    @property
    def volumes(self) -> Mapping[str, Volume]:
        """By name."""
        return cast("Mapping[str, Volume]", self._objects["persistentvolumes"])

    @property
    def storage_classes(self) -> Mapping[str, StorageClass]:
        """By name."""
        return cast("Mapping[str, StorageClass]", self._objects["storageclasses"])

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """By name."""
        return cast("Mapping[str, Attachment]", self._objects["volumeattachments"])

    @property
    def csi_nodes(self) -> Mapping[str, CsiNode]:
        """By name of the node."""
        return cast("Mapping[str, CsiNode]", self._objects["csinodes"])

    @property
    def events(self) -> Mapping[str, Event]:
        """By the event's own "namespace/name"."""
        return cast("Mapping[str, Event]", self._objects["events"])

    @property
    def leases(self) -> Mapping[str, Lease]:
        """By "namespace/name"."""
        return cast("Mapping[str, Lease]", self._objects["leases"])

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """By "namespace/name"."""
        return cast("Mapping[str, Budget]", self._objects["poddisruptionbudgets"])

    @property
    def quotas(self) -> Mapping[str, Quota]:
        """By "namespace/name"."""
        return cast("Mapping[str, Quota]", self._objects["resourcequotas"])

    @property
    def replica_sets(self) -> Mapping[str, Workload]:
        """By "namespace/name"."""
        return cast("Mapping[str, Workload]", self._objects["replicasets"])

    @property
    def stateful_sets(self) -> Mapping[str, Workload]:
        """By "namespace/name"."""
        return cast("Mapping[str, Workload]", self._objects["statefulsets"])

    def pod_by_uid(self, uid: str) -> Pod | None:
        """The pod with this UID, if it still is."""
        return self._pod_by_uid.get(uid)

    def pods_on(self, node: str) -> Mapping[str, Pod]:
        """Pods bound to the node, terminal ones too, by key."""
        return self._pods_on.get(node, {})

    def pods_of(self, owner: Owner | str) -> Mapping[str, Pod]:
        """Pods of this controller (or its UID), by key."""
        return self._pods_of.get(owner if isinstance(owner, str) else owner.uid, {})

    def pods_of_claim(self, claim: str) -> Mapping[str, Pod]:
        """Pods that name the claim "namespace/name", terminal ones too, by key."""
        return self._pods_of_claim.get(claim, {})

    @property
    def waiting(self) -> Mapping[str, Pod]:
        """Pods that no node is chosen for yet and that have not ended, by key; gated ones too."""
        return self._waiting

    @property
    def starting(self) -> Mapping[str, Pod]:
        """Pods that have a node and whose phase is Pending: images, volumes, sandboxes are being made ready. By key."""
        return self._starting

    def requested(self, node: str) -> Amounts:
        """What the pods on a node request together, terminal ones left out, as the scheduler counts; "pods" is their
        number."""
        return self._requested.get(node, NOTHING)

    def volume_of(self, claim: Claim) -> Volume | None:
        """The volume that the claim is bound to."""
        return self.volumes.get(claim.volume) if claim.volume else None

    def claim_of(self, volume: Volume) -> Claim | None:
        """The claim that the volume is bound to, if it is that very claim still."""
        claim = self.claims.get(volume.claim)
        return claim if claim is not None and volume.claim_uid in ("", claim.uid) else None

    def volumes_by_handle(self, handle: str) -> Mapping[str, Volume]:
        """Volumes that the outside knows by this handle, by name: usually one; drivers are told apart by the caller."""
        return self._by_handle.get(handle, {})

    def attachments_to(self, node: str) -> Mapping[str, Attachment]:
        """VolumeAttachments of the node, by name."""
        return self._attached_to.get(node, {})

    def attachments_of(self, volume: str) -> Mapping[str, Attachment]:
        """VolumeAttachments of the PersistentVolume, by name."""
        return self._attachments_of.get(volume, {})

    def events_of(self, kind: str, key: str) -> list[Event]:
        """Events about an object ("Pod", "namespace/name"), oldest first."""
        return sorted(self._events_of.get((kind, key), {}).values(), key=lambda event: event.last)


# -- indexes -------------------------------------------------------------------------------------------------------


def _index_pod(state: ClusterState, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
    if isinstance(before, Pod):
        if state._pod_by_uid.get(before.uid) is before:
            del state._pod_by_uid[before.uid]
        _take(state._pods_on, before.node, key)
        _take(state._pods_of, before.owner.uid if before.owner is not None else "", key)
        for claim in before.claims:
            _take(state._pods_of_claim, f"{before.namespace}/{claim.claim}", key)
        state._waiting.pop(key, None)
        state._starting.pop(key, None)
        _count(state, before, -1)
    if isinstance(after, Pod):
        if after.uid:
            state._pod_by_uid[after.uid] = after
        _give(state._pods_on, after.node, key, after)
        _give(state._pods_of, after.owner.uid if after.owner is not None else "", key, after)
        for claim in after.claims:
            _give(state._pods_of_claim, f"{after.namespace}/{claim.claim}", key, after)
        if not after.terminal:
            if not after.node:
                state._waiting[key] = after
            elif after.phase == "Pending":
                state._starting[key] = after
        _count(state, after, 1)


def _count(state: ClusterState, pod: Pod, sign: int) -> None:
    if not pod.node or pod.terminal:
        return
    requested = state._requested.setdefault(pod.node, {})
    for name, amount in (("pods", 1), *pod.spec.requests.items()):
        total = requested.get(name, 0) + sign * amount
        if total:
            requested[name] = total
        else:
            requested.pop(name, None)
    if not requested:
        del state._requested[pod.node]


def _index_volume(state: ClusterState, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
    if isinstance(before, Volume):
        _take(state._by_handle, before.handle, key)
    if isinstance(after, Volume):
        _give(state._by_handle, after.handle, key, after)


def _index_attachment(state: ClusterState, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
    if isinstance(before, Attachment):
        _take(state._attached_to, before.node, key)
        _take(state._attachments_of, before.volume, key)
    if isinstance(after, Attachment):
        _give(state._attached_to, after.node, key, after)
        _give(state._attachments_of, after.volume, key, after)


def _index_event(state: ClusterState, key: str, before: ApiObject | None, after: ApiObject | None) -> None:
    if isinstance(before, Event):
        _take(state._events_of, (before.kind, before.object), key)
    if isinstance(after, Event):
        _give(state._events_of, (after.kind, after.object), key, after)


_INDEXES = {
    "pods": _index_pod,
    "persistentvolumes": _index_volume,
    "volumeattachments": _index_attachment,
    "events": _index_event,
}


_INDEXED_BY = {
    "pods": ("_pod_by_uid", "_pods_on", "_pods_of", "_pods_of_claim", "_waiting", "_starting", "_requested"),
    "persistentvolumes": ("_by_handle",),
    "volumeattachments": ("_attached_to", "_attachments_of"),
    "events": ("_events_of",),
}


def _is_the_same(before: ApiObject, thing: ApiObject) -> bool:
    """Nothing that is kept differs but the version: that is brought up to date in place."""
    if before == thing:
        return True
    if type(before) is not type(thing) or structs.replace(before, version=thing.version) != thing:
        return False
    structs.force_setattr(before, "version", thing.version)
    return True


def _give(index: dict[_K, dict[str, _T]], name: _K, key: str, thing: _T) -> None:
    if name:
        index.setdefault(name, {})[key] = thing


def _take(index: dict[_K, dict[str, _T]], name: _K, key: str) -> None:
    entries = index.get(name)
    if entries is not None:
        entries.pop(key, None)
        if not entries:
            del index[name]
