"""The pictures of the page in the documentation: `make screenshots` writes docs/images/*.png.

Bundles are made of the tests' own scenarios, diagnosed and served by `nodetell diagnose BUNDLE --serve`, and looked at
in a real Chromium: what is shown is what the page is. It needs Debian's chromium.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One file."""

    name: str
    bundle: str
    """A scenario of tests.lab, a directory, or "fleet:N": as many nodes as tests.web.fleet makes up."""
    path: str = ""
    """Below the page's beginning; the address of the first link that begins so, where it ends with "*"."""
    width: int = 1120
    height: int = 860
    scheme: str = "light"
    at: str = ""
    """Id of the element that is at the top; empty: the page's beginning."""


_CHAIN = "disk_noisy_neighbour__positive_the_whole_chain"
_TUNNEL = "tests/fixtures/hosts/vxlan-dropping"
PICTURES = (
    Picture("overview", _CHAIN, height=1000),
    Picture("overview-dark", _CHAIN, height=1000, scheme="dark"),
    Picture("overview-phone", _CHAIN, width=360, height=780),
    Picture("finding", _CHAIN, "findings/cp-saturation*"),
    Picture("evidence", _CHAIN, "findings/cp-saturation*", at="evidence", height=700),
    Picture("nodes", _CHAIN, "nodes", height=560),
    Picture("node-stack", _TUNNEL, "nodes/*", at="stack", height=780),
    Picture("maps-paths", "fleet:60", "maps/paths", width=1440, height=1180),
    Picture("maps-fsync", "fleet:60", "maps/fsync", height=760),
    Picture("maps-storage", "fleet:60", "maps/storage", height=700),
)


def bundle(name: str, directory: Path) -> Path:
    """A bundle by the name of its scenario, or the directory that it is in already."""
    if (ROOT / name).is_dir():
        return ROOT / name
    target = directory / name
    if not target.exists():
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
        command = [sys.executable, "-m", "tests.lab", name, str(target)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return target


@contextlib.contextmanager
def served(name: str, directory: Path) -> Iterator[str]:
    """The page of a bundle, as anybody has it, or of a fleet that is made up."""
    fleet, _, nodes = name.partition(":")
    if nodes:
        command = [sys.executable, "-m", f"tests.web.{fleet}", nodes]
    else:
        path = str(bundle(name, directory))
        command = [str(Path(sys.executable).with_name("nodetell")), "diagnose", path, "--serve", "--format", "json"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101  # a pipe was asked for
            yield f"{json.loads(process.stdout.readline())['address']}/"
        finally:
            process.terminate()
            process.wait(_STOP_S)


def main(names: list[str]) -> int:
    """Write all of them, or those that are named."""
    if (chromium := shutil.which("chromium")) is None:
        print("screenshots: chromium is not installed", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    wanted = [picture for picture in PICTURES if not names or picture.name in names]
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        for picture in wanted:
            with served(picture.bundle, Path(scratch)) as address:
                page = browser.new_page(
                    viewport={"width": picture.width, "height": picture.height},
                    color_scheme="dark" if picture.scheme == "dark" else "light",
                )
                beginning, star, _ = picture.path.partition("*")
                page.goto(address + (beginning.rpartition("/")[0] if star else beginning))
                if star:
                    page.goto(page.locator(f'main a[href*="{beginning}"]').first.evaluate("each => each.href"))
                if picture.at:
                    page.evaluate(f"scrollTo(0, document.getElementById('{picture.at}').offsetTop - 16)")
                target = IMAGES / f"{picture.name}.png"
                page.screenshot(path=target)
                page.close()
                print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
