"""What is printed for programs: one JSON or YAML document, or a stream of them. Both say the same."""

from __future__ import annotations

import argparse
import re
from typing import Any

from cli.terminal import emit, emit_json

FORMATS = ("json", "yaml")
"""Values of --format that ask for a document."""
_ALSO_NUMBERS = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
"""Numbers of YAML 1.2's core schema: a text that looks like one must be quoted, though YAML 1.1 does not ask for it."""
_WIDTH = 120


def wants_document(arguments: argparse.Namespace) -> bool:
    """A document was asked for, not text to read."""
    return arguments.format in FORMATS


def emit_document(document: object, arguments: argparse.Namespace, *, lines: bool = False) -> None:
    """Print it in the format that was asked for. `lines`: as one of a stream (a line of JSON; YAML between ---)."""
    if arguments.format == "yaml":
        emit(("---\n" if lines else "") + as_yaml(document))
    else:
        emit_json(document, lines=lines)


def as_yaml(document: object) -> str:
    """A document as YAML that readers of 1.1 and of 1.2 take for the same."""
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  # only who asks for it waits for it

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml's where it is there
        pass

    tag = "tag:yaml.org,2002:float"
    Dumper.add_implicit_resolver(tag, re.compile(f"^(?:{_ALSO_NUMBERS.pattern})$"), list("-+.0123456789"))
    Dumper.ignore_aliases = lambda *_: True
    text: Any = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=_WIDTH, allow_unicode=False)
    return str(text).rstrip("\n").removesuffix("\n...")
