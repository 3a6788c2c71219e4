"""What only a real API server tells: that it takes overlays and Events, and that accounts may do no more than needed.

    tests/cluster/check.py --kubeconfig FILE [--apply]

Needs kubectl. Objects are sent with --dry-run=server. What accounts may do is asked by `kubectl auth can-i`, so the
rights must be there: those of an installation, or with --apply the ones of the manifests, which are taken away again at
the end. Exit status: 0 all is as it should be, 1 something is not, 2 it could not be checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP), str(TOP / "proto")]

from aggregator.findings import Record  # noqa: E402  # it may be run without being installed
from aggregator.model import Finding, Severity, Stage, finding_id  # noqa: E402
from aggregator.outputs.kubernetes.events import Due, Step, body  # noqa: E402
from aggregator.outputs.kubernetes.regarding import Regarding  # noqa: E402
from cli.doctor.calls import Call, calls  # noqa: E402  # it may be run without being installed
from cli.install.objects import rendered  # noqa: E402
from cli.install.parts import part  # noqa: E402

OVERLAYS = TOP / "manifests" / "overlays"
COMPONENTS = TOP / "manifests" / "components"
NAMESPACE = "nodetell"
AGGREGATOR, OTHERS = "nodetell-aggregator", ("nodetell-agent", "default")
RIGHTS = ("Namespace", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
NOT_MADE = (
    *(Call(verb, "", "secrets") for verb in ("get", "list", "watch")),
    *(Call(verb, "", "pods") for verb in ("create", "delete", "patch")),
    Call("create", "", "pods/exec"),
    Call("get", "", "pods/log"),
    *(Call(verb, "", "nodes") for verb in ("patch", "update", "delete")),
    Call("get", "", "nodes/proxy"),
    Call("list", "", "configmaps"),
    Call("list", "coordination.k8s.io", "leases"),
    Call("update", "coordination.k8s.io", "leases", "kube-system"),
    Call("create", "", "serviceaccounts/token"),
    Call("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    Call("impersonate", "", "users"),
)
"""Calls that the aggregator does not make, and that would be worth most to whoever takes it over."""


OPERATOR = "nodetell-check"
"""A user that the check binds the Role of operators to."""
OPERATORS_CALLS = (
    ("create", "serviceaccounts/nodetell-operator", "token", True),
    ("create", "serviceaccounts/nodetell-aggregator", "token", False),
    ("create", "serviceaccounts/default", "token", False),
    ("get", "services/https:nodetell-aggregator:http", "proxy", True),
    ("get", "services/https:nodetell-aggregator:grpc", "proxy", False),
    ("create", "services/https:nodetell-aggregator:http", "proxy", False),
    ("get", "services/nodetell-aggregator", "", False),
    ("get", "pods", "", False),
)
"""Verb, object, part of it, and whether `kubectl nodetell` may: what it does, and what it must not."""


class NotCheckedError(Exception):
    """Why it could not be checked."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with a kubeconfig."""

    path: str
    kubeconfig: Path

    def run(self, *words: str, given: str | None = None) -> tuple[int, str]:
        """Exit status, and all that it said; its answer last."""
        command = [self.path, "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, (done.stderr + done.stdout).strip()

    def may(self, account: str, call: Call) -> bool:
        """Whether an account of the namespace may make a call. Raises NotCheckedError where that is not told."""
        who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
        where = () if call.path else (("-n", call.namespace) if call.namespace else ("--all-namespaces",))
        what = call.path or (f"{call.resource}.{call.group}" if call.group else call.resource)
        if "/" in what and not call.path:
            resource, _, part = call.resource.partition("/")
            what, where = (f"{resource}.{call.group}" if call.group else resource), (f"--subresource={part}", *where)
        groups_asked = [f"--as-group={group}" for group in groups]
        return self._can_i(call.shown, call.verb, what, *where, who, *groups_asked)

    def operator_may(self, verb: str, what: str, below: str) -> bool:
        """Whether an operator with the Role nodetell-operator may. Raises NotCheckedError where that is not told."""
        more = [f"--subresource={below}"] if below else []
        return self._can_i(f"{verb} {what} {below}", verb, what, *more, "-n", NAMESPACE, f"--as={OPERATOR}")

    def _can_i(self, shown: str, *words: str) -> bool:
        code, said = self.run("auth", "can-i", *words)
        answer = said.splitlines()[-1].split(" ")[0] if said else ""
        if answer not in ("yes", "no"):
            raise NotCheckedError(f"kubectl auth can-i {shown}: {code}: {said}")
        return answer == "yes"


def overlay_problems(kubectl: Kubectl) -> Iterator[str]:
    """Overlays that the server does not take. Without cert-manager it cannot take those that need it: that is said."""
    has_cert_manager = kubectl.run("get", "customresourcedefinition", "certificates.cert-manager.io")[0] == 0
    for overlay in sorted(each for each in OVERLAYS.iterdir() if each.is_dir()):
        if overlay.name.endswith("cert-manager") and not has_cert_manager:
            _say(f"skipped: {overlay.name}: the cluster has no cert-manager")
            continue
        code, said = kubectl.run("apply", "--dry-run=server", "-k", str(overlay))
        if code:
            yield f"{overlay.name}: {said}"
        else:
            _say(f"taken: {overlay.name}")


def component_problems(kubectl: Kubectl) -> Iterator[str]:
    """Components that the server does not take beside the base."""
    for component in sorted(each for each in COMPONENTS.iterdir() if each.is_dir()):
        if component.name in ("cert-manager", "control-plane"):  # overlays have them, where they can be
            continue
        with tempfile.TemporaryDirectory() as own:
            way = os.path.relpath(TOP / "manifests", Path(own).resolve())
            made = {"resources": [f"{way}/base"], "components": [f"{way}/components/{component.name}"]}
            (Path(own) / "kustomization.yaml").write_text(json.dumps(made))
            code, said = kubectl.run("apply", "--dry-run=server", "-k", own)
        if code:
            yield f"component {component.name}: {said}"
        else:
            _say(f"taken: component {component.name}")


def event_problems(kubectl: Kubectl) -> Iterator[str]:
    """Events as the aggregator writes them, on what is in a namespace and what is in none, that are not taken."""
    finding = Finding(
        id=finding_id("node.lost", "n"),
        code="node.lost",
        incident="node",
        stage=Stage.ACTIVE,
        severity=Severity.CRITICAL,
        summary="n is not heard: " + 1_000 * "ä",
        nodes=("n",),
        evidence=(),
        clears_when="it is heard",
    )
    now = time.time()
    record = Record(finding, "check", now, now, because="cleared")
    for about in (Regarding("v1", "Node", "n", "uid-n"), Regarding("v1", "Pod", "p", "uid-p", "default")):
        for step in Step:
            event = body(Due(step, record, f"{about.kind}/{about.name}", about, now), "check")
            words = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
            code, said = kubectl.run(*words, given=json.dumps(event))
            if code:
                yield f"Event {step} on a {about.kind}: {said}"


def operator_problems(kubectl: Kubectl) -> Iterator[str]:
    """What the Role of operators allows too little or too much."""
    for verb, what, below, may in OPERATORS_CALLS:
        if kubectl.operator_may(verb, what, below) is not may:
            yield f"an operator may {'not ' if may else ''}{verb} {what}{f'/{below}' if below else ''}"


def plugin_problems(kubectl: Kubectl) -> Iterator[str]:
    """Whether `kubectl nodetell` gets an answer of the installation that is there, if it has an HTTP API."""
    if kubectl.run("-n", NAMESPACE, "get", "serviceaccount", "nodetell-operator")[0]:
        _say("skipped: kubectl nodetell: the installation has no HTTP API")
        return
    command = [sys.executable, "-m", "cli.kubectl", "nodes", "--kubeconfig", str(kubectl.kubeconfig)]
    path = os.pathsep.join([str(TOP), str(TOP / "proto")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    if done.returncode:
        yield f"kubectl nodetell nodes: {done.stderr.strip()}"
    else:
        _say(f"kubectl nodetell nodes: {done.stdout.strip()}")


def right_problems(kubectl: Kubectl) -> Iterator[str]:
    """Calls that the aggregator may not make, and such as it, or another account of the namespace, should not."""
    for call in calls():
        if not kubectl.may(AGGREGATOR, call):
            yield f"{AGGREGATOR} may not: {call.shown}"
        for other in OTHERS:
            if kubectl.may(other, call):
                yield f"{other} may: {call.shown}"
    for call in NOT_MADE:
        for account in (AGGREGATOR, *OTHERS):
            if kubectl.may(account, call):
                yield f"{account} may: {call.shown}"


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and say each thing that is not as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--apply", action="store_true", help="make the rights of the manifests, and take them away")
    arguments = parser.parse_args(argv)
    try:
        problems = _problems(arguments.kubeconfig, apply=arguments.apply)
    except NotCheckedError as error:
        _say(f"not checked: {error}", sys.stderr)
        return 2
    for problem in problems:
        _say(f"wrong: {problem}")
    _say(f"{len(calls())} calls of the aggregator, {len(NOT_MADE)} that it does not make: {len(problems)} problems")
    return 1 if problems else 0


def _problems(kubeconfig: Path, *, apply: bool) -> list[str]:
    """What is not as it should be. Raises NotCheckedError."""
    path = shutil.which("kubectl")
    if path is None:
        raise NotCheckedError("there is no kubectl")
    kubectl = Kubectl(path, kubeconfig)
    code, said = kubectl.run("get", "namespace", NAMESPACE)
    if code and "NotFound" not in said:
        raise NotCheckedError(said)
    if (code == 0) == apply:
        how = "without --apply its rights are checked" if apply else "--apply makes it for as long as this takes"
        raise NotCheckedError(f"namespace {NAMESPACE} is {'' if apply else 'not '}there; {how}")
    if not apply:
        problems = [*overlay_problems(kubectl), *component_problems(kubectl), *event_problems(kubectl)]
        return [*problems, *right_problems(kubectl), *plugin_problems(kubectl)]
    made = json.dumps({"apiVersion": "v1", "kind": "List", "items": _rights()})
    _, said = kubectl.run("get", "--ignore-not-found", "-o", "name", "-f", "-", given=made)
    if left := [line for line in said.splitlines() if "/" in line and " " not in line]:
        raise NotCheckedError(f"of another installation there is {', '.join(left)}")
    try:
        code, said = kubectl.run("apply", "-f", "-", given=made)
        if code:
            raise NotCheckedError(said)
        problems = [*overlay_problems(kubectl), *component_problems(kubectl), *event_problems(kubectl)]
        return [*problems, *right_problems(kubectl), *operator_problems(kubectl)]
    finally:
        kubectl.run("delete", "--ignore-not-found", "--wait=false", "-f", "-", given=made)


def _say(text: str, to: TextIO | None = None) -> None:
    (to or sys.stdout).write(text + "\n")


def _rights() -> list[dict[str, object]]:
    bound = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": OPERATOR, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "nodetell-operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}],
    }
    return [*(item for item in [*rendered("tier-1"), *part("http")] if item["kind"] in RIGHTS), bound]


if __name__ == "__main__":
    raise SystemExit(main())
