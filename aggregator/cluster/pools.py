"""Which nodes are alike by intention: the node pool, by whatever name the platform gives it."""

from __future__ import annotations

from aggregator.cluster.objects import NodeObject

_POOL_LABELS = (
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "kubernetes.azure.com/agentpool",
    "agentpool",
    "karpenter.sh/nodepool",
    "karpenter.sh/provisioner-name",
    "topology.cluster.x-k8s.io/deployment-name",
    "cluster.x-k8s.io/deployment-name",
    "cluster.x-k8s.io/set-name",
    "hypershift.openshift.io/nodePool",
    "machine.openshift.io/machine-set",
    "machineset.openshift.io/name",
    "worker.gardener.cloud/pool",
    "kops.k8s.io/instancegroup",
    "doks.digitalocean.com/node-pool",
    "lke.linode.com/pool-id",
    "k8s.scaleway.com/pool-name",
    "oke.oraclecloud.com/pool.name",
    "ibm-cloud.kubernetes.io/worker-pool-name",
    "hcloud/node-group",
    "nodepool",
)
_ROLE_PREFIX = "node-role.kubernetes.io/"
_INSTANCE_TYPES = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_TRANSIENT_TAINTS = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node.cilium.io/",
    "ToBeDeletedByClusterAutoscaler",
)
"""Taints that say how a node is, not what it is for."""


def pool_of(node: NodeObject) -> str:
    """Name of a node's pool: the platform's label, else its roles, lasting taints and instance type together."""
    for label in _POOL_LABELS:
        if value := node.labels.get(label):
            return value
    roles = sorted(label.removeprefix(_ROLE_PREFIX) for label in node.labels if label.startswith(_ROLE_PREFIX))
    taints = [str(taint) for taint in node.taints if not taint.key.startswith(_TRANSIENT_TAINTS)]
    instance = next((value for label in _INSTANCE_TYPES if (value := node.labels.get(label))), "")
    return " ".join(part for part in (",".join(roles) or "worker", ",".join(taints), instance) if part)
