"""How a finding names the container that suffers, whose it is, and what was seen of it."""

from __future__ import annotations

from nodetell.redact import without_secrets

from aggregator.cluster.objects import ContainerStatus, Pod
from aggregator.cluster.state import ClusterState
from aggregator.cluster.workloads import workload_of
from aggregator.model import Evidence
from aggregator.signatures.case import api_evidence
from aggregator.signatures.crash.cadence import Loop
from aggregator.signatures.crash.cause import Cause
from aggregator.signatures.crash.troubled import is_waiting
from aggregator.signatures.crash.ways import Way
from aggregator.view import ClusterView


def root_of(state: ClusterState, pod: Pod) -> str:
    """The workload that the pod is of, as workload_of has it; one that its kubelet makes stands for itself."""
    if pod.owner is not None and pod.owner.kind == "Node":
        return f"Pod/{pod.key}"
    return workload_of(state, pod)


def name_of(pod: Pod, container: ContainerStatus) -> str:
    """A container as a summary names it."""
    kind = "init container" if container.init else "container"
    return f"{kind} {container.name} of {pod.key}"


def over(way: Way | None) -> str:
    """What is known against the paths that it spoke over, as another clause; empty: nothing."""
    return f"; {way.statement}" if way is not None and way.statement else ""


def objects_of(state: ClusterState, pod: Pod, way: Way | None = None) -> tuple[str, ...]:
    """The pod, its workload, and the paths that it spoke over."""
    return f"Pod/{pod.key}", root_of(state, pod), *(way.objects if way is not None else ())


def evidence_of(
    view: ClusterView,
    of: tuple[Pod, ContainerStatus],
    cause: Cause,
    way: Way | None = None,
    loop: Loop | None = None,
) -> tuple[Evidence, ...]:
    """What was seen of a pod's container, of the words that decided, and of its paths. `loop`: None where it waits."""
    pod, container = of
    told = []

    def tell(signal: str, value: int | str, *, unit: str = "", resource: str = "pods") -> None:
        told.append(api_evidence(resource, pod.key, signal, value, at=view.now, unit=unit, node=pod.node))

    if loop is not None:
        tell("container.restarts", loop.starts - 1)
        if loop.end.exit_code >= 0:
            tell("container.exit_code", loop.end.exit_code)
        if loop.alive_s is not None:
            tell("container.alive", round(loop.alive_s), unit="s")
    elif is_waiting(container) and container.state is not None:
        tell("container.waiting", container.state.reason)
    if cause.phrase:
        tell("message", without_secrets(cause.phrase), resource="events" if cause.said_by == "event" else "pods")
    return (*told, *(way.evidence if way is not None else ()))
