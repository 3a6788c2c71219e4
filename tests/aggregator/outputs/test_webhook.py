"""Notices, posted to a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aggregator.model import Severity, Stage
from aggregator.outputs import courier, rows
from aggregator.outputs.alerts import AlertSurface, webhook
from aggregator.outputs.otlp import OtlpSurface
from aggregator.settings import AggregatorSettings, HttpSettings, OtlpSettings, WebhookSettings
from aggregator.surfaces import SurfaceError
from tests.outputs import Inbox, Situation, finding, free_port, until

pytestmark = pytest.mark.usefixtures("hurry")
SECRET = "a secret of some length"  # noqa: S105  # the test's
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "alerts.md").read_text()


@contextlib.asynccontextmanager
async def telling(
    situation: Situation, url: str, directory: Path, *, kept: bool = True, **fields: Any
) -> AsyncIterator[AlertSurface]:
    """The surface, started."""
    secret = directory / "secret"
    if not secret.exists():
        secret.write_text(f"{SECRET}\n")
    wanted = WebhookSettings(url=url, secret_file=str(secret), **({"quiet_start_s": 0.0} | fields))
    http = HttpSettings(listen="127.0.0.1:7444", url="https://nodetell.example.com/")
    made = situation.made(AggregatorSettings(webhook=wanted, http=http), directory / "state" if kept else None)
    surface = webhook(made)
    await surface.start()
    try:
        yield surface
    finally:
        begun = time.monotonic()
        await surface.aclose()
        assert time.monotonic() - begun < 5
        assert situation.listeners == []


def scene(script: Callable[[Situation, Inbox], Coroutine[Any, Any, None]]) -> None:
    """With a receiver that works."""

    async def play() -> None:
        async with Inbox().open() as inbox:
            await script(Situation(), inbox)

    asyncio.run(play())


def events(inbox: Inbox) -> list[tuple[str, str]]:
    """What happened to which finding, by what came."""
    return [(each["event"], each["finding"]["id"]) for post in inbox.posts for each in post.json()["notices"]]


def test_a_finding_appears_changes_and_is_over(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, f"{inbox.url}/hook?for=us", tmp_path) as surface:
            situation.appear(finding())
            await until(lambda: events(inbox) == [("appeared", "mtu-1")])
            situation.appear(finding(stage=Stage.ACTIVE))
            await until(lambda: len(inbox.posts) == 2)
            situation.resolve("mtu-1")
            await until(lambda: len(inbox.posts) == 3)
            assert [event for event, _ in events(inbox)] == ["appeared", "changed", "resolved"]
            assert surface.gaps() == []
        first, last = inbox.posts[0].json(), inbox.posts[-1].json()["notices"][0]
        assert (first["version"], first["cluster"]) == (1, "lab")
        notice = first["notices"][0]
        assert notice["first"] == ["Lower the MTU of the overlay."]
        assert notice["link"] == "https://nodetell.example.com/findings/mtu-1"
        assert notice["finding"]["nodes"] == ["a"]
        assert last["finding"]["resolved_because"] == "cleared"
        assert inbox.posts[0].path == "/hook"

    scene(script)


def test_what_happens_together_is_one_post_causes_named(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            effects = [finding(f"x-{each}", caused_by=("root",)) for each in range(40)]
            situation.appear(finding("root", summary="the disk is slow", remediation=("Move the disk.",)), *effects)
            await until(lambda: len(events(inbox)) == 41)
            assert len(inbox.posts) == 1
            notice = inbox.posts[0].json()["notices"][7]
            assert notice["root"] == "root"
            assert notice["cause"] == "mtu.overlay_exceeds_underlay: the disk is slow"
            assert notice["first"] == ["Move the disk."]

    scene(script)


def test_thousands_are_told_in_bounded_posts(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        nodes = tuple(f"node-{each}" for each in range(5_000))
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(*(finding(f"x-{each}") for each in range(400)), finding("large", nodes=nodes))
            await until(lambda: len(events(inbox)) == 401)
        assert len({key for _, key in events(inbox)}) == 401
        assert max(len(post.json()["notices"]) for post in inbox.posts) <= 100
        assert max(len(post.body) for post in inbox.posts) < 200_000
        large = next(n["finding"] for p in inbox.posts for n in p.json()["notices"] if n["finding"]["id"] == "large")
        assert (len(large["nodes"]), large["nodes_total"]) == (50, 5_000)

    scene(script)


def verifier() -> Callable[[list[str], dict[str, str], bytes, float], bool]:
    """The one that docs/alerts.md shows."""
    source = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert source is not None
    names: dict[str, Any] = {}
    exec(source[1], names)  # noqa: S102  # our own page
    verify: Callable[[list[str], dict[str, str], bytes, float], bool] = names["is_ours"]
    return verify


def test_the_verifier_of_the_docs_takes_what_is_ours_and_nothing_else(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: inbox.posts)
        post, now, verify = inbox.posts[0], time.time(), verifier()
        assert verify([SECRET], post.headers, post.body, now)
        assert verify(["an older secret of ours", SECRET], post.headers, post.body, now)
        assert not verify(["another secret altogether"], post.headers, post.body, now)
        assert not verify([SECRET], post.headers, post.body + b" ", now)
        assert not verify([SECRET], post.headers, post.body, now + 301)  # somebody kept it and sends it again
        later = post.headers | {"Nodetell-Timestamp": str(int(now) + 301)}
        assert not verify([SECRET], later, post.body, now + 301)
        assert not verify([SECRET], {}, post.body, now)
        assert not verify([SECRET], post.headers | {"Nodetell-Timestamp": "soon"}, post.body, now)

    scene(script)


def test_while_a_secret_is_changed_both_sign_and_the_file_is_read_again(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            (tmp_path / "secret").write_text(f"{SECRET}\nthe next secret of ours\n")
            situation.appear(finding())
            await until(lambda: inbox.posts)
            (tmp_path / "secret").write_text("the next secret of ours\n")
            situation.resolve("mtu-1")
            await until(lambda: len(inbox.posts) == 2)
        both, one = inbox.posts
        verify = verifier()
        assert verify([SECRET], both.headers, both.body, time.time())
        assert verify(["the next secret of ours"], both.headers, both.body, time.time())
        assert not verify([SECRET], one.headers, one.body, time.time())

    scene(script)


@pytest.mark.parametrize("text", [None, "", "short\n", "gr\xfc\xdfe, und zwar lange genug\n"])
def test_without_a_secret_that_can_be_used_nothing_is_sent_and_that_is_said(tmp_path: Path, text: str | None) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path) as surface:
            (tmp_path / "secret").unlink()
            if text is not None:
                (tmp_path / "secret").write_text(text)
            situation.appear(finding())
            (gap,) = await until(surface.gaps)
            assert str(tmp_path / "secret") in gap.because
            assert not text or text.strip() not in gap.because
            assert inbox.posts == []
            (tmp_path / "secret").write_text(SECRET)
            await until(lambda: events(inbox) == [("appeared", "mtu-1")])
            await until(lambda: surface.gaps() == [])

    scene(script)


def test_while_a_receiver_is_away_the_newest_state_waits_and_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def script(situation: Situation, _: Inbox) -> None:
        port = free_port()
        async with telling(situation, f"http://127.0.0.1:{port}/", tmp_path) as surface:
            situation.appear(finding("stays"), finding("ends"))
            (gap,) = await until(surface.gaps)
            assert gap.signal == "output/webhook"
            assert re.search(r"http://127\.0\.0\.1:\d+: no connection: .*, since 20.*; 2 findings wait", gap.because)
            situation.appear(finding("stays", severity=Severity.CRITICAL), finding("late"))
            situation.resolve("ends")
            async with Inbox().open(port) as inbox:
                await until(lambda: len(events(inbox)) >= 3)
                await until(lambda: surface.gaps() == [])
                severities = {
                    n["finding"]["id"]: n["finding"]["severity"] for p in inbox.posts for n in p.json()["notices"]
                }
                assert severities["stays"] == "critical"
                # It was sent once and no answer came: it may have arrived, so it is told to be over.
                assert ("resolved", "ends") in events(inbox)

    scene(script)


def test_after_a_start_it_is_quiet_and_then_only_what_is_new_is_told(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding("stays"), finding("ends"), finding("shaken"))
            await until(lambda: len(events(inbox)) == 3)
        inbox.posts.clear()
        situation.resolve("ends")  # while nobody looked
        for record in list(situation.found.values()):
            situation.appear(record.finding, unconfirmed="a: not heard since the aggregator started")
        async with telling(situation, inbox.url, tmp_path, quiet_start_s=1.0) as surface:
            situation.appear(finding("flicker"))
            situation.resolve("flicker")
            for record in list(situation.found.values()):
                situation.appear(record.finding)  # it is confirmed again
            situation.appear(finding("new"))
            await until(lambda: events(inbox))
            await asyncio.sleep(0.2)
            assert sorted(events(inbox)) == [("appeared", "new"), ("resolved", "ends")]
            assert surface.gaps() == []

    scene(script)


def test_what_waited_when_it_stopped_is_sent_at_once_even_while_it_is_quiet(tmp_path: Path) -> None:
    async def script(situation: Situation, _: Inbox) -> None:
        port = free_port()
        async with telling(situation, f"http://127.0.0.1:{port}/", tmp_path) as surface:
            situation.appear(finding())
            await until(surface.gaps)
        url = f"http://127.0.0.1:{port}/"
        async with Inbox().open(port) as inbox, telling(situation, url, tmp_path, quiet_start_s=3600.0):
            await until(lambda: events(inbox) == [("appeared", "mtu-1")])

    scene(script)


def test_an_unconfirmed_finding_is_never_told_to_be_over(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: len(inbox.posts) == 1)
            situation.appear(finding(), unconfirmed="a: not heard since 10:00")
            await until(lambda: len(inbox.posts) == 2)
            assert events(inbox)[1] == ("changed", "mtu-1")
            assert inbox.posts[1].json()["notices"][0]["finding"]["unconfirmed"] == "a: not heard since 10:00"

    scene(script)


def test_what_the_aggregator_has_forgotten_is_told_to_be_over_late_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: inbox.posts)
        empty = Situation()
        async with telling(empty, inbox.url, tmp_path):
            empty.appear(finding("new"))  # all that stands is looked at, and what is missing may come yet
            await until(lambda: ("appeared", "new") in events(inbox))
            assert ("resolved", "mtu-1") not in events(inbox)
            empty.resolve("new")
            await until(lambda: ("resolved", "new") in events(inbox))
        inbox.posts[1:] = []
        monkeypatch.setattr(courier, "LOST_AFTER_S", 0.2)
        async with telling(Situation(), inbox.url, tmp_path):
            await until(lambda: len(inbox.posts) == 2)
        notice = inbox.posts[1].json()["notices"][0]
        assert (notice["event"], notice["finding"]["resolved_because"]) == ("resolved", courier.LOST)

    scene(script)


def test_without_a_state_directory_it_works_and_says_what_that_costs(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path, kept=False) as surface:
            situation.appear(finding())
            await until(lambda: events(inbox) == [("appeared", "mtu-1")])
            (gap,) = surface.gaps()
            assert "forgotten with the process" in gap.because

    scene(script)
    assert {each.name for each in tmp_path.iterdir()} == {"secret"}


def test_a_notice_keeps_its_number_however_often_it_is_sent(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        seen: list[Any] = []

        async def refuse(request: web.Request) -> web.Response:
            seen.append((await request.json())["notices"][0])
            return web.Response(status=503 if len(seen) < 3 else 200)

        inbox.behave = refuse
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: len(seen) == 3)
        assert len({each["id"] for each in seen}) == 1
        assert {each["event"] for each in seen} == {"appeared"}

    scene(script)


def test_one_that_it_cannot_take_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        taken: list[str] = []

        async def choosy(request: web.Request) -> web.Response:
            keys = [each["finding"]["id"] for each in (await request.json())["notices"]]
            if "bad" in keys:
                return web.Response(status=422, text="no such\nkey")
            taken.extend(keys)
            return web.Response()

        inbox.behave = choosy
        async with telling(situation, inbox.url, tmp_path) as surface:
            situation.appear(*(finding(f"x-{each}") for each in range(4)), finding("bad"), finding("after"))
            await until(lambda: sorted(taken) == ["after", "x-0", "x-1", "x-2", "x-3"])
            (gap,) = await until(lambda: [each for each in surface.gaps() if "given up" in each.because])
            assert gap.because.endswith("1 findings were given up that it does not take: it answers 422: no such key")
            told = {each.metric.name: each.rows for each in surface.meter()}
            assert told["nodetell_webhook_waiting"] == [((), 0)]
            posts: dict[Any, Any] = dict(told["nodetell_webhook_posts_total"])
            assert posts["taken",] >= 1
            assert posts["refused",] >= 3

    scene(script)


def test_the_secret_and_the_path_of_the_address_are_in_no_log_and_no_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async def refuse(_: web.Request) -> web.Response:
            return web.Response(status=403, text="who are you?")

        inbox.behave = refuse
        async with telling(situation, f"{inbox.url}/hidden-path", tmp_path) as surface:
            situation.appear(finding())
            gaps = await until(surface.gaps)
        said = caplog.text + "".join(gap.because for gap in gaps)
        assert "it answers 403" in said
        assert "hidden-path" not in said
        assert SECRET not in said

    caplog.set_level(logging.DEBUG, "nodetell")
    scene(script)
    asked = sum("output_refused" in each.getMessage() for each in caplog.records)
    assert asked == 1  # however often it is tried


def test_a_defect_is_said_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        monkeypatch.setattr(courier, "ROOM_S", 0.1)
        real = rows.take

        def broken(*_: Any, **__: Any) -> Any:
            monkeypatch.setattr(courier, "take", real)
            raise RuntimeError("it is broken")

        monkeypatch.setattr(courier, "take", broken)
        async with telling(situation, inbox.url, tmp_path) as surface:
            situation.appear(finding())
            await until(lambda: events(inbox) == [("appeared", "mtu-1")])
            await until(lambda: surface.gaps() == [])

    scene(script)


def test_a_record_that_came_again_appears_again(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: len(inbox.posts) == 1)
            situation.resolve("mtu-1")
            await until(lambda: len(inbox.posts) == 2)
            situation.appear(replace(finding(), summary="again"))
            await until(lambda: len(inbox.posts) == 3)
            assert [event for event, _ in events(inbox)] == ["appeared", "resolved", "appeared"]

    scene(script)


def test_a_newer_version_s_queue_keeps_it_from_starting_and_is_left_alone(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            pass
        path = tmp_path / "state" / "webhook.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(SurfaceError, match=r"^webhook: .*webhook\.sqlite: its schema version is 99"):
            async with telling(situation, inbox.url, tmp_path):
                pass
        assert situation.listeners == []

    scene(script)


def test_what_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    async def script(situation: Situation, inbox: Inbox) -> None:
        wanted = WebhookSettings(url=inbox.url, secret_file=str(tmp_path / "secret"))
        surface = webhook(situation.made(AggregatorSettings(webhook=wanted), tmp_path / "state"))
        assert surface.gaps() == []
        await surface.aclose()
        otlp = OtlpSurface(situation.made(AggregatorSettings(otlp=OtlpSettings(endpoint=inbox.url))))
        assert otlp.gaps() == []
        await otlp.aclose()

    scene(script)


def test_what_is_sent_is_what_the_page_shows_and_nothing_else(tmp_path: Path) -> None:
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    example = json.loads(shown[1])

    async def script(situation: Situation, inbox: Inbox) -> None:
        async with telling(situation, inbox.url, tmp_path):
            situation.appear(finding())
            await until(lambda: inbox.posts)
        post = inbox.posts[0].json()
        assert post.keys() == example.keys()
        assert post["notices"][0].keys() == example["notices"][0].keys()
        ours, theirs = (each["notices"][0]["finding"] for each in (post, example))
        assert ours.keys() == theirs.keys()
        assert ours["evidence"][0].keys() == theirs["evidence"][0].keys()

    scene(script)
