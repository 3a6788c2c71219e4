"""The table of the aggregator's limits in docs/operating.md, made of aggregator/limits.py.

`python -m tests.house.limits_page` writes it anew; test_limits_page.py fails where the page has another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from aggregator import limits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
BEGIN, END = "<!-- limits: begin -->", "<!-- limits: end -->"
GROUPS = (
    ("NodeLimits", limits.NODE),
    ("PeerLimits", limits.PEER),
    ("OperatorLimits", limits.OPERATOR),
    ("HttpLimits", limits.HTTP),
)


def table() -> str:
    """What stands between the marks."""
    return "\n".join(["| limit | at most | what |", "| --- | --- | --- |", *_rows()])


def _rows() -> Iterator[str]:
    tree = ast.parse(Path(limits.__file__).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for name, values in GROUPS:
        body = classes[name].body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                what = " ".join(str(ast.literal_eval(text.value)).split())
                yield f"| `{field.target.id}` | {getattr(values, field.target.id):,} | {what} |"


def write() -> None:
    """Put the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
