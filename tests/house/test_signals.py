"""The table of signals holds what the agent reads and reports: nothing is missing, and each line it names works."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes with lightkube; its types do not
from nodetell import signals
from nodetell.setting import settings_of

from agent.collectors import registry
from agent.settings import AgentSettings

ROOT = Path(__file__).resolve().parents[2]
CALLS = {"gap": 0, "source": 0, "add": 1, "damage": 1}
"""Which argument of a call names a signal, where it is a constant."""


def named_signals(source: str) -> Iterator[str]:
    """Signals that a module reports by name: of reading.gap(), reading.source(), gaps.add(), gaps.damage()."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        name = called.rpartition(".")[2]
        if name in {"add", "damage"} and not called.startswith("gaps."):
            continue
        place = CALLS.get(name)
        if place is not None and len(node.args) > place:
            argument = node.args[place]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield argument.value


def reported() -> set[str]:
    """Of all of the agent."""
    return {name for path in (ROOT / "agent").rglob("*.py") for name in named_signals(path.read_text())}


def test_a_signal_is_noticed() -> None:
    source = (
        'reading.gap("a", x)\ngaps.add(r, "b", e)\ngaps.damage(r, "c", p, [])\nself.source("d", "e")\nx.add(r, "f")'
    )
    assert set(named_signals(source)) == {"a", "b", "c", "d"}


def test_every_signal_that_is_reported_has_its_row() -> None:
    assert len(reported()) > 15
    assert not {name for name in reported() if not signals.of_gap(f"coverage/{name}")}


def test_every_row_is_of_something_that_the_agent_reads() -> None:
    collectors = {each.name for each in registry.collectors()}
    assert {signal.collector for signal in signals.SIGNALS} - {""} == collectors
    assert {signal.name for signal in signals.SIGNALS} <= reported() | {"agent", "drops", "retransmits"}
    assert len(signals.BY_NAME) == len(signals.SIGNALS)


def test_a_collector_that_fails_is_all_of_its_signals() -> None:
    def of(key: str) -> list[str]:
        return [signal.name for signal in signals.of_gap(f"coverage/{key}")]

    assert of("disks/collector") == of("disks/pace") == ["disks", "disk_attributes"]
    assert of("fs_errors/events/denied") == ["fs_errors"]
    assert of("disks") == of("disks/flush") == ["disks"]
    assert of("conntrack") == ["conntrack"]
    assert of("host_info") == of("host_info/disabled") == ["host"]
    assert of("fsync//var/lib/etcd") == ["fsync"]
    assert of("tea") == []


@pytest.mark.parametrize("need", signals.NEEDS, ids=lambda need: need.name)
def test_every_line_is_one_of_a_manifest_or_a_setting(need: signals.Need) -> None:
    variables = {setting.variable("NODETELL_AGENT_") for setting in settings_of(AgentSettings)}
    for place, lines in need.lines.items():
        text = "\n".join(lines)
        if place == "agent.toml":
            for table, keys in tomllib.loads(text).items():
                known = set(dir(getattr(AgentSettings(), table)))
                assert set(keys) <= known
            continue
        parsed = yaml.safe_load(text)
        assert parsed
        if place.endswith(".env"):
            assert {each["name"] for each in parsed} <= variables


def test_what_tier_1_needs_is_in_the_manifest_of_tier_1() -> None:
    lines = {line.strip() for line in (ROOT / "manifests/agent/daemonset.yaml").read_text().splitlines()}
    for need in (signals.HOST_PROC, signals.HOST_SYS):
        assert {line.strip() for added in need.lines.values() for line in added} <= lines


def test_the_document_on_privileges_tells_all_of_it() -> None:
    text = (ROOT / "docs" / "privileges.md").read_text()
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line[:2] == "| "
    }
    for signal in signals.SIGNALS:
        for way in signal.ways:
            needs = "; ".join(f"{need.what} (`{need.name}`, tier {need.tier})" for need in way.needs) or "nothing"
            assert (f"`{signal.name}`", signal.what, way.source, needs) in rows, "see nodetell.signals"
