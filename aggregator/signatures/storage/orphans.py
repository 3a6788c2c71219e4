"""Devices of volumes that a host has and nobody accounts for: API objects alone look clean.

A disk that nobody can tie to Kubernetes is none of ours. It takes a sign: the global mount that the kubelet made for a
volume, a disk that names a PersistentVolume, or one that only a cloud's volume can be, on a node with that driver.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Pod, Volume
from aggregator.model import Evidence, RuledOut, Severity, Stage
from aggregator.signatures.case import Case, api_evidence
from aggregator.signatures.storage.codes import DETACH_STUCK, ORPHANED_DEVICE
from aggregator.signatures.storage.facts import Facts, objects_of
from aggregator.signatures.storage.ghosts import ghosts
from aggregator.signatures.storage.host_storage import names_of
from aggregator.signatures.storage.identity import CINDER_SERIAL, CLOUD_SERIAL, TELLING_DRIVERS, disk_tokens, tail
from aggregator.signatures.storage.story import story, who
from aggregator.signatures.storage.truth import volume_on_host
from aggregator.view import ClusterView
from aggregator.wording import span

_NAME = "storage/tokens"
_HOSTNAME = "kubernetes.io/hostname"
_CLOUD_DRIVERS = ("ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com")
_SETTLING_S = 60.0
"""A mount or a device that came or went of late is still on its way."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What a host has for nobody."""

    node: str
    driver: str
    handle: str
    volume: Volume | None
    dev: str
    device: str
    how: str
    """A clause."""
    source: str
    unused_since: float = 0.0


def cases(facts: Facts, explained: Collection[str]) -> Iterator[Case]:
    """One for each device that is left over; of volumes that are `explained` (by name), none."""
    if not facts.view.objects.knows("pods", "volumeattachments", "persistentvolumes", "persistentvolumeclaims"):
        return
    gone = ghosts(facts)
    for node in sorted(facts.fleet.with_leftovers | gone.keys()):
        if facts.host_is_current(node) and not facts.absence(node):
            for left in (*_left_on(facts, node), *_left_mounted(facts, node, gone.get(node, ()))):
                if left.volume is None or left.volume.name not in explained:
                    case = _case(facts, left)
                    if case is not None:
                        yield case


def _left_on(facts: Facts, node: str) -> Iterator[_Left]:
    view, storage = facts.view, facts.fleet.hosts[node]
    for mount in storage.lonely:
        volume = volume_on_host(view, mount)
        handle = mount.volume_handle or (volume.handle if volume is not None else "")
        if handle or volume is not None:
            device = next(iter(mount.devices), mount.dev)
            how = "mounted in its global place and in no pod"
            yield _Left(node, mount.driver, handle, volume, mount.dev, device, how, "proc/1/mountinfo")
    for disk in storage.idle:
        volume = _named_by(view, disk.identity)
        since = disk.unused_since_unix_ms / 1000
        device, dev = disk.identity.name, disk.identity.dev
        if volume is not None and volume.driver in TELLING_DRIVERS:  # a disk of a storage network is seen by many
            how = "attached and mounted nowhere"
            yield _Left(node, volume.driver, volume.handle, volume, dev, device, how, "sys/block", since)
        elif volume is None and since and CLOUD_SERIAL.fullmatch(disk.identity.serial):
            driver = _cloud_driver(view, node)
            if driver and facts.age(since) >= facts.limits.orphan_seen_min_s:
                how = "attached, used by nothing, and of no PersistentVolume"
                handle = f"vol-{disk.identity.serial.removeprefix('vol').removeprefix('-')}"
                yield _Left(node, driver, handle, None, dev, device, how, "sys/block", since)


def _left_mounted(facts: Facts, node: str, mounts: Iterable[pb.Volume]) -> Iterator[_Left]:
    """For pods that are no more."""
    for mount in mounts:
        volume = volume_on_host(facts.view, mount)
        handle = mount.volume_handle or (volume.handle if volume is not None else "")
        if handle and (volume is None or volume.source == "csi"):
            device = next(iter(mount.devices), mount.dev)
            driver = mount.driver or (volume.driver if volume is not None else "")
            how = f"mounted for pod {mount.pod_uid}, which is no more"
            yield _Left(node, driver, handle, volume, mount.dev, device, how, "proc/1/mountinfo")


