"""OpenTelemetry, to a receiver that decodes the official messages of OTLP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from nodetell import __version__
from nodetell.v1 import operator_pb2
from opentelemetry import metrics as global_metrics
from opentelemetry._logs import get_logger_provider
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from aggregator.model import Severity, Stage
from aggregator.outputs import otlp
from aggregator.outputs.otlp import OtlpSurface
from aggregator.settings import AggregatorSettings, OtlpSettings
from tests.outputs import Behaviour, Inbox, Situation, finding, free_port, until

pytestmark = pytest.mark.usefixtures("hurry")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "opentelemetry.md").read_text()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "GATHER_S", 0.02)
    monkeypatch.setattr(otlp, "SPACE_S", 0.01)


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as Python has them."""
    return {each.key: _value(each) for each in attributes}


def _value(each: KeyValue) -> Any:
    kind = each.value.WhichOneof("value")
    if kind == "array_value":
        return [part.string_value for part in each.value.array_value.values]
    return getattr(each.value, kind or "string_value")


class Receiver(Inbox):
    """A receiver of OTLP over HTTP: what it got, decoded. (Compression is undone by aiohttp's server.)"""

    def logs(self) -> list[LogRecord]:
        found: list[LogRecord] = []
        for post in self.posts:
            if post.path == "/v1/logs":
                assert post.headers["Content-Type"] == "application/x-protobuf"
                for resource in ExportLogsServiceRequest.FromString(post.body).resource_logs:
                    for scope in resource.scope_logs:
                        assert scope.scope.name == "nodetell"
                        found += scope.log_records
        return found

    def metrics(self) -> dict[str, Metric]:
        """The newest of each name."""
        found: dict[str, Metric] = {}
        for post in self.posts:
            if post.path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(post.body).resource_metrics:
                    for scope in resource.scope_metrics:
                        found |= {metric.name: metric for metric in scope.metrics}
        return found

    def resource(self) -> dict[str, Any]:
        (one,) = ExportLogsServiceRequest.FromString(self.posts[0].body).resource_logs
        return plain(one.resource.attributes)


@contextlib.asynccontextmanager
async def exporting(situation: Situation, url: str, **fields: Any) -> AsyncIterator[OtlpSurface]:
    wanted = OtlpSettings(endpoint=url, **({"interval_s": 3600.0} | fields))
    surface = OtlpSurface(situation.made(AggregatorSettings(otlp=wanted)))
    assert await surface.start() == ""
    try:
        yield surface
    finally:
        await surface.aclose()
        assert situation.listeners == []


def scene(script: Callable[[Situation, Receiver], Coroutine[Any, Any, None]], behave: Behaviour | None = None) -> None:
    async def play() -> None:
        receiver = Receiver(behave=behave)
        async with receiver.open():
            await script(Situation(), receiver)

    asyncio.run(play())


def test_a_finding_s_life_as_log_records() -> None:
    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url) as surface:
            begun = time.time()
            situation.appear(finding(severity=Severity.CRITICAL, since=1_790_000_000.0, objects=("Pod/shop/web-1",)))
            situation.appear(finding(severity=Severity.CRITICAL, stage=Stage.ACTIVE, nodes=("a", "b")))
            situation.resolve("mtu-1")
            await until(lambda: len(receiver.logs()) == 3)
            assert surface.gaps() == []
        appeared, changed, resolved = receiver.logs()
        assert [each.event_name for each in (appeared, changed, resolved)] == [
            "nodetell.finding.appeared",
            "nodetell.finding.changed",
            "nodetell.finding.resolved",
        ]
        assert appeared.body.string_value == "mtu-1: the overlay does not fit"
        assert (appeared.severity_text, appeared.severity_number) == ("ERROR", 17)
        assert (resolved.severity_text, resolved.severity_number) == ("INFO", 9)
        assert abs(appeared.time_unix_nano / 1e9 - begun) < 60
        assert appeared.observed_time_unix_nano >= appeared.time_unix_nano
        said = plain(appeared.attributes)
        assert {name for name in said if f"{name}:" not in PAGE} == {"nodetell.finding.since"}
        assert said.pop("nodetell.finding.first_seen")
        assert said == {
            "nodetell.finding.id": "mtu-1",
            "nodetell.code": "mtu.overlay_exceeds_underlay",
            "nodetell.incident": "mtu_mismatch",
            "nodetell.stage": "risk",
            "nodetell.severity": "critical",
            "k8s.node.name": "a",
            "nodetell.finding.nodes": ["a"],
            "nodetell.finding.objects": ["Pod/shop/web-1"],
            "nodetell.finding.caused_by": [],
            "nodetell.finding.remediation": ["Lower the MTU of the overlay."],
            "nodetell.finding.clears_when": "it fits",
            "nodetell.finding.since": "2026-09-21T14:13:20Z",
        }
        assert "k8s.node.name" not in plain(changed.attributes)
        assert plain(resolved.attributes)["nodetell.finding.resolved_because"] == "cleared"
        who = receiver.resource()
        assert len(who.pop("service.instance.id")) == 36
        assert who == {"service.name": "nodetell", "service.version": __version__, "k8s.cluster.name": "lab"}

    scene(script)


