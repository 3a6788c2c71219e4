"""An evidence bundle behind the page and the API, as `nodetell diagnose BUNDLE --serve` shows it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cli.bundle_known import BundleKnown, known_of
from cli.exits import CliError
from cli.main import main
from tests.cli.conftest import COMMAND, environment
from tests.cli.test_diagnose import MISMATCH, bundle_of, node_object, nodes_list
from tests.web.site import running


def three_minutes(tmp_path: Path) -> BundleKnown:
    """A host three times, a minute apart, of which a device drops more and more and its MTU falls."""
    path = bundle_of(tmp_path, {"t0": ["node-1"], "t1": ["node-1"], "t2": ["node-1"]})
    for number, dropped, mtu in ((0, 5, 1450), (1, 12, 1450), (2, 52, 1400)):
        file = path / f"t{number}/nodes/node-1/ip-link.json"
        links = json.loads(file.read_text())
        links[1]["mtu"] = mtu
        links[1]["stats64"]["rx"]["dropped"] = dropped
        file.write_text(json.dumps(links))
    return known_of(str(path))


def test_what_moved_between_snapshots_has_points(tmp_path: Path) -> None:
    known = three_minutes(tmp_path)
    (link,) = [key for key, item in known.view().hosts["node-1"].items.items() if item.link.name == "eth0"]
    end = known.now() + 60

    async def points(series: str, since: float = end - 600) -> list[tuple[float, float, int]]:
        found = await known.points("node-1", f"{link}/{series}", since=since, until=end)
        return [((point.at - (end - 180)) / 60, point.value, point.spread_s) for point in found]

    async def scene() -> None:
        assert (await points("mtu"))[0][:2] == (0.0, 1450)
        assert (await points("mtu"))[-1][:2] == (2.0, 1400)
        assert sum(value for _, value, _ in await points("rx_dropped")) == 47
        assert await points("rx_dropped", since=end) == []
        names = {each.name: each for each in await known.series("node-1", since=end - 600, until=end)}
        assert (names[f"{link}/mtu"].label, names[f"{link}/mtu"].gauge) == ("eth0", True)
        assert await known.series("none", since=0, until=end) == []
        past = await known.past("node-1", since=end - 600, until=end, step_s=60)
        assert past.heard

    asyncio.run(scene())


def test_it_says_what_a_diagnosis_says(tmp_path: Path) -> None:
    kube = {"nodes.json": nodes_list(node_object("node-1", "node-1"), node_object("node-9", "node-9"))}
    known = known_of(str(bundle_of(tmp_path, {"t0": ["node-1", "node-2"], "t1": ["node-1"]}, kube)))
    assert not known.live
    assert [record.first_seen for record in known.standing()] == [known.now()] * len(known.standing())
    assert (known.resolved(10), known.node_names()) == ([], ["node-1", "node-2"])
    assert [(each.node, each.connected) for each in known.summaries()] == [("node-1", True), ("node-2", False)]
    assert [each.node for each in known.summaries(["node-2", "x"])] == ["node-2"]
    named = sum("node-1" in record.finding.nodes for record in known.standing())
    assert [each.findings for each in known.summaries(["node-1"])] == [named]
    assert [known.has(name) for name in ("node-1", "node-9", "x")] == [True, True, False]
    alone, nobody = known.node("node-9"), known.node("x")
    assert alone is not None
    assert (alone.summary.node, len(alone.facts.items), nobody) == ("node-9", 0, None)
    assert [gap for part in known.gaps_in_parts() for gap in part] == known.gaps()

    async def scene() -> None:
        async with running(known, page=False) as at:
            cluster = await at.api("/cluster")
            assert (cluster["live"], cluster["nodes"]) == (
                False,
                {"with_agent": 2, "connected": 1, "of_api_server": 2},
            )

    asyncio.run(scene())


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="no bundle"):
        known_of(str(tmp_path))


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_interrupted() -> None:
    serving = subprocess.Popen(
        [*COMMAND, "diagnose", str(MISMATCH), "--serve", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert serving.stdout is not None
        told: dict[str, Any] = json.loads(serving.stdout.readline())
        assert (told["event"], told["cluster"]) == ("serving", "fixture")
        with urllib.request.urlopen(f"{told['address']}/api/v1/findings", timeout=20) as answer:  # noqa: S310  # ours
            assert json.loads(answer.read())["total"] > 0
        with urllib.request.urlopen(told["address"], timeout=20) as answer:  # noqa: S310  # likewise
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        serving.send_signal(signal.SIGINT)
        _, said = serving.communicate(timeout=20)
        assert (serving.returncode, said) == (0, "")
    finally:
        serving.kill()
        serving.wait(timeout=10)
        for stream in (serving.stdout, serving.stderr):
            assert stream is not None
            stream.close()


def test_an_address_that_is_not_this_host_s_own_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def said(*arguments: str | Path) -> tuple[int, str]:
        status = main(["diagnose", *map(str, arguments)])
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1
        return status, told.err

    status, why = said(MISMATCH, "--serve", "0.0.0.0:0")
    assert (status, "not loopback" in why) == (64, True)
    for odd in ("here", "localhost:99999", ":1"):
        assert said(MISMATCH, "--serve", odd) == (64, f'nodetell: --serve: "{odd}" is not "host:port"\n')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        status, why = said(MISMATCH, "--serve", where)
    assert (status, why) == (69, f"nodetell: --serve: {where}: can't listen there: address already in use\n")
    assert said(tmp_path, "--serve")[0] == 3
