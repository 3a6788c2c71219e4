"""The command line of `nodetell install`."""

from __future__ import annotations

import argparse

from cli.install.sizing import SIZES

SUMMARY = "print the Kubernetes manifests for a tier and options; applies nothing, needs no server"
DESCRIPTION = (
    "Prints the objects of an installation: agents as a DaemonSet, the aggregator, accounts, rights, policies. Applies "
    "nothing, asks no server, and needs no file but its own: works where nothing can be fetched. What each tier "
    "gives the agent, and what the agent sees with it, is in docs/privileges.md."
)
EXAMPLES = (
    "  nodetell install --tier 2 --image registry.example.org/nodetell:1.0 | kubectl apply -f -\n"
    "  nodetell install --tier 2 --cert-manager --cluster prod-a > nodetell.yaml\n"
    "  nodetell install --tier 2 --http | kubectl apply -f -\n"
    "  nodetell install --tier 0 --ephemeral | kubectl diff -f -"
)


def add(parser: argparse.ArgumentParser) -> None:
    """Its flags."""
    parser.add_argument(
        "--tier",
        type=int,
        choices=(0, 1, 2, 3),
        default=2,
        help="0: nothing of the host; 1: /proc and /sys to read; 2: and its network; 3: and the sensor (default: 2)",
    )
    parser.add_argument(
        "--control-plane",
        action="store_true",
        help="agents of their own for nodes of the control plane, which ask etcd",
    )
    parser.add_argument(
        "--cert-manager", action="store_true", help="let cert-manager make the aggregator's certificate"
    )
    parser.add_argument("--namespace", metavar="NAME", default="nodetell", help="where it goes (default: nodetell)")
    parser.add_argument("--image", metavar="IMAGE", default="", help="image of both roles (default: nodetell:VERSION)")
    parser.add_argument(
        "--pull-secret", metavar="NAME", default="", help="Secret of the namespace to pull the image with"
    )
    parser.add_argument("--cluster", metavar="NAME", default="", help="name of the cluster, for reports")
    parser.add_argument(
        "--storage-class", metavar="NAME", default="", help="of the aggregator's volume (default: the cluster's)"
    )
    parser.add_argument("--storage", metavar="SIZE", default="", help="size of that volume (default: 3Gi)")
    parser.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        default=0,
        help=f"how many nodes the cluster has: what the aggregator asks for (default: up to {SIZES[0].nodes})",
    )
    parser.add_argument(
        "--http",
        action="store_true",
        help="the page and the HTTP API too, on port 7444, and what `kubectl nodetell` needs",
    )
    parser.add_argument(
        "--objects",
        action="store_true",
        help="Events and conditions of nodes for what is found, and the right to write them",
    )
    parser.add_argument(
        "--prometheus",
        action="store_true",
        help="metrics of both roles (agents: 9101, aggregator: 9102), for whoever reaches these ports",
    )
    parser.add_argument(
        "--ephemeral", action="store_true", help="no volume: what is known ends with the aggregator's pod"
    )
