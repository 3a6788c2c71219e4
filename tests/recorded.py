"""Hosts made of files, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from agent.hosts.bundle import BundleHost, open_bundle

DATA = Path(__file__).parent / "agent" / "data"
"""Texts captured from kernels; below damaged/ what should never have been."""


def write_files(directory: Path, files: Mapping[str, bytes | object]) -> None:
    """Bytes as they are, anything else as JSON; a path that ends in "/" is an empty directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for path, contents in files.items():
        target = directory / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents if isinstance(contents, bytes) else json.dumps(contents).encode())


def host_of(directory: Path, files: Mapping[str, bytes | object]) -> BundleHost:
    """The one host of a bundle of these files ("proc/stat", "fsync.json")."""
    write_files(directory / "nodes" / "n", files)
    return open_bundle(directory).snapshots[-1].hosts["n"]
