"""What a live agent's findings say, a bundle of the same host says elsewhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import needs, netns
from tests.cli.conftest import COMMAND, Run, environment


@pytest.mark.needs_root
def test_a_bundle_of_this_host_gives_the_findings_that_live_gives(run: Run, tmp_path: Path) -> None:
    needs.kind("vxlan")
    with netns.namespaces(2) as (here, there):
        netns.join(here, "eth0", there, "eth0", mtu=1500)
        here.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
        here.ip("link", "add", "vx0", "mtu", 1500, "type", "vxlan", "id", 7, "dstport", 4789, "local", "192.0.2.1")
        here.ip("link", "set", "vx0", "up")
        here.ip("addr", "add", "10.244.0.1/24", "dev", "vx0")
        env = [f"{name}={value}" for name, value in environment(HOME=str(tmp_path)).items()]
        command = ["env", *env, *COMMAND]
        with here.start(*command, "up", "--format", "json", "--listen", "127.0.0.1:0") as up:
            try:
                live = _first_findings(up)
                here.run(*command, "collect", tmp_path / "bundle", "--no-kube", "--interval", "1")
                up.terminate()
                assert up.wait(timeout=10) == 0
            finally:
                up.kill()
    document = json.loads(run("diagnose", tmp_path / "bundle", "--format", "json").stdout)
    assert "mtu.overlay_exceeds_underlay" in live.values()
    told = {finding["id"]: finding["code"] for finding in document["findings"] if finding["code"].startswith("mtu.")}
    assert told == live


def _first_findings(up: subprocess.Popen[str]) -> dict[str, str]:
    """Codes by id of what `up` finds first of what the test has made: the machine's own disks and clock are not its."""
    assert up.stdout is not None
    found: dict[str, str] = {}
    while line := up.stdout.readline():
        event = json.loads(line)
        if event["event"] in ("standing", "appeared") and event["finding"]["code"].startswith("mtu."):
            found[event["finding"]["id"]] = event["finding"]["code"]
        if found and event["event"] in ("synced", "appeared"):
            return found
    raise AssertionError("up ended without a finding")
