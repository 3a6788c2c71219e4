"""Names and times of Secrets: asked for only where the operator says so, as metadata, and nothing else is taken."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec

from aggregator.cluster.intake import ClusterSink
from aggregator.cluster.resources import COLLECTED, CREDENTIALS
from aggregator.cluster.state import ClusterState
from aggregator.settings import KubernetesSettings
from tests.aggregator.cluster.following import watching
from tests.apiserver import Cluster, Reply, Request, serving

SECRETS = "/api/v1/secrets"
PATHS = {next(each.paths()) for each in CREDENTIALS}


class Serving(Cluster):
    """An API server that knows PartialObjectMetadata, or one that does not."""

    def __init__(self, kind: str = "PartialObjectMetadataList") -> None:
        super().__init__()
        self.kind = kind
        self.asked: list[Request] = []
        for path in PATHS:
            self.put(path, "db-credentials")

    async def answer(self, request: Request, reply: Reply) -> None:
        if request.path in PATHS:
            self.asked.append(request)
        await super().answer(request, reply)

    async def list(self, request: Request, reply: Reply) -> None:
        if request.path not in PATHS:
            await super().list(request, reply)
            return
        items = list(self.of(request.path).objects.values())
        metadata = {"resourceVersion": str(self.version)}
        await reply.whole(
            200, {"kind": self.kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items}
        )


def follow(
    folder: Path, there: Serving, *, on: bool
) -> tuple[list[Request], dict[str, str], dict[str, dict[str, str]]]:
    """What was asked for, how well each resource is known at the end, and what is held."""

    async def play() -> tuple[list[Request], dict[str, str], dict[str, dict[str, str]]]:
        settings = KubernetesSettings(page_size=10, secret_metadata=on, metrics_interval_s=0)
        async with serving(there.answer) as server, watching(folder, server.url, settings=settings) as seen:
            await seen.until(lambda: seen.states()["pods"] == "current")
            await seen.until(lambda: not on or len(there.asked) > 2 * len(PATHS))
            return there.asked, seen.states(), seen.held.objects

    return asyncio.run(play())


def test_they_are_not_asked_for_unless_the_operator_says_so(tmp_path: Path) -> None:
    asked, states, _ = follow(tmp_path, Serving(), on=False)
    assert not asked
    assert not {"secrets", "serviceaccounts"} & states.keys()


def test_metadata_alone_is_asked_for(tmp_path: Path) -> None:
    there = Serving()
    there.watch_s = 0.05
    asked, states, held = follow(tmp_path, there, on=True)
    for request in asked:
        wanted = "PartialObjectMetadata" if "watch" in request.query else "PartialObjectMetadataList"
        assert request.headers["accept"] == f"application/json;as={wanted};g=meta.k8s.io;v=v1"
    assert {states["secrets"], states["serviceaccounts"]} <= {"current", "stale"}, "between two watches it is stale"
    assert len(held["secrets"]) == 1


def test_what_has_more_in_it_is_not_taken(tmp_path: Path) -> None:
    _, states, held = follow(tmp_path, Serving("SecretList"), on=True)
    assert states["secrets"] == "waiting"
    assert "secrets" not in held


def test_what_is_kept_has_no_place_for_data() -> None:
    state = ClusterState()
    sink = ClusterSink(state, ("secrets",))
    thing = {"metadata": {"namespace": "shop", "name": "db", "managedFields": [{"time": "2026-08-02T12:00:00Z"}]}}
    listing = sink.begin("secrets")
    listing.page([json_raw(thing | {"data": {"password": "aHVudGVyMg=="}})])
    listing.done()
    assert state.knows("secrets")
    assert "aHVudGVyMg" not in repr(state.secrets)
    assert state.secrets["shop/db"].changed == 1_785_672_000.0


def json_raw(thing: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(thing).encode())


def test_they_can_be_collected_into_a_bundle() -> None:
    assert {each.plural for each in CREDENTIALS} - {"secrets"} < {each.plural for each in COLLECTED}
