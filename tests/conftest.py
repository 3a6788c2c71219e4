"""Shared by all tests: hypothesis in a deterministic profile, and which tests get a second try.

A failure on one machine is to be a failure on all, so hypothesis draws the same examples everywhere. What the kernel
decides cannot be drawn: when it runs which of several processes, how long a disk or a socket takes. A test of those is
tried once more when it fails, and pytest's summary shows every second try with what went wrong in the first. All others
fail at once: a pure function has no second try.
"""

from __future__ import annotations

from pathlib import Path

import nodetell  # noqa: F401  # before gRPC is: it leaves TLS 1.3 alone
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("nodetell", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nodetell")

HERE = Path(__file__).parent

TRIED_TWICE = (
    "agent/test_agent_main.py",
    "agent/test_etcd.py",
    "agent/test_greeting.py",
    "agent/test_runtime.py",
    "agent/test_stream.py",
    "agent/test_waiter.py",
    "aggregator/cluster/test_client.py",
    "aggregator/cluster/test_live.py",
    "aggregator/cluster/test_recordings.py",
    "aggregator/cluster/test_reflector.py",
    "aggregator/cluster/test_storms.py",
    "aggregator/cluster/test_watch.py",
    "aggregator/test_ingest.py",
    "aggregator/test_main.py",
    "bench/",
    "bpf/",
    "cli/test_access.py",
    "cli/test_collect.py",
    "cli/test_command.py",
    "cli/test_diagnose.py",
    "cli/test_kube.py",
    "cli/test_live.py",
    "cli/test_up.py",
    "e2e/",
    "house/test_make_run.py",
    "pathmtu/test_paths.py",
    "pathmtu/test_plans_on_the_stream.py",
    "pathmtu/test_prober.py",
    "pathmtu/test_probing.py",
    "situations/test_sensor.py",
    "situations/test_situations.py",
)
"""Modules and directories with real processes, disks, networks or time. So is every test that needs root."""

TRIED_ONCE = ("aggregator/test_store.py",)
"""These look for what goes wrong by chance, so a failure that does not come again is the very thing they are for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks those that are tried twice."""
    for item in items:
        module = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        if module.startswith(TRIED_ONCE):
            continue
        if module.startswith(TRIED_TWICE) or item.get_closest_marker("needs_root"):
            item.add_marker(pytest.mark.flaky(reruns=1))
