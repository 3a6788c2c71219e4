"""At the end of a run: how long before its symptom each incident was warned of (test_lead_time.py)."""

from __future__ import annotations

import pytest

LEADS = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEADS] = {}


@pytest.fixture
def leads(request: pytest.FixtureRequest) -> dict[str, str]:
    """A line by incident, which the end of the report shows."""
    return request.config.stash[LEADS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash[LEADS]
    if lines:
        terminalreporter.section("lead of the warnings over the symptoms")
        for incident in sorted(lines):
            terminalreporter.write_line(lines[incident])
