"""What a pod asks of the pods around it: (anti-)affinity in both directions, and topology spread.

kube-scheduler InterPodAffinity and PodTopologySpread: what the whole cluster says is counted once for a pod, then each
node is a look-up. Labels of namespaces are not known to us: a namespace selector is decided where it asks for the name
that every namespace bears as a label, or for everything, and is said to be unknown else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aggregator.cluster.objects import NodeObject, Pod, PodTerm, Selector, Spread
from aggregator.scheduling.cluster import Cluster
from aggregator.scheduling.selectors import requirement_text, selects
from aggregator.scheduling.stops import POD_AFFINITY, SPREAD, Stop

_NAME_LABEL = "kubernetes.io/metadata.name"
Domain = tuple[str, str]
"""Topology key and value."""


@dataclass(slots=True)
class Neighbours:
    """What the cluster's pods mean for one pod."""

    refused: dict[Domain, Stop] = field(default_factory=dict)
    """Domains that the pod's own anti-affinity or another's keeps it out of."""
    wanted: dict[str, tuple[set[str], Stop]] = field(default_factory=dict)
    """By topology key of its affinity: values of the domains where those are that it must be with."""
    spread: list[tuple[Spread, dict[str, int], Stop]] = field(default_factory=list)
    """Pods that the constraint may have in each domain before the next is too many: how many more fit."""
    unknown: list[str] = field(default_factory=list)
    """What could not be decided, one clause each."""

    @property
    def decide(self) -> bool:
        """They mean something for the pod on some node."""
        return bool(self.refused or self.wanted or self.spread)

    def stops(self, node: NodeObject) -> Iterator[Stop]:
        """What of it keeps the pod off this node, spread first, as the scheduler looks."""
        for constraint, room, stop in self.spread:
            value = node.labels.get(constraint.topology_key)
            if value is None or room.get(value, 1) < 1:
                yield stop
        for key, (values, stop) in self.wanted.items():
            if node.labels.get(key) not in values:
                yield stop
        if self.refused:
            for key, value in node.labels.items():
                if (found := self.refused.get((key, value))) is not None:
                    yield found


def neighbours(cluster: Cluster, pod: Pod, eligible: Callable[[NodeObject, bool, bool], bool]) -> Neighbours:
    """Count once for this pod. `eligible(node, honor_affinity, honor_taints)`: whether spread counts the node."""
    found = Neighbours()
    _own_refusals(cluster, pod, found)
    _others_refusals(cluster, pod, found)
    if pod.spec.pod_affinity:
        _affinity(cluster, pod, found)
    if pod.spec.spread:
        _spread(cluster, pod, found, eligible)
    return found


def asks_for_neighbours(pod: Pod) -> bool:
    """Whether other pods' places decide of this pod's."""
    return bool(pod.spec.pod_affinity or pod.spec.pod_anti_affinity or pod.spec.spread)


def _domain(cluster: Cluster, pod: Pod, key: str) -> str | None:
    node = cluster.node(pod.node)
    return node.labels.get(key) if node is not None else None


def _own_refusals(cluster: Cluster, pod: Pod, found: Neighbours) -> None:
    for term in pod.spec.pod_anti_affinity:
        about = _text(term, "not with")
        for other in _matching(cluster, term, pod.namespace, found):
            if (value := _domain(cluster, other, term.topology_key)) is not None:
                _refuse(found, (term.topology_key, value), about, other, "is there")


def _others_refusals(cluster: Cluster, pod: Pod, found: Neighbours) -> None:
    for (namespace, terms), others in cluster.refusals():
        refusing = [(term, _text(term, "refused by")) for term in terms if _term_takes(term, namespace, pod, found)]
        for other in others if refusing else ():
            for term, about in refusing:
                value = _domain(cluster, other, term.topology_key)
                if value is not None and other.key != pod.key:
                    _refuse(found, (term.topology_key, value), about, other, "refuses its company")


def _refuse(found: Neighbours, domain: Domain, about: str, other: Pod, does: str) -> None:
    """Of several reasons for one domain the first in order is told, so that it is the same one the next time."""
    name = f"Pod/{other.key}"
    known = found.refused.get(domain)
    if known is None or (about, name) < (known.about, known.objects[0]):
        detail = f"in {domain[0]}={domain[1]} pod {other.key} {does}"
        found.refused[domain] = Stop(POD_AFFINITY, about, detail, objects=(name,))