def _case(facts: Facts, left: _Left) -> Case | None:
    view, volume, node = facts.view, left.volume, left.node
    last = _last_event(facts, left)
    if _accounted_for(facts, left) or (last and facts.age(last) < _SETTLING_S):
        return None
    seen = _seen(facts, left)
    pods: list[Pod] = []
    if volume is not None:
        waiting = story(facts, volume).kept_out
        pods = [each.pod for each in waiting if each.seconds >= facts.limits.attach_slow_s]
    bound = volume is not None and volume.phase == "Bound"
    severity = Severity.WARNING if bound and seen >= facts.limits.orphan_seen_min_s else Severity.INFO
    name = f"{volume.name} ({left.handle})" if volume is not None else left.handle
    known = "" if volume is not None else "; no PersistentVolume has this handle"
    also = _attached_elsewhere(facts, left)
    if also:
        severity = Severity.WARNING
        known = f"; it is attached to {also} as well, and two hosts may write to it"
    objects = objects_of(volume, *pods) if volume is not None else ()
    return Case(
        ORPHANED_DEVICE,
        (node, left.driver, left.handle or (volume.name if volume is not None else left.device)),
        f"the host of {node} has {left.device} of volume {name}, {left.how}, and no VolumeAttachment and no pod there "
        f"accounts for it{known}{f'; {who(pods)} waits for it' if pods else ''}"
        f"{f' (seen for {span(seen)})' if seen else ''}",
        (*objects, f"Node/{node}"),
        (
            facts.host_says(node, "device.present", left.handle or left.device, left.device, left.source),
            Evidence(node, "device.seen", left.device, round(seen), "s", left.source, view.hosts[node].at),
            api_evidence("volumeattachments", node, "volumeattachment.present", False, at=view.now, node=node),
            api_evidence("pods", node, "pod.wants_volume", False, at=view.now, node=node),
        ),
        nodes=(node,),
        stage=Stage.ACTIVE if pods else Stage.RISK,
        severity=Severity.WARNING if pods else severity,
        weight=seen,
        since=view.hosts[node].at - seen if seen else 0.0,
        ruled_out=(RuledOut(DETACH_STUCK, "there is no VolumeAttachment that could still be let go"),),
    )


def _attached_elsewhere(facts: Facts, left: _Left) -> str:
    """Another node that has a volume which is for one; empty: none."""
    if left.volume is None or left.volume.shareable:
        return ""
    attachments = facts.view.objects.attachments_of(left.volume.name).values()
    return next((each.node for each in attachments if each.attached and each.node != left.node), "")


def _accounted_for(facts: Facts, left: _Left) -> bool:
    """A VolumeAttachment or a pod of this node wants the volume, or it belongs to the machine."""
    objects, volume = facts.view.objects, left.volume
    digest = sha256(f"{left.handle}{left.driver}{left.node}".encode()).hexdigest()
    if f"csi-{digest}" in objects.attachments:  # getAttachmentName() in pkg/volume/csi/csi_attacher.go
        return True
    if volume is None:
        return False
    if any(each.node == left.node for each in objects.attachments_of(volume.name).values()):
        return True
    here = {requirement.key for term in volume.node_terms or () for requirement in (*term.labels, *term.fields)} & {
        _HOSTNAME,
        "metadata.name",
    }
    return bool(facts.users(volume, left.node)) or bool(here)


def _last_event(facts: Facts, left: _Left) -> float:
    """When the device or a mount of it last came or went, as the host tells it; 0.0: not while anybody looked."""
    host = facts.view.hosts[left.node]
    events = [item.attach_event for item in host.of("attach_event")]
    return max((event.at_unix_ms / 1000 for event in events if event.dev == left.dev), default=0.0)


def _seen(facts: Facts, left: _Left) -> float:
    """Seconds that the host has had the device, unused where that is known, as far as anybody has looked."""
    host = facts.view.hosts[left.node]
    since = left.unused_since
    counters = host.counters.get(f"disk/{left.dev}")
    if not since and counters is not None:
        since = max(counters.first_at, _last_event(facts, left))
    return max(0.0, host.at - since) if since else 0.0


def _cloud_driver(view: ClusterView, node: str) -> str:
    registered = view.objects.csi_nodes.get(node)
    found = (name for name in _CLOUD_DRIVERS if registered is not None and registered.driver(name) is not None)
    return next(found, "")


# -- which volume a disk names --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Names of volumes by what their disks would say; empty: of several."""

    revision: int
    names: Mapping[str, str]


def _named_by(view: ClusterView, disk: pb.DeviceIdentity) -> Volume | None:
    """The one PersistentVolume that the disk names."""
    names = _tokens(view)
    told = names_of(disk)
    if len(disk.serial) == CINDER_SERIAL:
        told = {*told, disk.serial.lower()}
    found = {names[each] for each in told if names.get(each)}
    return view.objects.volumes.get(found.pop()) if len(found) == 1 else None


def _tokens(view: ClusterView) -> Mapping[str, str]:
    """Kept until a volume changes: it takes a disk that nothing uses for this to be asked."""
    revision = view.objects.revisions["persistentvolumes"]
    known = view.objects.derived.get(_NAME)
    if not isinstance(known, _Tokens) or known.revision != revision:
        names: dict[str, str] = {}
        for volume in view.objects.volumes.values():
            cut = tail(volume.handle).lower()[:CINDER_SERIAL]
            for token in {*disk_tokens(volume), *([cut] if len(cut) == CINDER_SERIAL else [])}:
                names[token] = "" if token in names else volume.name
        known = _Tokens(revision, names)
        view.objects.derived[_NAME] = known
    return known.names
