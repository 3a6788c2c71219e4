"""Every signal that a signature can emit has its series, or a reason why it has none; and the series are found."""

from __future__ import annotations

import ast
import asyncio
import os
from functools import cache
from pathlib import Path

import pytest
from markupsafe import Markup

from aggregator.model import Evidence, Finding
from aggregator.web.charts.evidence import MOST, evidence_chart, evidence_charts
from aggregator.web.charts.series import SHOWN, SHOWN_LIKE, WITHOUT, reason_without
from cli.bundle_known import BundleKnown, known_of

SIGNATURES = Path(__file__).parents[2] / "aggregator/signatures"
WHERE = {"Evidence": 1, "api_evidence": 2, "fact": 0, "_fact": 1, "level": 0, "host_says": 1, "tell": 0, "_both": 0}
"""At which argument the functions that make evidence have the signal."""


def emitted() -> set[str]:
    """Signals in the source; of one that is put together, how it begins."""
    found = set()
    for path in sorted(SIGNATURES.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            signal = call.args[WHERE[name]] if name in WHERE and len(call.args) > WHERE[name] else None
            if isinstance(signal, ast.JoinedStr):
                signal = signal.values[0]
            if isinstance(signal, ast.Constant) and isinstance(signal.value, str) and signal.value:
                found.add(signal.value)
    return found


def is_decided(signal: str) -> bool:
    like = any(known.startswith(signal) for known in (*SHOWN, *WITHOUT)) if signal.endswith(".") else False
    return signal in SHOWN or signal.startswith(tuple(SHOWN_LIKE)) or bool(reason_without(signal)) or like


def test_of_every_signal_it_is_decided_whether_it_has_a_chart() -> None:
    signals = emitted()
    assert {"link.mtu", "fsync.", "api.silent", "counter.delta", "lease.age", "container.restarts"} <= signals
    assert sorted(signal for signal in signals if not is_decided(signal)) == []
    assert not set(SHOWN) & set(WITHOUT)


@cache
def bundle(name: str) -> BundleKnown:
    shared = os.environ.get("NODETELL_SHARED")
    if not shared:
        pytest.skip("NODETELL_SHARED names no directory with scenarios")
    return known_of(str(Path(shared) / "scenarios" / name))


def charts(known: BundleKnown, code: str) -> dict[str, str]:
    """By signal and subject."""
    (finding,) = (record.finding for record in known.standing() if record.finding.code == code)
    made = asyncio.run(evidence_charts(known, finding))
    assert len(made) == len(finding.evidence)
    told = zip(finding.evidence, made, strict=True)
    return {f"{each.signal} {each.subject}": chart for each, chart in told if chart is not None}


def test_a_control_plane_that_waits_for_its_disk() -> None:
    found = charts(bundle("saturation-chain-fsync-220ms"), "cp.saturation")
    fsync = found["fsync.p99 etcd on 259:3"]
    assert "99th percentile: 7.85 ms before, 248 ms since; median: 1.58 ms before, 40.2 ms since" in fsync
    assert "LIST: 96.9 ms before, 562 ms since; PATCH: 41.8 ms before, 199 ms since" in found["api.p99 LIST"]
    assert "usually: 23.5 ms" in found["api.p99 GET"]  # the fifth, for which there is no room with the others
    assert "24.7/s before, 24/s since" in found["api.p99.usual LIST"]
    assert "usually: 24.7/s" in found["api.p99.usual LIST"]
    assert "list: 70 ms before, 540 ms since" in found["etcd_request.p99 list"]
    assert len(found) == 5


def test_interfaces_and_what_they_drop() -> None:
    known = bundle("vxlan-1500-on-1500-drops")
    found = charts(known, "mtu.overlay_exceeds_underlay")
    assert "1,500 bytes" in found["link.mtu flannel.1"]
    assert "packets" in charts(known, "mtu.drop_fingerprint")["counter.delta flannel.1.tx_dropped"]


def test_a_container_that_ends_again_and_again() -> None:
    found = charts(bundle("oom-crash-loop"), "crash.oom")
    (chart,) = [chart for key, chart in found.items() if key.startswith("container.restarts")]
    assert "exit code 137" in chart


@pytest.mark.parametrize("signal", [*SHOWN, "counter.kernel_io_error"])
def test_what_is_not_there_any_more_has_no_chart_and_no_error(signal: str) -> None:
    known = bundle("flannel-healthy")
    node = known.node_names()[0]
    for where in (node, "", "gone"):
        evidence = Evidence(where, signal, "no such thing", 1, "", "", known.now())
        finding = Finding("x", "x", "x", "risk", 1, "", (), (evidence,), "")  # type: ignore[arg-type]  # not looked at
        made = asyncio.run(evidence_chart(known, finding, evidence))
        assert made is None or isinstance(made, Markup)


def test_a_finding_of_very_many_facts_has_a_few_charts() -> None:
    known = bundle("vxlan-1500-on-1500-drops")
    record = next(record for record in known.standing() if record.finding.code == "mtu.overlay_exceeds_underlay")
    made = asyncio.run(evidence_charts(known, record.finding, [*record.finding.evidence] * 3))
    assert 0 < sum(chart is not None for chart in made) <= MOST
