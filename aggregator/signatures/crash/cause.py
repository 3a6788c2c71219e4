"""What a container suffers from, as a row of the decision table says it, and the codes that rows give."""

from __future__ import annotations

from dataclasses import dataclass

IDENTITY = "crash.identity"
DEPENDENCY = "crash.dependency_unreachable"
PERMISSION_FS = "crash.permission_fs"
APP_ERROR = "crash.app_error"
OOM = "crash.oom"
LIVENESS = "crash.liveness_probe"
COMMAND = "crash.command_not_found"
SEGFAULT = "crash.segfault"
EXIT_ZERO = "crash.exit_zero"
CONFIG = "crash.config_missing"
UNAUTHORIZED = "image.unauthorized"
NOT_FOUND = "image.not_found"
REGISTRY = "image.registry_unreachable"
RATE_LIMITED = "image.rate_limited"
INVALID_NAME = "image.invalid_name"
UNPACKING = "image.disk_or_snapshotter"
IMAGE_UNKNOWN = "image.unknown"


@dataclass(frozen=True, slots=True)
class Cause:
    """What a container suffers from."""

    code: str
    statement: str
    """A clause about the container, without its name."""
    phrase: str = ""
    """Verbatim what decided, where a message did."""
    said_by: str = ""
    """"termination message", "event", "status", "kernel log": what the phrase or the code is from."""
    also: tuple[str, ...] = ()
    """Codes that the same words may mean too."""
    missing: tuple[str, ...] = ()
    """"Secret/name", "ConfigMap/name": what is named as not there."""
    own_error: bool = False
    """Its own words tell of an error of the program itself (a panic, a traceback), not merely of none other."""
    of_node: bool = False
    """Its node suffers as such, and whoever is on it."""
    remedies: tuple[str, ...] = ()
    """What is to be done here beside what its code says."""
