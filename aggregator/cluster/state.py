"""All API objects that are kept, with the indexes that the diagnosis asks for, brought up to date object by object.

One change costs what it touches and never a walk over all pods; whoever keeps results of his own asks `changes` what
happened since. Pure: no clock, no input or output. Not thread-safe: one owner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, KeysView, Mapping
from itertools import islice
from typing import NamedTuple, cast

from msgspec import structs

from aggregator.cluster.events import MOST_EVENTS, first_to_go
from aggregator.cluster.indexes import Indexes
from aggregator.cluster.objects import (
    NOTHING,
    Amounts,
    ApiObject,
    Attachment,
    Budget,
    Claim,
    Credential,
    CsiNode,
    Event,
    Lease,
    NodeObject,
    Owner,
    Pod,
    Quota,
    SecretDates,
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
    "serviceaccounts",
    "secrets",
)
"""Names of the API's resources that are kept; of secrets, metadata alone."""
JOURNAL = 20_000
"""Changes that are remembered; who asks for older ones begins anew."""


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
        self.secret_dates: dict[str, SecretDates] = {}
        """Until when Secrets that pods use are good, by "namespace/name", where the operator lets that be read and they
        say. It is no resource: who watches changes is not told of it."""
        self._indexes = Indexes()

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
        self._indexes.change(resource, key, before, thing)
        self._record(Change(resource, key, before, thing))
        if resource == "events" and len(objects) > MOST_EVENTS + MOST_EVENTS // 10:
            self._drop_events()

    def clear(self, resource: str) -> None:
        """Forget all objects of the resource at once. Whoever asks for changes from before begins anew."""
        if not self._objects[resource]:
            return
        self._objects[resource] = {}
        self._indexes.clear(resource)
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

    @property
    def service_accounts(self) -> Mapping[str, Credential]:
        """By "namespace/name"."""
        return cast("Mapping[str, Credential]", self._objects["serviceaccounts"])

    @property
    def secrets(self) -> Mapping[str, Credential]:
        """Names and times of them, by "namespace/name"."""
        return cast("Mapping[str, Credential]", self._objects["secrets"])

    def pod_by_uid(self, uid: str) -> Pod | None:
        """The pod with this UID, if it still is."""
        return self._indexes.pods.by_uid.get(uid)

    def pods_on(self, node: str) -> Mapping[str, Pod]:
        """Pods bound to the node, terminal ones too, by key."""
        return self._indexes.pods.on_node.get(node, {})

    def pods_of(self, owner: Owner | str) -> Mapping[str, Pod]:
        """Pods of this controller (or its UID), by key."""
        return self._indexes.pods.of_owner.get(owner if isinstance(owner, str) else owner.uid, {})

    def pods_of_claim(self, claim: str) -> Mapping[str, Pod]:
        """Pods that name the claim "namespace/name", terminal ones too, by key."""
        return self._indexes.pods.of_claim.get(claim, {})

    def claims_of_pods(self) -> list[str]:
        """Claims, as "namespace/name", that pods name, whether they exist or not."""
        return list(self._indexes.pods.of_claim)

    @property
    def waiting(self) -> Mapping[str, Pod]:
        """Pods that no node is chosen for yet and that have not ended, by key; gated ones too."""
        return self._indexes.pods.waiting

    @property
    def starting(self) -> Mapping[str, Pod]:
        """Pods that have a node and whose phase is Pending: images, volumes, sandboxes are being made ready. By key."""
        return self._indexes.pods.starting

    def requested(self, node: str) -> Amounts:
        """What the pods on a node request together, terminal ones left out, as the scheduler counts; "pods" is their
        number."""
        return self._indexes.pods.requested.get(node, NOTHING)

    def volume_of(self, claim: Claim) -> Volume | None:
        """The volume that the claim is bound to."""
        return self.volumes.get(claim.volume) if claim.volume else None

    def claim_of(self, volume: Volume) -> Claim | None:
        """The claim that the volume is bound to, if it is that very claim still."""
        claim = self.claims.get(volume.claim)
        return claim if claim is not None and volume.claim_uid in ("", claim.uid) else None

    def volumes_by_handle(self, handle: str) -> Mapping[str, Volume]:
        """Volumes that the outside knows by this handle, by name: usually one; drivers are told apart by the caller."""
        return self._indexes.volumes.by_handle.get(handle, {})

    def attachments_to(self, node: str) -> Mapping[str, Attachment]:
        """VolumeAttachments of the node, by name."""
        return self._indexes.attachments.to_node.get(node, {})

    def attachments_of(self, volume: str) -> Mapping[str, Attachment]:
        """VolumeAttachments of the PersistentVolume, by name."""
        return self._indexes.attachments.of_volume.get(volume, {})

    def events_of(self, kind: str, key: str) -> list[Event]:
        """Events about an object ("Pod", "namespace/name"), oldest first."""
        return sorted(self._indexes.events.about.get((kind, key), {}).values(), key=lambda event: event.last)


def _is_the_same(before: ApiObject, thing: ApiObject) -> bool:
    """Nothing that is kept differs but the version: that is brought up to date in place."""
    if before == thing:
        return True
    if type(before) is not type(thing) or structs.replace(before, version=thing.version) != thing:
        return False
    structs.force_setattr(before, "version", thing.version)
    return True
