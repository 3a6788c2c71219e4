"""The page in a real Chromium: read with and without JavaScript, by keyboard and screen reader, from 360 px to 4K,
below any prefix; kept up to date without losing what its reader is at; and nothing ever asked of anybody else."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Page, expect

from aggregator.findings import Kind, Record, Transition
from aggregator.model import Severity, Stage
from aggregator.web.server import make_app
from cli.bundle_known import BundleKnown
from tests.cli.test_up import Up
from tests.web.browser import PATIENCE_MS, Chromium, Sites
from tests.web.site import AT, bundle, finding, made_up

pytestmark = pytest.mark.timeout(240)  # a browser takes its time where others keep the machine busy
_LINK = re.compile(r'\b(?:href|src|action)="([^"]*)"')


def links(page: Page, beginning: str) -> list[str]:
    """Addresses of what the page leads to."""
    found: list[str] = page.eval_on_selector_all("a[href]", "all => all.map(each => each.href)")
    return [each for each in dict.fromkeys(found) if beginning in each]


def violations(page: Page, **options: object) -> list[str]:
    """What axe-core has to say against it, all that is folded away included."""
    page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    found = Axe().run(page, options=options).response["violations"]
    return [f"{page.url}: {each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def everywhere(page: Page, address: str, paths: tuple[str, ...]) -> list[str]:
    """All sorts of pages of one site: the plain ones, the first finding and the first node."""
    plain = [address + path for path in paths]
    page.goto(address + "findings")
    plain += links(page, "findings/")[:1]
    page.goto(address + "nodes")
    return plain + links(page, "nodes/")[:1]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("slow disk", ""),
        ("slow disk", "findings/"),
        ("slow disk", "nodes"),
        ("slow disk", "coverage"),
        ("gone", "nodes/"),
        ("tunnel", "nodes/"),
        ("nothing", ""),
    ],
)
def test_axe_has_nothing_to_say(chromium: Chromium, shown: dict[str, str], name: str, path: str) -> None:
    def use(page: Page) -> list[str]:
        if path.endswith("/"):
            page.goto(shown[name] + path.rstrip("/"))
            page.goto(links(page, path)[0])
        return violations(page)

    assert chromium.visit(shown[name] + path.rstrip("/"), use) == []


def test_in_the_dark_everything_can_be_read_as_well(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> list[str]:
        found = violations(page, runOnly=["color-contrast"])
        page.goto(links(page, "findings/")[0])
        return found + violations(page, runOnly=["color-contrast"])

    assert chromium.visit(shown["slow disk"], use, color_scheme="dark") == []


@pytest.mark.parametrize("name", ["tunnel", "slow disk"])
def test_nothing_is_wider_than_the_screen(chromium: Chromium, shown: dict[str, str], name: str) -> None:
    def use(page: Page) -> list[str]:
        found = []
        for address in everywhere(page, shown[name], ("", "coverage")):
            page.goto(address)
            for width in (360, 768, 1280, 3840):
                page.set_viewport_size({"width": width, "height": 900})
                if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                    found.append(f"{width}: {address}")
        return found

    assert chromium.visit(shown[name], use) == []


def test_everything_can_be_read_without_javascript(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> None:
        assert page.inner_text("#headline") == "4 active findings, with 1 cause"
        incident = page.inner_text("#incidents article")
        assert "Do first" in incident
        assert "Why" in incident
        page.click("#incidents h3 a")
        assert page.inner_text("section.first h2") == "What to do first"
        assert page.locator("section.first ol li").count() >= 1
        assert page.locator("#evidence tbody tr").count() > 3
        page.click('nav a:has-text("Nodes")')
        page.click('th a:has-text("fsync p99")')
        first = page.inner_text("tbody tr:first-child th a")
        assert page.get_attribute('th:has-text("fsync p99")', "aria-sort") == "descending"
        page.click('th a:has-text("fsync p99")')
        assert page.get_attribute('th:has-text("fsync p99")', "aria-sort") == "ascending"
        page.fill('input[name="q"]', first)
        page.click("button")
        assert page.locator("tbody tr").count() == 1
        page.click("tbody th a")
        assert page.inner_text("h1") == first
        assert "etcd" in page.inner_text("#disks")

    chromium.visit(shown["slow disk"], use, java_script_enabled=False)


def test_evidence_is_shown_over_time(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> None:
        page.click("#incidents h3 a")
        assert page.locator("#evidence svg").count() >= 1
        assert "before" in page.inner_text("#evidence .pictures")

    chromium.visit(shown["slow disk"], use)


def test_a_misfit_stands_out_in_the_stack(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> None:
        page.goto(shown["tunnel"] + "nodes")
        page.click("tbody th a")
        assert "does not fit" in page.inner_text("#stack .misfits")
        assert page.locator("#stack .box.misfit").count() == 2

    chromium.visit(shown["tunnel"], use)


def test_volumes_are_a_truth_table(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> list[str]:
        page.goto(shown["gone"] + "nodes")
        found = []
        for address in links(page, "nodes/"):
            page.goto(address)
            found += page.locator("#volumes tr.contradiction").all_inner_texts()
        return found

    assert any(
        "the VolumeAttachment says attached, and the host has no such device" in each
        for each in chromium.visit(shown["gone"], use)
    )


def test_quiet_says_how_much_is_seen(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> None:
        assert page.inner_text("#headline") == "Quiet"
        assert "no agent has reported" in page.inner_text("#state")
        assert page.locator(".tile.unseen").count() == 5

    chromium.visit(shown["nothing"], use)


def test_the_keyboard_gets_everywhere(chromium: Chromium, shown: dict[str, str]) -> None:
    def use(page: Page) -> None:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        number = "main a, main summary, main [tabindex='0']"
        every = page.eval_on_selector_all(number, "all => all.map((each, index) => each.dataset.number = index).length")
        reached = set[str]()
        for _ in range(every + 1):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.number ?? ''"))
        assert {str(index) for index in range(every)} - reached == set()

    chromium.visit(shown["slow disk"], use)


def test_what_hosts_and_addresses_say_stays_text(chromium: Chromium, sites: Sites) -> None:
    hostile = "<img src=x onerror=alert(1)>\u202e{{ 7*7 }}\x07"
    record = finding(1, summary=hostile, code=hostile, nodes=(hostile,), objects=(hostile,), remediation=(hostile,))
    address = sites.serve(made_up([record]))

    def use(page: Page) -> list[str]:
        seen = []
        for path in (
            "",
            "findings",
            "findings/mtu-00001",
            f"findings?node={quote(hostile)}",
            f"nodes?q={quote(hostile)}",
        ):
            page.goto(address + path)
            assert page.locator("img").count() == 0
            seen.append(page.inner_text("body"))
        page.goto(f"{address}nodes/{quote(hostile.replace('{{ 7*7 }}', ''))}")
        return [*seen, page.inner_text("body")]

    shown_as = r"<img src=x onerror=alert(1)>\u202e{{ 7*7 }}\x07"
    *texts, filtered, missing = chromium.visit(address, use, complaints=("404",))
    assert all(shown_as in text for text in texts)
    assert shown_as.replace("{{ 7*7 }}", "") in missing
    assert not any("\u202e" in text for text in (*texts, filtered, missing))


# -- below a prefix ----------------------------------------------------------------------------------------------------

PREFIX = "/api/v1/namespaces/nodetell/services/https:nodetell-aggregator:http/proxy"


def test_every_link_is_relative_and_works_below_a_prefix(chromium: Chromium, sites: Sites) -> None:
    async def start() -> tuple[web.AppRunner, str]:
        outer = web.Application()
        outer.add_subapp(PREFIX, make_app(bundle(), None))
        runner = web.AppRunner(outer)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}{PREFIX}/"

    runner, beginning = sites.run(start())

    def use(page: Page) -> None:
        to_visit, visited = [beginning], set[str]()
        while to_visit:
            address = to_visit.pop()
            answer = page.goto(address)
            assert answer is not None
            assert answer.ok, address
            visited.add(address)
            for link in _LINK.findall(page.content()):
                assert not re.match(r"/|[a-z]+:", link), link
            ahead = links(page, "")
            assert all(each.startswith(beginning) for each in ahead), ahead
            kinds = {re.sub(r"\?.*|#.*", "", each) for each in ahead if "/api/" not in each.removeprefix(beginning)}
            to_visit += sorted(kinds - visited - set(to_visit))
        assert len(visited) > 7
        assert page.evaluate("getComputedStyle(document.body).marginTop") == "0px"  # the style sheet was found

    try:
        chromium.visit(beginning, use)
    finally:
        sites.run(runner.cleanup())


# -- live --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moving(BundleKnown):
    """What changes while somebody looks."""

    @property
    def live(self) -> bool:
        return True

    async def become(self, *records: Record) -> None:
        """These stand from now on."""
        before = {record.finding.id: record for record in self.report.records}
        self.report.records[:] = records
        for record in records:
            if record.finding.id not in before:
                self._tell(Transition(Kind.APPEARED, record, AT))
        for name in before.keys() - {record.finding.id for record in records}:
            self._tell(Transition(Kind.RESOLVED, replace(before[name], resolved=AT, because="cleared"), AT))

    def _tell(self, transition: Transition) -> None:
        for listener in list(self.listeners):
            listener(transition)


def moving() -> Moving:
    """Something with one finding."""
    first = made_up([finding(1, stage=Stage.ACTIVE)])
    return Moving(first.report, first.hosts, first.thresholds, first.rows)


def test_what_changes_is_shown_at_once_and_focus_scroll_and_what_is_open_stay(chromium: Chromium, sites: Sites) -> None:
    known = moving()
    many = [Record(finding(n, stage=Stage.ACTIVE, caused_by=("mtu-00001",) * (n > 1)), "", AT, AT) for n in range(1, 9)]
    address = sites.serve(known)

    def use(page: Page) -> None:
        page.evaluate("document.querySelector('#incidents h3 a').focus()")
        page.evaluate("window.before = document.activeElement; scrollTo(0, 60)")
        sites.run(known.become(*many))
        expect(page.locator("#headline")).to_have_text(re.compile("^8 active"), timeout=PATIENCE_MS)
        assert page.evaluate("document.activeElement === window.before")
        assert page.evaluate("scrollY") == 60
        assert "8 active" in page.inner_text("#news")
        page.click("#incidents summary")
        sites.run(known.become(*many[:-1]))
        expect(page.locator("#headline")).to_have_text(re.compile("^7 active"), timeout=PATIENCE_MS)
        assert page.evaluate("document.querySelector('#incidents details').open")
        sites.run(known.become())
        expect(page.locator("#headline")).to_have_text("Quiet", timeout=PATIENCE_MS)
        assert page.evaluate("document.activeElement.id") == "main"
        assert page.evaluate("scrollY >= 0")

    chromium.visit(address, use, viewport={"width": 800, "height": 500})


def test_a_lost_connection_is_said_and_mended(chromium: Chromium, sites: Sites) -> None:
    known = moving()
    address = sites.serve(known)

    def use(page: Page) -> None:
        page.context.set_offline(True)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_selector("#lost:not([hidden])")
        assert re.match(r"Connection lost since \d\d:\d\d:\d\d UTC", page.inner_text("#lost"))
        risk = Record(finding(2, severity=Severity.CRITICAL, stage=Stage.ACTIVE), "", AT, AT)
        sites.run(known.become(*known.report.records, risk))
        page.context.set_offline(False)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_selector("#lost", state="hidden")
        expect(page.locator("#headline")).to_have_text(re.compile("^2 active"), timeout=PATIENCE_MS)

    chromium.visit(address, use, complaints=("ERR_INTERNET_DISCONNECTED",))


# -- for real ----------------------------------------------------------------------------------------------------------


def test_a_running_aggregator_with_a_real_agent_is_shown_as_it_is(chromium: Chromium, tmp_path: Path) -> None:
    running = Up(tmp_path, "--listen", "127.0.0.1:0")
    try:
        listening = running.until("listening")
        running.until("host")
        name = socket.gethostname()

        def use(page: Page) -> None:
            assert "as of" in page.inner_text("#asof")
            page.click('nav a:has-text("Nodes")')
            expect(page.locator("tbody th a")).to_have_text(name, timeout=PATIENCE_MS)
            page.click("tbody th a")
            assert "its agent was heard" in page.inner_text("#about")
            first = page.inner_text("#asof time")
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when somebody comes back to it
            expect(page.locator("#asof time")).not_to_have_text(first, timeout=PATIENCE_MS)
            assert page.locator("#stack .box, #stack .empty").count() >= 1
            page.click('nav a:has-text("Coverage")')
            assert page.locator("#limits li").count() >= 1

        chromium.visit(f"{str(listening['page']).rstrip('/')}/", use)
    finally:
        running.close()
