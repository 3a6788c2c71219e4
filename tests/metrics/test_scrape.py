"""The listener: what it answers, and what hostile peers can do to it, which is nothing."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from nodetell import scrape
from nodetell.metrics import Distribution, Kind, Meters, Metric, Timing, Told, one
from nodetell.scrape import NotNowError, ScrapeServer

from tests.metrics.exposed import parsed, until

GAUGE = Metric("some_level", Kind.GAUGE, "A level.", ("of",))
COUNTER = Metric("some_total", Kind.COUNTER, "A count.")
HISTOGRAM = Metric("some_seconds", Kind.HISTOGRAM, "Times.", ("of",))


@contextlib.contextmanager
def serving(told: Callable[[], Sequence[Told]]) -> Iterator[int]:
    server = ScrapeServer(told, "agent")
    address = server.start("127.0.0.1:0")
    try:
        yield int(address.removeprefix("http://127.0.0.1:").removesuffix("/metrics"))
    finally:
        server.close()


def answer(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        got = connection.getresponse()
        return got.status, got.read(), got.getheader("Content-Type", "")
    finally:
        connection.close()


def a_few() -> list[Told]:
    return [
        Told(GAUGE, [(("a",), 1.5), (('b\n"c\\',), 2)]),
        one(COUNTER, 3),
        Told(HISTOGRAM, [(("x",), Distribution((0.1, 1.0), (1, 0, 2), 4.5)), (("y",), Distribution((0.5,), (0, 7)))]),
        Told(Metric("none_at_all", Kind.GAUGE, "Not there.")),
    ]


def test_what_is_told_is_what_is_read() -> None:
    with serving(a_few) as port:
        status, body, kind = answer(port)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = parsed(body.decode())
    assert found["some_level"].rows == {frozenset({("of", "a")}): 1.5, frozenset({("of", 'b\n"c\\')}): 2}
    assert found["some_total"].rows == {frozenset(): 3}
    times = {
        (name.removeprefix("some_seconds_"), dict(labels).get("le"), dict(labels)["of"]): value
        for (name, labels), value in found["some_seconds"].samples.items()
    }
    assert times == {
        ("bucket", "0.1", "x"): 1,
        ("bucket", "1.0", "x"): 1,
        ("bucket", "+Inf", "x"): 3,
        ("count", None, "x"): 3,
        ("sum", None, "x"): 4.5,
        ("bucket", "0.5", "y"): 0,
        ("bucket", "+Inf", "y"): 7,
        ("count", None, "y"): 7,
    }
    assert "none_at_all" not in found
    assert found["nodetell_build_info"].rows.popitem()[1] == 1
    assert found["process_resident_memory_bytes"].rows[frozenset()] > 1e6


def test_paths_methods_and_compression() -> None:
    with serving(a_few) as port:
        assert answer(port, "/")[0] == answer(port, "/metrics/x")[0] == 404
        assert answer(port, method="POST")[0] == answer(port, method="DELETE")[0] == 405
        assert answer(port, method="HEAD")[:2] == (200, b"")
        status, packed, _ = answer(port, **{"Accept-Encoding": "gzip"})
        assert status == 200
        assert b"some_total 3.0" in gzip.decompress(packed)


def test_an_answer_is_made_once_a_second_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "FRESH_S", 3600.0)
    made = []

    def told() -> list[Told]:
        made.append(1)
        return a_few()

    with serving(told) as port:
        answers = {answer(port)[1] for _ in range(10)}
    assert (len(answers), len(made)) == (1, 1)


def test_what_answers_cost_is_known() -> None:
    """The agent takes it out of its budget's reckoning: who scrapes must not slow its collectors down."""
    server = ScrapeServer(lambda: [Told(GAUGE, [((str(number),), number) for number in range(1_000)])], "agent")
    port = int(server.start("127.0.0.1:0").split(":")[2].partition("/")[0])
    with contextlib.closing(server):
        assert server.cpu_s == 0
        answer(port)
        assert 0 < server.cpu_s < time.process_time()


def test_rows_beyond_the_most_are_left_out_and_counted() -> None:
    def told() -> list[Told]:
        return [Told(GAUGE, [((str(number),), number) for number in range(scrape.MOST_ROWS + 5)]), one(COUNTER, 1)]

    with serving(told) as port:
        found = parsed(answer(port)[1].decode())
    assert len(found["some_level"].rows) == scrape.MOST_ROWS
    assert found["nodetell_scrape_left_out"].rows == {frozenset(): 5}
    assert found["some_total"].rows


