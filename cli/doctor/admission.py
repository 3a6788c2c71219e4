"""What the namespace and its policies let pods be and reach: pod security, and network policies."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import (
    AGENT,
    AGGREGATOR,
    Check,
    Object,
    Reading,
    State,
    Unread,
    at,
    entries,
    name_of,
    parts,
    pod_spec,
    text,
    variable,
)

_ENFORCE = "pod-security.kubernetes.io/enforce"
PORT = 7443


def check_pod_security(reading: Reading) -> Iterator[Check]:
    """The level of the namespace beside what the pods ask for."""
    spaces = reading.objects("namespaces")
    if isinstance(spaces, Unread):
        yield spaces.check("pod security", "pod security level of the namespace")
        return
    if not spaces:
        return
    level = text(spaces[0], "metadata", "labels", _ENFORCE)
    for plural, part in (("daemonsets", AGENT), ("deployments", AGGREGATOR)):
        for workload in parts(reading.of(plural), part):
            asks = beyond_baseline(pod_spec(workload))
            what = f"{part} {name_of(workload)} asks for {', '.join(asks)}"
            if asks and level in ("baseline", "restricted"):
                why = f'namespace {reading.namespace} enforces "{level}", and no new pod of it is admitted'
                do = f"kubectl label namespace {reading.namespace} {_ENFORCE}=privileged --overwrite, or a lower tier"
                yield Check("pod security", State.BROKEN, what, why, f"{do} (docs/privileges.md)")
            elif asks and not level:
                why = f"namespace {reading.namespace} says no level: the cluster's default decides"
                yield Check("pod security", State.UNKNOWN, what, why, f"label it {_ENFORCE}=privileged to be sure")
            else:
                yield Check("pod security", State.OK, f"the namespace admits {part} {name_of(workload)}")


def beyond_baseline(pod: Object) -> list[str]:
    """What of a pod the level "baseline" refuses; "restricted" refuses that, too."""
    found = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key) is True]
    paths = sorted({path for each in entries(pod, "volumes") if (path := text(each, "hostPath", "path"))})
    if paths:
        found.append(f"host paths {', '.join(paths)}")
    for container in (*entries(pod, "initContainers"), *entries(pod, "containers")):
        if at(container, "securityContext", "privileged") is True:
            found.append(f"privileged ({text(container, 'name')})")
        added = at(container, "securityContext", "capabilities", "add")
        if isinstance(added, list) and set(added) - {"NET_BIND_SERVICE"}:
            found.append(f"{', '.join(map(str, added))} ({text(container, 'name')})")
    return found


def check_network(reading: Reading) -> Iterator[Check]:
    """Whether policies of the namespace let agents reach the aggregator. Those of a CNI's own kind are not known."""
    policies = reading.objects("networkpolicies")
    if isinstance(policies, Unread):
        yield policies.check("network policies", "whether policies let agents reach the aggregator")
        return
    agents, aggregators = parts(reading.of("daemonsets"), AGENT), parts(reading.of("deployments"), AGGREGATOR)
    if not agents or not aggregators:
        return
    there = aggregators[0]
    port = _port(there)
    fine = True
    for agent in agents:
        for direction, one, other in (("Egress", agent, there), ("Ingress", there, agent)):
            if (names := _shut(reading, direction, one, other, port)) is not None:
                fine = False
                way = "out of" if direction == "Egress" else "into"
                who = f"DaemonSet {name_of(agent)}" if direction == "Egress" else "the aggregator"
                what = f"no policy lets agents' connections {way} {who}"
                why = f"NetworkPolicy {', '.join(names)} applies, and none of its rules allows TCP {port} between them"
                yield Check("network policies", State.BROKEN, what, why, "apply the policies of the manifests again")
    if fine:
        yield Check("network policies", State.OK, "no policy of the namespace keeps agents from the aggregator")


def _port(aggregator: Object) -> int:
    found = variable(aggregator, "NODETELL_AGGREGATOR_LISTEN").rpartition(":")[2]
    return int(found) if found.isdecimal() else PORT


def _shut(reading: Reading, direction: str, one: Object, other: Object, port: int) -> list[str] | None:
    """The policies that apply to a workload's pods and let nothing through to the other; None: some way is open."""
    if pod_spec(one).get("hostNetwork") is True:
        return None  # policies are for pods that have a network of their own
    labels = at(one, "spec", "template", "metadata", "labels")
    applying = [
        each
        for each in reading.of("networkpolicies")
        if _selects(at(each, "spec", "podSelector"), labels) and direction in _directions(each)
    ]
    if not applying:
        return None
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    ports: set[int | str] = {port, *_named_ports(one if direction == "Ingress" else other, port)}
    for policy in applying:
        for rule in entries(policy, "spec", key):
            if _takes_port(rule, ports) and _takes_peer(reading, rule, peers, other):
                return None
    return sorted(name_of(each) for each in applying)


def _directions(policy: Object) -> list[str]:
    types = at(policy, "spec", "policyTypes")
    if isinstance(types, list):
        return [str(each) for each in types]
    return ["Ingress", "Egress"] if at(policy, "spec", "egress") else ["Ingress"]


def _named_ports(workload: Object, port: int) -> set[str]:
    return {
        text(each, "name")
        for container in entries(pod_spec(workload), "containers")
        for each in entries(container, "ports")
        if each.get("containerPort") == port
    } - {""}


def _takes_port(rule: Object, ports: set[int | str]) -> bool:
    listed = entries(rule, "ports")
    if not listed:
        return True
    for each in listed:
        first, last = each.get("port"), each.get("endPort")
        if each.get("protocol", "TCP") != "TCP":
            continue
        if first is None or first in ports:
            return True
        if isinstance(first, int) and isinstance(last, int):
            return any(isinstance(port, int) and first <= port <= last for port in ports)
    return False


def _takes_peer(reading: Reading, rule: Object, peers: str, other: Object) -> bool:
    """Whether the other end is among them. Of addresses it is not known: they count as open."""
    listed = entries(rule, peers)
    if not listed:
        return True
    in_host_network = pod_spec(other).get("hostNetwork") is True
    labels = at(other, "spec", "template", "metadata", "labels")
    spaces = reading.of("namespaces")
    own = at(spaces[0], "metadata", "labels") if spaces else None
    for each in listed:
        if "ipBlock" in each:
            return True
        if in_host_network:
            continue  # it comes from its node's address, which no selector of pods means
        space, pods = each.get("namespaceSelector"), each.get("podSelector")
        name = {"kubernetes.io/metadata.name": reading.namespace}
        known = name | (own if isinstance(own, dict) else {})
        if (space is None or _selects(space, known)) and (pods is None or _selects(pods, labels)):
            return True
    return False


def _selects(selector: object, labels: object) -> bool:
    """A label selector, as policies have them; an expression that is not known counts as met."""
    if not isinstance(selector, dict):
        return False
    own = labels if isinstance(labels, dict) else {}
    wanted = selector.get("matchLabels")
    if isinstance(wanted, dict) and any(own.get(key) != value for key, value in wanted.items()):
        return False
    for each in entries(selector, "matchExpressions"):
        value, values = own.get(text(each, "key")), at(each, "values") or []
        met = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not met.get(text(each, "operator"), True):
            return False
    return True