def test_signals_as_metrics_and_what_is_not_known_has_no_point() -> None:
    async def script(situation: Situation, receiver: Receiver) -> None:
        situation.nodes = [
            operator_pb2.NodeSummary(
                node="a",
                connected=True,
                fsync_p99_us=12_500,
                drops_per_s=3.5,
                path_mtu=1400,
                clock_offset_us=-2_000,
                coverage_gaps=2,
                findings=1,
            ),
            operator_pb2.NodeSummary(node="b"),
        ]
        situation.appear(finding(), finding("mtu-2"), finding("mtu-3", Severity.CRITICAL))
        async with exporting(situation, receiver.url, interval_s=0.05):
            await until(lambda: {"nodetell.findings", "nodetell.node.findings"} <= receiver.metrics().keys())
        told = {
            name: (
                metric.unit,
                [(plain(each.attributes), each.as_double or each.as_int) for each in metric.gauge.data_points],
            )
            for name, metric in receiver.metrics().items()
        }
        rows = re.findall(r"\| `(nodetell\.[\w.]+)` \| `(\S+)` \|", PAGE)
        assert dict(rows) == {name: unit for name, (unit, _) in told.items()}
        a, b = {"k8s.node.name": "a"}, {"k8s.node.name": "b"}
        warning = {
            "nodetell.code": "mtu.overlay_exceeds_underlay",
            "nodetell.incident": "mtu_mismatch",
            "nodetell.stage": "risk",
            "nodetell.severity": "warning",
        }
        assert told == {
            "nodetell.node.fsync.p99": ("s", [(a, 0.0125)]),
            "nodetell.node.network.drops": ("{packet}/s", [(a, 3.5)]),
            "nodetell.node.path.mtu": ("By", [(a, 1400)]),
            "nodetell.node.clock.offset": ("s", [(a, -0.002)]),
            "nodetell.node.coverage.gaps": ("{gap}", [(a, 2), (b, 0)]),
            "nodetell.node.findings": ("{finding}", [(a, 1), (b, 0)]),
            "nodetell.nodes": (
                "{node}",
                [({"nodetell.node.connected": "true"}, 1), ({"nodetell.node.connected": "false"}, 1)],
            ),
            "nodetell.findings": ("{finding}", [(warning, 2), (warning | {"nodetell.severity": "critical"}, 1)]),
        }

    scene(script)


def test_thousands_of_nodes_are_several_posts_and_hold_up_nobody() -> None:
    async def script(situation: Situation, receiver: Receiver) -> None:
        situation.nodes = [operator_pb2.NodeSummary(node=f"n-{each}", findings=1) for each in range(2_500)]
        async with exporting(situation, receiver.url, interval_s=0.05):
            await until(lambda: "nodetell.nodes" in receiver.metrics())
        sizes = [
            len(each.gauge.data_points) for each in receiver.metrics().values() if each.name.endswith("e.findings")
        ]
        assert len([post for post in receiver.posts if post.path == "/v1/metrics"]) >= 4
        assert sizes == [500]  # the last of three

    scene(script)


def test_while_the_receiver_is_away_records_wait_and_it_is_said() -> None:
    async def script(situation: Situation, _: Receiver) -> None:
        port = free_port()
        async with exporting(situation, f"http://127.0.0.1:{port}") as surface:
            situation.appear(finding())
            (gap,) = await until(surface.gaps)
            assert gap.signal == "output/otlp"
            assert re.fullmatch(
                r"http://127\.0\.0\.1:\d+: no connection: .*, since 20\S+; 1 log records wait to be sent", gap.because
            )
            situation.resolve("mtu-1")
            late = Receiver()
            async with late.open(port):
                await until(lambda: [each.event_name[17:] for each in late.logs()] == ["appeared", "resolved"])
                await until(lambda: surface.gaps() == [])

    scene(script)


