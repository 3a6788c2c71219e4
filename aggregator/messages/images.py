"""Why an image did not come. What a phrase proves comes before what it suggests."""

from __future__ import annotations

import re

from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule
from aggregator.messages.said import Said, by

UNAUTHORIZED = "image.unauthorized"

NOT_FOUND = "image.not_found"

UNREACHABLE = "image.registry_unreachable"

RATE_LIMITED = "image.rate_limited"

INVALID_NAME = "image.invalid_name"

DISK = "image.disk_or_snapshotter"

_RATE = (
    "toomanyrequests",
    "too many requests",
    "pull rate limit",
    "rate limit exceeded",
    "rate exceeded",
    "rate-limit",
    "code: 429",
    "status: 429",
    "status code 429",
    "pull qps exceeded",
    "quota exceeded for quota metric",
)

_DNS = (
    "no such host",
    "temporary failure in name resolution",
    "server misbehaving",
    "name or service not known",
    "could not resolve host",
    "dial tcp: lookup ",
)

_TLS_SLOW = ("tls handshake timeout",)

_REFUSED = (
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "requested access to the resource is denied",
    "pull access denied",
    "access denied",
    "access to the resource is denied",
    "authorization failed",
    "authentication failed",
    "authorization token has expired",
    "token has expired",
    "token expired",
    "expiredtoken",
    "invalid username/password",
    "incorrect username or password",
    "invalid username or password",
    "access forbidden",
    "403 (forbidden)",
    "403 forbidden",
    "401 unauthorized",
    "status code 401",
    "status code 403",
    "status: 401",
    "status: 403",
    "statuscode=401",
    "statuscode=403",
    "http status: 401",
    "denied: permission",
    "permission_denied",
    "permissiondenied",
    'permission "artifactregistry',
    "artifactregistry.repositories.downloadartifacts",
    "caller does not have permission",
    "not authorized to perform: ecr",
    "not authorized to access",
    "does not have storage.objects",
    "insufficient_scope",
    "invalid_grant",
    "denied: denied",
    "errors: denied",
    "desc = denied",
    "couldn't get credentials",
    "unable to retrieve auth token",
    "failed to get authorization token",
)

_ABSENT = (
    "manifest unknown",
    "manifest_unknown",
    "name unknown",
    "name_unknown",
    "manifest for…not found",
    "manifest not found",
    "repository…does not exist in the registry",
    "repository…not found",
    "repository does not exist",
    "requested image not found",
    "image not found",
    "no such image",
    "not found: does not exist",
    "tag does not exist",
    "tag…was deleted or has expired",
    "unknown manifest",
    "unknown blob",
    "blob unknown",
    "no matching manifest for",
    "no match for platform in manifest",
    "no image found in",
    "no image found in manifest list",
    "choosing image instance",
    "failed to resolve image…not found",
    "code = notfound",
    ": not found",
    "status code 404",
    "404 not found",
    "is not present with pull policy of never",
    "errimageneverpull",
)

_LIBRARY = "Docker Hub's library is public: it denies what is not in it"

