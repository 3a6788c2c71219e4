"""Shared by all tests: hypothesis in a deterministic profile, which tests get a second try, and which run side by side.

A failure on one machine is to be a failure on all, so hypothesis draws the same examples everywhere. What the kernel
decides cannot be drawn: when it runs which of several processes, how long a disk or a socket takes. A test of those is
tried once more when it fails, and pytest's summary shows every second try with what went wrong in the first. All others
fail at once: a pure function has no second try.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import nodetell  # noqa: F401  # before gRPC is: it leaves TLS 1.3 alone
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("nodetell", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nodetell")

HERE = Path(__file__).parent

TRIED_TWICE = (
    "agent/test_agent_main.py",
    "agent/test_etcd.py",
    "agent/test_greeting.py",
    "agent/test_runtime.py",
    "agent/test_stream.py",
    "agent/test_tls_versions.py",
    "agent/test_waiter.py",
    "aggregator/cluster/test_client.py",
    "aggregator/cluster/test_live.py",
    "aggregator/cluster/test_recordings.py",
    "aggregator/cluster/test_reflector.py",
    "aggregator/cluster/test_storms.py",
    "aggregator/cluster/test_watch.py",
    "aggregator/outputs/kubernetes/test_running.py",
    "aggregator/outputs/test_alertmanager.py",
    "aggregator/outputs/test_killed.py",
    "aggregator/outputs/test_otlp.py",
    "aggregator/outputs/test_receiver.py",
    "aggregator/outputs/test_webhook.py",
    "aggregator/test_flood.py",
    "aggregator/test_ingest.py",
    "aggregator/test_main.py",
    "aggregator/trust/test_agents_by_token.py",
    "aggregator/trust/test_certificates.py",
    "aggregator/trust/test_door.py",
    "aggregator/trust/test_operators.py",
    "aggregator/trust/test_review.py",
    "bench/test_bench.py",
    "bench/test_fsync_cost.py",
    "bench/test_rivals.py",
    "bpf/",
    "cli/test_access.py",
    "cli/test_alive.py",
    "cli/test_certs.py::test_they_open_a_real_door_also_for_a_node_with_a_long_name",
    "cli/test_collect.py",
    "cli/test_command.py",
    "cli/test_completion.py",
    "cli/test_diagnose.py",
    "cli/test_kube.py",
    "cli/test_live.py",
    "cli/test_remote.py",
    "cli/test_top.py",
    "cli/test_top_terminal.py",
    "cli/test_up.py",
    "e2e/",
    "house/test_make_run.py",
    "metrics/test_prometheus.py",
    "metrics/test_scrape.py",
    "pathmtu/test_paths.py",
    "pathmtu/test_plans_on_the_stream.py",
    "pathmtu/test_prober.py",
    "pathmtu/test_probing.py",
    "release/test_image.py",
    "situations/test_sensor.py",
    "situations/test_situations.py",
    "web/test_bounds.py",
    "web/test_events.py",
    "web/test_live.py",
    "web/test_maps_page.py",
    "web/test_page.py",
    "web/test_who.py",
)
"""Modules, directories and tests with real processes, disks, networks or time. So is every test that needs root."""

TRIED_ONCE = (
    "aggregator/history/test_damage.py",
    "aggregator/test_main.py::test_what_was_acknowledged_over_the_wire_survives_kill_9",
    "aggregator/test_store.py",
    "crash/",
)
"""These look for what goes wrong by chance, so a failure that does not come again is the very thing they are for."""


ONE_AT_A_TIME = (
    "agent/test_network_live.py",
    "bench/",
    "bpf/",
    "e2e/",
    "house/test_make_run.py",
    "pathmtu/",
    "situations/",
)
"""These look at the whole machine, or measure it: of them, and of modules with tests that need root, one runs at a
time. All other modules run side by side where there is more than one process (make test)."""

TOGETHER = ("release/", "web/")
"""What takes long to make is shared by a directory of tests, not only by a module."""


@functools.cache
def group_of(module: str) -> str:
    """Tests of one group run in one process, one after the other. `module`: its path below this directory."""
    for directory in TOGETHER:
        if module.startswith(directory):
            return directory
    of_the_machine = module.startswith(ONE_AT_A_TIME) or "needs_root" in (HERE / module).read_text()
    return "machine" if of_the_machine else module


class _Groups(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands out whole groups: pytest-xdist's own way to say what belongs together."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0].removeprefix(f"{HERE.name}/"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """How tests are shared among processes."""
    return _Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks those that are tried twice."""
    for item in items:
        module = item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""
        place = f"{module}::{item.name}"
        if place.startswith(TRIED_ONCE):
            continue
        if place.startswith(TRIED_TWICE) or item.get_closest_marker("needs_root"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def _own_loggers() -> Iterator[logging.Logger]:
    yield logging.getLogger()
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "nodetell" and isinstance(logger, logging.Logger):
            yield logger


@contextlib.contextmanager
def _kept_as_it_was() -> Iterator[None]:
    before = {logger: (logger.level, logger.propagate, logger.handlers[:]) for logger in _own_loggers()}
    yield
    for logger in list(_own_loggers()):
        level, propagate, handlers = before.get(logger, (logging.NOTSET, True, []))
        logger.setLevel(level)
        logger.propagate = propagate
        # pytest puts handlers of its own there, and takes them away itself.
        logger.handlers[:] = [
            handler
            for handler in logger.handlers
            if handler in handlers or not type(handler).__module__.startswith("nodetell")
        ]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test or a role that it runs sets of logging, which is one for the process, is no other test's."""
    with _kept_as_it_was():
        yield


@pytest.fixture(autouse=True, scope="module")
def _logging_as_before_the_module() -> Iterator[None]:
    """Nor is what a role sets that a whole module's tests ask."""
    with _kept_as_it_was():
        yield
