"""What only messages and the kernel's log tell: a device that is not found, an NFS server that is stale or silent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import Event, Pod, Volume
from aggregator.messages.classify import classify
from aggregator.messages.model import Message
from aggregator.model import Evidence, RuledOut
from aggregator.node_state import NodeState
from aggregator.signatures.case import Case
from aggregator.signatures.storage.codes import (
    ATTACH_TIMEOUT,
    DETACH_STUCK,
    DEVICE_NOT_FOUND,
    IO_ERROR_READONLY,
    MULTI_ATTACH,
    STALE_ATTACHMENT,
    STALE_NFS,
)
from aggregator.signatures.storage.facts import Facts
from aggregator.signatures.storage.holders import standing
from aggregator.signatures.storage.refusals import Refusal, refusals
from aggregator.signatures.storage.story import severity, story
from aggregator.signatures.storage.truth import Cell, device_of
from aggregator.signatures.storage.watchlist import Watchlist
from aggregator.wording import quoted, span

_VOLUME = re.compile(r'volume "([^"]+)"|/volumes/kubernetes\.io~[a-z-]+/([^/\s:"]+)')
_ATTACHING = "FailedAttachVolume"
_NETWORK_FS = re.compile(r"nfs4?|cifs|ceph|fuse\..+")

_STALE_EVENTS: Watchlist[Event] = Watchlist(
    "storage/stale_events",
    "events",
    Event,
    lambda objects: objects.events,
    lambda each: each.kind == "Pod" and each.type != "Normal" and "stale" in each.message.lower() and _is_stale(each),
)


def _is_stale(event: Event) -> bool:
    said = classify(Message("Pod", event.reason, None, event.message))
    return STALE_NFS in (said.label, *said.also)


def cases(facts: Facts, explained: Collection[str]) -> Iterator[Case]:
    """Of pods whose volumes are not among the `explained` ones (by name)."""
    yield from _mount_errors(facts, explained)
    yield from _stale_handles(facts)
    yield from _silent_servers(facts)


# -- pods that cannot mount -----------------------------------------------------------------------------------------


def _mount_errors(facts: Facts, explained: Collection[str]) -> Iterator[Case]:
    for pod in facts.view.objects.starting.values():
        if pod.deleted or facts.waited(pod) < facts.limits.attach_slow_s:
            continue
        said = next((each for each in refusals(facts, pod) if each.label != ATTACH_TIMEOUT), None)
        volume = _volume_meant(facts, pod, said) if said is not None else None
        if said is None or (volume is not None and volume.name in explained):
            continue
        if said.label in (DEVICE_NOT_FOUND, IO_ERROR_READONLY):
            yield _mount_error(facts, pod, said, volume)
        elif volume is not None and _is_used(said) and facts.waited(pod) >= facts.limits.attach_handover_s:
            yield _still_used(facts, pod, said, volume)


def _mount_error(facts: Facts, pod: Pod, said: Refusal, volume: Volume | None) -> Case:
    name = volume.name if volume is not None else _named(said.event.message) or "a volume"
    cell = Cell(None, "")
    if volume is not None and facts.host_is_current(pod.node):
        cell = device_of(facts.fleet.hosts.get(pod.node), volume)
    host = ""
    ruled_out: tuple[RuledOut, ...] = ()
    if cell.says:
        host = f"; the host of {pod.node} has its device, as {cell.detail}"
        ruled_out = (RuledOut(STALE_ATTACHMENT, f"the host has the device, as {cell.detail}"),)
    waited = facts.waited(pod)
    told = [facts.waiting_evidence(pod), said.evidence(pod.node)]
    if cell.says is not None and volume is not None:
        told.append(
            facts.host_says(pod.node, "device.present", volume.handle or name, cell.detail or cell.says, cell.source)
        )
    what = "the device is not found" if said.label == DEVICE_NOT_FOUND else "its file system cannot be read"
    return Case(
        said.label,
        (pod.node, name),
        f"{pod.key} on {pod.node} has waited {span(waited)} for {name}, and {what}: "
        f'"{quoted(said.event.message)}"{host}',
        _objects(pod, volume),
        tuple(told),
        nodes=(pod.node,),
        severity=severity(facts, waited),
        weight=waited,
        since=facts.view.now - waited,
        ruled_out=ruled_out,
    )


def _is_used(said: Refusal) -> bool:
    """A mount, rather than an attachment, meets somebody else."""
    return said.label in (MULTI_ATTACH, DETACH_STUCK) and said.event.reason != _ATTACHING


def _still_used(facts: Facts, pod: Pod, said: Refusal, volume: Volume) -> Case:
    """Attached by name only (Ceph RBD, for one): that somebody else has it shows when it is mounted."""
    waited = facts.waited(pod)
    nodes = [node for node in facts.fleet.hosts_with(volume) if node != pod.node]
    told = story(facts, volume)
    found = [standing(told, node) for node in nodes]
    has = "; ".join(f"{each.node} has it: {each.text}" for each in found) or "no host that reports has it besides"
    return Case(
        said.label,
        (volume.name, "mount"),
        f"{pod.key} on {pod.node} has waited {span(waited)} for {volume.name}, which is still in use: "
        f'"{quoted(said.event.message)}"; {has}',
        _objects(pod, volume),
        (
            facts.waiting_evidence(pod),
            said.evidence(pod.node),
            *(evidence for each in found for evidence in each.evidence),
        ),
        nodes=tuple(nodes) or (pod.node,),
        severity=severity(facts, waited),
        weight=waited,
        since=facts.view.now - waited,
        remedies=tuple(remedy for each in found for remedy in each.remedies),
    )


def _volume_meant(facts: Facts, pod: Pod, said: Refusal) -> Volume | None:
    """The pod's volume that the event names, or the only one it has."""
    objects = facts.view.objects
    found = []
    for used in pod.claims:
        claim = objects.claims.get(f"{pod.namespace}/{used.claim}")
        volume = objects.volume_of(claim) if claim is not None else None
        if volume is not None:
            found.append(volume)
    named = [volume for volume in found if volume.name in said.event.message]
    chosen = named or found
    return chosen[0] if len(chosen) == 1 else None


