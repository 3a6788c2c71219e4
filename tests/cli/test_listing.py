"""Tables of all commands: columns that are chosen, sorted, with and without headers, and documents as JSON and YAML."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types do not come with it
from hypothesis import given, settings
from hypothesis import strategies as st
from nodetell.v1 import operator_pb2

from aggregator.model import Severity
from cli import findings_table, links_table, nodes_table
from cli.documents import as_yaml
from cli.exits import USAGE, CliError
from cli.facts import HostFacts
from cli.listing import Choice, Column, choice, listing, ordered
from cli.terminal import Look
from tests.cli import samples
from tests.cli.conftest import Run

Golden = Callable[[str, str], None]
FIXTURE = Path(__file__).parents[1] / "fixtures/hosts/vxlan-over-too-small-underlay"
COLUMNS: list[Column[dict[str, Any]]] = [
    Column("NAME", "", lambda row: str(row["name"])),
    Column("COUNT OF", "", lambda row: str(row.get("n", "")), lambda row: row.get("n"), right=True),
    Column("MORE", "", lambda row: str(row.get("more", "")), wide=True),
]
ROWS: list[dict[str, Any]] = [{"name": "b", "n": 10}, {"name": "a", "more": "x y"}, {"name": "c", "n": 9}]


def asked(form: str = "text", columns: str | None = None, sort_by: str | None = None, *, bare: bool = False) -> Any:
    return argparse.Namespace(format=form, columns=columns, sort_by=sort_by, no_headers=bare)


def lines(**more: Any) -> list[str]:
    return listing(ROWS, choice(asked(**more), COLUMNS), Look(80))


def test_as_it_is_the_usual_columns_are_shown() -> None:
    assert not choice(asked(), COLUMNS).table
    assert lines() == ["NAME  COUNT OF", "b           10", "a", "c            9"]


def test_wide_has_all_columns_and_no_empty_cell() -> None:
    assert lines(form="wide") == [
        "NAME  COUNT OF  MORE",
        "b           10  -",
        "a            -  x y",
        "c            9  -",
    ]


def test_columns_are_those_named_in_their_order_however_they_are_written() -> None:
    assert lines(columns="count-of,Name") == ["COUNT OF  NAME", "      10  b", "       -  a", "       9  c"]
    assert lines(columns="count_of, name ,", bare=True) == ["10  b", " -  a", " 9  c"]


def test_what_is_not_known_is_last_in_both_directions() -> None:
    def order(sort_by: str) -> list[str]:
        return [row["name"] for row in ordered(ROWS, choice(asked(sort_by=sort_by), COLUMNS))]

    assert order("count of") == ["c", "b", "a"]
    assert order("COUNT-OF:desc") == ["b", "c", "a"]
    assert order("name:asc") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"columns": "nam"},
            '--columns: there is no column "nam"; did you mean NAME? (there are: NAME, COUNT-OF, MORE)',
        ),
        ({"columns": "\x1b]zz"}, '--columns: there is no column "\\x1b]zz" (there are: NAME, COUNT-OF, MORE)'),
        ({"columns": " ,"}, "--columns: which? (there are: NAME, COUNT-OF, MORE)"),
        ({"sort_by": "x"}, '--sort-by: there is no column "x" (there are: NAME, COUNT-OF, MORE)'),
        ({"sort_by": "name:down"}, '--sort-by: "down" is neither asc nor desc'),
        (
            {"form": "json", "bare": True},
            "--columns, --sort-by and --no-headers are for tables (--format text or wide): json has everything",
        ),
    ],
)  # fmt: skip
def test_a_wrong_choice_is_told_with_what_there_is(more: dict[str, Any], message: str) -> None:
    with pytest.raises(CliError) as caught:
        choice(asked(**more), COLUMNS)
    assert str(caught.value) == message
    assert caught.value.status == USAGE


def test_a_row_is_one_line_whatever_a_host_calls_itself() -> None:
    rows: list[dict[str, Any]] = [{"name": "two\nlines \x1b[31m", "n": 1}, {"name": "名前", "n": 22}]
    told = listing(rows, choice(asked(columns="name,count-of"), COLUMNS), Look(30))
    assert told == [
        "NAME                 COUNT OF",
        "two\\nlines \\x1b[31m         1",
        "名前                       22",
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"n": st.integers(-5, 5)}), max_size=8))
def test_sorting_loses_and_adds_no_row(rows: list[dict[str, Any]]) -> None:
    for descending in (False, True):
        found = ordered(rows, Choice(COLUMNS, sort_by=COLUMNS[1], descending=descending))
        assert sorted(map(repr, found)) == sorted(map(repr, rows))
        told = [row["n"] for row in found if "n" in row]
        assert told == sorted(told, reverse=descending)
        assert found[: len(told)] == [row for row in found if "n" in row]


# -- the tables themselves -------------------------------------------------------------------------------------------


def known_nodes() -> list[operator_pb2.NodeSummary]:
    """One whose path lacks some, one of which nothing is known, one that is fine."""
    ill = samples.host().summary
    ill.fsync_p99_us, ill.fsync_process, ill.drops_per_s = 48_300, "etcd", 0.004
    ill.path_mtu, ill.path_interface_mtu, ill.path_peer, ill.paths_unanswered = 1400, 1450, "node-c", 1
    fine = operator_pb2.NodeSummary(
        node="node-c", connected=True, zone="eu-west-1a", ready="True", path_mtu=1450, path_interface_mtu=1450,
        fsync_p99_us=900, drops_per_s=1_234.5, heard_at_unix_ms=round(samples.AT * 1000), findings=2,
    )  # fmt: skip
    return [ill, operator_pb2.NodeSummary(node="node-b"), fine]


def test_nodes_wide(golden: Golden) -> None:
    columns = nodes_table.columns(samples.AT + 75)
    golden("nodes-wide.txt", "\n".join(listing(known_nodes(), choice(asked("wide"), columns), Look(80))))


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("fsync-p99:desc", "acb"),
        ("drops/s:desc", "cab"),
        ("path-mtu", "acb"),
        ("heard:desc", "acb"),
        ("node:desc", "cba"),
    ],
)
def test_nodes_sort_by_what_they_are_not_by_how_it_is_written(column: str, order: str) -> None:
    found = ordered(known_nodes(), choice(asked(sort_by=column), nodes_table.columns(samples.AT + 75)))
    assert "".join(node.node[-1] for node in found) == order


def test_interfaces_as_a_table(golden: Golden) -> None:
    rows = links_table.rows(HostFacts(samples.host()))
    wanted = choice(asked("wide", "name,kind,mtu,state,drops,carried by", "mtu:desc"), links_table.COLUMNS)
    golden("links.txt", "\n".join(listing(rows, wanted, Look(80))))


def test_findings_as_a_table(golden: Golden) -> None:
    records = samples.report().records
    golden(
        "findings.txt", "\n".join(listing(records, choice(asked(sort_by="since"), findings_table.COLUMNS), Look(80)))
    )
    golden("findings-wide.txt", "\n".join(listing(records, choice(asked("wide"), findings_table.COLUMNS), Look(80))))
    worst = ordered(records, choice(asked(sort_by="severity"), findings_table.COLUMNS))
    assert [record.finding.severity for record in worst][::3] == [Severity.CRITICAL, Severity.INFO]


# -- as the command prints them --------------------------------------------------------------------------------------


def test_a_diagnosis_as_a_table(run: Run) -> None:
    done = run("diagnose", FIXTURE, "--columns", "severity,code", "--no-headers")
    assert (done.returncode, done.stdout) == (1, "warning  mtu.overlay_exceeds_underlay\n")
    assert run("diagnose", FIXTURE, "--columns", "severity,cod").returncode == USAGE


def test_yaml_is_the_same_document(run: Run) -> None:
    for command in (("diagnose", FIXTURE), ("version",)):
        as_json, text = run(*command, "--format", "json"), run(*command, "--format", "yaml")
        assert as_json.returncode == text.returncode
        assert yaml.safe_load(text.stdout) == json.loads(as_json.stdout)


def test_messages_as_a_table_and_as_a_stream_of_documents(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "messages"
    said = [
        {"object": "Pod/default/b", "message": "Back-off pulling image"},
        {"object": "Pod/default/a", "message": "?"},
    ]
    file.write_text("".join(json.dumps(each) + "\n" for each in said))
    rows = run("classify", file, "--columns", "object,label", "--sort-by", "object", "--no-headers").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["Pod/default/a", "Pod/default/b"]
    told = [json.loads(line) for line in run("classify", file, "--format", "json").stdout.splitlines()]
    assert list(yaml.safe_load_all(run("classify", file, "--format", "yaml").stdout)) == told


def test_codes_and_evidence_as_tables(run: Run) -> None:
    codes = run("signatures", "--columns", "code,incident", "--no-headers").stdout.splitlines()
    assert "mtu.overlay_exceeds_underlay" in {line.split()[0] for line in codes}
    facts = run("explain", "mtu", FIXTURE, "--format", "wide").stdout.splitlines()
    assert facts[0].split() == ["AT", "NODE", "SIGNAL", "SUBJECT", "VALUE", "SOURCE"]
    assert len(facts) > 2


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["1e3", "0o17", "0x1F", "1_000", "yes", "~", "12e4567", ".5", "1:30", "---", "\x85"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64) | FLOATS | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_document_survives_yaml(document: object) -> None:
    assert yaml.safe_load(as_yaml(document)) == document


@pytest.mark.parametrize("text", ["1e3", "-.5E7", "0o17", "0x1F", "12e4567"])
def test_a_text_that_looks_like_a_number_to_yaml_1_2_is_quoted(text: str) -> None:
    assert as_yaml({"id": text}) == f"id: '{text}'"
