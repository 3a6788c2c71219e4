"""Nodes without an agent, and why; and agents that run and that the aggregator does not hear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from aggregator.cluster.decode import DecodeError, Decoder
from aggregator.cluster.objects import NodeObject, Pod, Toleration
from aggregator.scheduling.selectors import any_term_holds, terms_text, untolerated
from aggregator.wording import some
from cli.doctor.model import (
    AGENT,
    Check,
    Object,
    Reading,
    State,
    Unread,
    at,
    count,
    entries,
    name_of,
    parts,
    text,
)
from cli.doctor.pods import refused_creation

_BY_CONTROLLER = tuple(
    Toleration(f"node.kubernetes.io/{key}", "Exists")
    for key in (
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    )
)
"""What the DaemonSet controller gives its pods besides."""
_IN_HOST_NETWORK = Toleration("node.kubernetes.io/network-unavailable", "Exists")
_VIRTUAL = (("type", "virtual-kubelet"), ("eks.amazonaws.com/compute-type", "fargate"))


def check(reading: Reading) -> Iterator[Check]:
    """Node by node; those that have the same reason are told together."""
    nodes, pods = reading.objects("nodes"), reading.objects("pods")
    daemons = reading.objects("daemonsets")
    for found in (nodes, pods, daemons):
        if isinstance(found, Unread):
            yield found.check("nodes", "which nodes have no agent")
            return
    at_nodes = {text(each, "spec", "nodeName") or _pinned(each) for each in parts(reading.of("pods"), AGENT)}
    templates = [each for each in (_template(each) for each in parts(reading.of("daemonsets"), AGENT)) if each]
    if not templates:
        return  # told as an object that is not there
    missing: dict[tuple[State, str, str], list[str]] = {}
    total = 0
    for document in reading.of("nodes"):
        node = _node(document)
        if node is None:
            continue
        total += 1
        if node.name not in at_nodes:
            missing.setdefault(_why_none(reading, node, templates), []).append(node.name)
    without = sum(len(names) for names in missing.values())
    for (state, why, do), names in sorted(missing.items(), key=lambda each: -len(each[1])):
        yield Check("nodes", state, f"no agent on {count(len(names), 'node')}: {some(names)}", why, do)
    if total and not without:
        yield Check("nodes", State.OK, f"an agent's pod is on each of {count(total, 'node')}")


def check_heard(reading: Reading) -> Iterator[Check]:
    """Agents that run, and whether the aggregator has them."""
    pods, told = reading.objects("pods"), reading.aggregator
    if isinstance(told, Unread):
        return  # told once for all
    known = {each.name: each for each in told.nodes}
    if isinstance(pods, Unread):
        silent = [each.name for each in told.nodes if not each.connected and each.heard_at]
        if silent:
            what = f"the aggregator no longer hears {count(len(silent), 'agent')}: {some(silent)}"
            yield Check("heard", State.WRONG, what, "whether their pods run could not be read")
        else:
            yield Check("heard", State.OK, f"the aggregator hears {count(len(known), 'agent')}")
        return
    running = {text(each, "spec", "nodeName") for each in parts(pods, AGENT) if _is_ready(each)} - {""}
    never = sorted(name for name in running if name not in known or not known[name].heard_at)
    gone = sorted(name for name in running - set(never) if not known[name].connected)
    all_of_them = len(never) + len(gone) == len(running)
    state = State.BROKEN if all_of_them else State.WRONG
    logs = f"their own words: kubectl -n {reading.namespace} logs -l app.kubernetes.io/component=agent"
    if never:
        what = f"{count(len(never), 'agent')} running and never heard of by the aggregator: {some(never)}"
        why = "refused (see identity and rights here), or no way to it: name, network policy, firewall"
        yield Check("heard", state, what, why, logs)
    if gone:
        what = f"{count(len(gone), 'agent')} running and not connected now: {some(gone)}"
        why = "the way to the aggregator, or a refusal since (a token or a certificate that has ended)"
        yield Check("heard", state, what, why, logs)
    if running and not never and not gone:
        yield Check("heard", State.OK, f"the aggregator hears {count(len(running), 'agent')} of {len(running)} running")


def _is_ready(pod: Object) -> bool:
    statuses = entries(pod, "status", "containerStatuses")
    return bool(statuses) and all(each.get("ready") is True for each in statuses)


def _why_none(reading: Reading, node: NodeObject, templates: Sequence[tuple[str, Pod]]) -> tuple[State, str, str]:
    """Of the DaemonSet that comes nearest: one that only misses a toleration is nearer than one for other nodes."""
    if (system := node.labels.get("kubernetes.io/os", "linux")) != "linux":
        return State.OK, f"it runs {system}, and there is an agent for Linux only", ""
    if any(node.labels.get(key) == value for key, value in _VIRTUAL):
        return State.OK, "it is virtual, without a host of its own, and left out on purpose", ""
    left_out, tainted = [], []
    for name, pod in templates:
        tolerated = (*pod.spec.tolerations, *_BY_CONTROLLER, *((_IN_HOST_NETWORK,) if pod.spec.host_network else ()))
        if clause := _selected(pod, node):
            left_out.append(f"DaemonSet {name} {clause}")
        elif taints := untolerated(tolerated, node.taints):
            tainted.append(f"DaemonSet {name} does not tolerate {', '.join(map(str, taints))}")
        elif refused := refused_creation(reading, "DaemonSet", name):
            do = "see pod security and quotas of the namespace (docs/privileges.md)"
            return State.WRONG, f"DaemonSet {name} may not make its pod: {refused}", do
        else:
            why = f"DaemonSet {name} fits it, and has made no pod there; no event says why"
            return State.WRONG, why, "is the controller manager at work? The node may just have come"
    if tainted:
        return State.WRONG, "; ".join(tainted), "add the toleration to the DaemonSet"
    return State.WRONG, "; ".join(left_out), "change the selector or affinity, if the node is to have an agent"


def _selected(pod: Pod, node: NodeObject) -> str:
    """Why the pod may not be there by labels; empty: it may."""
    wrong = [f"{key}={value}" for key, value in pod.spec.node_selector.items() if node.labels.get(key) != value]
    if wrong:
        return f"asks for {', '.join(sorted(wrong))}"
    if not any_term_holds(pod.spec.node_terms, node):
        return f"has an affinity for other nodes ({terms_text(pod.spec.node_terms or ())})"
    return ""


def _pinned(pod: Object) -> str:
    """The node that a DaemonSet's pod is made for, while it is not bound."""
    terms: Iterable[Object] = entries(
        pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"
    )
    for term in terms:
        for field in entries(term, "matchFields"):
            if field.get("key") == "metadata.name":
                found = at(field, "values", 0)
                return found if isinstance(found, str) else ""
    return ""


def _node(document: Object) -> NodeObject | None:
    try:
        found = Decoder().decode("nodes", msgspec.json.encode(document | {"kind": "Node"})).thing
    except (DecodeError, TypeError, ValueError):
        return None
    return found if isinstance(found, NodeObject) else None


def _template(daemons: Object) -> tuple[str, Pod] | None:
    """The pod of a DaemonSet as it would be made, for what selects nodes."""
    spec = at(daemons, "spec", "template", "spec")
    about = {"name": name_of(daemons), "namespace": text(daemons, "metadata", "namespace") or "-"}
    document = {"kind": "Pod", "metadata": about, "spec": spec, "status": {}}
    try:
        found = Decoder().decode("pods", msgspec.json.encode(document)).thing
    except (DecodeError, TypeError, ValueError):
        return None
    return (name_of(daemons), found) if isinstance(found, Pod) else None
