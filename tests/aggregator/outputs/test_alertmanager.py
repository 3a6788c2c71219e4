"""Alerts, as Debian's Alertmanager takes them: grouped, held back, resolved, and there again after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aggregator.findings import Record
from aggregator.model import Severity, Stage
from aggregator.outputs.alertmanager import Alerts
from aggregator.outputs.alerts import AlertSurface, alertmanager
from aggregator.outputs.rows import Row
from aggregator.settings import AggregatorSettings, AlertmanagerSettings
from cli.bundle_known import known_of
from tests import needs
from tests.outputs import AT, Inbox, Situation, finding, free_port, until

pytestmark = pytest.mark.usefixtures("hurry")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "alerts.md").read_text()


def example() -> str:
    """The configuration that docs/alerts.md shows."""
    found = re.search(r"```yaml\n(route:.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@dataclass
class Alertmanager:
    """Debian's, on a port of its own, with the configuration of the docs; what it sends on comes to an inbox."""

    directory: Path
    inbox: Inbox
    group_wait: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = self.directory / "alertmanager.yml"
        waits = {"group_wait: 10s": f"group_wait: {self.group_wait}", "group_interval: 5m": "group_interval: 200ms"}
        text = example().replace("https://example.com/hook", self.inbox.url)
        for ours, test in waits.items():
            assert ours in text
            text = text.replace(ours, test)
        config.write_text(text)
        self._run(config)
        await until(self.alerts, "Alertmanager listens")

    def _run(self, config: Path) -> None:
        command = [
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--data.maintenance-interval=100ms",
        ]
        with (self.directory / "alertmanager.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    async def remembers(self) -> None:
        """What it has notified of is on its disk."""
        now, kept = time.time(), self.directory / "data" / "nflog"
        await until(lambda: kept.exists() and kept.stat().st_mtime > now + 0.2, "it writes every 100 ms")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def alerts(self, query: str = "") -> list[Any] | None:
        """What it holds, or None: it does not answer. An empty list counts as nothing."""
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/api/v2/alerts{query}") as answer:
                found: list[Any] = await answer.json()
                return found or [{}]
        return None

    async def active(self) -> list[tuple[str, str, str]]:
        """Finding, severity and state of what stands."""
        found = await self.alerts() or []
        return sorted(
            (each["labels"]["finding"], each["labels"]["severity"], each["status"]["state"]) for each in found if each
        )

    def notified(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """What it told its receiver: of each notification the status, and the alerts in it with theirs."""
        return [
            (told["status"], sorted((each["labels"]["finding"], each["status"]) for each in told["alerts"]))
            for told in (post.json() for post in self.inbox.posts)
        ]


@contextlib.asynccontextmanager
async def running(directory: Path, group_wait: str = "50ms") -> AsyncIterator[Alertmanager]:
    needs.tool("prometheus-alertmanager")
    async with Inbox().open() as inbox:
        found = Alertmanager(directory, inbox, group_wait)
        try:
            await found.start()
            yield found
        finally:
            found.kill()


@contextlib.asynccontextmanager
async def alerting(situation: Situation, *urls: str, directory: Path, **fields: Any) -> AsyncIterator[AlertSurface]:
    wanted = AlertmanagerSettings(urls=urls, **({"quiet_start_s": 0.0, "resend_s": 1.0} | fields))
    surface = alertmanager(situation.made(AggregatorSettings(alertmanager=wanted), directory / "state"))
    await surface.start()
    try:
        yield surface
    finally:
        await surface.aclose()


def test_one_notification_of_the_cause_what_follows_held_back_and_all_resolved(tmp_path: Path) -> None:
    async def play() -> None:
        situation = Situation()
        root = finding("root", Severity.CRITICAL, stage=Stage.ACTIVE, summary="The disk is slow", nodes=("a", "b"))
        effects = [finding(f"x-{each}", caused_by=("root",)) for each in range(3)]
        # Alertmanager needs a moment to see what inhibits what.
        async with (
            running(tmp_path, group_wait="1s") as manager,
            alerting(situation, manager.url, directory=tmp_path) as surface,
        ):
            situation.appear(root, *effects)
            await until(lambda: manager.notified() == [("firing", [("root", "firing")])], "one notification")
            assert await manager.active() == [
                ("root", "critical", "active"),
                *((f"x-{each}", "warning", "suppressed") for each in range(3)),
            ]
            told = manager.inbox.posts[0].json()
            alert = told["alerts"][0]
            assert alert["annotations"]["summary"] == "The disk is slow"
            assert alert["annotations"]["first"] == "Lower the MTU of the overlay."
            assert told["groupLabels"] == {"cluster": "lab", "chain": "root"}
            situation.resolve("root")  # an effect that outlives its cause is told of then
            await until(lambda: ("resolved", [("root", "resolved")]) in _grouped(manager), "root is over")
            await until(lambda: {key for _, alerts in manager.notified() for key, _ in alerts} >= {"x-0", "x-2"})
            situation.resolve("x-0", "x-1", "x-2")
            await until(manager_is_quiet(manager), "all over")
            assert surface.gaps() == []

    asyncio.run(play())


def _grouped(manager: Alertmanager) -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each notification only what it says of the cause."""
    return [
        (dict(alerts).get("root", ""), [each for each in alerts if each[0] == "root"])
        for _, alerts in manager.notified()
    ]


def manager_is_quiet(manager: Alertmanager) -> Callable[[], Any]:
    async def quiet() -> bool:
        return await manager.active() == []

    return quiet


@pytest.mark.parametrize("scenario", ["saturation-chain-fsync-220ms", "node-lost-zone-chain"])
def test_a_chain_is_one_notification_and_what_is_worse_than_its_cause_is_not_held_back(
    tmp_path: Path, scenario: str
) -> None:
    folder = Path(os.environ.get("NODETELL_SHARED", ""), "scenarios", scenario)
    if not folder.is_absolute() or not folder.is_dir():
        pytest.skip("NODETELL_SHARED names no directory with scenarios")
    findings = [each.finding for each in known_of(str(folder)).standing()]
    (root,) = [each for each in findings if not each.caused_by]
    told = {each.id for each in findings if each is root or each.severity > root.severity}
    assert (len(told) < len(findings)) is (scenario == "saturation-chain-fsync-220ms")

    async def play() -> None:
        situation = Situation()
        async with (
            running(tmp_path, group_wait="1s") as manager,
            alerting(situation, manager.url, directory=tmp_path, least_severity="info"),
        ):
            situation.appear(*findings)
            await until(lambda: told <= {key for _, each in manager.notified() for key, _ in each})
            assert manager.notified() == [("firing", [(key, "firing") for key in sorted(told)])]
            states = {key: state for key, _, state in await manager.active()}
            assert states == {each.id: "active" if each.id in told else "suppressed" for each in findings}

    asyncio.run(play())


def test_it_is_killed_in_the_middle_and_comes_back(tmp_path: Path) -> None:
    async def play() -> None:
        situation = Situation()
        async with running(tmp_path) as manager, alerting(situation, manager.url, directory=tmp_path) as surface:
            situation.appear(finding("stays"), finding("ends"))
            await until(lambda: len({key for _, each in manager.notified() for key, _ in each}) == 2)
            await manager.remembers()
            manager.kill()
            situation.appear(finding("new"))
            situation.resolve("ends")
            (gap,) = await until(surface.gaps)
            assert gap.signal == "output/alertmanager"
            assert "no connection" in gap.because
            await manager.start()
            standing = [("new", "warning", "active"), ("stays", "warning", "active")]

            async def back() -> bool:
                return await manager.active() == standing

            await until(back, "what stands is there again, each once")
            await until(lambda: ("resolved", [("ends", "resolved")]) in manager.notified(), "what ended meanwhile")
            await until(lambda: surface.gaps() == [])
            situation.resolve("stays", "new")
            await until(manager_is_quiet(manager), "all over")
            for key in ("stays", "new"):
                await until(lambda: ("resolved", [(key, "resolved")]) in manager.notified(), key)  # noqa: B023  # awaited here
            told = [alert for _, alerts in manager.notified() for alert in alerts]
            assert {each: told.count(each) for each in told if each[1] == "firing"} == {
                (key, "firing"): 1 for key in ("stays", "ends", "new")
            }

    asyncio.run(play())


def test_it_was_restarted_while_nobody_looked_and_has_all_again_soon(tmp_path: Path) -> None:
    async def play() -> None:
        situation = Situation()
        async with running(tmp_path) as manager, alerting(situation, manager.url, directory=tmp_path):
            situation.appear(finding())

            async def stands() -> bool:
                return await manager.active() == [("mtu-1", "warning", "active")]

            await until(stands)
            manager.kill()
            await manager.start()
            await until(stands)

    asyncio.run(play())


def test_another_severity_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async def play() -> None:
        situation = Situation()
        async with running(tmp_path) as manager, alerting(situation, manager.url, directory=tmp_path):
            situation.appear(finding())
            await until(manager.notified)
            situation.appear(finding(severity=Severity.CRITICAL, nodes=("a", "b")))

            async def worse() -> bool:
                return await manager.active() == [("mtu-1", "critical", "active")]

            await until(worse)

    asyncio.run(play())


def test_after_a_start_what_stood_goes_on_to_stand_and_nothing_is_told_anew(tmp_path: Path) -> None:
    async def play() -> None:
        situation = Situation()
        async with running(tmp_path) as manager:
            async with alerting(situation, manager.url, directory=tmp_path):
                situation.appear(finding(), finding("ends"))
                await until(lambda: len({key for _, each in manager.notified() for key, _ in each}) == 2)
            before = await manager.alerts()
            assert before
            ends = min(each["endsAt"] for each in before)
            assert 590 < _seconds(ends) - time.time() < 610
            manager.inbox.posts.clear()
            situation.resolve("ends")
            situation.appear(finding(), unconfirmed="a: not heard since the aggregator started")
            async with alerting(situation, manager.url, directory=tmp_path, quiet_start_s=1.5):
                situation.appear(finding())
                situation.appear(finding("flicker"))
                situation.resolve("flicker")

                async def renewed() -> bool:
                    now = {each["labels"]["finding"]: each["endsAt"] for each in await manager.alerts() or []}
                    return bool(now["mtu-1"] > ends)

                await until(renewed, "it is sent again while it is quiet")
                await until(lambda: manager.notified() == [("resolved", [("ends", "resolved")])])
            assert await manager.active() == [("mtu-1", "warning", "active")]

    asyncio.run(play())


def test_every_alertmanager_gets_every_alert_and_one_that_is_away_holds_up_nobody(tmp_path: Path) -> None:
    async def play() -> None:
        situation, away = Situation(), f"http://127.0.0.1:{free_port()}"
        async with running(tmp_path) as manager, Inbox().open() as other:
            urls = (away, manager.url, f"{other.url}/prefix/")
            async with alerting(situation, *urls, directory=tmp_path) as surface:
                situation.appear(finding())
                await until(manager.notified)
                await until(lambda: other.posts)
                assert other.posts[0].path == "/prefix/api/v2/alerts"
                (gap,) = await until(surface.gaps)
                assert away in gap.because

    asyncio.run(play())


def test_the_example_is_what_amtool_takes(tmp_path: Path) -> None:
    needs.tool("amtool")
    (tmp_path / "alertmanager.yml").write_text(example())
    done = subprocess.run(["amtool", "check-config", tmp_path / "alertmanager.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -- the form alone ----------------------------------------------------------------------------------------------------


FORM = Alerts(AlertmanagerSettings(), "lab", lambda key: f"https://page/{key}")


def record(**fields: Any) -> Record:
    return Record(finding(**fields), "test", AT, AT)


def test_labels_stay_as_they_were_whatever_becomes_of_the_finding() -> None:
    first = FORM.payload(record(objects=("Pod/shop/web-1",)), {}, None)
    assert first["labels"] == {
        "alertname": "mtu.overlay_exceeds_underlay",
        "incident": "mtu_mismatch",
        "severity": "warning",
        "cluster": "lab",
        "finding": "mtu-1",
        "chain": "mtu-1",
        "explained": "false",
        "node": "a",
        "object": "Pod/shop/web-1",
        "namespace": "shop",
    }
    assert [
        name
        for name in (*first["labels"], *first["annotations"])
        if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE
    ] == []
    row = Row(FORM.key(first), "mtu-1", first, "", 1)
    cause = record(key="root")
    later = FORM.payload(record(nodes=("a", "b"), caused_by=("root",), summary="more"), {"root": cause}, row)
    assert later["labels"] == first["labels"]
    assert FORM.key(later) == FORM.key(first)
    assert later["annotations"]["cause"].endswith("root: the overlay does not fit")
    assert later["annotations"]["nodes"] == "a, b"
    assert later["generatorURL"] == "https://page/mtu-1"


def test_an_alert_begins_when_it_is_seen_says_since_when_it_is_so_and_ends_no_earlier() -> None:
    begun = FORM.payload(record(since=AT - 600), {}, None)
    assert begun["annotations"]["since"] == "2026-09-21T14:03:20Z"
    assert begun["startsAt"] == "2026-09-21T14:13:20Z"
    over = json.loads(FORM.body([Row("k", "mtu-1", begun, "", 1, over=AT - 900)], AT))
    assert over[0]["endsAt"] == over[0]["startsAt"]
    stands = json.loads(FORM.body([Row("k", "mtu-1", begun, "", 1)], AT))
    assert stands[0]["endsAt"] == "2026-09-21T14:23:20Z"


def test_a_chain_is_named_by_what_explains_it_in_the_end_and_a_circle_has_an_end() -> None:
    a, b, c = record(key="a"), record(key="b", caused_by=("a",)), record(key="c", caused_by=("b",))
    standing = {each.finding.id: each for each in (a, b, c)}
    assert FORM.payload(c, standing, None)["labels"]["chain"] == "a"
    assert FORM.payload(c, {"c": c}, None)["labels"]["explained"] == "false"  # its cause is known no more
    circle = replace(a, finding=replace(a.finding, caused_by=("c",)))
    assert FORM.payload(c, standing | {"a": circle}, None)["labels"]["chain"] in ("a", "b", "c")


def test_a_text_of_any_length_is_cut() -> None:
    alert = FORM.payload(record(summary="x" * 100_000, nodes=tuple(f"n-{each}" for each in range(9_000))), {}, None)
    assert max(len(text) for text in alert["annotations"].values()) <= 2_000
    assert alert["annotations"]["nodes"].endswith("and 8,950 more")


def test_a_token_is_read_each_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("token") / "token"
    form = Alerts(AlertmanagerSettings(urls=("https://a",), token_file=str(path)), "lab", lambda _: "")
    for token in ("first-token", "second-token"):
        path.write_text(f"{token}\n")
        assert form.headers(b"", AT)["Authorization"] == f"Bearer {token}"
