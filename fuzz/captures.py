"""Where real captures are: the seeds of most targets."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
NETLINK = TOP / "tests/agent/captures"
HOSTS = TOP / "tests/fixtures/hosts"
