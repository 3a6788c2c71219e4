"""The maps in a real Chromium: readable by axe's rules, in the dark, on a telephone and by keyboard, and small."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.web.browser import Chromium, Sites
from tests.web.fleet import fleet
from tests.web.test_page import violations

TINY, SMALL, LARGE = 12, 60, 5_000
INSIDE = "maps/paths?by=zone&from=1&from_zone=eu-1a&from_pool=&to=1&to_zone=eu-1b&to_pool="
PAGES = (
    "maps",
    "maps/paths",
    INSIDE,
    "maps/fsync?range=1h",
    "maps/fsync?node=n0001&range=1h",
    "maps/storage",
    "maps/storage?zone=eu-1c",
)
MOST_BYTES = 300_000


def test_axe_has_nothing_to_say_of_the_maps(chromium: Chromium, sites: Sites) -> None:
    address = sites.serve(fleet(TINY))

    def use(page: Page) -> list[str]:
        found = []
        for path in PAGES:
            page.goto(address + path)
            found += violations(page)
        return found

    assert chromium.visit(address, use) == []


def test_maps_can_be_read_in_the_dark_and_on_a_telephone(chromium: Chromium, sites: Sites) -> None:
    address = sites.serve(fleet(TINY))

    def use(page: Page) -> list[str]:
        found = []
        for path in (INSIDE, "maps/fsync?node=n0001&range=1h", "maps/storage"):
            page.goto(address + path)
            found += violations(page, runOnly=["color-contrast"])
        for path in PAGES:
            page.goto(address + path)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{path} is wider than the screen")
        return found

    assert chromium.visit(address, use, color_scheme="dark", viewport={"width": 360, "height": 740}) == []


def test_a_cell_leads_to_its_nodes_without_a_mouse_or_a_script(chromium: Chromium, sites: Sites) -> None:
    address = sites.serve(fleet(SMALL))

    def use(page: Page) -> None:
        page.goto(f"{address}maps/paths?by=zone")
        page.get_by_role("link", name="eu-1a to eu-1b: 2 black hole").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("eu-1a → eu-1b")
        expect(page.get_by_role("row").filter(has_text="black hole").last).to_contain_text("1,420")
        page.goto(f"{address}maps/fsync?range=1h")
        page.get_by_role("searchbox").fill("n0001")
        page.keyboard.press("Enter")
        expect(page.get_by_role("row").filter(has_text="n0001")).to_contain_text("199 ms")
        page.get_by_role("link", name="n0001").click()
        expect(page.get_by_role("img")).to_be_visible()
        page.get_by_text("Figures").click()
        expect(page.get_by_role("table").get_by_role("row").last).to_contain_text("199 ms")

    chromium.visit(address, use, java_script_enabled=False)


def test_maps_of_five_thousand_nodes_are_small_over_the_wire(chromium: Chromium, sites: Sites) -> None:
    address = sites.serve(fleet(LARGE))

    def use(page: Page) -> dict[str, int]:
        sizes = {}
        for path in ("maps/paths", "maps/fsync?range=1h", "maps/storage"):
            page.goto(address + path)
            sizes[path] = page.evaluate(
                "performance.getEntries().reduce((sum, each) => sum + (each.transferSize ?? 0), 0)"
            )
        return sizes

    sizes = chromium.visit(address, use)
    assert all(0 < size < MOST_BYTES for size in sizes.values()), sizes