def _named(message: str) -> str:
    match = _VOLUME.search(message)
    return (match[1] or match[2]) if match else ""


def _objects(pod: Pod, volume: Volume | None) -> tuple[str, ...]:
    if volume is not None:
        claim = [f"PersistentVolumeClaim/{volume.claim}"] if volume.claim else []
        return (f"Pod/{pod.key}", *claim, f"PersistentVolume/{volume.name}")
    return (f"Pod/{pod.key}",)


# -- NFS ------------------------------------------------------------------------------------------------------------


def _stale_handles(facts: Facts) -> Iterator[Case]:
    """Pods that were told of a stale handle and have not been well since."""
    for event in _STALE_EVENTS.of(facts.view.objects).values():
        pod = facts.view.objects.pods.get(event.object)
        if pod is None or pod.terminal or (event.object_uid and pod.uid != event.object_uid):
            continue
        age = facts.age(event.last)
        ready = pod.condition("Ready")
        well = ready is not None and ready.status == "True" and ready.since >= event.first
        if age > facts.limits.storage_error_recent_s or (well and age > facts.limits.nfs_silent_recent_s):
            continue
        refusal = Refusal(event, STALE_NFS)
        name = _named(event.message)
        volume = facts.view.objects.volumes.get(name) or _volume_meant(facts, pod, refusal)
        server = _server_of(facts, pod, name, volume)
        yield Case(
            STALE_NFS,
            (server or (volume.name if volume is not None else name or pod.key),),
            f"{pod.key} on {pod.node} was told of a stale file handle on {name or 'a volume'}"
            f"{f' of {server}' if server else ''} {span(age)} ago",
            _objects(pod, volume),
            (refusal.evidence(pod.node),),
            nodes=(pod.node,) if pod.node else (),
            weight=float(event.count),
            since=event.first,
            ruled_out=(RuledOut(IO_ERROR_READONLY, "the message names a file handle, not a failed disk"),),
        )


def _server_of(facts: Facts, pod: Pod, name: str, volume: Volume | None) -> str:
    """The server behind the pod's volume: by the PersistentVolume, else by its host's mount; empty: unknown."""
    if volume is not None and volume.source == "nfs":
        return volume.handle.rpartition(":")[0]
    host = facts.view.hosts.get(pod.node)
    for mount in _network_mounts(host) if host is not None else ():
        if f"/{pod.uid}/" in mount.mount_point and (not name or f"/{name}" in mount.mount_point):
            return mount.source.rpartition(":")[0]
    return ""


def _network_mounts(host: NodeState) -> Iterator[pb.Mount]:
    for item in host.of("mount"):
        if _NETWORK_FS.fullmatch(item.mount.fs_type) and ":" in item.mount.source:
            yield item.mount


def _silent_servers(facts: Facts) -> Iterator[Case]:
    """Servers that the kernel of a host says do not answer, and that pods there have mounted."""
    for node in sorted(facts.fleet.in_trouble):
        host = facts.view.hosts[node]
        if not facts.host_is_current(node):
            continue
        for event in (item.kernel_event for item in host.of("kernel_event")):
            last = event.last_unix_ms / 1000
            silent = getattr(event, "class") == pb.KERNEL_EVENT_CLASS_NFS_NOT_RESPONDING  # "class": a keyword
            if silent and last and host.at - last <= facts.limits.nfs_silent_recent_s:
                mounts = [
                    mount
                    for mount in _network_mounts(host)
                    if mount.source.rpartition(":")[0].strip("[]") == event.subject
                ]
                if mounts:
                    yield _silent(facts, node, event, mounts)


def _silent(facts: Facts, node: str, event: pb.KernelEvent, mounts: list[pb.Mount]) -> Case:
    objects, points = facts.view.objects, {mount.mount_point for mount in mounts}
    host = facts.view.hosts[node]
    uids = {item.volume.pod_uid for item in host.of("volume") if item.volume.path in points}
    pods = sorted((pod for uid in uids if (pod := objects.pod_by_uid(uid)) is not None), key=lambda pod: pod.key)
    last = event.last_unix_ms / 1000
    users = ", ".join(pod.key for pod in pods[:3]) or f"{len(mounts)} mounts"
    return Case(
        STALE_NFS,
        (event.subject,),
        f"the kernel of {node} told {span(max(0.0, host.at - last))} ago that NFS server {event.subject} does not "
        f"answer, which {users} use there",
        (*(f"Pod/{pod.key}" for pod in pods), f"Node/{node}"),
        (Evidence(node, "counter.kernel_nfs_not_responding", event.subject, event.count, "messages", "kmsg", last),),
        nodes=(node,),
        weight=float(event.count),
        since=event.first_unix_ms / 1000,
        ruled_out=(RuledOut(IO_ERROR_READONLY, "no disk of the node is behind these mounts"),),
    )
