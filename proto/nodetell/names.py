"""What a node may be called: the rule of Kubernetes for node names, which both ends keep to."""

from __future__ import annotations

import re

MAX_NODE_NAME = 253
"""Characters of a node name at most (RFC 1123 subdomain, as the API server checks it)."""

_NODE_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")


def node_name_problem(name: str) -> str:
    """Why `name` cannot be a node's, in one line; empty: it can."""
    if len(name) > MAX_NODE_NAME:
        return f"a node name of {len(name)} characters: at most {MAX_NODE_NAME} are allowed"
    if not _NODE_NAME.fullmatch(name):
        return (
            f'"{name[:80]!a}" is no node name: lower-case letters, digits, "-" and ".", a letter or digit at both ends'
        )
    return ""


def node_name_from(hostname: str) -> str:
    """The node name a host has unless told otherwise: its host name in lower case, as the kubelet does it.

    Characters that a node name cannot have become "-"; "localhost" if nothing is left.
    """
    name = re.sub(r"[^-a-z0-9.]", "-", hostname.lower())[:MAX_NODE_NAME]
    return name.strip("-.") or "localhost"
