"""The connection: credentials that change on disk while it is in use, TLS on both sides, what a failure is called."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from aggregator.cluster.answers import ApiError, Cause, refusal, retry_after
from aggregator.cluster.client import ApiClient
from aggregator.cluster.credentials import Source
from aggregator.cluster.pace import Backoff, Pace
from aggregator.cluster.server_time import ServerTime
from tests.apiserver import Answer, Reply, Request, serving, status
from tests.authority import Pair, authority, issued, server_context

PACE = Pace(connect_s=1.0, answer_s=1.0)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    """Two that do not know each other."""
    folder = tmp_path_factory.mktemp("authorities")
    return authority(folder, "old"), authority(folder, "new")


def kubeconfig(folder: Path, url: str, user: dict[str, object], **cluster: object) -> Source:
    """A kubeconfig for this server."""
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "clusters": [{"name": "a", "cluster": {"server": url} | cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return Source(path)


async def fetch(api: ApiClient) -> bytes:
    """A body."""
    async with api.get("/api/v1/nodes", {}) as answer:
        return await answer.aread()


async def failing(api: ApiClient) -> ApiError:
    """Why there is none."""
    with pytest.raises(ApiError) as caught:
        await fetch(api)
    return caught.value


def expecting(token: list[str]) -> Answer:
    """Only this token is accepted."""

    async def answer(request: Request, reply: Reply) -> None:
        if request.headers.get("authorization") == f"Bearer {token[0]}":
            await reply.whole(200, b"fine")
        else:
            await reply.whole(401, status(401, "Unauthorized", "Unauthorized"))

    return answer


def test_a_token_that_rotates_is_used_at_once(tmp_path: Path) -> None:
    token, file = ["one"], tmp_path / "token"
    file.write_text("one\n")

    async def play() -> None:
        async with serving(expecting(token)) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"tokenFile": "token"}), {}, PACE)
            assert await fetch(api) == b"fine"
            file.write_text("two\n")
            token[0] = "two"
            assert await fetch(api) == b"fine"  # without a 401 in between
            assert len(server.requests) == 2
            file.unlink()
            assert await fetch(api) == b"fine"  # what we hold is still good
            assert "No such file" in api.problem
            file.write_text("")  # opened, not yet written
            assert await fetch(api) == b"fine"
            file.write_text("three")
            token[0] = "three"
            assert await fetch(api) == b"fine"
            assert api.problem == ""
            await api.aclose()

    asyncio.run(play())


def test_a_token_that_is_not_there_yet(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(expecting(["one"])) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"tokenFile": "token"}), {}, PACE)
            error = await failing(api)
            assert error.cause is Cause.CREDENTIALS
            assert "token" in str(error)
            assert api.outage is not None
            (tmp_path / "token").write_text("one")
            assert await fetch(api) == b"fine"
            assert api.outage is None
            await api.aclose()

    asyncio.run(play())


def test_a_401_has_the_files_read_again(tmp_path: Path) -> None:
    """Also where nothing in them seems to have changed: a plug-in may give another token."""

    async def play() -> None:
        token = ["one"]
        async with serving(expecting(token)) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"token": "one"}), {}, PACE)
            assert await fetch(api) == b"fine"
            token[0] = "two"
            assert (await failing(api)).cause is Cause.UNAUTHORIZED
            kubeconfig(tmp_path, server.url, {"token": "two"})
            assert await fetch(api) == b"fine"
            assert api.renewals == 2
            await api.aclose()

    asyncio.run(play())


def test_what_is_under_way_survives_a_renewal(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    go = asyncio.Event()

    async def answer(request: Request, reply: Reply) -> None:
        if request.path != "/slow":
            await reply.whole(200, b"fine")
            return
        await reply.begin()
        await go.wait()
        await reply.piece(b"late")
        await reply.end()

    async def play() -> None:
        async with serving(answer) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"tokenFile": "token"}), {}, PACE)
            async with api.get("/slow", {}) as slow:
                file.write_text("two")
                await fetch(api)
                assert api.renewals == 2
                go.set()
                assert await slow.aread() == b"late"
            await api.aclose()

    asyncio.run(play())


async def _fine(_: Request, reply: Reply) -> None:
    await reply.whole(200, b"fine")


def test_an_authority_that_changes_on_disk(tmp_path: Path, authorities: tuple[Pair, Pair]) -> None:
    old, new = authorities
    trusted = tmp_path / "ca.crt"
    shutil.copy(old.certificate, trusted)

    async def play() -> None:
        async with serving(_fine, server_context(issued(tmp_path, old, "server"))) as server:
            source = kubeconfig(tmp_path, server.url, {"token": "t"}, **{"certificate-authority": "ca.crt"})
            api = ApiClient(source, {}, PACE)
            assert await fetch(api) == b"fine"
            await server.stop()
            server.context = server_context(issued(tmp_path, new, "server2"))
            await server.start()
            error = await failing(api)
            assert error.cause is Cause.UNREACHABLE
            assert "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate verify failed" in str(error)
            trusted.write_text("half a certific")  # it is being written
            assert (await failing(api)).cause is Cause.CREDENTIALS
            shutil.copy(new.certificate, trusted)
            assert await fetch(api) == b"fine"
            await api.aclose()

    asyncio.run(play())


def test_a_client_certificate_that_is_renewed(tmp_path: Path, authorities: tuple[Pair, Pair]) -> None:
    old, new = authorities
    first, second = issued(tmp_path, old, "client1"), issued(tmp_path, new, "client2")
    mine = Pair(tmp_path / "mine.crt", tmp_path / "mine.key")

    def take(pair: Pair) -> None:
        shutil.copy(pair.certificate, mine.certificate)
        shutil.copy(pair.key, mine.key)

    async def play() -> None:
        take(first)
        certificate = issued(tmp_path, old, "server3")
        async with serving(_fine, server_context(certificate, clients=old)) as server:
            user: dict[str, object] = {"client-certificate": str(mine.certificate), "client-key": str(mine.key)}
            source = kubeconfig(tmp_path, server.url, user, **{"certificate-authority": str(old.certificate)})
            api = ApiClient(source, {}, PACE)
            assert await fetch(api) == b"fine"
            await server.stop()
            server.context = server_context(certificate, clients=new)
            await server.start()
            assert (await failing(api)).cause is Cause.UNREACHABLE
            take(second)
            assert await fetch(api) == b"fine"
            await api.aclose()

    asyncio.run(play())


def test_a_name_that_the_certificate_has(tmp_path: Path, authorities: tuple[Pair, Pair]) -> None:
    old, _ = authorities

    async def play() -> None:
        async with serving(_fine, server_context(issued(tmp_path, old, "named", "DNS:api.internal"))) as server:
            trust = {"certificate-authority": str(old.certificate)}
            api = ApiClient(kubeconfig(tmp_path, server.url, {"token": "t"}, **trust), {}, PACE)
            assert (await failing(api)).cause is Cause.UNREACHABLE
            kubeconfig(tmp_path, server.url, {"token": "t"}, **trust, **{"tls-server-name": "api.internal"})
            assert await fetch(api) == b"fine"
            await api.aclose()

    asyncio.run(play())


def test_impersonation_is_sent(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(_fine) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"token": "t", "as": "jane"}), {}, PACE)
            await fetch(api)
            assert server.requests[0].headers["impersonate-user"] == "jane"
            await api.aclose()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no login >&2; exit 3", "the plug-in sh failed: exit status 3: no login"),
        ("echo nothing", "the plug-in sh failed"),
        ("echo '{}'", "the plug-in sh failed"),
        ('echo \'{"status": {"token": 7}}\'', "it gave no token"),
    ],
)
def test_a_plug_in_that_fails(tmp_path: Path, script: str, reason: str) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script]}

    async def play() -> None:
        async with serving(_fine) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"exec": plugin}), {}, Pace(connect_s=0.2, answer_s=0.3))
            assert reason in str(await failing(api))
            assert server.requests == []
            await api.aclose()

    asyncio.run(play())


def test_a_plug_in_that_is_not_installed(tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1beta1"
    plugin = {"apiVersion": version, "command": "no-such-plugin", "installHint": "apt install it"}

    async def play() -> None:
        api = ApiClient(kubeconfig(tmp_path, "http://127.0.0.1:1", {"exec": plugin}), {}, PACE)
        error = await failing(api)
        said = "the plug-in no-such-plugin failed: it cannot be started: No such file or directory (apt install it)"
        assert (error.cause, str(error)) == (Cause.CREDENTIALS, said)
        await api.aclose()

    asyncio.run(play())


def test_a_plug_in_that_nobody_waits_for_any_more_is_ended(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script]}

    async def play() -> None:
        async with serving(_fine) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"exec": plugin}), {}, Pace(connect_s=0.2, answer_s=0.3))
            assert "no answer in time" in str(await failing(api))
            assert server.requests == []
            await api.aclose()

    asyncio.run(play())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_plug_in_is_asked_again_when_its_token_is_not_taken_any_more(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    script = f'printf \'{{"status": {{"token": "%s"}}}}\' $(cat {tmp_path}/token)'
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script]}

    async def play() -> None:
        token = ["one"]
        async with serving(expecting(token)) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"exec": plugin}), {}, PACE)
            assert await fetch(api) == b"fine"
            (tmp_path / "token").write_text("two")
            token[0] = "two"
            assert await fetch(api) == b"fine"
            assert len(server.requests) == 3
            await api.aclose()

    asyncio.run(play())


def test_a_plug_in_is_asked_once_for_all(tmp_path: Path) -> None:
    script = f'sleep 0.05; echo >> {tmp_path}/runs; echo \'{{"status": {{"token": "one"}}}}\''
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "sh", "args": ["-c", script]}

    async def play() -> None:
        async with serving(expecting(["one"])) as server:
            api = ApiClient(kubeconfig(tmp_path, server.url, {"exec": plugin}), {}, PACE)
            assert await asyncio.gather(*(fetch(api) for _ in range(8))) == [b"fine"] * 8
            await api.aclose()

    asyncio.run(play())
    assert (tmp_path / "runs").read_text() == "\n"


def test_a_service_account_whose_directory_is_turned(tmp_path: Path, authorities: tuple[Pair, Pair]) -> None:
    """As the kubelet renews it: a new directory, and one symbolic link that is replaced."""
    old, _ = authorities
    token = ["one"]

    def turn(number: int) -> None:
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "token").write_text(token[0])
        shutil.copy(old.certificate, folder / "ca.crt")
        (tmp_path / "next").symlink_to(folder)
        (tmp_path / "next").rename(tmp_path / "account")

    async def play() -> None:
        turn(1)
        async with serving(expecting(token), server_context(issued(tmp_path, old, "inside"))) as server:
            env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port)}
            api = ApiClient(Source(tmp_path / "account", in_cluster=True), env, PACE)
            assert await fetch(api) == b"fine"
            token[0] = "two"
            turn(2)
            assert await fetch(api) == b"fine"
            assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
            assert server.requests[-1].headers["user-agent"] == "nodetell"
            await api.aclose()

    asyncio.run(play())


def test_a_proxy_is_asked_for_what_only_it_can_reach(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(_fine) as proxy:
            source = kubeconfig(tmp_path, "http://api.invalid:8080", {"token": "t"}, **{"proxy-url": proxy.url})
            api = ApiClient(source, {}, PACE)
            assert await fetch(api) == b"fine"
            assert proxy.requests[0].headers["host"] == "api.invalid:8080"
            await api.aclose()

    asyncio.run(play())


def test_another_current_context_is_not_followed(tmp_path: Path) -> None:
    """`kubectl config use-context` means kubectl: an aggregator that runs must not mix two clusters."""

    async def play() -> None:
        async with serving(_fine) as mine, serving(_fine) as other:
            source = kubeconfig(tmp_path, mine.url, {"token": "t"})
            api = ApiClient(source, {}, PACE)
            await fetch(api)
            config = yaml.safe_load(source.path.read_text())
            config["clusters"].append({"name": "b", "cluster": {"server": other.url}})
            config["contexts"].append({"name": "d", "context": {"cluster": "b", "user": "u"}})
            config["current-context"] = "d"
            source.path.write_text(yaml.safe_dump(config))
            await fetch(api)
            assert (len(mine.requests), len(other.requests), api.moves) == (2, 0, 0)
            config["clusters"][0]["cluster"]["server"] = other.url  # but the context's cluster may move
            source.path.write_text(yaml.safe_dump(config))
            await fetch(api)
            assert (len(mine.requests), len(other.requests), api.moves) == (2, 1, 1)
            await api.aclose()

    asyncio.run(play())


# -- what an answer means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("-1", 0.0),
        ("Sun, 22 Nov 2026 11:01:52 GMT", 42.0),
        ("Sun, 22 Nov 2020 11:01:52 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Sun, 99 Nov 2026 99:01:52 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    now = 1795345312.0 - 42  # 11:01:52 by then
    assert retry_after(value, now) == seconds


def test_a_refusal_that_is_no_status_is_shown_as_it_came() -> None:
    error = refusal(503, {}, b"<html>\n upstream   gone </html>", 0.0)
    assert (error.cause, str(error)) == (Cause.FAILED, "HTTP 503: <html> upstream gone </html>")
    assert str(refusal(500, {}, b"", 0.0)) == "HTTP 500: no reason given"
    assert len(str(refusal(500, {}, b"x" * 100_000, 0.0))) < 250
    assert refusal(429, {"retry-after": "7"}, b'{"code":3,"message":"slow"}', 0.0).retry_after_s == 7.0


def test_waiting_times_double_up_to_a_ceiling_and_differ() -> None:
    import random

    pace = Pace()
    backoff = Backoff(pace, random.Random(4))  # noqa: S311  # jitter
    waits = [backoff.next() for _ in range(5000)]
    assert waits[0] <= 0.5
    assert waits[1] <= 1.0
    assert max(waits) <= pace.last_retry_s
    assert min(waits[10:]) >= pace.last_retry_s / 2
    assert len(set(waits[10:])) > 4000
    assert 30 <= backoff.next(30.0) <= 36
    assert backoff.next(1e9) <= pace.longest_retry_after_s * 1.1
    backoff.reset()
    assert backoff.next() <= 0.5


# -- the server's clock --------------------------------------------------------------------------------------------


def http_date(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


@pytest.mark.parametrize(("ahead", "said"), [(0.0, 0.0), (1.4, 0.0), (90.0, 90.0), (-3600.0, -3600.0)])
def test_the_servers_clock(ahead: float, said: float) -> None:
    now = [1_795_345_312.25]
    server = ServerTime(lambda: now[0], lambda: now[0] - 1e9)
    assert server.offset_s() == 0.0
    for _ in range(5):
        now[0] += 7.3
        server.heard(http_date(now[0] + ahead), now[0] - 0.02)
    assert abs(server.offset_s() - said) <= 1.0


def test_one_answer_by_somebody_else_does_not_set_the_clock() -> None:
    now = [1_795_345_312.0]
    server = ServerTime(lambda: now[0], lambda: now[0])
    for ahead in (0, 0, 86_400, 0, 0):
        now[0] += 30
        server.heard(http_date(now[0] + ahead), now[0])
    for nonsense in (None, "", "yesterday"):
        server.heard(nonsense, now[0])
    assert server.offset_s() == 0.0


def test_what_was_heard_before_our_clock_was_set_does_not_count() -> None:
    now, slow = [1_795_345_312.0], [5.0]
    server = ServerTime(lambda: now[0], lambda: slow[0])
    server.heard(http_date(now[0] + 600), now[0])
    assert abs(server.offset_s() - 600) <= 1
    now[0] += 600  # it is right from now on
    assert server.offset_s() == 0.0
    server.heard(http_date(now[0]), now[0])
    assert server.offset_s() == 0.0


def test_what_a_server_says_in_lines_is_one_line_of_a_reason() -> None:
    assert str(ApiError(Cause.ODD, 'the answer is no list, but a "a\nb\r c"')) == 'the answer is no list, but a "a b c"'
