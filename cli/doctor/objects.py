"""The objects of an installation: are they there, are they one of each, and do they agree with each other?"""

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

_APPLY = "apply the manifests again (nodetell install prints them)"
_PARTS = (
    ("daemonsets", AGENT, "DaemonSet of the agents", "no node is looked at"),
    ("deployments", AGGREGATOR, "Deployment of the aggregator", "nobody takes what agents tell"),
    ("services", AGGREGATOR, "Service of the aggregator", "agents find no aggregator by its name"),
)
AUDIENCE = "nodetell"
"""What the aggregator asks of tokens where nothing is set."""


def check(reading: Reading) -> Iterator[Check]:
    """Whether all of them are there."""
    space = reading.namespace
    found = reading.objects("namespaces")
    if isinstance(found, Unread):
        yield found.check("objects", f"namespace {space}")
    elif not found:
        yield Check("objects", State.BROKEN, f"there is no namespace {space}", do=f"{_APPLY}, or --namespace names it")
        return
    complete = not isinstance(found, Unread)
    for plural, part, what, harm in _PARTS:
        items = reading.objects(plural)
        if isinstance(items, Unread):
            complete = False
            yield items.check("objects", what)
        elif not parts(items, part):
            complete = False
            yield Check("objects", State.BROKEN, f"there is no {what} in namespace {space}", harm, _APPLY)
    for one in (*_named(reading), *_accounts(reading)):
        complete = False
        yield one
    if complete:
        yield Check("objects", State.OK, f"everything that the manifests have is in namespace {space}")
    yield from _more_than_one(reading)
    yield from _claims(reading)
    yield from _agreement(reading)


def _workloads(reading: Reading) -> list[tuple[str, Object]]:
    agents, aggregators = parts(reading.of("daemonsets"), AGENT), parts(reading.of("deployments"), AGGREGATOR)
    return [(AGENT, each) for each in agents] + [(AGGREGATOR, each) for each in aggregators]


def _named(reading: Reading) -> Iterator[Check]:
    """The ConfigMap and the Secret that operators make themselves."""
    space = reading.namespace
    issue = "nodetell certs issue --role aggregator, kubectl create secret tls (docs/identity.md)"
    ca = "kubectl create configmap nodetell-ca --from-file=ca.crt (docs/identity.md)"
    for plural, part, kind, key, word, do in (
        ("configmaps", AGENT, "configMap", "name", "ConfigMap", ca),
        ("secrets", AGGREGATOR, "secret", "secretName", "Secret", issue),
    ):
        items = reading.objects(plural)
        wanted = {
            text(volume, kind, key)
            for its, workload in _workloads(reading)
            if its == part
            for volume in entries(pod_spec(workload), "volumes")
            if text(volume, kind, key) and at(volume, kind, "optional") is not True
        }
        if isinstance(items, Unread):
            yield items.check("objects", f"{word} {', '.join(sorted(wanted)) or 'of the certificate'}")
            continue
        for name in sorted(wanted - {name_of(each) for each in items}):
            yield Check(
                "objects",
                State.BROKEN,
                f"there is no {word} {name} in namespace {space}",
                f"pods of the {part} cannot start without it",
                f"make it: {do}",
            )


def _accounts(reading: Reading) -> Iterator[Check]:
    items = reading.objects("serviceaccounts")
    if isinstance(items, Unread):
        yield items.check("objects", "ServiceAccounts")
        return
    there = {name_of(each) for each in items}
    for part, workload in _workloads(reading):
        account = text(pod_spec(workload), "serviceAccountName") or "default"
        if account not in there:
            what = f"there is no ServiceAccount {account} in namespace {reading.namespace}"
            yield Check("objects", State.BROKEN, what, f"no pod of the {part} is made without it", _APPLY)


def _more_than_one(reading: Reading) -> Iterator[Check]:
    """Two aggregators would each know half of the nodes."""
    aggregators = parts(reading.of("deployments"), AGGREGATOR)
    wanted = sum(_replicas(each) for each in aggregators)
    names = ", ".join(sorted(name_of(each) for each in aggregators))
    if aggregators and wanted == 0:
        what = f"Deployment {names} is scaled to 0"
        yield Check("one aggregator", State.BROKEN, what, "nobody takes what agents tell", "scale it to 1")
    elif wanted > 1:
        why = "agents spread over them by chance, so each knows only some of the nodes"
        what = f"{wanted} aggregators are asked for (Deployment {names})"
        yield Check("one aggregator", State.BROKEN, what, why, "scale it to 1, and delete any that is left over")


