"""Why a pod gets no sandbox: nearly always its network."""

from __future__ import annotations

from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule
from aggregator.messages.said import Said, by

IP_EXHAUSTED = "net.ip_exhausted"
CNI_FAILED = "net.sandbox_cni_failed"
DISK_PRESSURE = "node.disk_pressure"

SANDBOX_RULES: tuple[Rule, ...] = (
    Rule(
        IP_EXHAUSTED,
        (
            "failed to assign an ip address to container",
            "no ip addresses available in range set",
            "no ip addresses available",
            "no available ip",
            "no more ips available",
            "no more ip",
            "no free ip",
            "no ips available",
            "no ipv4 addresses",
            "no ipv6 addresses",
            "range is full",
            "out of ip",
            "ip addresses are exhausted",
            "ipam exhausted",
            "ip pool is exhausted",
            "ip pool exhausted",
            "pool exhausted",
            "pool is exhausted",
            "addresses exhausted",
            "address exhausted",
            "address space exhausted",
            "run out of ip",
            "ran out of ip",
            "insufficientfreeaddressesinsubnet",
            "insufficientcidrblocks",
            "not have enough free addresses",
            "not enough free addresses",
            "no free addresses",
            "insufficient free addresses",
            "no addresses available in requested subnet",
            "no available addresses",
            "no available address",
            "no available ip addresses",
            "noavailableaddress",
            "no more free affine blocks",
            "no configured calico pools",
            "assigned 0 out of # requested ipv4",
            "assigned 0 out of # requested ipv6",
            "all ips are allocated",
            "ip allocation failed: no",
            "failed to allocate for range #: no ip",
            "subnet is full",
            "address pool is empty",
            "no ip available",
            "could not allocate ip: no",
            "no unallocated ip",
            "no ips left",
            "exhausted all ips",
            "failed to allocate pod ip",
        ),
        why="the node or its subnet has no address left for the pod",
    ),
    Rule(
        CNI_FAILED,
        ("unable to allocate ip", "failed to allocate ip", "failed to allocate address", "ipam"),
        needs=("cni", "plugin", "network"),
        unless=("ipam plugin returned missing ip",),
        also=(IP_EXHAUSTED,),
        why="the network plugin could not give the pod an address",
    ),
    Rule(
        CNI_FAILED,
        (
            "failed to setup network for sandbox",
            "failed to set up sandbox container…network for pod",
            "failed to set up pod…network",
            "failed to teardown pod…network",
            "failed to destroy network for sandbox",
            "networkplugin cni failed",
            "network plugin is not ready",
            "network plugin not ready",
            "networkpluginnotready",
            "cni plugin not initialized",
            "cni config uninitialized",
            "cni config load failed",
            "network is not ready",
            "container runtime network not ready",
            "no networks found in /etc/cni",
            "failed to find plugin",
            "plugin type=",
            "cni plugin",
            "cni request failed",
            "cni failed",
            "add cmd:",
            "subnet.env",
            "nodename: no such file",
            "kubenet",
            "error adding network",
            "error adding pod",
            "error adding container to network",
            "error getting clusterinformation",
            "unable to connect to cilium",
            "cilium api client timeout",
            "failed to create pod network sandbox",
            "failed to create pod network",
            "failed to configure pod interface",
            "error waiting for pod: ",
            "multus",
            "failed to configure network",
            "hns failed",
            "no endpoint found",
            "cnetwork",
            "delegateadd",
            "failed to set bridge addr",
            "failed to create host veth",
            "veth",
        ),
        unless=("failed to pull",),
        why="the network plugin could not set up the pod's network",
    ),
    Rule(
        DISK_PRESSURE,
        ("no space left on device", "disk quota exceeded"),
        why="the node's disk is full",
    ),
)
"""Of pods that get no sandbox."""

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
    "no networks found in /etc/cni",
    "unable to update cni config",
    "ipam exhausted",
)


def judge(said: Said) -> Classification | None:
    """What a message about a sandbox says. None: it is about something else."""
    if said.reason not in _SANDBOX_REASONS and not said.has(*_SANDBOX_SHAPES):
        return None
    return by(SANDBOX_RULES, said, "the sandbox failed, and not for its network as far as is said")