def test_what_cannot_be_told_now_and_what_is_a_defect() -> None:
    problem: list[Exception] = [NotNowError("busy")]

    def told() -> list[Told]:
        raise problem[0]

    with serving(told) as port:
        assert answer(port)[:2] == (503, b"busy\n")
        problem[0] = ValueError("odd")
        assert answer(port)[0] == 500


def test_a_meter_that_fails_costs_only_itself() -> None:
    def broken() -> Iterator[Told]:
        yield one(COUNTER, 1)
        raise KeyError("odd")

    meters = Meters()
    meters.add("broken", broken)
    meters.add("sound", a_few)
    assert [told.metric for told in meters.told()][:3] == [COUNTER, GAUGE, COUNTER]


def test_slow_and_silent_peers_take_no_place_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a letter now and then, and those that say nothing: all are cut off, and others are answered."""
    monkeypatch.setattr(scrape, "MOST_S", 0.5)
    with serving(a_few) as port, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(scrape.AT_ONCE)]
        stop = threading.Event()
        stack.callback(stop.set)

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    slow[0].sendall(b"G")

        threading.Thread(target=drip, daemon=True).start()
        until(lambda: _answers(port), "nobody is answered while others hold their connections")


def _answers(port: int) -> bool:
    try:
        return answer(port)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_too_many_at_a_time_are_closed_and_counted() -> None:
    with serving(a_few) as port, contextlib.ExitStack() as stack:
        for _ in range(scrape.AT_ONCE):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        one_more = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        assert one_more.recv(10) == b""
        stack.close()
        until(lambda: _answers(port), "no place becomes free")
        until(lambda: b"nodetell_scrape_refused_total 0" not in answer(port)[1], "it is not counted", 10)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(500) + b"\r\n\r\n",
        b"\r\n" * 50,
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1000,
    ],
    ids=["long", "many headers", "tls", "nothing", "half a line", "a version", "a body"],
)
def test_odd_requests_do_no_harm(request_bytes: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(a_few) as port:
        # It may have hung up before all is said.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 30) as peer:
            peer.sendall(request_bytes)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass
        until(lambda: _answers(port), "it is gone")
    assert "Traceback" not in "".join(capfd.readouterr())


def test_connections_come_no_faster_than_a_pace() -> None:
    """Beyond what may come at once each costs a tenth of a second: so many cannot have come sooner."""
    begun = time.monotonic()
    with serving(a_few) as port:
        for _ in range(int(scrape.AT_FIRST) + 5):
            until(lambda: _answers(port), "refused")
    assert time.monotonic() - begun >= 4 / scrape.PER_S


def test_an_address_that_is_taken_is_an_error_with_a_reason() -> None:
    with serving(a_few) as port, pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        ScrapeServer(a_few, "agent").start(f"127.0.0.1:{port}")


def test_closed_is_closed_and_again_is_harmless() -> None:
    server = ScrapeServer(a_few, "agent")
    server.close()
    address = server.start("127.0.0.1:0")
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        answer(int(address.split(":")[2].partition("/")[0]))


def test_ipv6_has_its_brackets() -> None:
    server = ScrapeServer(a_few, "agent")
    try:
        address = server.start("[::1]:0")
    except OSError:
        pytest.skip("needs: IPv6 on loopback")
    with contextlib.closing(server):
        assert re.fullmatch(r"http://\[::1\]:\d+/metrics", address)
        connection = http.client.HTTPConnection("::1", int(address.split(":")[-1].partition("/")[0]), timeout=30)
        connection.request("GET", "/metrics")
        assert b"some_total 3.0" in connection.getresponse().read()
        connection.close()


def test_a_timing_counts_what_it_is_told() -> None:
    timing = Timing((0.1, 1.0))
    for took in (0.1, 0.2, 5.0):
        timing.note(took)
    value = timing.value()
    assert (value.bounds, value.counts) == ((0.1, 1.0), (1, 1, 1))
    assert value.sum == pytest.approx(5.3)


def test_neither_role_loads_the_library_unless_it_is_asked_for() -> None:
    check = "import sys, agent.main, aggregator.main; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
