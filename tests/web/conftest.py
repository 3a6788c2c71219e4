"""One Chromium and one thread of servers for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.bundle_known import known_of
from tests import needs
from tests.lab.scenario import write
from tests.signatures.test_control_plane_timelines import disk_noisy_neighbour__positive_the_whole_chain as slow_disk
from tests.signatures.test_red_mixed import node_lost__positive_a_zone_of_forty_nodes_and_its_volumes as lost_zone
from tests.signatures.test_red_mixed import (
    storage_stale_attachment__positive_the_host_shows_its_root_disk_only as gone,
)
from tests.web.browser import Chromium, Sites
from tests.web.site import bundle, made_up


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """Started once."""
    needs.tool("chromium")
    browser = Chromium()
    browser.start()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def sites() -> Iterator[Sites]:
    """A thread of servers."""
    there = Sites()
    there.start()
    yield there
    there.close()


@pytest.fixture(scope="session")
def shown(sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where what can be seen, by its name."""
    directory = tmp_path_factory.mktemp("bundles")
    made = {"slow disk": slow_disk, "lost zone": lost_zone, "gone": gone}
    addresses = {"tunnel": sites.serve(bundle()), "nothing": sites.serve(made_up([]))}
    for number, (name, scenario) in enumerate(made.items()):
        path = Path(directory / str(number))
        write(scenario(), path)
        addresses[name] = sites.serve(known_of(str(path)))
    return addresses
