"""API objects as JSON lists, read defensively: an odd object is a problem that names it, the others are good."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aggregator.cluster.objects import NodeObject, Taint


def parse_nodes(data: bytes) -> tuple[dict[str, NodeObject], list[str]]:
    """Nodes by name from a v1 List or NodeList, and what in it could not be read, one line each."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        return {}, [f"nodes.json: {_where(error)}"]
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, list):
        return {}, ["nodes.json: no list of items in it"]
    nodes: dict[str, NodeObject] = {}
    problems: list[str] = []
    for position, item in enumerate(items):
        metadata = _mapping(item, "metadata")
        name = metadata.get("name")
        if not isinstance(name, str) or not name:
            problems.append(f"nodes.json: item {position} has no metadata.name")
            continue
        spec, status = _mapping(item, "spec"), _mapping(item, "status")
        cidrs = _strings(spec.get("podCIDRs")) or _strings([spec.get("podCIDR")])
        nodes[name] = NodeObject(
            name=name,
            labels={key: value for key, value in _mapping(metadata, "labels").items() if isinstance(value, str)},
            taints=tuple(
                sorted((_taint(taint) for taint in _list(spec.get("taints")) if isinstance(taint, dict)), key=str)
            ),
            addresses={
                str(address["type"]): str(address["address"])
                for address in _list(status.get("addresses"))
                if isinstance(address, dict) and "type" in address and "address" in address
            },
            pod_cidrs=cidrs,
        )
    return nodes, problems


def _where(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno} (offset {error.pos}): {error.msg}"
    return f"not JSON: {error}"


def _mapping(thing: object, key: str) -> Mapping[str, object]:
    value = thing.get(key) if isinstance(thing, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _strings(value: object) -> tuple[str, ...]:
    return tuple(entry for entry in _list(value) if isinstance(entry, str))


def _taint(taint: Mapping[str, object]) -> Taint:
    key, value, effect = (str(taint.get(name) or "") for name in ("key", "value", "effect"))
    return Taint(key, value, effect)
