"""The command line of `nodetell doctor`."""

from __future__ import annotations

import argparse

SUMMARY = "tell what is wrong with an installation in a cluster; changes nothing"
DESCRIPTION = (
    "Looks at an installation and tells what is wrong, why, and what to do: objects that are missing, pods that do "
    "not run, nodes without an agent, rights, certificates, versions, clocks, policies. Asks the API server with a "
    "kubeconfig, or in a pod with its service account, by GET and by SubjectAccessReview, and of Secrets only whether "
    "they are there; and, where one is named, the aggregator. Either is enough for what it knows. What could not be "
    "checked is told with the right that is missing."
)
EXAMPLES = (
    "  nodetell doctor\n  nodetell doctor --kubeconfig ~/.kube/prod-a --namespace nodetell --verbose\n"
    "  kubectl -n nodetell port-forward deployment/nodetell-aggregator 7443 &\n"
    "  nodetell doctor --ca ca.crt --server-name nodetell-aggregator --token-file token\n"
    "  nodetell doctor --format json | jq -r '.checks[] | select(.state != \"ok\") | .what'"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Its flags, beside those of how an aggregator is asked."""
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig to use (default: as kubectl finds it)")
    parser.add_argument("--no-kube", action="store_true", help="ask the aggregator alone")
    parser.add_argument(
        "--namespace", metavar="NAME", default="nodetell", help="where the installation is (default: nodetell)"
    )
    parser.add_argument("--verbose", action="store_true", help="also what is well")
