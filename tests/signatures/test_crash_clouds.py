"""Cloud identities that a ServiceAccount names and its pod was not given: told beside other evidence, never alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from aggregator.cluster.objects import Credential, NodeObject, Pod, PodSpec
from aggregator.cluster.state import ClusterState
from aggregator.model import Severity
from aggregator.signatures.crash.clouds import hint
from tests.lab.cluster import Lab
from tests.lab.shapes import stamp
from tests.signatures.crash_worlds import POD, End, cluster, crashes
from tests.signatures.test_crash_timelines import STS

AWS, AWS_PODS, AZURE = "sts.amazonaws.com", "pods.eks.amazonaws.com", "api://AzureADTokenExchange"
USE = {"azure.workload.identity/use": "true"}
SERVER = {"iam.gke.io/gke-metadata-server-enabled": "true"}
ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/web"}


def said(
    *clouds: str,
    audiences: tuple[str, ...] = (),
    labels: Mapping[str, str] = {},
    node: Mapping[str, str] | None = None,
    host_network: bool = False,
) -> str:
    """The hint about a pod whose account names identities of these clouds."""
    state = ClusterState()
    state.keep("serviceaccounts", "shop/web", Credential("ServiceAccount", "shop", "web", clouds=clouds))
    if node is not None:
        state.keep("nodes", "n1", NodeObject("n1", node))
    spec = PodSpec(service_account="web", token_audiences=audiences, host_network=host_network)
    return hint(Pod("shop", "web-0", spec, labels=labels, node="n1"), state)


def test_an_aws_role_without_a_token_for_it() -> None:
    assert said("aws") == (
        "ServiceAccount shop/web names an AWS role, and the pod has no token for AWS: it was made before the "
        "annotation, or the webhook that gives it one was away"
    )


def test_a_token_for_an_aws_role_that_is_not_named() -> None:
    assert said(audiences=(AWS,)) == (
        "the pod has a token for an AWS role, and ServiceAccount shop/web names none (any more)"
    )


def test_an_azure_identity_without_a_token_for_it() -> None:
    begins = "ServiceAccount shop/web names an Azure identity, and the pod has no token for Azure: "
    assert said("azure") == f'{begins}it lacks the label azure.workload.identity/use: "true"'
    assert said("azure", labels={"azure.workload.identity/use": "no"}).endswith('use: "true"')
    assert said("azure", labels=USE).startswith(f"{begins}it was made before the annotation")


def test_an_azure_identity_that_is_asked_for_and_not_named() -> None:
    assert said(labels=USE) == (
        "the pod asks for an Azure identity by its label, and ServiceAccount shop/web names none"
    )


def test_a_google_service_account_where_nobody_gives_it() -> None:
    begins = "ServiceAccount shop/web names a Google service account, and "
    assert said("gcp", node={}) == (
        f"{begins}n1 has no metadata server for pods: its pool is without workload identity"
    )
    assert said("gcp", node=SERVER, host_network=True) == (f"{begins}a pod in its host's network is taken for the node")


@pytest.mark.parametrize(
    "fields",
    [
        {"clouds": ("aws",), "audiences": (AWS,)},
        {"clouds": ("aws",), "audiences": (AWS_PODS,)},
        {"clouds": (), "audiences": (AWS_PODS, "vault")},
        {"clouds": ("azure",), "audiences": (AZURE,), "labels": USE},
        {"clouds": (), "labels": {"azure.workload.identity/use": "false"}},
        {"clouds": ("gcp",), "node": SERVER},
        {"clouds": ("gcp",)},
        {"clouds": (), "node": {}, "host_network": True},
    ],
    ids=["aws", "eks-pod-identity", "vault", "azure", "azure-no", "gcp", "node-not-known", "none"],
)
def test_what_fits_is_not_told(fields: dict[str, Any]) -> None:
    clouds = fields.pop("clouds")
    assert said(*clouds, **fields) == ""


def test_each_cloud_is_looked_at() -> None:
    assert "Azure" in said("aws", "azure", audiences=(AWS,))
    assert "Google" in said("aws", "azure", "gcp", audiences=(AWS, AZURE), node={})


def test_what_is_not_known_is_not_told() -> None:
    assert hint(Pod("shop", "web-0", PodSpec(service_account="web")), ClusterState()) == ""


def test_the_default_account_counts_too() -> None:
    state = ClusterState()
    state.keep("serviceaccounts", "shop/default", Credential("ServiceAccount", "shop", "default", clouds=("aws",)))
    assert "shop/default names an AWS role" in hint(Pod("shop", "web-0", PodSpec()), state)


# -- from a bundle -----------------------------------------------------------------------------------------------------


def accounts(lab: Lab, annotations: Mapping[str, str]) -> None:
    metadata = {
        "name": "cloud-access",
        "namespace": "shop",
        "uid": "0-sa",
        "resourceVersion": "9",
        "creationTimestamp": stamp(lab.now - 9e6),
        "annotations": dict(annotations),
    }
    item = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata}
    lab.files["kube/serviceaccounts.json"] = json.dumps({"kind": "List", "apiVersion": "v1", "items": [item]}).encode()


def crashing(message: str, audience: str = "") -> Lab:
    lab = cluster()
    accounts(lab, ROLE)
    token = {"serviceAccountToken": {"audience": audience, "expirationSeconds": 86400, "path": "token"}}
    volumes = [{"name": "aws-iam-token", "projected": {"sources": [token]}}] if audience else []
    crashes(lab, End(1, message), service_account="cloud-access", patch={"spec": {"volumes": volumes}})
    return lab


def test_it_is_told_beside_other_evidence_and_counts_as_none() -> None:
    finding = crashing(STS).codes()["crash.identity"]
    assert finding.severity is Severity.WARNING
    assert "ServiceAccount shop/cloud-access names an AWS role, and the pod has no token for AWS" in finding.summary
    hints = [each for each in finding.evidence if each.signal == "identity.hint"]
    assert [(each.subject, each.source) for each in hints] == [(POD, "kube/serviceaccounts")]
    assert "arn:aws" not in str(finding)


def test_with_a_token_there_is_nothing_to_tell() -> None:
    finding = crashing(STS, AWS).codes()["crash.identity"]
    assert "AWS role" not in finding.summary
    assert "identity.hint" not in {each.signal for each in finding.evidence}


def test_alone_it_makes_no_finding() -> None:
    assert "crash.identity" not in crashing("").codes()
