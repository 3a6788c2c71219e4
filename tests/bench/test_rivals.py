"""The benchmark beside rivals: its parsers, its arithmetic, and that it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import place, syscalls, wire
from bench.contestants import OURS, contestants, netdata_settings
from bench.measure import alive, cpu_seconds, tree, tree_cpu_seconds, tree_memory
from bench.rivals import main, parsed, share
from bench.rivals_report import ratio, report
from tests import needs

WITH_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"


def spread(median: float) -> dict[str, float]:
    """Of three measurements."""
    return {"median": median, "least": median / 2, "greatest": median * 2, "count": 3}


def one(percent: float, bytes_per_minute: float | None, calls: float | None, rss: float = 40.0) -> dict[str, Any]:
    """What is measured of one."""
    part = {
        "percent": spread(percent),
        "percent_by_process": {"a": spread(percent)},
        "bytes_per_minute": bytes_per_minute,
    }
    memory = {"rss": rss, "pss": None, "cgroup": 10.0}
    return {"quiet": part, "moving": part, "memory": memory, "syscalls_per_second": calls}


def result(**measured: dict[str, Any]) -> dict[str, Any]:
    """What one run gives."""
    return {
        "measured": measured,
        "budget_percent": 0.5,
        "read_less_often": {"quiet": [], "moving": ["disks", "usage"]},
        "left_out": {},
        "syscalls_not_measured": "",
    }


def test_ratios_are_theirs_by_ours() -> None:
    assert ratio(3.0, 2.0) == "1.5 x"
    assert ratio(123_456.0, 100.0) == "1,235 x"
    assert ratio(None, 2.0) == "-"
    assert ratio(3.0, None) == "-"
    assert ratio(3.0, 0.0) == "-"


def test_the_report_has_figures_and_ratios() -> None:
    text = report({100: result(ours=one(0.5, 5_000, 100), theirs=one(2, 20_000, 50))}, "ours")
    rows = [line.split("  ") for line in text.splitlines()]
    figures = next(row for row in rows if row[0] == "theirs")
    assert "2.00 (1.00-4.00)" in [cell.strip() for cell in figures]
    assert "20.0" in [cell.strip() for cell in figures]
    ratios = [row for row in rows if row[0] == "theirs"][1]
    assert [cell.strip() for cell in ratios if cell][1:] == ["4 x", "4 x", "1 x", "1 x", "4 x", "4 x", "0.5 x"]


def test_the_report_says_what_was_not_measured() -> None:
    run = result(ours=one(0.5, None, None))
    run["left_out"] = {"collectd": "apt-get install collectd-core"}
    run["syscalls_not_measured"] = "needs perf"
    text = report({100: run}, "ours")
    assert "budget of 0.5 %: quiet: nothing; moving: disks, usage" in text
    assert "left out: collectd: apt-get install collectd-core" in text
    assert "system calls not measured: needs perf" in text


def test_a_share_is_of_the_time_between() -> None:
    assert share((10.0, 1.0), (20.0, 1.5)) == 5.0


def test_counts_of_perf() -> None:
    assert syscalls.parse("2540,,raw_syscalls:sys_enter,86219421,100.00,,\n") == 2540
    assert syscalls.parse("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n") is None
    assert syscalls.parse("event syntax error: 'raw_syscalls:sys_enter'\n") is None
    assert syscalls.parse("") is None


def test_counts_of_nft() -> None:
    listing = {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "inet", "name": "port80", "table": "nodetell_bench", "packets": 2, "bytes": 104}},
            {"counter": {"family": "ip", "name": "port81", "table": "another", "packets": 1, "bytes": 52}},
        ]
    }
    assert wire.parse(listing) == {80: 104}


@pytest.mark.needs_root
def test_bytes_are_counted_once_by_port() -> None:
    """In a network namespace of its own: ten UDP datagrams of 100 bytes, of 128 with their headers."""
    needs.root_netns()
    needs.nft()
    script = (
        "import socket; from bench import wire; wire.count_ports([9001, 9002])\n"
        "to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); to.bind(('127.0.0.1', 9001))\n"
        "for _ in range(10): socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(100), ('127.0.0.1', 9001))\n"
        "assert wire.counted() == {9001: 1280, 9002: 0}, wire.counted()"
    )
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", script]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_a_tree_is_counted_with_its_children() -> None:
    parent = subprocess.Popen([sys.executable, "-c", WITH_A_CHILD], start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while len(pids := tree([parent.pid])) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        before = tree_cpu_seconds([parent.pid])
        time.sleep(0.3)
        assert tree_cpu_seconds([parent.pid]) - before > 0.02
        assert pids[0] == parent.pid
        assert tree_memory([parent.pid], None).rss > 5
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
    assert not alive(parent.pid)
    assert tree([parent.pid]) == []


def test_ours_comes_first_and_whoever_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    everyone = contestants([])
    assert everyone[0].name == OURS
    assert not everyone[0].missing
    assert all("apt-get install" in contestant.missing for contestant in everyone[1:])
    assert len({contestant.name for contestant in everyone}) == len(everyone)


def test_netdata_keeps_to_its_own_directory() -> None:
    settings = netdata_settings(Path("/scratch/child"), 19110, minimal=True)
    assert "  cache = /scratch/child/cache\n" in settings
    assert "  default port = 19110\n" in settings
    assert "/proc/net/dev" not in settings
    assert "  /proc/vmstat = no\n" in settings
    assert "vmstat" not in netdata_settings(Path("/scratch/child"), 19110, minimal=False)


@pytest.mark.parametrize("arguments", [["--interfaces", "many"], ["--interfaces", "1"], ["--parts", "0"]])
def test_a_wrong_argument_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parsed(arguments)
    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert main([]) == 3
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert "needs root" in capsys.readouterr().err


def test_what_a_child_has_used_is_not_lost_when_it_ends() -> None:
    script = (
        "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'for _ in range(3_000_000): pass']);"
        " print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout
            parent.stdout.readline()
            assert tree([parent.pid]) == [parent.pid]
            assert tree_cpu_seconds([parent.pid]) - cpu_seconds(parent.pid) > 0.02
        finally:
            parent.kill()


@pytest.mark.needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_all_that_it_started(number: signal.Signals) -> None:
    needs.root_netns()
    if reason := place.obstacle() or wire.obstacle():
        pytest.skip(reason)
    command = [sys.executable, "-m", "bench.rivals", "--interfaces", "5"]
    bench = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert bench.stderr
    try:
        for line in bench.stderr:
            if "settling" in line:
                break
        started = tree([bench.pid])
        assert len(started) > 5
        bench.send_signal(number)
        _, told = bench.communicate(timeout=40)
    finally:
        bench.kill()
        bench.wait()
    assert bench.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert [pid for pid in started if alive(pid)] == []
