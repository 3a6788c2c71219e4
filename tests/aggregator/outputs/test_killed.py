"""A real aggregator that is killed with notices in its queue: they arrive after its start, each once."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
from nodetell.v1 import agent_pb2, agent_pb2_grpc
from nodetell.v1 import facts_pb2 as pb

from agent.pieces import pieces
from tests.outputs import Inbox, free_port, until

_LISTENS = re.compile(r"event=listening listen=(\S+)")


@contextlib.asynccontextmanager
async def aggregator(directory: Path, url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process of its own; killed in the end."""
    settings = {
        "listen": "127.0.0.1:0",
        "insecure": "true",
        "state-directory": str(directory / "state"),
        "kubernetes.enabled": "off",
        "webhook.url": url,
        "webhook.secret-file": str(directory / "secret"),
        "webhook.quiet-start-s": "0",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "aggregator", *flags, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            found = None
            while found is None:
                line = await process.stderr.readline()
                assert line, "it ended"
                found = _LISTENS.search(line.decode())
        yield process, found[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def report(address: str, mtu: int) -> None:
    """An agent says that the overlay of its node does not fit, or does."""
    update = agent_pb2.Update(at_unix_ms=round(time.time() * 1000), full=True)
    eth0 = pb.Link(ifindex=2, name="eth0", mtu=mtu, up=True, operstate=pb.OPER_STATE_UP, hardware=True)
    eth0.addresses.append("10.0.0.11/24")
    tunnel = pb.Tunnel(id=1, local="10.0.0.11", port=8472, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK)
    vxlan = pb.Link(ifindex=3, name="flannel.1", kind="vxlan", mtu=1450, up=True, lower=2, tunnel=tunnel)
    route = pb.Route(destination="10.244.2.0/24", ifindex=3, gateway="10.244.2.0", table=254)
    for key, item in (("link/2", {"link": eth0}), ("link/3", {"link": vxlan}), ("route/254/x/3/0", {"route": route})):
        update.items.append(pb.Item(key=key, **item))
    async with grpc.aio.insecure_channel(address) as channel:
        stream = agent_pb2_grpc.AgentServiceStub(channel).Connect()  # type: ignore[no-untyped-call]  # generated
        hello = agent_pb2.Hello(protocol=1, node="a", instance=b"i" * 16)
        chunks = [agent_pb2.AgentMessage(chunk=chunk) for chunk in pieces(1, update)]
        for seq, message in enumerate([agent_pb2.AgentMessage(hello=hello), *chunks], 1):
            message.seq = seq
            await stream.write(message)
            assert (await stream.read()).WhichOneof("body") in ("welcome", "ack")
        stream.cancel()


def waiting(path: Path) -> int:
    """Notices in the queue."""
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM notices WHERE due").fetchone()[0])
    return 0


def test_killed_with_a_queue_it_tells_all_after_its_start_and_nothing_twice(tmp_path: Path) -> None:
    async def play() -> None:
        (tmp_path / "secret").write_text("a secret of some length\n")
        port = free_port()
        url = f"http://127.0.0.1:{port}/"
        async with aggregator(tmp_path, url) as (process, address):
            await report(address, 1400)
            await until(lambda: waiting(tmp_path / "state" / "webhook.sqlite"), "it is in the queue")
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with Inbox().open(port) as inbox, aggregator(tmp_path, url) as (_, address):
            await until(lambda: inbox.posts, "it arrives")
            await report(address, 1500)

            def happened() -> list[str]:
                return [notice["event"] for post in inbox.posts for notice in post.json()["notices"]]

            await until(lambda: "resolved" in happened(), "it is over")
            # In between it was unconfirmed, or confirmed again: its agent was away.
            assert [each for each in happened() if each != "changed"] == ["appeared", "resolved"]
            (first,) = inbox.posts[0].json()["notices"]
            assert (first["event"], first["finding"]["code"]) == ("appeared", "mtu.overlay_exceeds_underlay")

    asyncio.run(play())
