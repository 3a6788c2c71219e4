"""Which cause family a message belongs to. First what it is about (its reason, else its shape), then that area's rules.

The same words mean different things in different places, so a message is judged by the rules of one area: what a pull
says by those of images, what a mount says by those of volumes. Only what no area claims, logs above all, is judged by
the general rules. Pure, and linear in the length of the message, of which a bounded part is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from aggregator.messages import applications, hosts, images, pods, scheduling, volumes
from aggregator.messages.model import NOTHING, Classification, Message
from aggregator.messages.rules import Rule, beside, first
from aggregator.messages.text import Text, find_any, text_of

_MOST_BESIDE = 4
_PREEMPTION_NONE = "sched.preemption_none"
_REMEMBERED = 4_096
"""Events repeat: most messages of a cluster are a few hundred different ones."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A message made ready."""

    object: str
    reason: str
    exit_code: int | None
    text: Text
    written: Message

    def has(self, *phrases: str) -> bool:
        return find_any(phrases, self.text) is not None


_Judge = Callable[[_Said], Classification | None]


@lru_cache(maxsize=_REMEMBERED)
def classify(message: Message) -> Classification:
    """What a message says. Never fails: what tells nothing is unknown."""
    said = _said(message)
    for judge in _AREAS:
        answer = judge(said)
        if answer is not None:
            also = tuple(code for code in answer.also if code != applications.APP_ERROR)
            return replace(answer, also=also[:_MOST_BESIDE])
    return NOTHING


# A state block of `kubectl describe` that was pasted as the message.
_EXIT_CODE = re.compile(r"(?:exit code|exitcode|exit_code)[\"':= ]{1,4}([0-9]{1,3})(?![0-9])")
_STATE_REASON = re.compile(r"(?:last state|state): {0,3}terminated reason: {0,3}([a-z]{1,40})")


def _said(message: Message) -> _Said:
    text = text_of(message.message)
    reason = message.reason.strip().lower()
    exit_code = message.exit_code
    if exit_code is None and (found := _EXIT_CODE.search(text.folded)) is not None:
        exit_code = int(found[1])
    if (found := _STATE_REASON.search(text.folded)) is not None and reason in (
        "",
        "error",
        "crashloopbackoff",
        "backoff",
    ):
        reason = found[1]
    return _Said(message.object.strip().lower(), reason, exit_code, text, message)


def _by(rules: tuple[Rule, ...], said: _Said, because: str) -> Classification:
    """What an area's rules say; where they say nothing, that is final: no other area's words apply."""
    return first(rules, said.text) or Classification("", why=because)


# -- scheduling ----------------------------------------------------------------------------------------------------

_SCHEDULING_REASONS = frozenset({"failedscheduling", "unschedulable", "schedulinggated", "nottriggerscaleup"})
_SCHEDULING_SHAPES = (
    "nodes are available:",
    "nodes are available that match all of",
    "pod didn't trigger scale-up",
    "scheduling is blocked due to non-empty scheduling gates",
    "pod has unbound immediate persistentvolumeclaims",
)
_TAINT_MEANS = {
    "node.kubernetes.io/disk-pressure": pods.DISK_PRESSURE,
    "node.kubernetes.io/memory-pressure": pods.MEMORY_PRESSURE,
    "node.kubernetes.io/pid-pressure": pods.PID_PRESSURE,
    "node.kubernetes.io/unreachable": pods.NODE_LOST,
}


