"""Lists of API objects in files, as kubectl writes them: an odd object is a problem that names it, the others count.

Half a list must not pass for a whole one: what is cut off or damaged leaves the resource unknown, and says where.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from aggregator.cluster.decode import DecodeError, Decoder
from aggregator.cluster.events import too_many, wanted
from aggregator.cluster.objects import Event
from aggregator.cluster.state import ClusterState

MOST_PROBLEMS = 20
"""Odd objects of one list that are named; the others are counted."""

_MARK = b"\xef\xbb\xbf"
"""A byte order mark, as Windows shells put before what they redirect."""
_BYTE = re.compile(r" ?\(byte (\d+)\)")


class _ListMeta(msgspec.Struct, rename="camel"):
    continue_: str | None = msgspec.field(default=None, name="continue")
    remaining_item_count: int | None = None


class _List(msgspec.Struct):
    kind: str | None = None
    message: str | None = None
    metadata: _ListMeta | None = None
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


class _Contents(NamedTuple):
    items: list[msgspec.Raw]
    problem: str = ""
    """Why it is not the whole list; empty: it is."""


def load(state: ClusterState, resource: str, data: bytes, decoder: Decoder) -> list[str]:
    """Take in a v1 List or a typed one (PodList) of a resource; what is wrong with it, one line each.

    The resource is known afterwards if the list is whole.
    """
    contents = _contents(data)
    problems = [contents.problem] if contents.problem else []
    odd = 0
    for number, item in enumerate(contents.items):
        try:
            key, thing, problem = decoder.decode(resource, item)
        except DecodeError as error:
            problem = str(error)
        else:
            if not isinstance(thing, Event) or wanted(thing):
                state.keep(resource, key, thing)
        if problem:
            odd += 1
            if odd <= MOST_PROBLEMS:
                problems.append(f"item {number}: {problem}")
    if odd > MOST_PROBLEMS:
        problems.append(f"{odd - MOST_PROBLEMS} more objects with something odd in them")
    if resource == "events" and state.events_dropped:
        problems.append(too_many(state.events_dropped))
    state.set_known(resource, not contents.problem)
    return problems


def damage(data: bytes) -> str:
    """Why it is no JSON, with line and offset; empty: it is. It keeps nothing of it: such a file can be large."""
    try:
        msgspec.json.decode(data.removeprefix(_MARK), type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return _place(data, str(error))
    except (UnicodeError, RecursionError) as error:
        return f"not JSON: {error}"
    return ""


def _contents(data: bytes) -> _Contents:
    try:
        document = msgspec.json.decode(data.removeprefix(_MARK), type=_List)
    except msgspec.ValidationError:
        return _Contents([], "no list of items in it")
    except msgspec.DecodeError as error:
        return _Contents([], _place(data, str(error)))
    except (UnicodeError, RecursionError) as error:
        return _Contents([], f"not JSON: {error}")
    return _Contents(document.items or [], _missing(document))


def _missing(document: _List) -> str:
    """Why this is not the whole list; empty: it is."""
    meta = document.metadata
    if document.kind == "Status":
        return f"a Status instead of a list: {' '.join((document.message or '').split())[:200]}"
    if document.items is msgspec.UNSET:
        return "no list of items in it"
    if meta is not None and meta.continue_:
        more = f" ({meta.remaining_item_count} more)" if meta.remaining_item_count else ""
        return f"only the first page of a longer list{more}"
    return ""


def _place(data: bytes, error: str) -> str:
    """Line, column and offset of what msgspec says is wrong."""
    found = _BYTE.search(error)
    reason = _BYTE.sub("", error).removeprefix("JSON is malformed: ")
    offset = int(found[1]) if found else len(data)
    if reason == "trailing characters":
        offset -= 1  # it has looked one farther
    line = data.count(b"\n", 0, offset) + 1
    column = offset - data.rfind(b"\n", 0, offset)
    return f"line {line}, column {column} (offset {offset}): {reason[:1].lower()}{reason[1:]}"
