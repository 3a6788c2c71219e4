"""Dates of Secrets: which are asked for and when, what is said where they may not be read, and that nothing leaks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aggregator.cluster import date_reader
from aggregator.cluster.credentials import Source
from aggregator.cluster.date_reader import RULE, DatePace, DateReader
from aggregator.cluster.live import LiveCluster
from aggregator.cluster.objects import Pod, PodSpec, SecretDates
from aggregator.cluster.secret_dates import dates_of
from aggregator.cluster.secret_users import users
from aggregator.cluster.state import ClusterState
from aggregator.settings import KubernetesSettings
from tests.aggregator.cluster.following import PATHS, PATIENT, kubeconfig
from tests.aggregator.cluster.test_live import until
from tests.aggregator.cluster.test_secret_dates import CANARY, EXPIRES, encoded, logins, secret, token
from tests.apiserver import Cluster, Reply, Request, serving, status

SOON = DatePace(look_s=0.01, apart_s=0.0, again_s=0.05, soon_s=0.05, refused_s=0.05, away_s=0.02)
ONCE = DatePace(look_s=0.01, apart_s=0.0, again_s=3600.0, soon_s=3600.0, refused_s=3600.0, away_s=0.02)
LOGIN = logins(**{"ghcr.io": {"auth": encoded(f"x:{token(exp=EXPIRES)}")}})


POD = {"name": "web", "namespace": "shop", "resourceVersion": "1"}


class Serving(Cluster):
    """An API server with a pod, and the Secrets that it uses."""

    def __init__(self, pull_secret: str = "regcred") -> None:  # noqa: S107  # its name
        super().__init__()
        self.watch_s = 5.0
        self.secrets: dict[str, bytes] = {}
        """By "namespace/name"; others are not there."""
        self.denied: set[str] = set()
        self.asked: list[str] = []
        spec = {
            "imagePullSecrets": [{"name": pull_secret}],
            "containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "db"}}]}],
        }
        self.put(PATHS["pods"], "web", metadata=POD, spec=spec)

    async def answer(self, request: Request, reply: Reply) -> None:
        if "/secrets/" not in request.path:
            await super().answer(request, reply)
            return
        key = request.path.removeprefix("/api/v1/namespaces/").replace("/secrets/", "/")
        self.asked.append(key)
        if key in self.denied:
            await reply.whole(403, status(403, f'secrets "{key}" is forbidden', "Forbidden"))
        elif key in self.secrets:
            await reply.whole(200, self.secrets[key])
        else:
            await reply.whole(404, status(404, f'secrets "{key}" not found', "NotFound"))


@asynccontextmanager
async def following(folder: Path, url: str, pace: DatePace, *, on: bool = True) -> AsyncIterator[LiveCluster]:
    wanted = KubernetesSettings(metrics_interval_s=0.0, credential_expiry=on)
    live = LiveCluster(Source(kubeconfig(folder, url)), wanted, pace=PATIENT, date_pace=pace)
    task = asyncio.create_task(live.run())
    try:
        yield live
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def play(folder: Path, there: Serving, pace: DatePace, steps: Callable[[LiveCluster], Any], *, on: bool = True) -> None:
    async def run() -> None:
        async with serving(there.answer) as server, following(folder, server.url, pace, on=on) as live:
            await steps(live)

    asyncio.run(run())


def test_off_unless_the_operator_says_so(tmp_path: Path) -> None:
    there = Serving()
    there.secrets["shop/regcred"] = LOGIN

    async def steps(live: LiveCluster) -> None:
        await until(lambda: not live.unread())
        await asyncio.sleep(0.1)
        assert not there.asked
        assert not live.objects.secret_dates

    play(tmp_path, there, SOON, steps, on=False)


def test_those_that_pods_use_are_got_by_name_and_no_others(tmp_path: Path) -> None:
    there = Serving()
    there.secrets = {"shop/regcred": LOGIN, "shop/db": secret("Opaque", {"p": CANARY}), "shop/other": LOGIN}

    async def steps(live: LiveCluster) -> None:
        await until(lambda: len(live.objects.secret_dates) == 2)
        assert live.objects.secret_dates["shop/regcred"].expiries[0].at == EXPIRES
        assert live.objects.secret_dates["shop/db"].expiries == ()
        assert sorted(there.asked) == ["shop/db", "shop/regcred"]
        assert not [gap for gap in live.gaps() if "secret" in gap.signal]

    play(tmp_path, there, ONCE, steps)


def test_a_renewed_one_is_read_again_and_one_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    there = Serving()
    there.secrets["shop/regcred"] = LOGIN
    later = logins(**{"ghcr.io": {"auth": encoded(f"x:{token(exp=EXPIRES + 5)}")}})

    async def steps(live: LiveCluster) -> None:
        dates = live.objects.secret_dates
        await until(lambda: "shop/regcred" in dates)
        there.secrets["shop/regcred"] = later
        await until(lambda: dates["shop/regcred"].expiries[0].at == EXPIRES + 5)
        del there.secrets["shop/regcred"]
        await until(lambda: "shop/regcred" not in dates)

    play(tmp_path, there, SOON, steps)


def test_what_no_pod_uses_any_more_is_forgotten(tmp_path: Path) -> None:
    there = Serving()
    there.secrets["shop/regcred"] = LOGIN

    async def steps(live: LiveCluster) -> None:
        await until(lambda: "shop/regcred" in live.objects.secret_dates)
        there.drop(PATHS["pods"], "web")
        await until(lambda: not live.objects.secret_dates)
        assert not users(live.objects)

    play(tmp_path, there, ONCE, steps)


def test_what_may_not_be_read_is_named_with_the_rule_and_the_rest_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = Serving()
    there.secrets["shop/regcred"] = LOGIN
    there.denied.add("shop/db")

    async def steps(live: LiveCluster) -> None:
        await until(lambda: any(gap.signal == "kube/secret_dates" for gap in live.gaps()))
        await until(lambda: "shop/regcred" in live.objects.secret_dates)
        (gap,) = (gap for gap in live.gaps() if gap.signal == "kube/secret_dates")
        assert gap.status == "degraded"
        assert gap.because == '1 of 2 Secrets that pods use: shop/db: HTTP 403: secrets "shop/db" is forbidden'
        assert RULE in gap.remedy
        there.denied.clear()
        await until(lambda: not live.gaps())

    with caplog.at_level(logging.INFO, "nodetell.aggregator"):
        play(tmp_path, there, SOON, steps)
    told = [line for line in caplog.messages if "kube_secret_dates" in line]
    assert [line.partition(" ")[0] for line in told] == [
        "event=kube_secret_dates_denied",
        "event=kube_secret_dates_readable",
    ]


def test_while_the_api_server_fails_what_is_known_stays(tmp_path: Path) -> None:
    there = Serving()
    there.secrets["shop/regcred"] = LOGIN
    broken: list[str] = []

    async def answer(request: Request, reply: Reply) -> None:
        if "/secrets/" in request.path and "shop/regcred" in there.asked:
            broken.append(request.path)
            await reply.whole(500, status(500, "etcd is away", "InternalError"))
        else:
            await there.answer(request, reply)

    async def run() -> None:
        async with serving(answer) as server, following(tmp_path, server.url, SOON) as live:
            await until(lambda: len(broken) > 3)
            assert "shop/regcred" in live.objects.secret_dates

    asyncio.run(run())


@pytest.mark.parametrize("name", ["../../../../apis", "a?b", "..", "UPPER", ""])
def test_a_pod_cannot_make_it_ask_for_something_else(tmp_path: Path, name: str) -> None:
    there = Serving(pull_secret=name)
    there.secrets["shop/db"] = secret("Opaque", {})

    async def steps(live: LiveCluster) -> None:
        await until(lambda: "shop/db" in live.objects.secret_dates)

    play(tmp_path, there, ONCE, steps)
    assert set(there.asked) == {"shop/db"}


BROKEN = [
    f'{{"metadata": {{}}, "data": {{"x": "{CANARY}"'.encode(),
    json.dumps({"metadata": {"resourceVersion": CANARY * 3}, "type": 5, "data": {"x": CANARY}}).encode(),
    json.dumps({"kind": "SecretList", "items": [{"data": {"x": CANARY}}]}).encode(),
    b'{"data": "' + CANARY.encode() * 400_000 + b'"}',
]


def test_nothing_of_what_a_secret_holds_is_logged_told_or_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    there = Serving()
    there.secrets["shop/db"] = secret("Opaque", {"password": CANARY, CANARY: "x", "t": token(exp=EXPIRES)})
    told: list[str] = []

    async def steps(live: LiveCluster) -> None:
        for document in [*BROKEN, LOGIN]:
            there.secrets["shop/regcred"] = document
            asked = len(there.asked)
            await until(lambda asked=asked: len(there.asked) > asked + 4)  # type: ignore[misc]
            told.extend(map(str, live.gaps()))
        told.append(repr(live.objects.secret_dates))
        assert len(live.objects.secret_dates) == 2

    with caplog.at_level(logging.DEBUG):
        play(tmp_path, there, SOON, steps)
    assert any("the answer is no Secret" in line for line in told)
    assert any("bytes" in line for line in told)
    for text in (*told, *caplog.messages, caplog.text):
        assert CANARY not in text
        assert encoded(CANARY) not in text


@pytest.mark.parametrize("document", [LOGIN, b"no Secret"], ids=["good", "odd"])
def test_what_came_is_overwritten_once_it_has_been_looked_at(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytearray] = []

    def look(body: bytearray) -> SecretDates | None:
        looked_at.append(body)
        assert bytes(body) == document
        return dates_of(body)

    monkeypatch.setattr(date_reader, "dates_of", look)
    state = ClusterState()
    spec = PodSpec(pull_secrets=("regcred",))
    state.keep("pods", "shop/web", Pod("shop", "web", spec))
    reader = DateReader(Giving(document), state, clock=lambda: 0.0, monotonic=lambda: 0.0, pace=SOON)  # type: ignore[arg-type]

    async def play() -> None:
        task = asyncio.create_task(reader.run())
        await until(lambda: len(looked_at) == 1)
        task.cancel()

    asyncio.run(play())
    assert looked_at == [bytearray(len(document))]


class Giving:
    """An API server that gives this, in pieces."""

    def __init__(self, document: bytes) -> None:
        self.document = document

    @asynccontextmanager
    async def get(self, path: str, _: dict[str, str]) -> AsyncIterator[Giving]:
        assert path.startswith("/api/v1/namespaces/shop/")
        yield self

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.document), 7):
            yield self.document[start : start + 7]