def _affinity(cluster: Cluster, pod: Pod, found: Neighbours) -> None:
    """A pod counts that meets all terms; the first of a group that asks for its own kind goes anywhere."""
    terms = pod.spec.pod_affinity
    companions = [
        other
        for other in _matching(cluster, terms[0], pod.namespace, found)
        if all(_term_takes(term, pod.namespace, other, found) for term in terms[1:])
    ]
    first = not companions and all(_term_takes(term, pod.namespace, pod, found) for term in terms)
    for term in terms:
        key = term.topology_key
        if first:
            values = {value for node in cluster.nodes() if (value := node.labels.get(key)) is not None}
        else:
            values = {value for other in companions if (value := _domain(cluster, other, key)) is not None}
        where = ", ".join(sorted(values)[:3])
        detail = f"such pods are only in {key}={where}" if values else "no such pod has a node"
        about = _text(term, "with")
        if key in found.wanted:
            values &= found.wanted[key][0]
        found.wanted[key] = values, Stop(POD_AFFINITY, about, detail)


def _spread(cluster: Cluster, pod: Pod, found: Neighbours, eligible: Callable[[NodeObject, bool, bool], bool]) -> None:
    keys = [each.topology_key for each in pod.spec.spread]
    mates = [other for other in cluster.bound_pods(pod.namespace) if not other.deleted and other.key != pod.key]
    for constraint in pod.spec.spread:
        key = constraint.topology_key
        counted = {
            node.name: node.labels[key]
            for node in cluster.nodes()
            if all(each in node.labels for each in keys)
            and eligible(node, constraint.honor_affinity, constraint.honor_taints)
        }
        counts = dict.fromkeys(counted.values(), 0)
        for other in mates:
            domain = counted.get(other.node)
            if domain is not None and selects(constraint.selector, other.labels):
                counts[domain] += 1
        least = 0 if len(counts) < max(1, constraint.min_domains) else min(counts.values(), default=0)
        own = 1 if selects(constraint.selector, pod.labels) else 0
        room = {domain: 1 + least + constraint.max_skew - (count + own) for domain, count in counts.items()}
        listed = ", ".join(f"{domain}: {count}" for domain, count in sorted(counts.items())[:6])
        few = f", {constraint.min_domains} domains are asked for" if len(counts) < constraint.min_domains else ""
        detail = f"pods by {key}: {listed or 'none'}; at most {constraint.max_skew} apart{few}"
        found.spread.append((constraint, room, Stop(SPREAD, key, detail)))


# -- which pods a term takes ---------------------------------------------------------------------------------------


def _matching(cluster: Cluster, term: PodTerm, own: str, found: Neighbours) -> Iterator[Pod]:
    if term.selector is None:
        return
    names = set(term.namespaces)
    if term.namespace_selector is None and not names:
        names = {own}
    pods: Iterable[Pod]
    if term.namespace_selector is None:
        pods = (pod for name in sorted(names) for pod in cluster.bound_pods(name))
    else:
        pods = (pod for pod in cluster.all_bound_pods() if _in_namespaces(term, own, pod.namespace, found))
    for pod in pods:
        if selects(term.selector, pod.labels):
            yield pod


def _term_takes(term: PodTerm, own: str, pod: Pod, found: Neighbours) -> bool:
    """Whether a term of a pod in namespace `own` takes this pod."""
    return selects(term.selector, pod.labels) and _in_namespaces(term, own, pod.namespace, found)


def _in_namespaces(term: PodTerm, own: str, namespace: str, found: Neighbours) -> bool:
    if namespace in term.namespaces:
        return True
    selector = term.namespace_selector
    if selector is None:
        return not term.namespaces and namespace == own
    return _selects_namespace(selector, namespace, found)


def _selects_namespace(selector: Selector, namespace: str, found: Neighbours) -> bool:
    known: Mapping[str, str] = {_NAME_LABEL: namespace}
    if any(requirement.key != _NAME_LABEL for requirement in selector.requirements):
        clause = "labels of namespaces, which a pod (anti-)affinity asks for, are not known"
        if clause not in found.unknown:
            found.unknown.append(clause)
        return False
    return selects(selector, known)


def _text(term: PodTerm, how: str) -> str:
    wanted = term.selector.requirements if term.selector is not None else ()
    return f"{how} {' and '.join(requirement_text(each) for each in wanted) or 'any pod'} in one {term.topology_key}"
