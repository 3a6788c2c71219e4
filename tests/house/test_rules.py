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


def docstrings(tree: ast.Module) -> set[int]:
    """Ids of the string constants that stand alone as a statement: documentation, not data."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def absolute_host_paths(source: str) -> list[tuple[int, str]]:
    """Line and text of each string that names a place below /proc or /sys."""
    tree = ast.parse(source)
    documentation = docstrings(tree)
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
        and re.match(r"/(proc|sys)(/|$)", node.value)
    ]


def is_shown_only(line: str) -> bool:
    """True where the line says that it names the file to a reader and opens nothing."""
    return "# names the file, opens nothing" in line


def test_a_path_below_proc_and_sys_is_noticed() -> None:
    source = '"""/proc/stat"""\nopen("/proc/stat")\nx = f"/sys/block/{y}"\nz = "/system"\nw = "proc/stat"\n'
    assert absolute_host_paths(source) == [(2, "/proc/stat"), (3, "/sys/block/")]


@pytest.mark.parametrize("path", modules("agent"), ids=relative)
def test_the_host_is_read_through_the_host_object_only(path: Path) -> None:
    if relative(path).startswith("agent/hosts/") or relative(path) == "agent/settings.py":
        return
    source = path.read_text()
    lines = source.splitlines()
    found = [(line, text) for line, text in absolute_host_paths(source) if not is_shown_only(lines[line - 1])]
    assert not found, f"{relative(path)} names a place outside the injected roots"


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
    """The resident process pays for what it imports: none of these is worth its megabytes there."""
    heavy = {"pyroute2", "lightkube", "prometheus_client", "httpx", "hypothesis"}
    for path in modules("agent", "proto/nodetell"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not heavy & {name.split(".")[0] for name in names}, relative(path)


@pytest.mark.parametrize("path", modules(*ROLES, "proto/nodetell"), ids=relative)
def test_every_module_says_why_it_exists(path: Path) -> None:
    if path.name == "__init__.py" or "_pb2" in path.name:
        return
    assert ast.get_docstring(ast.parse(path.read_text())), f"{relative(path)} has no docstring"