IMAGE_RULES: tuple[Rule, ...] = (
    Rule(
        INVALID_NAME,
        (
            "invalidimagename",
            "invalid reference format",
            "couldn't parse image",
            "could not parse image",
            "failed to parse image",
            "cannot parse image",
            "failed to apply default image tag",
            "repository name must be lowercase",
            "repository name…must be lowercase",
            "must be lowercase",
            "invalid image name",
            "invalid tag format",
            "invalid repository name",
            "invalid image reference",
            "error parsing reference",
            "invalid checksum digest",
        ),
        why="the reference itself is malformed",
    ),
    Rule(RATE_LIMITED, _RATE, why="the registry, or the kubelet's own limit, refuses more pulls for now"),
    Rule(
        DISK,
        ("no space left on device", "disk quota exceeded"),
        also=("node.disk_pressure",),
        why="the node's image file system is full",
    ),
    Rule(
        DISK,
        (
            "failed to extract layer",
            "failed to register layer",
            "error processing tar file",
            "failed to prepare extraction snapshot",
            "failed to create snapshot",
            "failed to create prepare snapshot",
            "failed to commit snapshot",
            "failed to stat snapshot",
            "failed to mount overlay",
            "failed to unpack image on snapshotter",
            "creating overlay mount",
            "error creating read-write layer",
            "error creating layer",
            "writing blob: adding layer",
            "writing blob: storing blob",
            "error committing the finished image",
            "snapshotter not loaded",
            "snapshotter…was not found",
            "failed to get reader from content store",
            "failed size validation",
            "unexpected commit digest",
            "archive/tar: invalid tar header",
            "read-only file system",
            "input/output error",
            "structure needs cleaning",
            "image filesystem",
            "layer not known",
            "lchown",
            "failed to convert whiteout file",
            "mount callback failed",
            "unpigz",
            "unlinkat",
        ),
        why="the image arrived and could not be unpacked on the node",
    ),
    # A name without an owner is in Docker Hub's public library: denied there means that it is not.
    Rule(
        NOT_FOUND,
        ("docker.io/library/…denied", "pull access denied for library/", "registry-1.docker.io/v2/library/…denied"),
        unless=("denied: your authorization token", "incorrect username or password"),
        also=(UNAUTHORIZED,),
        why=_LIBRARY,
    ),
    # containerd tries with each credential and once without: that last 401 is no cause where an earlier try was let in.
    Rule(
        NOT_FOUND,
        ("code = notfound", "manifest unknown", "manifest_unknown", "name unknown", "name_unknown", ": not found,"),
        why="the registry has no such repository, tag or platform",
    ),
    Rule(
        UNAUTHORIZED,
        (
            "repository does not exist or may require",
            "(or it may not exist)",
            "or the repository does not exist",
        ),
        also=(NOT_FOUND,),
        why="the registry does not tell a private repository from a missing one",
    ),
    Rule(
        UNAUTHORIZED,
        ("requested access to the resource is denied", "pull access denied", "insufficient_scope"),
        also=(NOT_FOUND,),
        why="the registry does not tell a private repository from a missing one",
    ),
    Rule(UNAUTHORIZED, _REFUSED, why="the registry refuses the credentials, or misses them"),
    Rule(NOT_FOUND, _ABSENT, why="the registry has no such repository, tag or platform"),
    Rule(UNREACHABLE, _DNS, also=("net.dns",), why="the registry's name does not resolve"),
    Rule(UNREACHABLE, _TLS_SLOW, also=("net.tls_handshake_timeout",), why="the TLS handshake does not end"),
    Rule(
        UNREACHABLE,
        (
            "i/o timeout",
            "connection refused",
            "connection reset",
            "connection timed out",
            "no route to host",
            "network is unreachable",
            "host is unreachable",
            "x509:",
            "certificate signed by unknown authority",
            "tls: ",
            "server gave http response to https client",
            "client.timeout exceeded",
            "request canceled while waiting",
            "net/http: timeout",
            "context deadline exceeded",
            "deadlineexceeded",
            "context canceled",
            "pinging container registry",
            "pinging docker registry",
            "proxyconnect",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway",
            "500 internal server error",
            "status code 500",
            "status code 502",
            "status code 503",
            "status code 504",
            "unexpected eof",
            ": eof",
            "broken pipe",
            "ssl_error_syscall",
            "http2: server sent goaway",
            "stream error",
            "failed to do request",
            "received unexpected http status: 5",
        ),
        why="no answer from the registry that could be used",
    ),
    Rule(
        NOT_FOUND,
        (" not found",),
        unless=("executable file", "snapshotter", "secret", "credential"),
        last_resort=True,
        why="something of the image is not there, and nothing else is said",
    ),
)
"""Of messages about a pull."""

IMAGE_REASONS = frozenset(
    {
        "errimagepull",
        "imagepullbackoff",
        "invalidimagename",
        "errinvalidimagename",
        "imageinspecterror",
        "errimageneverpull",
        "registryunavailable",
        "signaturevalidationfailed",
        "inspectfailed",
        "failedtopullimage",
        "pullfailed",
    }
)

IMAGE_SHAPES = (
    "failed to pull image",
    "failed to pull and unpack image",
    "failed to resolve reference",
    "failed to extract layer",
    "failed to register layer",
    "back-off pulling image",
    "error pulling image",
    "failed pulling image",
    "pullimage from image service failed",
    "pull access denied",
    "failed to apply default image tag",
    "failed to inspect image",
    "is not present with pull policy of never",
    "couldn't parse image",
    "invalidimagename",
    "errimagepull",
    "imagepullbackoff",
    "cannotpullcontainererror",
    "initializing source docker://",
    "error reading manifest",
    "failed to get sandbox image",
    "error parsing image name",
    "trying to pull repository",
    "you have reached your pull rate limit",
    "pull qps exceeded",
    "manifest unknown",
    "/manifests/",
    '/v2/": ',
    '/v2/\\": ',
    "/v2/: ",
    "registry-1.docker.io",
    "auth.docker.io",
    "failed to authorize: failed to fetch",
    "unexpected status from head request",
    "unexpected status from get request",
)


_BARE_NAME = re.compile(r"pull access denied for [a-z0-9_.-]{1,255}(?:[,;]| *$)")
"""A name without a slash has no owner: Docker Hub's public library is meant."""


def judge(said: Said) -> Classification | None:
    """What a message about a pull says. None: it is about something else."""
    if said.reason not in IMAGE_REASONS and not said.has(*IMAGE_SHAPES):
        return None
    bare = _BARE_NAME.search(said.text.folded)
    if bare is not None and not said.has("authorization token", "incorrect username"):
        return Classification(NOT_FOUND, (UNAUTHORIZED,), said.text.excerpt(*bare.span()), why=_LIBRARY)
    return by(IMAGE_RULES, said, "the pull failed, and it is not said why")