def test_no_more_wait_than_there_is_room_for_the_newest_stay_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp, "MOST_WAITING", 3)

    async def script(situation: Situation, _: Receiver) -> None:
        port = free_port()
        async with exporting(situation, f"http://127.0.0.1:{port}") as surface:
            situation.appear(*(finding(f"x-{each}") for each in range(5)))
            late = Receiver()
            async with late.open(port):
                await until(lambda: len(late.logs()) == 3)
                ids = [plain(each.attributes)["nodetell.finding.id"] for each in late.logs()]
                assert ids == ["x-2", "x-3", "x-4"]
                (gap,) = surface.gaps()
                assert "2 log records were dropped" in gap.because

    scene(script)


def test_a_receiver_that_hangs_delays_neither_the_loop_nor_the_end() -> None:
    asked: set[str] = set()

    async def hang(request: web.Request) -> web.Response:
        asked.add(request.path)
        await asyncio.sleep(3600)
        raise AssertionError

    async def script(situation: Situation, receiver: Receiver) -> None:
        before = set(threading.enumerate())
        situation.nodes = [operator_pb2.NodeSummary(node="a")]
        async with exporting(situation, receiver.url, interval_s=0.05):
            situation.appear(finding())
            await until(lambda: len(asked) == 2)
            begun = time.monotonic()  # both wait for an answer now, and the loop goes on
        assert time.monotonic() - begun < 5  # it would be an hour
        started = {each.name for each in threading.enumerate()} - {each.name for each in before}
        assert all(name.startswith("asyncio_") for name in started)

    scene(script, hang)


def test_one_record_that_it_does_not_understand_does_not_hold_up_the_others() -> None:
    taken: list[str] = []

    async def choosy(request: web.Request) -> web.Response:
        records = ExportLogsServiceRequest.FromString(await request.read()).resource_logs[0].scope_logs[0].log_records
        ids = [plain(each.attributes)["nodetell.finding.id"] for each in records]
        if "bad" in ids:
            return web.Response(status=400, text="bad record")
        taken.extend(ids)
        return web.Response()

    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url) as surface:
            situation.appear(finding("x-1"), finding("bad"), finding("x-2"))
            await until(lambda: taken == ["x-1", "x-2"])
            await until(lambda: any("1 log records were dropped" in gap.because for gap in surface.gaps()))

    scene(script, choosy)


def test_what_it_takes_only_in_part_is_said() -> None:
    async def partly(_: web.Request) -> web.Response:
        answer = ExportLogsServiceResponse()
        answer.partial_success.rejected_log_records = 1
        answer.partial_success.error_message = "too old"
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url) as surface:
            situation.appear(finding())
            (gap,) = await until(surface.gaps)
            assert gap.because.endswith("of what it takes, 1 left out: too old")

    scene(script, partly)


def test_headers_of_a_file_are_sent_and_ours_stay_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer hidden-token\nX-Scope-OrgID: 7\ncontent-type: text/plain\n")

    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url, headers_file=str(path)) as surface:
            situation.appear(finding())
            await until(receiver.logs)
            headers = receiver.posts[0].headers
            assert (headers["Authorization"], headers["X-Scope-OrgID"]) == ("Bearer hidden-token", "7")
            path.write_text("Authorization Bearer hidden-token\n")
            situation.resolve("mtu-1")
            (gap,) = await until(surface.gaps)
            assert f'{path}: header 1 is not "name: value"' in gap.because
            assert "hidden-token" not in gap.because + caplog.text

    caplog.set_level(logging.DEBUG)
    scene(script)


def test_the_environment_changes_nothing_and_nothing_is_global(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = f"http://127.0.0.1:{free_port()}"
    for name, value in {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": elsewhere,
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": elsewhere,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-injected=1",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,k8s.cluster.name=other",
        "OTEL_SERVICE_NAME": "other",
        "OTEL_ATTRIBUTE_COUNT_LIMIT": "1",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "1",
    }.items():
        monkeypatch.setenv(name, value)

    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url):
            situation.appear(finding())
            await until(receiver.logs)
        assert receiver.resource()["service.name"] == "nodetell"
        assert receiver.resource()["k8s.cluster.name"] == "lab"
        assert "x-injected" not in {name.lower() for name in receiver.posts[0].headers}
        assert len(receiver.logs()[0].attributes) > 5

    scene(script)
    gc.collect()
    assert "Proxy" in type(get_logger_provider()).__name__
    assert "Proxy" in type(global_metrics.get_meter_provider()).__name__


def test_what_waits_is_sent_at_the_end_if_it_is_taken_at_once() -> None:
    async def script(situation: Situation, receiver: Receiver) -> None:
        async with exporting(situation, receiver.url):
            situation.appear(finding())
        assert len(receiver.logs()) == 1

    scene(script)
