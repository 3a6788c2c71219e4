"""How a container ended last, and all that there is to see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.cluster.objects import Container, Event, Pod
from aggregator.messages.classify import classify
from aggregator.messages.model import Classification, Message
from aggregator.node_state import NodeState
from aggregator.signatures.crash.cadence import UNTOLD, Loop
from aggregator.signatures.crash.cause import Cause
from aggregator.wording import span


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended, and all that there is to see of it."""

    loop: Loop
    pod: Pod
    events: Sequence[Event]
    """Of the pod, oldest first."""
    host: NodeState | None
    said: Classification
    """What its last words say."""
    node_events: Sequence[Event] = ()
    """Of its node, likewise."""

    @property
    def spec(self) -> Container | None:
        """The container as it was asked for."""
        status = self.loop.container
        found = (each for each in self.pod.spec.containers if each.name == status.name and each.init == status.init)
        return next(found, None)

    @property
    def how(self) -> str:
        """A clause without the container's name."""
        loop = self.loop
        lived = f" after {span(loop.alive_s)}" if loop.alive_s is not None else ""
        code = (
            f" with exit code {loop.end.exit_code}" if loop.end is not UNTOLD else ", and its status does not say how"
        )
        return f"ended{lived}{code}"

    def cause(self, code: str, more: str = "", said_by: str = "status", phrase: str = "") -> Cause:
        """A cause of this end."""
        return Cause(code, f"{self.how}{more}", phrase, said_by, self.said.also)


def end_of(
    loop: Loop, pod: Pod, events: Sequence[Event], host: NodeState | None, node_events: Sequence[Event] = ()
) -> End:
    """All that there is to see of the last end of a container."""
    end = loop.end
    code = end.exit_code if end is not UNTOLD else None
    return End(loop, pod, events, host, classify(Message("Container", end.reason, code, end.message)), node_events)
