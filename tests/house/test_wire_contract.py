"""The .proto files are the contract: documented to the last field, and the stubs beside them are what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
FILES = sorted((PROTO / "nodetell" / "v1").glob("*.proto"))
SERVICES = ("agent", "operator")

FIELD = re.compile(r"^(?:optional |repeated )?(?P<type>[\w.]+|map<[^>]+>) (?P<name>\w+) = \d+( \[.*\])?;")
MESSAGE = re.compile(r"^(?:message|enum) (?P<name>\w+)")


def documented_types(text: str) -> set[str]:
    """Messages and enumerations with a comment right above them."""
    lines = [line.strip() for line in text.splitlines()]
    return {
        match["name"]
        for before, line in zip(["", *lines], lines, strict=False)
        if (match := MESSAGE.match(line)) and before.startswith("//")
    }


def undocumented_fields(text: str, types: set[str]) -> list[str]:
    """Fields with neither a comment of their own right above them nor a type with one."""
    missing = []
    message, before = "", ""
    for line in (line.strip() for line in text.splitlines()):
        if match := MESSAGE.match(line):
            message = match["name"]
        elif (match := FIELD.match(line)) and not before.startswith("//") and match["type"] not in types:
            missing.append(f"{message}.{match['name']}")
        before = line
    return missing


def test_a_field_without_a_comment_is_noticed() -> None:
    text = "// A.\nmessage A {\n  string b = 1;\n  // C.\n  uint32 c = 2;\n  bool d = 3;\n  repeated A e = 4;\n}\n"
    assert undocumented_fields(text, documented_types(text)) == ["A.b", "A.d"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_field_is_documented(path: Path) -> None:
    types = set().union(*(documented_types(file.read_text()) for file in FILES))
    assert not undocumented_fields(path.read_text(), types)


def test_the_stubs_are_what_the_contract_says(tmp_path: Path) -> None:
    names = [path.relative_to(PROTO).as_posix() for path in FILES]
    services = [f"nodetell/v1/{name}.proto" for name in SERVICES]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}"]
    subprocess.run([*protoc, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *names], check=True)
    subprocess.run([*protoc, f"--grpc_python_out={tmp_path}", *services], check=True)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*")}
    committed = {path.relative_to(PROTO): path.read_text() for path in PROTO.glob("nodetell/v1/*_pb2*.py*")}
    assert sorted(fresh) == sorted(committed)
    stale = [str(name) for name in fresh if fresh[name] != committed[name]]
    assert not stale, "run 'make proto'"
