"""What the sensor sees where nothing else does: black holes show in retransmissions, loss and discovery do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sensor.report import Sensor
from tests import needs
from tests.situations.catalogue import SENSOR, SITUATIONS, Situation
from tests.situations.lab import Layout, Rule
from tests.situations.play import staged
from tests.situations.sensing import sensing, sent_again
from tests.situations.traffic import Bulk, Fates

pytestmark = pytest.mark.needs_root

BY_NAME = {situation.name: situation for situation in SITUATIONS}
STALLS = [name for name, each in BY_NAME.items() if SENSOR in each.silent and each.fates.bulk is Bulk.STALLS]
DISCOVERY = [name for name, each in BY_NAME.items() if not each.silent and each.fates.bulk is Bulk.FLOWS]
LOSSY = Situation(
    "lossy",
    "healthy, and the path loses every tenth packet, whatever its size",
    Layout(drops=(Rule("path", "prerouting", "ip daddr 10.9.0.0/16 numgen inc mod 10 == 3"),)),
    Fates(bulk=Bulk.FLOWS),
)


@pytest.fixture
def sensor() -> Iterator[Sensor]:
    """One for each test: the kernel gives a namespace's number to another one as soon as it is gone."""
    needs.root_netns()
    with sensing() as running:
        yield running


@pytest.mark.parametrize("name", STALLS)
def test_a_silent_black_hole_shows_in_retransmissions(name: str, sensor: Sensor) -> None:
    with staged(BY_NAME[name], sensor) as stage:
        stage.nodes.read()
        assert stage.send_bulk() is Bulk.STALLS
        verdict = stage.nodes.read()
        assert sent_again(stage.nodes.state("a"), stage.lab.target).black_hole
        assert "mtu.path_black_hole" in {finding.code for finding in verdict.findings}


@pytest.mark.parametrize("situation", [LOSSY, *map(BY_NAME.get, DISCOVERY)], ids=lambda situation: situation.name)
def test_loss_and_discovery_are_no_black_hole(situation: Situation, sensor: Sensor) -> None:
    with staged(situation, sensor) as stage:
        stage.nodes.read()
        assert stage.send_bulk() is Bulk.FLOWS
        verdict = stage.nodes.read()
        assert "mtu.path_black_hole" not in {finding.code for finding in verdict.findings}
        seen = sent_again(stage.nodes.state("a"), stage.lab.target)
        assert not seen.black_hole
        assert seen.large > 0 or situation is not LOSSY
