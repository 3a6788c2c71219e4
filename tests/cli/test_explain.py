"""`nodetell explain`: one story, of a bundle and of an aggregator, what it prints and its exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from nodetell.v1 import operator_pb2, operator_pb2_grpc

from aggregator.convert import record_to_message
from aggregator.findings import Record
from aggregator.model import Severity
from aggregator.story import tell
from cli.exits import CliError
from cli.explain import chosen
from cli.story_text import story_text
from cli.terminal import Look
from tests.cli import samples
from tests.cli.conftest import Run
from tests.signatures.test_cause_timelines import lost_zone

RECORDS = [record for record in samples.report().records if record.resolved is None]
BY_ID = {record.finding.id: record for record in RECORDS}


@pytest.mark.parametrize("width", [80, 40])
def test_a_story(golden: Callable[[str, str], None], width: int) -> None:
    story = tell([record.finding for record in RECORDS], "drop_fingerprint")
    text = story_text(story, BY_ID, "cluster prod-a, 2026-11-22T10:01:00Z", Look(width))
    assert all(len(line) <= width for line in text.splitlines())
    golden(f"story-{width}.txt", text)


def test_a_story_of_one(golden: Callable[[str, str], None]) -> None:
    story = tell([record.finding for record in RECORDS], "conntrack_full")
    golden("story-one.txt", story_text(story, BY_ID, "cluster prod-a, 2026-11-22T10:01:00Z", Look(80)))


def test_what_a_finding_says_cannot_steer_the_terminal() -> None:
    evil = "evil\x1b[31m"
    finding = samples.finding("a", summary=evil, objects=(evil,), nodes=(evil,), remediation=(evil,), code=evil)
    text = story_text(tell([finding], "a"), {}, "x", Look(80))
    assert text.replace("\n", "").isprintable()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explain") / "bundle"
    lost_zone(lost=-900, pending=-700).write(path)
    return path


def test_of_a_bundle(run: Run, bundle: Path) -> None:
    done = run("explain", "sched.volume_zone", bundle, COLUMNS="80")
    assert (done.returncode, done.stderr) == (1, "")
    assert "WARNING sched.volume_zone comes of node.lost, in 2 steps" in " ".join(done.stdout.split())
    assert "both are about PersistentVolumeClaim/db/data-pg-0" in " ".join(done.stdout.split())
    assert done.stdout == run("explain", "sched.volume_zone", bundle, COLUMNS="80").stdout


def test_of_a_bundle_as_json(run: Run, bundle: Path) -> None:
    done = run("explain", "node-lost", bundle, "--format", "json")
    assert done.returncode == 1
    story = json.loads(done.stdout)
    codes = [step["finding"]["code"] for step in story["chain"]]
    assert codes == ["node.lost", "storage.zone_mismatch", "sched.volume_zone"]
    assert story["chain"][1]["shared"] == ["Node/n1"]
    assert story["asked"] == story["cause"] == story["chain"][0]["finding"]["id"]
    assert story["what_to_do_first"][0].startswith("Find out from outside")


def test_an_unknown_id_lists_those_there_are(run: Run, bundle: Path, tmp_path: Path) -> None:
    done = run("explain", "crash.identity", bundle)
    assert (done.returncode, done.stdout) == (66, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "nodetell: crash.identity: there is no such finding; there are:"
    assert any(line.endswith("critical sched.volume_zone") or "sched.volume_zone" in line for line in lines[1:])
    assert run("explain", "x", tmp_path / "none").returncode == 3
    assert run("explain").returncode == 64


def record(name: str, code: str, resolved: float | None = None) -> Record:
    return Record(samples.finding(name, code=code), "", 1.0, 1.0, resolved=resolved)


def test_which_finding_is_meant() -> None:
    records = [record("a-1", "x.a"), record("a-12", "x.b"), record("b-1", "x.c"), record("b-2", "x.c")]
    records += [record("c-1", "x.d", resolved=2.0), record("b-9", "x.e", resolved=2.0)]
    for asked, found in (
        ("a-1", "a-1"),
        ("a-12", "a-12"),
        ("x.a", "a-1"),
        ("b-2", "b-2"),
        ("c", "c-1"),
        ("x.e", "b-9"),
    ):
        assert chosen(records, asked).finding.id == found
    for asked in ("a", "x.c", "b"):
        with pytest.raises(CliError, match="could be any of these"):
            chosen(records, asked)
    for asked in ("", "z", "nodetell"):
        with pytest.raises(CliError, match="there is no such finding"):
            chosen(records, asked)
    with pytest.raises(CliError, match="there are no findings"):
        chosen([], "a")


class _Operators(operator_pb2_grpc.OperatorServiceServicer):
    """Has the findings of the samples."""

    def ListFindings(  # noqa: N802
        self,
        request: operator_pb2.ListFindingsRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> operator_pb2.ListFindingsResponse:
        records = samples.report().records
        kept = records if request.include_resolved else [each for each in records if each.resolved is None]
        return operator_pb2.ListFindingsResponse(findings=[record_to_message(each) for each in kept])


@pytest.fixture
def aggregator() -> Iterator[str]:
    """Address of a server that answers."""
    server = grpc.server(ThreadPoolExecutor(2))
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(_Operators(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_of_an_aggregator(run: Run, aggregator: str) -> None:
    done = run("explain", "drop", "--insecure", "--aggregator", aggregator, COLUMNS="80")
    assert (done.returncode, done.stderr) == (2, "")
    assert "CRITICAL mtu.drop_fingerprint comes of mtu.overlay_exceeds_underlay" in " ".join(done.stdout.split())
    assert "cannot be confirmed at present: node-b is silent for 20 s" in " ".join(done.stdout.split())


def test_one_that_is_over_can_still_be_told(run: Run, aggregator: str) -> None:
    done = run("explain", "icmp_blocked", "--insecure", "--aggregator", aggregator)
    assert done.returncode == 1
    assert "over since 2026-11-22T09:59:30Z (cleared)" in " ".join(done.stdout.split())


def test_the_status_is_that_of_the_worst_of_the_chain() -> None:
    cause = samples.finding("a")
    effect = samples.finding("b", Severity.CRITICAL, caused_by=("a",))
    assert tell([cause, effect], "a").severity is Severity.CRITICAL
    assert tell([cause, replace(effect, caused_by=())], "a").severity is Severity.WARNING