def _scheduling(said: _Said) -> Classification | None:
    if said.reason not in _SCHEDULING_REASONS and not said.has(*_SCHEDULING_SHAPES):
        return None
    says = scheduling.parse(said.written.message)
    if said.reason == "schedulinggated" or scheduling.is_gated(says):
        gate = next((reason.text for reason in says.reasons), "SchedulingGated")
        return Classification("", phrase=gate, no_fault=True, why="the pod waits at a gate that somebody set")
    main = says.main
    if main is None:
        return first(hosts.TIMEOUT_RULES, said.text) or Classification("", why="the scheduler says no reason")
    codes = [reason.code for reason in sorted(says.reasons, key=lambda each: -each.count)]
    codes += [_TAINT_MEANS[reason.taint] for reason in says.reasons if reason.taint in _TAINT_MEANS]
    if said.has("no preemption victims found"):
        codes.append(_PREEMPTION_NONE)
    count = f"{main.count} of {says.total} nodes" if says.total and main.count else "the pod"
    return Classification(main.code, beside(main.code, codes), main.text, why=f"what stops {count}")


_ADMISSION_REASONS = frozenset(
    {
        "nodeaffinity",
        "nodeports",
        "tainttoleration",
        "matchnodeselector",
        "unexpectedadmissionerror",
        "podfitshostports",
    }
)
_ADMISSION_SHAPES = ("didn't have enough resource", "predicate…failed")


def _admission(said: _Said) -> Classification | None:
    known = said.reason in _ADMISSION_REASONS or said.reason.startswith("outof")
    return first(pods.ADMISSION_RULES, said.text) if known or said.has(*_ADMISSION_SHAPES) else None


# -- images, volumes, sandboxes ------------------------------------------------------------------------------------


def _image(said: _Said) -> Classification | None:
    if said.reason not in images.IMAGE_REASONS and not said.has(*images.IMAGE_SHAPES):
        return None
    return _by(images.IMAGE_RULES, said, "the pull failed, and it is not said why")


_RESIZE_SHAPES = ("error expanding volume", "resize volume", "expandvolume", "volume expansion", "expand this pvc")
_PROVISION_SHAPES = (
    "failed to provision volume",
    "storageclass.storage.k8s.io…not found",
    "no storage class is set",
    "waiting for first consumer",
    "waiting for pod…to be scheduled",
    "failed to create provisioner",
    "error syncing claim",
)
_ATTACH_SHAPES = (
    "attachvolume.attach",
    "multi-attach error",
    "detachvolume.detach",
    "failed to attach volume",
    "failed to detach volume",
    "volume attachment is being deleted",
    "error attaching",
    "controllerpublishvolume",
)
_MOUNT_SHAPES = (
    "mountvolume.",
    "unable to attach or mount volumes",
    "unable to mount volumes for pod",
    "unmountvolume.",
    "unmountdevice failed",
    "nodestagevolume",
    "nodepublishvolume",
    "mounting command:",
    "mount failed: exit status",
    "mapvolume.",
    "stale nfs file handle",
    "stale file handle",
)


def _resize(said: _Said) -> Classification | None:
    if said.reason not in volumes.RESIZE_REASONS and not said.has(*_RESIZE_SHAPES):
        return None
    answer = first(volumes.RESIZE_RULES, said.text)
    if answer is None and "fail" in said.reason:
        why = "the reason says that the expansion failed"
        return Classification(volumes.RESIZE_FAILED, phrase=said.written.reason, why=why)
    return answer or Classification("", why="about an expansion, not that it fails")


def _volume(said: _Said) -> Classification | None:
    if said.has(*_PROVISION_SHAPES) or said.reason in volumes.PROVISION_REASONS:
        if said.has("mount failed", "failed to mount", "mount.nfs"):  # by a driver that mounts its share to make room
            return _by(volumes.MOUNT_RULES, said, "about provisioning, not why it fails")
        return _by(volumes.PROVISION_RULES, said, "about provisioning, not why it fails")
    if said.has(*_ATTACH_SHAPES) or said.reason in volumes.ATTACH_REASONS:
        return _by(volumes.ATTACH_RULES, said, "the attachment failed, and it is not said why")
    if said.has(*_MOUNT_SHAPES) or said.reason in volumes.MOUNT_REASONS:
        return _by(volumes.MOUNT_RULES, said, "the mount failed, and it is not said why")
    return None


