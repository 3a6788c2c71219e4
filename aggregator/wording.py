"""How findings say lengths of time, several names, and what somebody else has said."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nodetell.redact import without_secrets

_REQUEST = re.compile(r"(\brequest[ -]?id\W{1,3})[0-9a-z-]{6,}", re.IGNORECASE)
_QUOTED = 240
"""Characters of a message that a finding quotes."""
_LOOKED_AT = 2_000


def span(seconds: float) -> str:
    """A length of time in words."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def quoted(message: str) -> str:
    """The beginning of a message, in one line; without the id of the one request that met it, which is no news, and
    without what looks like a secret."""
    text = without_secrets(_REQUEST.sub(r"\1...", " ".join(message[:_LOOKED_AT].split())))
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def some(names: Iterable[str], most: int = 3) -> str:
    """The first of several names, and how many more there are; "none" where there are none."""
    every = list(names)
    more = len(every) - most
    return (", ".join(every[:most]) or "none") + (f" and {more:,} more" if more > 0 else "")


def without_node(text: str, node: str) -> str:
    """The text without the node's own name in it (paths in a bundle have it), so that equal reasons meet."""
    if not node or node not in text:
        return text
    return re.sub(rf"(?<![\w.-]){re.escape(node)}(?![\w-])", "NODE", text)
