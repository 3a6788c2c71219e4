"""What a real agent sends is captured and held to docs/data.md: every field is listed there, and nothing that should
stay on the node has left it. The node is seeded with secrets wherever a careless reader would find them.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from nodetell import logs
from nodetell.v1 import agent_pb2

from aggregator.findings import FindingBook
from aggregator.fleet import Fleet
from aggregator.ingest import add_agent_service, server_options
from aggregator.query import add_operator_service
from aggregator.settings import PathMtuSettings
from aggregator.store import Store
from aggregator.trust.standing import Anybody
from tests.house.test_data_page import listed_fields
from tests.wire import until

NODETELL = (sys.executable, "-m", "cli.main")
CANARY = "CANARY-7f3a"
POD = "0f0e0d0c-1111-2222-3333-444455556666"
VOLUMES = f"pods/{POD}/volumes"


def seeded(directory: Path) -> list[str]:
    """A host below `directory` that is full of secrets; the agent's flags to look at it."""
    proc, kubelet, dev, udev, logs_of = (directory / name for name in ("proc", "kubelet", "dev", "udev", "logs"))
    csi = kubelet / VOLUMES / "kubernetes.io~csi" / "pvc-1"
    files = {
        proc / "stat": f"cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nbtime 1700000000\n{CANARY} 1\n",
        proc / "meminfo": "MemTotal: 9 kB\nMemFree: 4 kB\nMemAvailable: 5 kB\nBuffers: 1 kB\nCached: 1 kB\n",
        proc / "diskstats": " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
        proc / "1" / "environ": f"PASSWORD={CANARY}\0",
        proc / "1" / "cmdline": f"init\0--password={CANARY}\0",
        proc / "4711" / "environ": f"DATABASE_URL=postgres://app:{CANARY}@db/x\0",
        proc / "4711" / "cmdline": f"server\0--token\0{CANARY}\0",
        proc / "1" / "mountinfo": "".join(
            line + "\n"
            for line in (
                "20 1 8:1 / / rw - ext4 /dev/sda1 rw",
                f"21 20 0:40 / /mnt/share rw - cifs //user:{CANARY}@server/share rw,username=bob,password={CANARY}",
                f"22 20 0:41 / /mnt/dav rw - fuse.dav https://bob:{CANARY}@dav.example/files rw",
                f"23 20 0:42 / /mnt/blob rw - fuse.blob https://acct.example/c?sv=1&sig={CANARY} rw",
                f"24 20 8:16 / {kubelet}/{VOLUMES}/kubernetes.io~csi/pvc-1/mount rw - ext4 /dev/sdb rw,key={CANARY}",
                f"this line is damaged password={CANARY}",
            )
        ),
        csi / "vol_data.json": '{"driverName": "ebs", "volumeHandle": "vol-1", "specVolID": "pvc-1", '
        f'"attachmentID": "csi-1", "nodePublishSecret": "{CANARY}", "volumeContext": {{"token": "{CANARY}"}}}}',
        csi / "mount" / "data.txt": CANARY,
        kubelet / VOLUMES / "kubernetes.io~secret" / "db" / "password": CANARY,
        kubelet / VOLUMES / "kubernetes.io~projected" / "kube-api-access" / "token": CANARY,
        kubelet / VOLUMES / "kubernetes.io~configmap" / "conf" / "app.ini": f"password={CANARY}",
        logs_of / f"shop_web_{POD}" / "app" / "1.log": f"2026-01-01T00:00:00Z stderr F password {CANARY} refused\n",
        udev / "data" / "b8:0": f"S:disk/by-id/ata-disk-1\nE:ID_SERIAL=disk-1\nE:NOTE={CANARY}\n",
        directory / "etc" / "shadow": CANARY,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    dev.mkdir()
    os.mkfifo(dev / "kmsg")
    places = {"proc": proc, "kubelet": kubelet, "dev": dev, "udev": udev, "logs": logs_of}
    return [word for name, path in places.items() for word in (f"--host.{name}", str(path))]


@contextlib.contextmanager
def kernel_saying(path: Path, text: str) -> Iterator[None]:
    """Whoever has the log open, and there are several, finds a record of the kernel's in it again and again."""
    over = threading.Event()

    def say() -> None:
        number = 0
        while not over.wait(0.1):
            number += 1
            at = round(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
            with contextlib.suppress(BlockingIOError):
                os.write(descriptor, f"3,{number},{at},-;{text}\n".encode())

    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    saying = threading.Thread(target=say)
    saying.start()
    try:
        yield
    finally:
        over.set()
        saying.join()
        os.close(descriptor)


class Captured(Fleet):
    """A fleet that keeps what it was told."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, FindingBook(), path_mtu=PathMtuSettings(enabled=False))
        self.messages: list[Message] = []

    def connect(self, hello: agent_pb2.Hello, peer: str) -> bool:
        self.messages.append(hello)
        return super().connect(hello, peer)

    async def take(self, node: str, instance: bytes, number: int, update: agent_pb2.Update) -> None:
        self.messages.append(update)
        await super().take(node, instance, number, update)


def set_fields(message: Message) -> set[str]:
    """Every field that is set in a message, and in those within it; unknown ones by their numbers."""
    unknown = UnknownFieldSet(message)
    found = {f"{message.DESCRIPTOR.name}.#{unknown[index].field_number}" for index in range(len(unknown))}
    for field, value in message.ListFields():
        found.add(f"{message.DESCRIPTOR.name}.{field.name}")
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                found |= set_fields(each)
    return found


def test_every_field_of_a_captured_stream_is_listed_and_no_secret_is_in_it_nor_in_anything_made_of_it(
    tmp_path: Path,
) -> None:
    flags, state, told = seeded(tmp_path), tmp_path / "state", io.StringIO()

    async def run() -> tuple[list[Message], str]:
        store = Store(state)
        await asyncio.to_thread(store.open)
        fleet = Captured(store)
        server = grpc.aio.server(options=server_options())
        add_agent_service(server, fleet, Anybody(), time.time, fleet.paces)
        add_operator_service(server, fleet, time.time)
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        evaluation = asyncio.create_task(fleet.run())
        command = [*NODETELL, "agent", "--node", "seeded", "--insecure", "--aggregator", target, *flags]
        environment = os.environ | {"APP_PASSWORD": CANARY}
        with (tmp_path / "agent.log").open("w") as said:
            agent = await asyncio.create_subprocess_exec(*command, stderr=said, stdout=said, env=environment)
        try:
            await until(lambda: _complete(fleet), 40)
            asked = await asyncio.create_subprocess_exec(
                *NODETELL, "node", "seeded", "--format", "json", "--insecure", "--aggregator", target,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, problems = await asyncio.wait_for(asked.communicate(), 30)
            assert asked.returncode == 0, problems
        finally:
            agent.terminate()
            await asyncio.wait_for(agent.wait(), 20)
            evaluation.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await evaluation
            await server.stop(0)
            await fleet.close()
            await asyncio.to_thread(store.close)
        return fleet.messages, out.decode()

    logs.configure("debug", told)
    try:
        with kernel_saying(tmp_path / "dev" / "kmsg", f"EXT4-fs error (device sdb): htree: name {CANARY}"):
            messages, printed = asyncio.run(run())
    finally:
        logging.getLogger("nodetell").handlers.clear()

    fields = set().union(*map(set_fields, messages))
    assert {"Mount.source", "Volume.volume_handle", "KernelEvent.count", "Link.mtu", "Coverage.because"} <= fields
    assert fields <= listed_fields().keys()
    everything = {
        "the stream": b"".join(message.SerializeToString() for message in messages),
        "`nodetell node`": printed.encode(),
        "the aggregator's log": told.getvalue().encode(),
        "the agent's log": (tmp_path / "agent.log").read_bytes(),
        **{f"state/{path.name}": path.read_bytes() for path in state.rglob("*") if path.is_file()},
    }
    assert {where for where, held in everything.items() if CANARY.encode() in held} == set()
    assert b"dav.example/files" in everything["the stream"]


def _complete(fleet: Fleet) -> bool:
    node = fleet.nodes.get("seeded")
    kinds = {"mount", "volume", "kernel_event", "link", "usage"}
    return node is not None and all(node.state.of(kind) for kind in kinds)
