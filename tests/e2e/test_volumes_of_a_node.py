"""`nodetell up --kubeconfig FILE` and `nodetell node NAME`: both halves of a node's volumes, joined, as they change.

The API server is one of tests/apiserver.py with a cluster of the laboratory in it; agent and aggregator are processes,
and the agent reads the laboratory's host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver import ApiServer, Cluster, Json, Reply, Request, status
from tests.lab.cluster import Lab
from tests.lab.shapes import KINDS

pytestmark = pytest.mark.timeout(90)
ROOT = Path(__file__).parents[2]
NODETELL = (sys.executable, "-m", "cli.main")
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "COLUMNS": "120"}
HANDLE = "vol-0abc0000000000001"
PATIENCE_S = 30.0


@dataclass
class Api:
    """A lab's objects behind a socket, in a thread of their own."""

    loop: asyncio.AbstractEventLoop
    cluster: Cluster
    server: ApiServer
    denied: str = ""
    """Resource that may not be read."""

    def show(self, lab: Lab) -> None:
        """Let the API server have what the lab has, no more and no less."""
        asyncio.run_coroutine_threadsafe(self._show(lab), self.loop).result(5)

    async def _show(self, lab: Lab) -> None:
        lab.tick(0)
        files = lab.snapshots[-1][2]
        for resource, version in KINDS.values():
            items = json.loads(files.get(f"kube/{resource}.json", b'{"items": []}'))["items"]
            wanted = {f"{each['metadata'].get('namespace', '')}.{each['metadata']['name']}": each for each in items}
            path = f"/{'api' if version == 'v1' else 'apis'}/{version}/{resource}"
            for gone in set(self.cluster.of(path).objects) - set(wanted):
                self.cluster.drop(path, gone)
            for key, item in wanted.items():
                if self.cluster.of(path).objects.get(key) != item:
                    self.cluster.put(path, key, **item)

    async def answer(self, request: Request, reply: Reply) -> None:
        if self.denied and request.path.endswith(f"/{self.denied}"):
            told = f'{self.denied} is forbidden: User "x" cannot list resource "{self.denied}"'
            await reply.whole(403, status(403, told, "Forbidden"))
        else:
            await self.cluster.answer(request, reply)


@contextlib.contextmanager
def api_server(lab: Lab, denied: str = "") -> Iterator[Api]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    cluster = Cluster()
    cluster.watch_s = 3600.0
    api = Api(loop, cluster, ApiServer(cluster.answer), denied)
    api.server.answer = api.answer
    asyncio.run_coroutine_threadsafe(api.server.start(), loop).result(5)
    try:
        api.show(lab)
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(api.server.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def kubeconfig(directory: Path, url: str) -> Path:
    document: Json = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "lab", "user": {"token": "t"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))  # JSON is YAML
    path.chmod(0o600)
    return path


def write_host(lab: Lab, node: str, directory: Path) -> None:
    """The host's files as the agent reads them, each replaced in one step."""
    for path, content in lab.host(node).frozen().items():
        target = directory / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            made = target.with_name(target.name + ".new")
            made.write_bytes(content)
            made.replace(target)


