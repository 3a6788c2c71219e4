"""`nodetell install`: prints the manifests for a choice. It applies nothing and asks no server."""

from __future__ import annotations

import argparse
import sys

import yaml  # type: ignore[import-untyped]  # its types do not come with it
from nodetell import __version__

from cli import exits
from cli.exits import CliError
from cli.install.objects import Choice, ChoiceError, chosen
from cli.terminal import complain, emit, emit_json


def run(arguments: argparse.Namespace) -> int:
    """Print them, and on standard error what is left to do."""
    choice = Choice(
        tier=arguments.tier,
        control_plane=arguments.control_plane,
        cert_manager=arguments.cert_manager,
        namespace=arguments.namespace,
        image=arguments.image,
        pull_secret=arguments.pull_secret,
        cluster=arguments.cluster,
        storage_class=arguments.storage_class,
        storage=arguments.storage,
        nodes=arguments.nodes,
        http=arguments.http,
        objects=arguments.objects,
        prometheus=arguments.prometheus,
        ephemeral=arguments.ephemeral,
    )
    try:
        items = chosen(choice, __version__)
    except ChoiceError as error:
        raise CliError(exits.USAGE, str(error)) from error
    if arguments.format == "json":
        emit_json({"apiVersion": "v1", "kind": "List", "items": items})
    else:
        emit(yaml.safe_dump_all(items, sort_keys=False, explicit_start=True, width=120).rstrip("\n"))
    if sys.stderr.isatty():
        complain(next_steps(choice))
    return exits.OK


def next_steps(choice: Choice) -> str:
    """What an operator does with the output, in their words."""
    space = choice.namespace
    lines = ["nothing was applied: pipe this into kubectl apply -f -, and then, once:"]
    if choice.cert_manager:
        lines += [
            f"  kubectl -n {space} get secret nodetell-ca -o jsonpath='{{.data.ca\\.crt}}' | base64 -d > ca.crt",
            f"  kubectl -n {space} create configmap nodetell-ca --from-file=ca.crt",
        ]
    else:
        names = f"--name nodetell-aggregator --name nodetell-aggregator.{space}.svc"
        pair = "--cert ca/aggregator.crt --key ca/aggregator.key"
        lines += [
            f"  nodetell certs init ca && nodetell certs issue ca --role aggregator {names}",
            f"  kubectl -n {space} create secret tls nodetell-aggregator-tls {pair}",
            f"  kubectl -n {space} create configmap nodetell-ca --from-file=ca.crt=ca/ca.crt",
        ]
    if choice.http:
        lines.append(f"  kubectl -n {space} create rolebinding ada --role nodetell-operator --user ada")
    if not choice.image:
        lines.append(f"the image is nodetell:{__version__}, which the nodes must have; --image names one of a registry")
    return "\n".join(lines)
