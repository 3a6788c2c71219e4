"""Whether a pod was given the cloud identity that its ServiceAccount names, or one that it does not name.

Webhooks of EKS and AKS put a projected token into pods as they are made; GKE's metadata server answers on nodes that
have one. All of it can be told from the objects: annotations, labels, and whom projected tokens are for. By itself it
proves nothing, as a pod may come by its credentials otherwise: a hint beside other evidence.
"""

from __future__ import annotations

from aggregator.cluster.objects import Credential, Pod
from aggregator.cluster.state import ClusterState

_AWS, _AWS_PODS = "sts.amazonaws.com", "pods.eks.amazonaws.com"
_AZURE = "api://AzureADTokenExchange"
_AZURE_USE = "azure.workload.identity/use"
_GKE_SERVER = "iam.gke.io/gke-metadata-server-enabled"
_TOO_EARLY = "it was made before the annotation, or the webhook that gives it one was away"


def hint(pod: Pod, state: ClusterState) -> str:
    """What does not fit, as a clause; empty: nothing, or ServiceAccounts are not known."""
    account = state.service_accounts.get(f"{pod.namespace}/{pod.spec.service_account or 'default'}")
    if account is None:
        return ""
    return _aws(pod, account) or _azure(pod, account) or _gcp(pod, account, state)


def _aws(pod: Pod, account: Credential) -> str:
    audiences = pod.spec.token_audiences
    if "aws" in account.clouds and not {_AWS, _AWS_PODS} & {*audiences}:
        return f"ServiceAccount {account.key} names an AWS role, and the pod has no token for AWS: {_TOO_EARLY}"
    if "aws" not in account.clouds and _AWS in audiences:
        return f"the pod has a token for an AWS role, and ServiceAccount {account.key} names none (any more)"
    return ""


def _azure(pod: Pod, account: Credential) -> str:
    asked = pod.labels.get(_AZURE_USE) == "true"
    if "azure" in account.clouds and _AZURE not in pod.spec.token_audiences:
        why = _TOO_EARLY if asked else f'it lacks the label {_AZURE_USE}: "true"'
        return f"ServiceAccount {account.key} names an Azure identity, and the pod has no token for Azure: {why}"
    if "azure" not in account.clouds and asked:
        return f"the pod asks for an Azure identity by its label, and ServiceAccount {account.key} names none"
    return ""


def _gcp(pod: Pod, account: Credential, state: ClusterState) -> str:
    if "gcp" not in account.clouds:
        return ""
    names = f"ServiceAccount {account.key} names a Google service account"
    if pod.spec.host_network:
        return f"{names}, and a pod in its host's network is taken for the node"
    node = state.nodes.get(pod.node)
    if node is not None and node.labels.get(_GKE_SERVER) != "true":
        return f"{names}, and {pod.node} has no metadata server for pods: its pool is without workload identity"
    return ""
