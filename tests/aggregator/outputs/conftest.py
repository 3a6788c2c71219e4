"""What is gathered, spaced and paused in production takes no time in tests."""

from __future__ import annotations

import pytest

from aggregator.outputs import courier


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    for name, seconds in (("GATHER_S", 0.02), ("SPACE_S", 0.01), ("FIRST_PAUSE_S", 0.02), ("LAST_PAUSE_S", 0.1)):
        monkeypatch.setattr(courier, name, seconds)
