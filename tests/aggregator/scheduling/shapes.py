"""A small cluster for the scheduler's arithmetic: nodes, pods and claims with what a test is about, and no more."""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.cluster.objects import (
    NOTHING,
    Amounts,
    Claim,
    CsiDriverOnNode,
    CsiNode,
    NodeObject,
    NodeTerm,
    Pod,
    PodClaim,
    PodSpec,
    PodTerm,
    Requirement,
    Selector,
    StorageClass,
    Taint,
    Toleration,
    Volume,
)
from aggregator.cluster.state import ClusterState
from aggregator.scheduling.cause import Cause, Survey, cause, survey
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.fit import Fit

GIB = 1 << 30
EBS = "ebs.csi.aws.com"


class Small:
    """The state, and short ways to fill it."""

    def __init__(self) -> None:
        self.state = ClusterState()
        for resource in (
            "nodes",
            "pods",
            "persistentvolumeclaims",
            "persistentvolumes",
            "storageclasses",
            "volumeattachments",
            "csinodes",
        ):
            self.state.set_known(resource, True)

    def node(
        self,
        name: str,
        *,
        cpu: int = 8000,
        memory: int = 32 * GIB,
        pods: int = 110,
        labels: Mapping[str, str] | None = None,
        taints: tuple[str, ...] = (),
        cordoned: bool = False,
        has: Amounts = NOTHING,
    ) -> NodeObject:
        """A node; taints as "key=value:effect"; `has`: extended resources."""
        node = NodeObject(
            name,
            labels={"kubernetes.io/hostname": name, **(labels or {})},
            taints=tuple(taint(text) for text in taints),
            unschedulable=cordoned,
            allocatable={
                "cpu": cpu,
                "memory": memory,
                "pods": pods,
                **has,
            },
        )
        self.state.keep("nodes", name, node)
        return node

    def pod(
        self,
        name: str,
        node: str = "",
        *,
        spec: PodSpec | None = None,
        namespace: str = "apps",
        labels: Mapping[str, str] | None = None,
        claims: tuple[str, ...] = (),
        asks: Amounts = NOTHING,
        cpu: int | None = None,
        memory: int | None = None,
    ) -> Pod:
        """A pod, on a node or waiting; `asks`: extended resources."""
        requests = dict(asks)
        if cpu is not None:
            requests["cpu"] = cpu
        if memory is not None:
            requests["memory"] = memory
        pod = Pod(
            namespace,
            name,
            spec or PodSpec(requests=requests),
            uid=f"uid-{namespace}-{name}",
            labels=labels or {},
            node=node,
            claims=tuple(PodClaim(f"v{number}", claim) for number, claim in enumerate(claims)),
            phase="Running" if node else "Pending",
        )
        self.state.keep("pods", pod.key, pod)
        return pod

    def volume(self, claim: str, *, zone: str = "", modes: tuple[str, ...] = ("ReadWriteOnce",)) -> None:
        """A bound claim of namespace apps and its volume, which may be for one zone."""
        terms = (NodeTerm((Requirement("zone", "In", (zone,)),)),) if zone else None
        name = f"pv-{claim}"
        volume = Volume(
            name,
            claim=f"apps/{claim}",
            source="csi",
            driver=EBS,
            handle=f"vol-{claim}",
            node_terms=terms,
            access_modes=modes,
            phase="Bound",
        )
        self.state.keep("persistentvolumes", name, volume)
        self.claim(claim, volume=name, phase="Bound", modes=modes)

    def claim(
        self,
        name: str,
        *,
        volume: str = "",
        phase: str = "Pending",
        class_: str | None = "gp3",
        selected: str = "",
        modes: tuple[str, ...] = ("ReadWriteOnce",),
    ) -> None:
        """A claim of namespace apps."""
        claim = Claim(
            "apps",
            name,
            volume=volume,
            phase=phase,
            storage_class=class_,
            selected_node=selected,
            access_modes=modes,
            requested=GIB,
        )
        self.state.keep("persistentvolumeclaims", claim.key, claim)

    def storage_class(self, name: str = "gp3", *, waits: bool = True, provisioner: str = EBS, zone: str = "") -> None:
        """A class that waits for its consumer."""
        topologies = (NodeTerm((Requirement("zone", "In", (zone,)),)),) if zone else ()
        class_ = StorageClass(name, provisioner=provisioner, waits_for_consumer=waits, topologies=topologies)
        self.state.keep("storageclasses", name, class_)

    def limit(self, node: str, volumes: int) -> None:
        """How many volumes of the driver a node takes."""
        self.state.keep("csinodes", node, CsiNode(node, drivers=(CsiDriverOnNode(EBS, node, volumes),)))

    def survey(self, pod: Pod) -> Survey:
        """The pod against all nodes."""
        return survey(Fit(Cluster(self.state), pod))

    def codes(self, pod: Pod) -> dict[str, list[str]]:
        """What stops the pod, by node; under "": everywhere."""
        seen = self.survey(pod)
        found = {name: [stop.code for stop in stops] for name, stops in seen.stops.items()}
        return found | ({"": [stop.code for stop in seen.of_pod]} if seen.of_pod else {})

    def cause(self, pod: Pod) -> Cause | None:
        """What is named."""
        return cause(Cluster(self.state), self.survey(pod))


def taint(text: str) -> Taint:
    """From "key=value:effect"."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return Taint(key, value, effect)


def app(value: str) -> Selector:
    """Selects the label app."""
    return Selector((Requirement("app", "In", (value,)),))


def together(
    value: str,
    key: str = "kubernetes.io/hostname",
    namespaces: tuple[str, ...] = (),
    namespace_selector: Selector | None = None,
) -> PodTerm:
    """A term over pods with the label app."""
    return PodTerm(app(value), key, namespaces, namespace_selector)


def bears(key: str) -> Toleration:
    """Tolerates every taint of this key."""
    return Toleration(key, "Exists")
