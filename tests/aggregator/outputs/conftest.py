"""What is gathered, spaced and paused in production takes no time in tests."""

from __future__ import annotations

import pytest

from aggregator.outputs import courier, trouble


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    monkeypatch.setattr(courier, "GATHER_S", 0.02)
    monkeypatch.setattr(courier, "SPACE_S", 0.01)
    monkeypatch.setattr(trouble, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(trouble, "LAST_PAUSE_S", 0.1)
