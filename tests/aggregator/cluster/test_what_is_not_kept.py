"""Of the API server's objects nothing is kept that is nobody's business here: docs/data.md, held to the decoder."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from aggregator.cluster.decode import Decoder
from tests.aggregator.cluster.samples import SAMPLES, pod, raw

CANARY = "CANARY-7f3a"
WITHIN = {
    "env": [{"name": "PASSWORD", "value": CANARY}],
    "command": ["server", f"--password={CANARY}"],
    "args": [CANARY],
    "lifecycle": {"preStop": {"exec": {"command": [CANARY]}}},
    "livenessProbe": {
        "exec": {"command": [CANARY]},
        "httpGet": {"httpHeaders": [{"name": "Authorization", "value": CANARY}]},
    },
}


def seeded(thing: dict[str, Any]) -> dict[str, Any]:
    """With secrets wherever somebody may have put some."""
    thing = copy.deepcopy(thing)
    thing.setdefault("metadata", {})["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": f'{{"password": "{CANARY}"}}',
        "note": CANARY,
        **(thing["metadata"].get("annotations") or {}),
    }
    thing["data"] = {"password": CANARY}
    thing["stringData"] = {"password": CANARY}
    for spec in (thing.get("spec"), ((thing.get("spec") or {}).get("template") or {}).get("spec")):
        for container in (spec or {}).get("containers") or []:
            container.update(copy.deepcopy(WITHIN))
    return thing


@pytest.mark.parametrize("resource", sorted(SAMPLES))
def test_no_value_of_an_environment_variable_command_annotation_or_secret_is_kept(resource: str) -> None:
    found = Decoder().decode(resource, raw(seeded(SAMPLES[resource])))
    assert CANARY not in repr(found)


def test_names_of_what_a_pod_needs_are_kept_and_nothing_of_what_is_in_it() -> None:
    thing = seeded(pod())
    thing["spec"]["containers"][0]["env"].append(
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db-credentials", "key": "token"}}}
    )
    kept = repr(Decoder().decode("pods", raw(thing)))
    assert "Secret/db-credentials" in kept
    assert CANARY not in kept