def _replicas(deployment: Object) -> int:
    found = at(deployment, "spec", "replicas")
    return found if isinstance(found, int) else 1


def _claims(reading: Reading) -> Iterator[Check]:
    claimed = {
        text(volume, "persistentVolumeClaim", "claimName")
        for part, workload in _workloads(reading)
        if part == AGGREGATOR
        for volume in entries(pod_spec(workload), "volumes")
    } - {""}
    items = reading.objects("persistentvolumeclaims")
    if not claimed:
        return
    if isinstance(items, Unread):
        yield items.check("volume", f"PersistentVolumeClaim {', '.join(sorted(claimed))}")
        return
    phases = {name_of(each): text(each, "status", "phase") for each in items}
    for name in sorted(claimed):
        what = f"PersistentVolumeClaim {name}"
        if name not in phases:
            yield Check("volume", State.BROKEN, f"there is no {what}", "the aggregator cannot start without it", _APPLY)
        elif phases[name] != "Bound":
            why = _said(reading, "PersistentVolumeClaim", name) or "no event says why"
            do = "give it a StorageClass that exists (nodetell install --storage-class), or do without (--ephemeral)"
            yield Check("volume", State.BROKEN, f"{what} is {phases[name] or 'not bound'}", why, do)
        else:
            yield Check("volume", State.OK, f"{what} is bound")


def _said(reading: Reading, kind: str, name: str) -> str:
    """What the newest warning, or else the newest event, says of an object."""
    about = [
        each
        for each in reading.of("events")
        if text(each, "involvedObject", "kind") == kind and text(each, "involvedObject", "name") == name
    ]
    about.sort(key=lambda each: (each.get("type") == "Warning", text(each, "lastTimestamp") or text(each, "eventTime")))
    return text(about[-1], "message") if about else ""


def _agreement(reading: Reading) -> Iterator[Check]:
    """Who agents say they are, and whom the aggregator takes: if these differ, all of them are refused."""
    workloads = _workloads(reading)
    agents = [each for part, each in workloads if part == AGENT]
    aggregators = [each for part, each in workloads if part == AGGREGATOR]
    if not agents or not aggregators:
        return
    there = aggregators[0]
    if variable(there, "NODETELL_AGGREGATOR_ACCESS_AGENTS") == "certificate":
        return  # tokens are not looked at
    taken = variable(there, "NODETELL_AGGREGATOR_ACCESS_TOKEN_AUDIENCE") or AUDIENCE
    account = variable(there, "NODETELL_AGGREGATOR_ACCESS_AGENT_SERVICE_ACCOUNT") or "nodetell/nodetell-agent"
    wrong = False
    for agent in agents:
        own = f"{reading.namespace}/{text(pod_spec(agent), 'serviceAccountName') or 'default'}"
        made_for = {
            text(source, "serviceAccountToken", "audience")
            for volume in entries(pod_spec(agent), "volumes")
            for source in entries(volume, "projected", "sources")
            if "serviceAccountToken" in source
        }
        if made_for and taken not in made_for:
            wrong = True
            what = f"tokens of DaemonSet {name_of(agent)} are for {', '.join(sorted(made_for)) or 'the API server'}"
            why = f'the aggregator takes those for "{taken}" and refuses these: UNAUTHENTICATED'
            yield Check("identity", State.BROKEN, what, why, "set the same audience in both (access.token_audience)")
        if made_for and own != account:
            wrong = True
            what = f"DaemonSet {name_of(agent)} runs as {own}"
            why = f"the aggregator takes agents that run as {account}, and refuses these: PERMISSION_DENIED"
            yield Check(
                "identity", State.BROKEN, what, why, "set access.agent_service_account to the account they have"
            )
    if not wrong:
        yield Check("identity", State.OK, "agents show what the aggregator asks for")
