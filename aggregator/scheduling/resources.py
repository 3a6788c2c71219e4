"""Amounts: what a pod asks for against what a node has left (kube-scheduler NodeResourcesFit), and host ports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aggregator.cluster.objects import Amounts, HostPort, NodeObject, Pod
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.stops import HOST_PORT, INSUFFICIENT, TOO_LARGE, TOO_MANY_PODS, Stop

NATIVE = frozenset({"cpu", "memory", "ephemeral-storage", "pods"})
_ADDRESSES = (
    "vpc.amazonaws.com/privateipv4address",
    "vpc.amazonaws.com/cidrblock",
    "aliyun/eni-ip",
    "aliyun/member-eni",
    "tke.cloud.tencent.com/eni-ip",
    "networking.gke.io.networks/",
)
"""Resources that stand for IP addresses: a node without any has too many pods, whatever the kubelet's limit says."""
_WILDCARD = ("", "0.0.0.0", "::")


def is_extended(resource: str) -> bool:
    """A device or the like that only some nodes have ("nvidia.com/gpu"); huge pages count as such."""
    return resource not in NATIVE


def is_address(resource: str) -> bool:
    """The resource stands for an IP address of the node."""
    return resource.lower().startswith(_ADDRESSES)


def free(cluster: Cluster, node: NodeObject, pod: Pod | None = None) -> dict[str, int]:
    """What a node has left, in the units of Amounts. With a pod: what it has for that pod, for room that is kept for
    others of its priority or above (nominated pods) is not."""
    left = dict(node.allocatable)
    for name, amount in cluster.requested(node.name).items():
        left[name] = left.get(name, 0) - amount
    if pod is not None:
        for other in _ahead(cluster, node.name, pod):
            left["pods"] = left.get("pods", 0) - 1
            for name, amount in other.spec.requests.items():
                left[name] = left.get(name, 0) - amount
    return left


def _ahead(cluster: Cluster, node: str, pod: Pod) -> Iterator[Pod]:
    for other in cluster.nominated(node):
        if other.key != pod.key and other.spec.priority >= pod.spec.priority:
            yield other


def resource_stops(cluster: Cluster, node: NodeObject, pod: Pod) -> list[Stop]:
    """Amounts that the node does not have for the pod. One that it could not have even if it were empty: too large."""
    has, taken = node.allocatable, cluster.requested(node.name)
    ahead = list(_ahead(cluster, node.name, pod)) if cluster.nominated(node.name) else ()
    stops = []
    most, used = has.get("pods", 0), taken.get("pods", 0) + len(ahead)
    if used + 1 > most:
        stops.append(Stop(TOO_MANY_PODS, "pods", f"{used} of at most {most} pods", 1, most - used, most))
    for name, asked in pod.spec.requests.items():
        most = has.get(name, 0)
        left = most - taken.get(name, 0)
        if ahead:
            left -= _sum(name, ahead)
        if asked > left and asked > 0:
            code = TOO_MANY_PODS if is_address(name) else TOO_LARGE if asked > most else INSUFFICIENT
            stops.append(Stop(code, name, "", asked, left, most))
    return stops


def _sum(name: str, pods: Iterable[Pod]) -> int:
    return sum(pod.spec.requests.get(name, 0) for pod in pods)


def could_ever_hold(allocatable: Amounts, requests: Amounts) -> bool:
    """Whether the node would have room for this if nothing were on it."""
    return all(asked <= allocatable.get(name, 0) for name, asked in requests.items() if asked > 0)


def port_stops(cluster: Cluster, node: NodeObject, pod: Pod) -> list[Stop]:
    """Ports of the host that another pod on the node has."""
    if not pod.spec.host_ports:
        return []
    stops: dict[str, Stop] = {}
    for other in cluster.pods_on(node.name):
        for theirs in other.spec.host_ports:
            for ours in pod.spec.host_ports:
                if _clash(ours, theirs):
                    about = f"{ours.port}/{ours.protocol}"
                    detail = f"port {about} is pod {other.key}'s"
                    stops.setdefault(about, Stop(HOST_PORT, about, detail, objects=(f"Pod/{other.key}",)))
    return list(stops.values())


def _clash(a: HostPort, b: HostPort) -> bool:
    if a.port != b.port or a.protocol != b.protocol:
        return False
    return a.address == b.address or a.address in _WILDCARD or b.address in _WILDCARD
