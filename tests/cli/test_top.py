"""The live view, played with by textual's pilot against an aggregator of made-up answers."""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from nodetell.v1 import operator_pb2
from nodetell.v1.operator_pb2_grpc import add_OperatorServiceServicer_to_server
from textual.pilot import Pilot
from textual.widgets import Input, Static

from cli.terminal import clean
from cli.top import command
from cli.top.app import Top
from cli.top.command import ask, order_of
from cli.top.lines import Lines
from cli.top.rows import SHOWN, Order
from cli.top.screens import Page
from cli.top.state import Seen
from tests.cli import samples
from tests.cli.test_live import Event, Operators

Play = Callable[[Pilot[int]], Awaitable[None]]


class Busy(Operators):
    """The samples' aggregator with more nodes, and how often it was asked for them."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.times = 0
        nodes = [
            operator_pb2.NodeSummary(node=f"node-{n:04}", connected=n % 50 != 1, fsync_p99_us=(n * 7919) % 90_000)
            for n in range(count)
        ]
        self._answer = operator_pb2.ListNodesResponse(
            nodes=[samples.host().summary, *nodes], aggregator_version="1.0", at_unix_ms=round(samples.AT * 1000)
        )

    def ListNodes(self, request: object, context: object) -> operator_pb2.ListNodesResponse:  # noqa: ARG002, N802
        self.times += 1
        return self._answer


class Refusing(Busy):
    """An aggregator that lets nobody watch any more."""

    watches = 0

    def WatchFindings(self, request: object, context: grpc.ServicerContext) -> Iterator[Event]:  # noqa: ARG002, N802
        self.watches += 1
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "4 clients of this host are watching already")
        yield Event()


def serve(operators: Operators, address: str = "127.0.0.1:0") -> tuple[grpc.Server, str]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_OperatorServiceServicer_to_server(operators, server)  # type: ignore[no-untyped-call]  # generated
    port = server.add_insecure_port(address)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    operators = Busy()
    server, where = serve(operators)
    yield where
    operators.hold.set()
    server.stop(None).wait()


def arguments(address: str, **more: object) -> argparse.Namespace:
    plain = {
        "aggregator": address, "insecure": True, "ca": None, "certificate": None, "key": None, "token_file": None,
        "server_name": None, "timeout": 10.0, "interval": 0.2, "sort_by": None, "filter": "", "once": False,
    }  # fmt: skip
    return argparse.Namespace(**plain | more)


def play(address: str, script: Play, size: tuple[int, int] = (80, 24), order: Order | None = None) -> Top:
    """Run the view on a screen that is not there, through a script."""

    async def run() -> Top:
        given = arguments(address)
        made = Top(given, ask(given), order or Order())
        async with made.run_test(size=size) as pilot:
            await pilot.pause()
            await script(pilot)
        return made

    return asyncio.run(run())


async def until(pilot: Pilot[int], holds: Callable[[], bool]) -> None:
    """Wait for it; what never comes fails the test by the end of the time."""
    async with asyncio.timeout(30):
        while not holds():
            await pilot.pause(0.02)


def screen(pilot: Pilot[int]) -> str:
    """What is on the screen, line by line."""
    shown = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in shown)


def lines(pilot: Pilot[int], which: str) -> Lines:
    return pilot.app.screen_stack[0].query_one(f"#{which}", Lines)


def test_nodes_and_findings_on_a_terminal_of_80_by_24(address: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "mtu.overlay_exceeds_underlay" in screen(pilot))
        shown = screen(pilot).splitlines()
        assert len(shown) == 24
        assert max(map(len, shown)) <= 80
        assert shown[0].startswith(f"nodetell top   {address} (1.0)   2026-11-22 10:0")
        assert shown[1].startswith("4 nodes: 3 connected, 1 silent   ")
        assert any(line.startswith("WARNING   risk       1 min  mtu.overlay_exceeds_underlay on") for line in shown)
        assert next(line for line in shown if line.startswith("NODE")).split()[:4] == [
            "NODE",
            "FINDINGS",
            "HEARD",
            "FSYNC",
        ]
        assert "q quit" in shown[-1]

    play(address, script)  # fmt: skip


def test_enter_tells_the_story_and_escape_closes_it(address: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "mtu.overlay" in screen(pilot))
        await pilot.press("shift+tab", "home", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Page))
        await until(pilot, lambda: "what to do first" in screen(pilot))
        assert "Set the MTU of flannel.1 to 1450 or less." in " ".join(screen(pilot).split())
        await pilot.press("escape")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1)

    play(address, script, size=(100, 60))


def test_enter_on_a_node_shows_its_page_and_one_that_is_gone_is_told(address: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        await pilot.press("home", "enter")  # the worst: node-a
        await until(pilot, lambda: "interfaces" in screen(pilot))
        await pilot.press("escape", "end", "enter")
        await until(pilot, lambda: "no agent has ever reported" in screen(pilot))

    play(address, script, size=(100, 40))


def test_sorting_filtering_and_reversing(address: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        def nodes() -> list[str]:
            return [lines(pilot, "nodes")._text(row)[0].split()[0] for row in range(lines(pilot, "nodes")._count)]

        def titled(text: str) -> bool:
            return text in str(pilot.app.screen_stack[0].query_one("#nodes-title", Static).render())

        await pilot.press("greater_than_sign")
        await until(pilot, lambda: titled("nodes: 4, by NODE"))
        assert nodes() == ["node-0000", "node-0001", "node-0002", "node-a"]
        await pilot.press("r")
        await until(pilot, lambda: titled("by NODE, downwards"))
        assert nodes()[0] == "node-a"
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: titled("by FINDINGS, downwards"))  # the worst at the top
        assert nodes()[0] == "node-a"
        await pilot.press("less_than_sign", "less_than_sign")
        await until(pilot, lambda: titled(f"by {SHOWN[-1]}"))
        await pilot.press("slash", *"000", "enter")
        await until(pilot, lambda: titled("nodes: 3 of 4"))
        await pilot.press("slash")
        await until(pilot, lambda: bool(pilot.app.screen.query(Input)))
        await pilot.press("x", "escape")
        await until(pilot, lambda: titled("nodes: 3 of 4"))
        await pilot.press("w")
        await until(pilot, lambda: titled("the worst first"))

    play(address, script)


def test_help_coverage_and_pause(address: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        await pilot.press("question_mark")
        await until(pilot, lambda: "what the keys do" in screen(pilot))
        assert max(map(len, screen(pilot).splitlines())) <= 80
        await pilot.press("q")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1)
        await pilot.press("c")
        await until(pilot, lambda: "fsync missing on node-a, node-b" in screen(pilot))
        await pilot.press("escape", "p")
        await until(pilot, lambda: "PAUSED" in screen(pilot))

    made = play(address, script)
    assert made.return_value is None


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_ends_when_told(address: str, key: str) -> None:
    async def script(pilot: Pilot[int]) -> None:
        await pilot.press(key)

    assert play(address, script).return_value == 0


def test_a_lost_connection_is_told_and_found_again() -> None:
    first = Busy()
    server, where = serve(first)

    async def script(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: "mtu.overlay" in screen(pilot))
        first.hold.set()
        await asyncio.to_thread(server.stop(0).wait)
        await until(pilot, lambda: "connection lost since" in screen(pilot).splitlines()[0])
        assert "mtu.overlay" in screen(pilot)  # what was known stays
        second = Busy(count=7)
        again, _ = serve(second, where)
        await until(pilot, lambda: "8 nodes" in screen(pilot))
        await until(pilot, lambda: screen(pilot).startswith("nodetell top"))
        second.hold.set()
        await asyncio.to_thread(again.stop(0).wait)

    play(where, script)


def test_a_watch_that_is_refused_is_told_and_tried_ever_more_seldom() -> None:
    operators = Refusing()
    server, where = serve(operators)

    async def script(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: operators.watches > 1)
        await until(pilot, lambda: "4 clients of this host are watching already" in screen(pilot))
        assert "4 nodes: 3 connected" in screen(pilot)

    play(where, script, size=(140, 24))
    assert operators.watches <= 3
    operators.hold.set()
    server.stop(None).wait()


def test_of_five_thousand_nodes_only_those_in_sight_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    operators = Busy(count=5_000)
    server, where = serve(operators)
    made = 0

    def counted(text: str) -> str:
        nonlocal made
        made += 1
        return clean(text)

    monkeypatch.setattr("cli.top.app.clean", counted)

    async def script(pilot: Pilot[int]) -> None:
        nonlocal made
        assert lines(pilot, "nodes")._count == 5_001
        made = 0
        await pilot.press("end")
        await until(pilot, lambda: lines(pilot, "nodes").cursor == 5_000)
        await until(pilot, lambda: "node-a" in screen(pilot))  # of which it is not known
        asked = operators.times
        await until(pilot, lambda: operators.times > asked + 1)
        assert made < 3_000 * (operators.times - asked + 1)  # all of them are 60,000 cells
        await pilot.press("home")
        await until(pilot, lambda: "node-0000" in screen(pilot))

    play(where, script, order=Order("FSYNC P99", descending=False))
    operators.hold.set()
    server.stop(None).wait()


def test_a_signal_that_comes_with_thousands_of_events_draws_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = threading.Event()
    count = 0

    async def script(pilot: Pilot[int]) -> None:
        nonlocal count
        made = pilot.app
        assert isinstance(made, Top)
        draw = made._draw

        def counted() -> None:
            nonlocal count
            count += 1
            drawn.set()
            draw()

        monkeypatch.setattr(made, "_draw", counted)
        for _ in range(5_000):
            made._changed()
        await until(pilot, drawn.is_set)
        assert count == 1

    play(address, script)


def test_once_is_one_frame_on_a_terminal_too(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    assert command.run(arguments(address, once=True)) == 0
    shown = capsys.readouterr().out
    assert "\nfindings, causes first\nWARNING   risk       1 min  mtu.overlay_exceeds_underlay on node-a" in shown
    assert "\x1b" not in shown


def test_a_column_that_there_is_not_is_told_before_anybody_is_asked() -> None:
    from cli.exits import USAGE, CliError

    with pytest.raises(CliError, match="there is no column") as caught:
        order_of(arguments("127.0.0.1:1", sort_by="nosuch"))
    assert caught.value.status == USAGE
    assert order_of(arguments("x", sort_by="fsync-p99:desc", filter="a")) == Order("FSYNC P99", True, "a")


def test_a_page_that_is_over_a_small_screen_scrolls() -> None:
    async def run() -> None:
        made = Top(arguments("127.0.0.1:1"), Seen("127.0.0.1:1"), Order())
        async with made.run_test(size=(40, 12)) as pilot:
            await pilot.press("question_mark")
            await until(pilot, lambda: "what the keys do" in screen(pilot))
            await pilot.press("end")
            await until(pilot, lambda: "Nothing stands for" in screen(pilot))

    asyncio.run(run())
