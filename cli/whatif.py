"""`nodetell whatif`: what the loss of nodes or zones would mean, from an evidence bundle or a live aggregator."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.hosts.bundle import BundleError, open_bundle
from aggregator.whatif import Cause, Loss, Stranded, WhatIfError, WhatIfUnknownError, lose, nodes_of
from aggregator.whatif.document import loss_json
from aggregator.wording import some
from cli.documents import emit_document, wants_document
from cli.exits import NOT_FOUND, OK, UNREADABLE, USAGE, WARNING, CliError
from cli.listing import Column, choice, emit_listing
from cli.report import iso
from cli.terminal import Look, clean, emit, look, wrap

_NAMED = 6
_WORDS = {
    Cause.VOLUME: "held by its volume",
    Cause.ROOM: "no node takes it",
    Cause.SHARED_ROOM: "not room for all",
    Cause.NOT_MADE_AGAIN: "not made again",
}
_NOTE = (
    "An estimate: pods are placed one after the other, the most urgent and the most constrained first, without "
    "preemption. It takes for granted that the nodes are known to be off: until their Node objects are deleted or "
    "tainted node.kubernetes.io/out-of-service, volumes stay attached there and StatefulSets do not replace their pods."
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One workload of the answer."""

    workload: str
    pods: Sequence[str]
    fate: str
    because: str = ""
    needs: Sequence[str] = ()
    claims: Sequence[str] = ()
    nodes: Sequence[str] = ()


def _rows(loss: Loss) -> list[_Row]:
    """What could not come back first."""
    stranded = [
        _Row(each.workload, each.pods, _WORDS[each.cause], each.because, each.needs, each.claims)
        for each in loss.stranded
    ]
    return stranded + [_Row(each.workload, each.pods, "comes back", nodes=each.nodes) for each in loss.returning]


COLUMNS: Sequence[Column[_Row]] = (
    Column("WORKLOAD", "what the pods are of", lambda row: row.workload),
    Column("PODS", "how many", lambda row: str(len(row.pods)), lambda row: len(row.pods), right=True),
    Column("FATE", "whether they come back, or what keeps them", lambda row: row.fate),
    Column("NODES", "where they would go", lambda row: some(row.nodes, _NAMED)),
    Column("BECAUSE", "why they could not", lambda row: row.because),
    Column("NEEDS", "what it would take", lambda row: "; or ".join(row.needs), wide=True),
    Column("CLAIMS", "volumes that hold them", lambda row: ",".join(row.claims), wide=True),
    Column("NAMES", "of the pods", lambda row: ",".join(row.pods), wide=True),
)
"""All columns of the answer as a table."""


def run(arguments: argparse.Namespace) -> int:
    """Answer, and exit with 1 if something could not come back."""
    zones, nodes = arguments.lose_zone or [], arguments.lose_node or []
    if not zones and not nodes:
        raise CliError(
            USAGE, "what would be lost? --lose-zone ZONE or --lose-node NODE\nnodetell whatif --help tells more"
        )
    wanted = choice(arguments, COLUMNS)
    if arguments.bundle is not None:
        cluster, at, loss = _of_bundle(arguments.bundle, zones, nodes)
    else:
        cluster, at, loss = _of_aggregator(arguments, zones, nodes)
    shape = look(sys.stdout, os.environ)
    if wants_document(arguments):
        emit_document(loss_json(cluster, at, zones, loss), arguments)
    elif wanted.table:
        emit_listing(_rows(loss), wanted, shape, "nothing would have to come back")
    else:
        emit(loss_text(cluster, at, zones, loss, shape))
    return WARNING if loss.stranded else OK


def _of_bundle(path: str, zones: Sequence[str], nodes: Sequence[str]) -> tuple[str, float, Loss]:
    from cli.diagnose import join  # noqa: PLC0415  # a question to an aggregator needs no signatures

    try:
        with open_bundle(Path(path)) as bundle:
            joined = join(bundle, list)  # where pods could go is the API server's to say: no host is read
            loss = lose(joined.view, nodes_of(joined.view, zones, nodes))
            gaps = tuple(
                dict.fromkeys(gap.because for gap in joined.gaps if gap.signal.startswith(("kube/", "bundle")))
            )
            return (
                bundle.cluster,
                joined.view.now,
                Loss(loss.nodes, loss.stranded, loss.returning, loss.going_with_it, (*loss.unknown, *gaps)),
            )
    except BundleError as error:
        raise CliError(UNREADABLE, str(error)) from error
    except WhatIfUnknownError as error:
        raise CliError(UNREADABLE, f"{path}: {error}") from error
    except WhatIfError as error:
        raise CliError(NOT_FOUND, str(error)) from error


def _of_aggregator(
    arguments: argparse.Namespace, zones: Sequence[str], nodes: Sequence[str]
) -> tuple[str, float, Loss]:
    from aggregator.whatif.messages import loss_from_message  # noqa: PLC0415  # a bundle needs no gRPC
    from cli import client  # noqa: PLC0415
    from cli.access import reached  # noqa: PLC0415

    with client.operator(reached(arguments), arguments.timeout) as operator:
        answer = operator.what_if(zones, nodes)
    return answer.cluster, answer.at_unix_ms / 1000, loss_from_message(answer)


# -- how it is said ------------------------------------------------------------------------------------------------


def loss_text(cluster: str, at: float, zones: Sequence[str], loss: Loss, shape: Look) -> str:
    """The answer to be read: what could not come back first."""
    what = f"zone{'s' if len(zones) > 1 else ''} {', '.join(zones)}, that is " if zones else ""
    count = f"{len(loss.nodes):,} node{'s' if len(loss.nodes) != 1 else ''}"
    named = some(loss.nodes, _NAMED)
    lines = wrap(
        f"cluster {clean(cluster)}, {iso(at)}: if {clean(what)}{count} ({clean(named)}) were lost", shape.width
    )
    stranded = sum(len(each.pods) for each in loss.stranded)
    back = sum(len(each.pods) for each in loss.returning)
    staying = f" {loss.going_with_it:,} of DaemonSets and static ones go with their node." if loss.going_with_it else ""
    lines += wrap(
        f"{_pods(loss.moving)} would have to come back elsewhere: {back:,} would, {stranded:,} could not.{staying}",
        shape.width,
    )
    if loss.stranded:
        lines += ["", shape.style("Could not come back", "warning")]
        for group in loss.stranded:
            lines += _stranded(group, shape)
    if loss.returning:
        lines += ["", shape.style("Would come back", "good")]
        for each in loss.returning:
            text = f"{each.workload}: {_pods(len(each.pods))} on {some(each.nodes, _NAMED)}"
            lines += wrap(clean(text), shape.width, "  ", "    ")
    if loss.unknown:
        lines += ["", shape.style("What limits this answer", "bold")]
        lines += [line for each in loss.unknown for line in wrap(clean(each), shape.width, "  ", "    ")]
    return "\n".join([*lines, "", *(shape.style(line, "dim") for line in wrap(_NOTE, shape.width))])


def _stranded(group: Stranded, shape: Look) -> list[str]:
    head = f"{group.workload}: {_pods(len(group.pods))} ({some(group.pods, _NAMED)}), {_WORDS[group.cause]}"
    lines = wrap(clean(head), shape.width, "  ", "    ")
    lines += wrap(clean(group.because), shape.width, "    ")
    if group.needs:
        lines += wrap(clean(f"it would take {'; or '.join(group.needs)}"), shape.width, "    ", "      ")
    return lines


def _pods(count: int) -> str:
    return f"{count:,} pod{'' if count == 1 else 's'}"
