"""Images that do not come: what of a reference is the registry, and which of many failing pulls have one cause.

A registry that cannot be reached is one cause for all of its images, and so are credentials that it refuses; an image
that is not there is its own. What a node cannot unpack is mostly the node's fault.
"""

from __future__ import annotations

import re

from aggregator.cluster.objects import ContainerStatus, Pod
from aggregator.signatures.crash.cause import NOT_FOUND, RATE_LIMITED, REGISTRY, UNAUTHORIZED, UNPACKING, Cause

DOCKER_HUB = "docker.io"
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_KUBELETS_OWN = re.compile(r"pull qps exceeded", re.I)
"""The kubelet's own limit (registryPullQPS), not the registry's."""
_NODES_FAULT = re.compile(
    r"no space left|disk quota|read-only file system|input/output error|structure needs cleaning|image filesystem"
    r"|snapshotter|overlay mount|mount overlay",
    re.I,
)


def image_of(pod: Pod, container: ContainerStatus) -> str:
    """The reference that a container asks for; empty: not known."""
    found = (each for each in pod.spec.containers if each.name == container.name and each.init == container.init)
    return next((each.image for each in found), "")


def registry_of(image: str) -> str:
    """The registry that an image comes from, with its port ("10.0.0.5:5000"); "docker.io" where none is named."""
    host, slash, _ = image.partition("/")
    named = slash and ("." in host or ":" in host or host == "localhost" or host != host.lower())
    return DOCKER_HUB if not named or host in _HUB_NAMES else host


def repository_of(image: str) -> str:
    """An image without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def about(cause: Cause, pod: Pod, image: str) -> tuple[str, ...]:
    """What one finding is about: pulls with the same fail for one cause."""
    registry = registry_of(image)
    if cause.code == UNAUTHORIZED:
        secrets = sorted(pod.spec.pull_secrets)
        if secrets:
            return registry, *secrets
        return (repository_of(image),) if NOT_FOUND in cause.also else (registry,)
    if cause.code == RATE_LIMITED:
        return (pod.node, "kubelet") if _KUBELETS_OWN.search(cause.statement) else (registry,)
    if cause.code == REGISTRY:
        return (registry,)
    if cause.code == UNPACKING and pod.node and _NODES_FAULT.search(cause.statement):
        return (pod.node,)
    return (image,)


def objects_of(cause: Cause, pod: Pod) -> tuple[str, ...]:
    """What else a refused pull names: the Secrets that it was made with."""
    if cause.code != UNAUTHORIZED:
        return ()
    return tuple(f"Secret/{pod.namespace}/{name}" for name in sorted(pod.spec.pull_secrets))
