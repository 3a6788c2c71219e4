"""Words that a finding uses and that not everybody has met: each explained in one sentence, where it occurs."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORDS = (
    (
        "99th percentile",
        r"99th percentile|\bp99\b",
        "of 100 calls, 99 took at most this long: the slow ones, not the mean",
    ),
    ("fsync", r"\bfsyncs?\b", "a program waits until its data is safely on the disk; etcd does so for every change"),
    ("etcd", r"\betcd\b", "the database of the control plane: when it waits for its disk, the API server waits too"),
    (
        "LIST, PATCH, ...",
        r"\b(?:LIST|PATCH|POST|PUT|GET)\b",
        "kinds of requests to the API server; LIST reads many objects",
    ),
    ("MTU", r"\bMTUs?\b", "the largest packet, in bytes, that an interface or a path takes"),
    ("overlay, tunnel", r"\boverlays?\b|\btunnels?\b", "packets between pods of two nodes travel inside other packets"),
    ("vxlan, geneve", r"\bvxlan\b|\bgeneve\b", "kinds of tunnels; each adds some 50 bytes to every packet"),
    ("ICMP", r"\bICMP\b", "how the network tells a sender that its packet was too large"),
    (
        "FragFails, OutDestUnreachs, ...",
        r"\bFragFails\b|\bDestUnreachs\b|OutDestUnreachs",
        "counters of the kernel: packets that were too large, and messages that say so",
    ),
    ("claim", r"\bclaims?\b", "PersistentVolumeClaim: what a pod says of the volume that it needs"),
    (
        "VolumeAttachment",
        r"\bVolumeAttachments?\b|\battached\b",
        "the API server's note that a volume is connected to a node",
    ),
    ("zone", r"\bzones?\b", "a data centre of the cloud; most disks can be used in one zone only"),
    (
        "kubelet",
        r"\bkubelet\b",
        "Kubernetes' own program on each node; it runs the pods and says whether the node is Ready",
    ),
    ("lease", r"\bleases?\b", "a sign of life that is renewed every few seconds"),
    ("taint", r"\btaint(?:s|ed)?\b", "a mark on a node that keeps pods away which do not tolerate it"),
    ("Pending", r"\bPending\b", "the pod is wanted, and no node has been found for it"),
)
_COMPILED = tuple((name, re.compile(pattern), meaning) for name, pattern, meaning in _WORDS)


def explained(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(word, what it means) of those that occur."""
    text = "\n".join(texts)
    return tuple((name, meaning) for name, pattern, meaning in _COMPILED if pattern.search(text))