@contextlib.contextmanager
def up(directory: Path, config: Path) -> Iterator[str]:
    """Agent and aggregator on this host; where the latter listens."""
    settings = directory / "agent.toml"
    host = "\n".join(f'{name} = "{directory / name}"' for name in ("proc", "sys", "kubelet", "dev", "udev"))
    settings.write_text(f'node = "n1"\n[host]\n{host}\n[collectors]\nintervals = ["volumes=1"]\nsensor_socket = ""\n')
    command = [*NODETELL, "up", "--kubeconfig", str(config), "--agent-config", str(settings), "--format", "json"]
    command += ["--listen", "127.0.0.1:0"]
    with (
        (directory / "said").open("w") as said,
        subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                address = json.loads(line).get("address") if line.startswith("{") else None
                if address:
                    break
            else:
                raise AssertionError((directory / "said").read_text())
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield str(address)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def asked(address: str, *arguments: str) -> str:
    command = [*NODETELL, "node", "n1", "--insecure", "--aggregator", address, *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False).stdout


def until(address: str, true: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The rows, as soon as they are so."""
    end = time.monotonic() + PATIENCE_S
    rows: list[dict[str, Any]] = []
    while time.monotonic() < end:
        with contextlib.suppress(json.JSONDecodeError):
            rows = list(json.loads(asked(address, "--format", "json"))["volume_rows"])
            if true(rows):
                return rows
        time.sleep(0.2)
    raise AssertionError(f"after {PATIENCE_S:g} s: {json.dumps(rows, indent=1)}")


def whole(rows: list[dict[str, Any]]) -> bool:
    """The host has reported and all lists of the API server have come, one after the other."""
    if len(rows) != 1 or rows[0].get("mounted") is not True:
        return False
    told = (rows[0][name] for name in ("claim", "pod", "listed", "in_use"))
    return all(told) and rows[0]["attachment_state"] != "unspecified"


def database() -> Lab:
    lab = Lab()
    lab.node("n1", zone="eu-1a")
    lab.disk("db/data-pg-0", "pv-1", handle=HANDLE, zone="eu-1a", attached_to="n1")
    lab.pod("db/pg-0", node="n1", owner=("StatefulSet", "pg"), claims={"data": "data-pg-0"})
    lab.host("n1", thorough=True).mount_csi("db/pg-0", "pv-1", "nvme1n1")
    return lab


def test_a_node_s_volumes_from_both_halves_as_they_change(tmp_path: Path) -> None:
    lab = database()
    write_host(lab, "n1", tmp_path)
    with api_server(lab) as api, up(tmp_path, kubeconfig(tmp_path, api.server.url)) as address:
        (row,) = until(address, whole)
        assert (row["claim"], row["pod"], row["device"]) == ("db/data-pg-0", "db/pg-0", "nvme1n1")
        assert (row["attachment_state"], row["listed"], row["in_use"]) == ("attached", True, True)
        assert row["mismatches"] == []
        assert "db/data-pg-0  db/pg-0  attached    attached, in use  nvme1n1  rw" in asked(address)

        lab.delete("Pod/db/pg-0")  # by force: the API server forgets the pod, the host goes on
        lab.attachment("pv-1", "n1", deleted=-60)
        api.show(lab)
        (row,) = until(address, lambda rows: rows[0]["attachment_state"] == "detaching" and rows[0]["pod"] == "")
        assert "it is being detached, and the host has it mounted" in row["mismatches"]
        assert "! db/data-pg-0" in asked(address)

        lab.host("n1").mounts.clear()  # at last the host lets go
        lab.host("n1").forget("kubelet/")
        (tmp_path / "kubelet/pods").rename(tmp_path / "pods-gone")
        (tmp_path / "kubelet/plugins").rename(tmp_path / "plugins-gone")
        write_host(lab, "n1", tmp_path)
        (row,) = until(address, lambda rows: rows[0].get("mounted") is False and rows[0].get("staged") is False)
        assert row["mismatches"] == []


def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    lab = database()
    write_host(lab, "n1", tmp_path)
    with (
        api_server(lab, denied="volumeattachments") as api,
        up(tmp_path, kubeconfig(tmp_path, api.server.url)) as address,
    ):
        (row,) = until(
            address, lambda rows: len(rows) == 1 and rows[0]["claim"] != "" and rows[0].get("mounted") is True
        )
        assert row["attachment_state"] in (0, "unspecified")
        end = time.monotonic() + PATIENCE_S  # the other lists come one after the other
        while "what the API server does not tell: volumeattachments" not in (text := asked(address)):
            assert time.monotonic() < end, text
            time.sleep(0.2)