_SANDBOX_REASONS = frozenset(
    {"failedcreatepodsandbox", "failedcreatepodsandbox.", "networknotready", "failedpodsandboxstatus", "failedkillpod"}
)
_SANDBOX_SHAPES = (
    "pod sandbox",
    "network for sandbox",
    "networkplugin cni",
    "network plugin is not ready",
    "networkpluginnotready",
    "cni plugin not initialized",
    "cni config uninitialized",
    "failed to assign an ip address to container",
    "plugin type=",
    "no ip addresses available in range set",
    "createpodsandbox",
    "runpodsandbox",
    "insufficientfreeaddressesinsubnet",
    "insufficientcidrblocks",
    "subnet.env: no such file",
    "ipam exhausted",
)


def _sandbox(said: _Said) -> Classification | None:
    if said.reason not in _SANDBOX_REASONS and not said.has(*_SANDBOX_SHAPES):
        return None
    return _by(pods.SANDBOX_RULES, said, "the sandbox failed, and not for its network as far as is said")


# -- containers ----------------------------------------------------------------------------------------------------

_PROBE_REASONS = frozenset({"unhealthy", "killing", "probewarning", "probeerror"})
_PROBE_SHAPES = ("liveness probe", "startup probe", "readiness probe")


def _probe(said: _Said) -> Classification | None:
    if said.reason not in _PROBE_REASONS and not said.has(*_PROBE_SHAPES):
        return None
    return _by(pods.PROBE_RULES, said, "no probe that ends the container")


_CONFIG_SHAPES = (
    "error: secret",
    "error: configmap",
    "couldn't find key",
    "non-existent config key",
    "non-existent secret",
)


def _start(said: _Said) -> Classification | None:
    asked = said.reason in pods.START_REASONS or said.has(*pods.START_SHAPES)
    if not asked and not (said.reason == "failed" or said.has(*_CONFIG_SHAPES)):
        return None
    answer = first(pods.START_RULES, said.text)
    if answer is None and asked and said.exit_code is None:
        return Classification("", why="the container did not start, and no known reason is said")
    return answer


_CREATE_REASONS = frozenset({"failedcreate", "failedupdate", "replicasetcreateerror", "replicafailure"})
_CREATE_SHAPES = ("exceeded quota", "failed quota:", "disruption budget")


def _create(said: _Said) -> Classification | None:
    if said.reason not in _CREATE_REASONS and not said.has(*_CREATE_SHAPES):
        return None
    rules = (*hosts.REFUSAL_RULES, *pods.CREATE_RULES, *hosts.TIMEOUT_RULES)
    return _by(rules, said, "the API server did not take the object, for no known reason")


_NODE_OBJECTS = frozenset({"node", "nodes"})
_EVICTION_SHAPES = (
    "low on resource",
    "the node had condition",
    "node had conditions",
    "image filesystem",
    "garbage collect required amount of images",
    "eviction manager",
    "attempting to reclaim",
    "kubelet stopped posting node status",
    "status is now: node",
    "cancelling deletion of pod",
    "kubelet has disk pressure",
    "kubelethasdiskpressure",
)


def _eviction(said: _Said) -> Classification | None:
    if said.object not in _NODE_OBJECTS and said.reason != "evicted" and not said.has(*_EVICTION_SHAPES):
        return None
    return first(pods.EVICTION_RULES, said.text) or first(pods.EVICTION_RULES, text_of(said.reason))


# -- what is as it should be ---------------------------------------------------------------------------------------

_NORMAL = frozenset(
    {
        "scheduled",
        "pulling",
        "pulled",
        "created",
        "started",
        "successfulcreate",
        "successfuldelete",
        "scalingreplicaset",
        "successfulattachvolume",
        "successfulmountvolume",
        "provisioningsucceeded",
        "nodeready",
        "nodehassufficientmemory",
        "nodehasnodiskpressure",
        "nodehassufficientpid",
        "nodeallocatableenforced",
        "registerednode",
        "nodeschedulable",
        "triggeredscaleup",
        "successfulrescale",
        "leaderelection",
        "completed job",
        "sawcompletedjob",
        "volumeresizesuccessful",
        "filesystemresizesuccessful",
        "waitforfirstconsumer",
        "ensuredloadbalancer",
    }
)


