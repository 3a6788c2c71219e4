"""Phrases at the end of a container's log that tell of a refused identity, by name.

Agents look for them, where they are allowed to, and send the name; the aggregator knows what it means. The line itself
never leaves the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogPattern:
    """One family of phrases."""

    meaning: str
    """What a line that has one of them tells of."""
    phrases: tuple[str, ...]
    """In lower case; a line has them as they stand, whatever its case."""


LOG_PATTERNS: Mapping[str, LogPattern] = {
    "password": LogPattern(
        "a password or user that was refused",
        (
            "password authentication failed",
            "access denied for user",
            "login failed for user",
            "invalid username or password",
            "invalid username/password",
            "wrongpass",
            "noauth authentication required",
            "ora-01017",
            "sasl authentication failed",
            "saslauthenticationexception",
            "no pg_hba.conf entry",
        ),
    ),
    "token": LogPattern(
        "a token that was refused",
        (
            "token has expired",
            "token is expired",
            "expiredtoken",
            "jwt expired",
            "tokenexpirederror",
            "invalid bearer token",
            "token used before issued",
            "token is not valid yet",
            "service account token has been invalidated",
            "invalid api key",
            "bad credentials",
        ),
    ),
    "cloud_role": LogPattern(
        "a cloud's role or identity that was refused",
        (
            "assumerolewithwebidentity",
            "invalididentitytoken",
            "invalidclienttokenid",
            "unrecognizedclientexception",
            "signaturedoesnotmatch",
            "is not authorized to perform",
            "no valid credential sources",
            "nocredentialproviders",
            "unable to locate credentials",
            "failed to refresh cached credentials",
            "could not find default credentials",
            "could not load the default credentials",
            "iam.serviceaccounts.getaccesstoken",
            "aadsts",
            "managedidentitycredential authentication",
            "defaultazurecredential failed",
        ),
    ),
    "kubernetes_rbac": LogPattern(
        "rights of a ServiceAccount that were refused",
        ('is forbidden: user "system:serviceaccount', "you must be logged in to the server"),
    ),
    "client_certificate": LogPattern(
        "a client certificate that was refused",
        (
            "tls: bad certificate",
            "alert bad certificate",
            "tls: certificate required",
            "client certificate has expired",
        ),
    ),
}
"""By name. Names are a contract between versions: what a newer agent sends and nobody knows here says nothing."""
