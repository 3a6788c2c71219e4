"""One module for each family of parsers, named as the target is; `TARGET` in it is the target."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from fuzz.target import Target

_NODE_STATE = ("aggregator.node_state", "aggregator.reassembly")
MODULES: Mapping[str, tuple[str, ...]] = {
    "api_metrics": ("aggregator.cluster.api_metrics", "aggregator.cluster.metric_families", "nodetell.exposition"),
    "bundle": ("agent.hosts", "tarfile"),
    "delta": (*_NODE_STATE, "aggregator.backlog", "aggregator.node_items", "agent.delta", "agent.pieces"),
    "diskstats": ("agent.collectors.diskstats", "agent.collectors.disks", "agent.collectors.blockdevs"),
    "documents": ("agent.collectors",),
    "etcd": (
        "agent.collectors.etcd",
        "agent.collectors.etcd_metrics",
        "agent.collectors.histograms",
        "nodetell.exposition",
    ),
    "events": ("agent.events",),
    "facts": ("aggregator.signatures", "aggregator.convert", "aggregator.clocks", "aggregator.topology"),
    "host_info": ("agent.collectors.host_info", "agent.collectors.clock", "agent.hosts.bundle_host"),
    "kernel_log": ("agent.events", "agent.collectors.kernel_log"),
    "kernel_tables": ("agent.bpf.btf", "agent.sensor.kernel"),
    "links_json": ("agent.network", "agent.underlay", "agent.collectors"),
    "lists": ("aggregator.cluster",),
    "logs": ("agent.collectors.log_patterns",),
    "messages": tuple(f"aggregator.messages.{area}" for area in ("scheduling", "said", "logs", "pending", "images")),
    "mountinfo": ("agent.collectors.mountinfo", "agent.collectors.kubelet"),
    "netlink": ("agent.netlink", "agent.network"),
    "plan": ("agent.pathmtu.plan", "nodetell.names"),
    "protocols": ("agent.collectors.netcounters", "agent.collectors.protocols"),
    "responder": ("agent.pathmtu",),
    "sensor": ("agent.sensor.client", "agent.collectors"),
    "sysfs_links": ("agent.network",),
    "token": ("aggregator.trust.token", "aggregator.trust.certificate"),
    "volumes": ("agent.collectors",),
    "watch": ("aggregator.cluster",),
}
"""Modules that a target is about, by its name: what the engine looks at for coverage."""
NAMES = tuple(MODULES)


def load(name: str) -> Target:
    """A target by name. Only what it needs is imported."""
    target: Target = import_module(f"fuzz.targets.{name}").TARGET
    return target