def _normal(said: _Said) -> Classification | None:
    answer = first(hosts.NORMAL_WORK_RULES, said.text)
    if answer is None and said.reason == "leaderelection":
        return first(hosts.ELECTION_RULES, said.text)
    if answer is None and said.reason in _NORMAL:
        return Classification("", phrase=said.written.reason, no_fault=True, why="an event of normal work")
    return answer


# -- logs, and how a container ended -------------------------------------------------------------------------------

_ETCD_SAID = (*hosts.CLOCK_RULES, *hosts.ETCD_OWN_RULES, *hosts.ELECTION_RULES)
_FIRST_OF_ALL = (
    *hosts.CLOCK_RULES,
    *hosts.REFUSAL_RULES,
    applications.IDENTITY_RULE,
    *hosts.ELECTION_RULES,
    *hosts.ETCD_RULES,
)
_LAST_OF_ALL = (*hosts.TIMEOUT_RULES, *hosts.KERNEL_RULES, *applications.APPLICATION_RULES)
_GENERAL = (*_FIRST_OF_ALL, *_LAST_OF_ALL)
_OF_A_CONTAINER = (*_FIRST_OF_ALL, hosts.POD_TO_API_RULE, *_LAST_OF_ALL)


def _etcd(said: _Said) -> Classification | None:
    return first(_ETCD_SAID, said.text) if said.object.startswith("etcd") else None


def _kernel(said: _Said) -> Classification | None:
    if not said.object.startswith("kernel"):
        return None
    return _by(hosts.KERNEL_RULES, said, "no known fault of the kernel's")


def _oom(said: _Said) -> Classification | None:
    if said.reason in ("oomkilled", "oomkilling") or said.has("|oomkilled|"):
        return Classification(pods.OOM, (), "OOMKilled", why="the kernel killed it over its memory limit")
    return None


def _general(said: _Said) -> Classification | None:
    if said.object.startswith(("apiserver", "kube-apiserver")):
        return first((*_GENERAL, hosts.API_SERVER_SAYS_RULE), said.text)
    return first(_OF_A_CONTAINER if said.object == "container" else _GENERAL, said.text)


_BY_EXIT_CODE = {
    0: (pods.EXIT_ZERO, "the process ends by itself, without an error"),
    126: (pods.COMMAND, "the shell could not execute the command"),
    127: (pods.COMMAND, "the shell did not find the command"),
    139: (pods.SEGFAULT, "ended by SIGSEGV"),
}
_KILLED = {137: "SIGKILL", 143: "SIGTERM", 130: "SIGINT", 129: "SIGHUP"}


def _exit(said: _Said) -> Classification | None:
    code = said.exit_code
    if code is None:
        return None
    phrase = f"exit code {code}"
    if code in _BY_EXIT_CODE:
        label, why = _BY_EXIT_CODE[code]
        return Classification(label, (), phrase, why=why)
    if code in _KILLED:
        return Classification("", (), phrase, why=f"ended by {_KILLED[code]}: who sent it is not said")
    if code == 128:
        return Classification("", (), phrase, why="it did not start, and no known reason is said")
    return Classification(pods.APP_ERROR, (), phrase, why="the program ends with an error, and no cause is said")


def _exit_that_decides(said: _Said) -> Classification | None:
    """Exit codes that say more than what the program printed before."""
    return _exit(said) if said.exit_code in (126, 127, 139) else None


_AREAS: tuple[_Judge, ...] = (
    _kernel,
    _etcd,
    _scheduling,
    _admission,
    _image,
    _resize,
    _volume,
    _sandbox,
    _probe,
    _create,
    _start,
    _eviction,
    _normal,
    _oom,
    _exit_that_decides,
    _general,
    _exit,
)
