"""The answer to "what if it were lost" as it goes to operators, and back. Pure."""

from __future__ import annotations

from nodetell.v1 import operator_pb2

from aggregator.convert import milliseconds
from aggregator.view import ClusterView
from aggregator.whatif import Cause, Loss, Returning, Stranded


def loss_to_message(view: ClusterView, loss: Loss) -> operator_pb2.WhatIfResponse:
    """With the cluster's name, and up to when its objects are current."""
    return operator_pb2.WhatIfResponse(
        cluster=view.cluster,
        at_unix_ms=milliseconds(view.now),
        nodes=loss.nodes,
        stranded=[
            operator_pb2.StrandedPods(
                workload=each.workload,
                cause=each.cause.value,
                because=each.because,
                needs=each.needs,
                pods=each.pods,
                claims=each.claims,
            )
            for each in loss.stranded
        ],
        returning=[
            operator_pb2.ReturningPods(workload=each.workload, pods=each.pods, nodes=each.nodes)
            for each in loss.returning
        ],
        going_with_their_node=loss.going_with_it,
        unknown=loss.unknown,
    )


def loss_from_message(message: operator_pb2.WhatIfResponse) -> Loss:
    """A cause that this version does not know counts as want of room, the most general one."""
    causes = {cause.value: cause for cause in Cause}
    return Loss(
        tuple(message.nodes),
        tuple(
            Stranded(
                each.workload,
                causes.get(each.cause, Cause.ROOM),
                each.because,
                tuple(each.needs),
                tuple(each.pods),
                tuple(each.claims),
            )
            for each in message.stranded
        ),
        tuple(Returning(each.workload, tuple(each.pods), tuple(each.nodes)) for each in message.returning),
        message.going_with_their_node,
        tuple(message.unknown),
    )
