"""The rules of the house that a compiler does not know, enforced on the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("agent", "aggregator", "cli")


def modules(*packages: str) -> list[Path]:
    """All modules of these packages."""
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


def relative(path: Path) -> str:
    """As it is named in the repository."""
    return path.relative_to(ROOT).as_posix()


MAY_OPEN = (
    "agent/hosts/",
    "agent/settings.py",
    "agent/collectors/fsync.py",
    "agent/bundle_writer.py",
    "agent/sensor/",
)
"""What reads the host itself, names its roots, or writes: the probe's file, bundles, and the sensor, another process.

Messages may name a file: "/proc/stat" in a coverage entry opens nothing."""
ROOTS = {"/proc", "/proc/", "/sys", "/sys/"}
OPENING = re.compile(
    r"^(open|io\.open|(pathlib\.)?(Pure)?Path|glob\.\w+|fileinput\.\w+"
    r"|os\.(open|fdopen|listdir|scandir|walk|fwalk|readlink|stat|lstat|statvfs|access))$"
)


def direct_reads(source: str) -> list[tuple[int, str]]:
    """Line and name of each call that opens or looks at a file, and of each constant that is a root of the host."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and OPENING.match(ast.unparse(node.func)):
            found.append((node.lineno, ast.unparse(node.func)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ROOTS:
            found.append((node.lineno, node.value))
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open(x)", "open"),
        ("import os\nos.listdir(x)", "os.listdir"),
        ("Path(x).read_text()", "Path"),
        ("os.path.join('/proc', 'stat')", "/proc"),
        ("f'/sys/{x}'", "/sys/"),
        ("because = '/proc/stat: no such file'", None),
        ("host.read('proc/stat')", None),
    ],
)
def test_a_read_past_the_host_object_is_noticed(source: str, found: str | None) -> None:
    assert [name for _, name in direct_reads(source)] == ([found] if found else [])


@pytest.mark.parametrize("path", modules("agent"), ids=relative)
def test_the_host_is_read_through_the_host_object_only(path: Path) -> None:
    if not relative(path).startswith(MAY_OPEN):
        assert not direct_reads(path.read_text())


STARTERS = {"subprocess", "pty", "multiprocessing", "popen2", "commands"}
STARTING_CALLS = re.compile(
    r"^asyncio\.create_subprocess_\w+$"
    r"|^os\.(system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|fork|forkpty)$"
)


def process_starts(source: str) -> Iterator[str]:
    """What in the source could start a process."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            if name.split(".")[0] in STARTERS or STARTING_CALLS.match(name):
                yield name


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "from os import system",
        "import os\nos.execvp('x', [])",
        "asyncio.create_subprocess_exec('x')",
    ],
)
def test_a_started_process_is_noticed(source: str) -> None:
    assert list(process_starts(source))


@pytest.mark.parametrize("path", modules("agent"), ids=relative)
def test_the_agent_starts_no_process(path: Path) -> None:
    assert not list(process_starts(path.read_text()))


def test_heavy_libraries_stay_out_of_the_agent() -> None:
    """The resident process pays for what it imports: none of these is worth its megabytes there, unless asked for."""
    heavy = {"pyroute2", "lightkube", "prometheus_client", "httpx", "hypothesis"}
    on_request = {"proto/nodetell/scrape.py": {"prometheus_client"}}  # tests/metrics see that it is loaded on request
    for path in modules("agent", "proto/nodetell"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            allowed = on_request.get(relative(path), set())
            assert not (heavy - allowed) & {name.split(".")[0] for name in names}, relative(path)


@pytest.mark.parametrize("path", modules(*ROLES, "proto/nodetell"), ids=relative)
def test_every_module_says_why_it_exists(path: Path) -> None:
    if path.name == "__init__.py" or "_pb2" in path.name:
        return
    assert ast.get_docstring(ast.parse(path.read_text())), f"{relative(path)} has no docstring"
