"""One resource followed: each way in which a list or a watch can end, and that what is held is true after it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.cluster.client import ApiClient
from aggregator.cluster.credentials import Source
from aggregator.cluster.pace import Pace
from aggregator.cluster.reflector import Reflector, State
from aggregator.cluster.resources import WATCHED
from tests.aggregator.cluster.following import FAST, kubeconfig
from tests.apiserver import EXPIRED, TOO_LARGE, ApiServer, Cluster, Reply, Request, line, serving, status
from tests.held import Held

PODS = "/api/v1/pods"


class Followed:
    """A reflector of pods at work, and what it has."""

    def __init__(self, server: ApiServer, held: Held, reflector: Reflector, api: ApiClient) -> None:
        self.server, self.held, self.reflector, self.api = server, held, reflector, api

    @property
    def pods(self) -> dict[str, str]:
        return self.held.objects.get("pods", {})

    async def until(self, holds: Callable[[], bool], what: str = "") -> None:
        """Wait for it, 10 s at most."""
        end = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < end, f"{what}: {self.reflector.standing()} {self.held.objects}"
            await asyncio.sleep(0.002)


@asynccontextmanager
async def following(
    folder: Path,
    answer: Callable[[Request, Reply], Awaitable[None]],
    pace: Pace = FAST,
    *,
    limit: int = 2,
) -> AsyncIterator[Followed]:
    """Follow the pods of a server that answers so."""
    async with serving(answer) as server:
        api = ApiClient(Source(kubeconfig(folder, server.url)), {}, pace)
        held = Held()
        pods = next(resource for resource in WATCHED if resource.name == "pods")
        reflector = Reflector(
            pods,
            api,
            held,
            asyncio.Semaphore(1),
            limit=limit,
            pace=pace,
            clock=time.time,
            monotonic=time.monotonic,
            chance=random.Random(1),  # noqa: S311  # jitter
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield Followed(server, held, reflector, api)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await api.aclose()


def cluster(count: int = 5) -> Cluster:
    """One with so many pods."""
    made = Cluster()
    for number in range(count):
        made.put(PODS, f"pod-{number}")
    return made


def once(*first: Callable[[Request, Reply], Awaitable[None]], then: Cluster, of: str) -> Callable[..., Awaitable[None]]:
    """Answer the first requests for lists (of = "list"), further pages ("page") or watches so, the rest well."""
    left = list(first)

    async def answer(request: Request, reply: Reply) -> None:
        kind = "watch" if "watch" in request.query else "page" if "continue" in request.query else "list"
        await (left.pop(0) if left and kind == of else then.answer)(request, reply)

    return answer


def saying(code: int, body: dict[str, object] | bytes, **headers: str) -> Callable[[Request, Reply], Awaitable[None]]:
    """Answer with a status."""

    async def answer(_: Request, reply: Reply) -> None:
        await reply.whole(code, body, {name.replace("_", "-"): value for name, value in headers.items()})

    return answer


async def check(folder: Path, there: Cluster, answer: Callable[[Request, Reply], Awaitable[None]]) -> Followed:
    """Follow until what is held is true, and again after changes."""
    async with following(folder, answer) as followed:
        await followed.until(lambda: followed.pods == there.truth(PODS), "first")
        there.put(PODS, "pod-1", changed=True)
        there.put(PODS, "new")
        there.drop(PODS, "pod-2")
        await followed.until(lambda: followed.pods == there.truth(PODS), "after changes")
        await followed.until(lambda: followed.reflector.standing().state is State.CURRENT, "current")
    return followed


def test_pages_and_then_changes(tmp_path: Path) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, there.answer))
    asked = [request.query for request in followed.server.requests]
    assert asked[0] == {"limit": "2"}
    assert [query.get("limit") for query in asked[:3]] == ["2", "2", "2"]
    assert "resourceVersion" not in asked[1]
    assert asked[3] == {
        "watch": "1",
        "resourceVersion": "105",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "1",
    }
    assert followed.server.lists(PODS) == 1


def test_nothing_but_get_is_ever_sent(tmp_path: Path) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, there.answer))
    assert {request.method for request in followed.server.requests} == {"GET"}


def test_a_watch_that_ends_is_taken_up_where_it_was(tmp_path: Path) -> None:
    async def play() -> None:
        there = cluster()
        there.watch_s = 0.06
        async with following(tmp_path, there.answer) as followed:
            for number in range(20):
                there.put(PODS, f"late-{number}")
                await asyncio.sleep(0.02)
            await followed.until(lambda: followed.pods == there.truth(PODS))
            assert followed.server.lists(PODS) == 1
            assert followed.server.watches(PODS) > 3
            assert followed.reflector.counters.repeated == 0
            versions = [int(q.query["resourceVersion"]) for q in followed.server.requests if "watch" in q.query]
            assert versions == sorted(versions)
            assert versions[-1] > versions[0]

    asyncio.run(play())


@pytest.mark.parametrize("way", ["event", "http", "invalid"])
def test_a_version_that_is_too_old_costs_a_list(tmp_path: Path, way: str) -> None:
    there = cluster()

    async def expired(_: Request, reply: Reply) -> None:
        await reply.begin()
        await reply.piece(line("ERROR", EXPIRED))
        await reply.end()

    invalid = saying(400, status(400, 'resourceVersion: Invalid value: "9x"', "Invalid"))
    answer = {"event": expired, "http": saying(410, EXPIRED), "invalid": invalid}[way]
    followed = asyncio.run(check(tmp_path, there, once(answer, then=there, of="watch")))
    assert followed.server.lists(PODS) == 2


def test_etcd_is_restored_and_the_server_says_so(tmp_path: Path) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, once(saying(504, TOO_LARGE), then=there, of="watch")))
    assert followed.server.lists(PODS) == 2


def test_etcd_is_restored_and_the_server_is_silent(tmp_path: Path) -> None:
    """A watch from the future says nothing at all: only asking for the newest version shows it."""

    async def play() -> None:
        there = cluster()
        before = there.version
        async with following(tmp_path, there.answer) as followed:
            await followed.until(lambda: len(followed.pods) == 5)
            for number in range(30):
                there.put(PODS, f"lost-{number}")
            await followed.until(lambda: len(followed.pods) == 35)
            await followed.server.stop()
            there.restore(before)
            await followed.server.start()
            await followed.until(lambda: followed.pods == there.truth(PODS))
            there.put(PODS, "afterwards")
            await followed.until(lambda: "afterwards" in followed.pods)

    asyncio.run(play())


async def _cut_in_an_event(_: Request, reply: Reply) -> None:
    await reply.begin()
    await reply.half_piece(b'{"type":"MODIFIED","object":{"metadata":{"na')
    await reply.reset()


async def _end_in_an_event(_: Request, reply: Reply) -> None:
    await reply.begin()
    await reply.piece(b'{"type":"MODIFIED","object":{"metadata":{"na')
    await reply.end()


async def _silence(_: Request, reply: Reply) -> None:
    await reply.begin()
    await asyncio.sleep(30)


async def _no_answer(_: Request, __: Reply) -> None:
    await asyncio.sleep(30)


async def _hang_up(_: Request, reply: Reply) -> None:
    await reply.reset()


def _telling(*lines: bytes) -> Callable[[Request, Reply], Awaitable[None]]:
    async def answer(_: Request, reply: Reply) -> None:
        await reply.begin()
        for each in lines:
            await reply.piece(each)
        await asyncio.sleep(0.05)
        await reply.end()

    return answer


BROKEN_WATCHES = {
    "cut in an event": _cut_in_an_event,
    "ends in an event": _end_in_an_event,
    "silence": _silence,
    "no answer": _no_answer,
    "hangs up": _hang_up,
    "no JSON": _telling(b"<html>\n"),
    "no event": _telling(b'{"kind":"Status"}\n'),
    "no object": _telling(b'{"type":"ADDED","object":null}\n'),
    "a list for an object": _telling(b'{"type":"ADDED","object":[1]}\n'),
    "null bytes": _telling(b"\x00\xff\xfe\n" * 10),
    "deep": _telling(b'{"type":"ADDED","object":' + b"[" * 100_000 + b"\n"),
    "empty lines": _telling(b"\n\r\n \n"),
    "an unknown type": _telling(line("RENAMED", {"metadata": {"name": "x", "resourceVersion": "9999"}})),
    "an error without a status": _telling(line("ERROR", {"metadata": 3})),
    "an internal error": _telling(line("ERROR", status(500, "etcd is unwell", "InternalError"))),
    "unavailable": saying(503, b"<html>upstream connect error</html>"),
    "an internal error by HTTP": saying(500, status(500, "boom")),
    "busy": saying(429, status(429, "too many requests"), Retry_After="0"),
    "a redirect": saying(302, b"", Location="http://127.0.0.1:1/"),
}


@pytest.mark.parametrize("name", BROKEN_WATCHES)
def test_a_watch_that_breaks_costs_nothing(tmp_path: Path, name: str) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, once(BROKEN_WATCHES[name], then=there, of="watch")))
    assert followed.server.lists(PODS) - followed.reflector.counters.lists <= 1  # all else asks for the newest version
    assert followed.reflector.counters.lists == 1


def test_a_watch_that_gets_worse_costs_a_list(tmp_path: Path) -> None:
    there = cluster()
    odd = _telling(b"<html>\n")
    followed = asyncio.run(check(tmp_path, there, once(odd, odd, then=there, of="watch")))
    assert followed.reflector.counters.lists == 2
    assert followed.reflector.counters.odd == 2


def test_an_event_without_end_is_not_kept(tmp_path: Path) -> None:
    there = cluster()
    sent = 0

    async def endless(_: Request, reply: Reply) -> None:
        nonlocal sent
        await reply.begin()
        for _number in range(400):
            await reply.piece(b"x" * 250_000)
            sent += 250_000

    async def play() -> None:
        pace = replace(FAST, line_bytes=1 << 20)
        async with following(tmp_path, once(endless, then=there, of="watch"), pace) as followed:
            there.put(PODS, "after")
            await followed.until(lambda: "after" in followed.pods)
            await followed.until(lambda: followed.pods == there.truth(PODS))

    asyncio.run(play())
    assert sent < 30_000_000  # what the socket's buffers take, and no 100 MB


LISTS = {
    "no JSON": saying(200, b"<html>log in</html>"),
    "an array": saying(200, b"[]"),
    "another kind": saying(200, {"kind": "Status", "metadata": {}, "items": []}),
    "items that are none": saying(200, b'{"kind":"PodList","metadata":{},"items":{"a":1}}'),
    "no version": saying(200, b'{"kind":"PodList","metadata":{},"items":[]}'),
    "an internal error": saying(500, status(500, "etcd is unwell")),
    "unavailable": saying(503, b"no backend"),
    "busy": saying(429, status(429, "slow down"), Retry_After="0"),
    "no answer": _no_answer,
    "hangs up": _hang_up,
    "not known yet": saying(401, status(401, "Unauthorized")),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("of", ["list", "page"])
def test_a_list_that_fails_is_tried_again(tmp_path: Path, name: str, of: str) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, once(LISTS[name], LISTS[name], then=there, of=of)))
    assert followed.reflector.counters.failures >= 2


def test_an_expired_list_goes_on_where_it_may_and_is_true_afterwards(tmp_path: Path) -> None:
    """What changed between its pages is told by the watch, which begins at the time of the first one."""
    there = cluster(9)

    async def answer(request: Request, reply: Reply) -> None:
        if "continue" in request.query and answers == []:
            answers.append(1)
            there.put(PODS, "pod-0", changed="behind the reader's back")
            there.drop(PODS, "pod-1")
            there.put(PODS, "a-new-one")
            await reply.whole(410, there.expired(request.query["continue"]))
            return
        await there.answer(request, reply)

    answers: list[int] = []
    followed = asyncio.run(check(tmp_path, there, answer))
    assert followed.reflector.counters.lists == 1


def test_an_expired_list_whose_past_is_gone_is_read_anew(tmp_path: Path) -> None:
    there = cluster(9)

    async def answer(request: Request, reply: Reply) -> None:
        if "continue" in request.query and answers == []:
            answers.append(1)
            there.drop(PODS, "pod-1")
            there.put(PODS, "pod-0", changed=True)
            there.compact()
        await there.answer(request, reply)

    answers: list[int] = []
    followed = asyncio.run(check(tmp_path, there, answer))
    assert followed.reflector.counters.lists == 2


def test_a_list_that_expires_without_a_token_is_begun_again(tmp_path: Path) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, once(saying(410, EXPIRED), then=there, of="page")))
    assert followed.reflector.counters.lists == 2


def test_a_list_that_goes_round_in_circles_ends(tmp_path: Path) -> None:
    there = cluster()

    async def same(request: Request, reply: Reply) -> None:
        metadata = {"resourceVersion": "1", "continue": request.query["continue"]}
        await reply.whole(200, {"kind": "PodList", "metadata": metadata, "items": []})

    followed = asyncio.run(check(tmp_path, there, once(same, then=there, of="page")))
    assert followed.reflector.counters.lists == 2


def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    there = cluster(0)
    for number in range(8):
        there.put(PODS, f"large-{number}", filler="x" * 10_000)

    async def play() -> None:
        async with following(tmp_path, there.answer, replace(FAST, page_bytes=25_000), limit=8) as followed:
            await followed.until(lambda: followed.pods == there.truth(PODS))
            limits = [request.query["limit"] for request in followed.server.requests if "limit" in request.query]
            assert limits == ["8", "2", "2", "2", "2"]

    asyncio.run(play())


# -- what may not be read ------------------------------------------------------------------------------------------

FORBIDDEN = status(403, 'pods is forbidden: User "x" cannot watch resource "pods"', "Forbidden")


@pytest.mark.parametrize("of", ["list", "watch"])
def test_what_is_denied_is_forgotten_and_read_when_it_is_allowed(tmp_path: Path, of: str) -> None:
    there = cluster()
    allowed = False

    async def answer(request: Request, reply: Reply) -> None:
        if not allowed and ("watch" in request.query) == (of == "watch"):
            await reply.whole(403, FORBIDDEN)
        else:
            await there.answer(request, reply)

    async def play() -> None:
        nonlocal allowed
        async with following(tmp_path, answer) as followed:
            await followed.until(lambda: followed.reflector.standing().state is State.DENIED)
            await asyncio.sleep(0.3)
            assert followed.pods == {}
            assert followed.held.forgotten
            assert set(followed.held.forgotten) == {"pods"}
            assert len(followed.server.requests) < 20
            allowed = True
            await followed.until(lambda: followed.pods == there.truth(PODS))
            await followed.until(lambda: followed.reflector.standing().state is State.CURRENT)

    asyncio.run(play())


def test_a_denial_by_a_server_that_has_just_started_forgets_nothing(tmp_path: Path) -> None:
    there = cluster()
    followed = asyncio.run(check(tmp_path, there, once(saying(403, FORBIDDEN), then=there, of="watch")))
    assert followed.held.forgotten == []
    assert followed.reflector.counters.lists == 1


def test_what_the_server_does_not_have_is_absent(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path, saying(404, b"404 page not found\n")) as followed:
            await followed.until(lambda: followed.reflector.standing().state is State.ABSENT)
            assert "404 page not found" in followed.reflector.standing().problem

    asyncio.run(play())


# -- away, and how often it is asked -------------------------------------------------------------------------------


def test_a_server_that_is_away_and_comes_back(tmp_path: Path) -> None:
    async def play() -> None:
        there = cluster()
        async with following(tmp_path, there.answer) as followed:
            await followed.until(
                lambda: followed.reflector.standing().state is State.CURRENT and len(followed.pods) == 5
            )
            left = time.time()
            await followed.server.stop()
            await followed.until(lambda: followed.reflector.standing().state is State.STALE)
            await asyncio.sleep(0.5)
            standing = followed.reflector.standing()
            assert standing.since is not None
            assert abs(standing.since - left) < 0.3
            assert "refused" in standing.problem.lower()
            assert 3 < followed.reflector.counters.failures < 40
            assert len(followed.pods) == 5  # as it was
            there.put(PODS, "meanwhile")
            await followed.server.start()
            await followed.until(lambda: followed.pods == there.truth(PODS))
            await followed.until(lambda: followed.reflector.standing().state is State.CURRENT)
            assert followed.reflector.counters.lists == 1

    asyncio.run(play())


def test_a_server_that_only_says_no_is_asked_seldom(tmp_path: Path) -> None:
    async def play() -> None:
        pace = replace(FAST, first_retry_s=0.05, last_retry_s=0.4)
        async with following(tmp_path, saying(500, status(500, "no")), pace) as followed:
            await asyncio.sleep(1.0)
            assert 3 <= len(followed.server.requests) <= 9

    asyncio.run(play())


def test_retry_after_is_respected(tmp_path: Path) -> None:
    there = cluster()
    asked: list[float] = []
    good = once(saying(429, status(429, "wait"), Retry_After="1"), then=there, of="list")

    async def answer(request: Request, reply: Reply) -> None:
        asked.append(time.monotonic())
        await good(request, reply)

    async def play() -> None:
        async with following(tmp_path, answer) as followed:
            await followed.until(lambda: followed.pods == there.truth(PODS))

    asyncio.run(play())
    assert 1.0 <= asked[1] - asked[0] < 1.5


def test_watches_that_end_at_once_do_not_spin(tmp_path: Path) -> None:
    there = cluster()

    async def answer(request: Request, reply: Reply) -> None:
        if "watch" in request.query:
            await reply.begin()
            await reply.end()
        else:
            await there.answer(request, reply)

    async def play() -> None:
        async with following(tmp_path, answer, replace(FAST, first_retry_s=0.05, last_retry_s=0.4)) as followed:
            await asyncio.sleep(1.0)
            assert 3 <= followed.server.watches(PODS) <= 9

    asyncio.run(play())


def test_silence_where_there_are_no_bookmarks_is_no_loss(tmp_path: Path) -> None:
    """A quiet watch of events is taken up anew now and then; it was never out of date."""
    there = cluster()

    async def answer(request: Request, reply: Reply) -> None:
        await (
            there.watch(request, reply, bookmarks=False) if "watch" in request.query else there.answer(request, reply)
        )

    async def play() -> None:
        pace = replace(FAST, silent_unmarked_s=0.1)
        async with following(tmp_path, answer, pace) as followed:
            await followed.until(lambda: followed.reflector.standing().state is State.CURRENT)
            states = set()
            while followed.server.watches(PODS) < 4:
                states.add(followed.reflector.standing().state)
                await asyncio.sleep(0.005)
            assert states == {State.CURRENT}
            assert followed.reflector.counters.lists == 1

    asyncio.run(play())


def test_silence_that_was_a_loss_began_when_it_fell_silent(tmp_path: Path) -> None:
    there = cluster()
    frozen = False

    async def answer(request: Request, reply: Reply) -> None:
        if frozen:
            await asyncio.sleep(60)
        await there.answer(request, reply)

    async def play() -> None:
        nonlocal frozen
        async with following(tmp_path, answer) as followed:
            await followed.until(lambda: followed.reflector.standing().state is State.CURRENT)
            there.bookmark_s = 60.0
            await asyncio.sleep(0.06)  # the last bookmark
            frozen, fell = True, time.time()
            await followed.until(lambda: followed.reflector.standing().state is State.STALE)
            since = followed.reflector.standing().since
            assert since is not None
            assert since <= fell + 0.05

    asyncio.run(play())


def test_a_cluster_that_is_made_anew_elsewhere_is_listed_anew(tmp_path: Path) -> None:
    """Its versions begin anew, too: none of the old cluster's may be used there."""

    async def play() -> None:
        old, new = cluster(9), cluster(3)
        old.watch_s = 0.1
        for number in range(20):
            new.put(PODS, f"other-{number}")
        async with following(tmp_path, old.answer) as followed, serving(new.answer) as elsewhere:
            await followed.until(lambda: followed.pods == old.truth(PODS))
            kubeconfig(tmp_path, elsewhere.url)
            await followed.until(lambda: followed.pods == new.truth(PODS))
            new.put(PODS, "later")
            await followed.until(lambda: followed.pods == new.truth(PODS))

    asyncio.run(play())
