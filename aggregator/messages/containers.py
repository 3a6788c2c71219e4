"""Why a container does not start, or is ended by the kubelet."""

from __future__ import annotations

from aggregator.messages.model import Classification
from aggregator.messages.rules import Rule, first
from aggregator.messages.said import Said, by

CONFIG_MISSING = "crash.config_missing"
OOM = "crash.oom"
LIVENESS = "crash.liveness_probe"
COMMAND = "crash.command_not_found"
PERMISSION_FS = "crash.permission_fs"

PROBE_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("readiness probe warning", "liveness probe warning", "startup probe warning", "stopping container"),
        no_fault=True,
        why="a probe that succeeded, or a container that is being stopped on purpose",
    ),
    Rule(
        LIVENESS,
        (
            "liveness probe failed",
            "liveness probe errored",
            "startup probe failed",
            "startup probe errored",
            "failed liveness probe",
            "failed startup probe",
            "liveness probe for",
            "container is unhealthy, it will be killed",
            "is unhealthy (probe result: failure), it will be killed",
            "failed its liveness probe",
            "liveness check failed",
        ),
        why="the kubelet ends a container whose probe fails",
    ),
)
"""Of probes."""

_KUBELET_VOLUME = "kubernetes.io~"

START_RULES: tuple[Rule, ...] = (
    *(
        Rule(code, (f"{_KUBELET_VOLUME}…{words}",), why="the kubelet cannot use the volume that it mounted")
        for code, words in (
            ("storage.mount_permission_or_auth", "permission denied"),
            ("storage.stale_nfs", "stale nfs file handle"),
            ("storage.stale_nfs", "stale file handle"),
            ("storage.io_error_readonly", "input/output error"),
            ("storage.io_error_readonly", "transport endpoint is not connected"),
            ("storage.io_error_readonly", "read-only file system"),
        )
    ),
    Rule(
        CONFIG_MISSING,
        (
            "couldn't find key",
            "references non-existent config key",
            "references non-existent secret key",
            "error: secret * not found",
            "error: configmap * not found",
            "secret * not found",
            "secrets * not found",
            "configmap * not found",
            "configmaps * not found",
            "config map * not found",
            "container has runasnonroot and image",
            "invalid environment variable",
        ),
        unless=("failed to provision", "csi"),
        why="the container's configuration names something that is not there or not allowed",
    ),
    Rule(
        "storage.device_not_found",
        (
            "|error: stat *: no such file or directory",
            'configerror: "stat *: no such file',
            "failed to prepare subpath",
        ),
        unless=("exec",),
        why="the kubelet does not find the path that should be mounted",
    ),
    Rule(
        "cp.apiserver_timeout",
        (
            "failed to sync configmap cache: timed out",
            "failed to sync secret cache: timed out",
            "propagate object cache: timed out",
        ),
        why="the kubelet waits for the API server",
    ),
    Rule(
        OOM,
        (
            "container init was oom-killed",
            "container init was oom killed",
            "oom-killed (memory limit too low",
            "memory limit too low",
            "cannot allocate memory",
        ),
        why="the memory limit is too small even to start",
    ),
    Rule(
        PERMISSION_FS,
        (
            "chdir to cwd…permission denied",
            "mkdir…read-only file system",
            "mkdirat…read-only file system",
            "read-only file system",
            "mkdir…permission denied",
            "open…permission denied",
            "error mounting…permission denied",
            "rootfs…permission denied",
        ),
        unless=('exec: "', 'exec: \\"', "exec user process", "/sys/fs/cgroup", "/proc/self/attr", "apparmor"),
        why="the runtime may not write where the container wants it",
    ),
    Rule(
        COMMAND,
        (
            "executable file not found",
            "exec format error",
            "exec…no such file or directory",
            "exec…permission denied",
            "exec…not found",
            "exec…is a directory",
            "exec…not a directory",
            "exec…argument list too long",
            "stat…no such file or directory",
            "starting container process caused…no such file or directory",
            "chdir to cwd…no such file or directory",
            "no command specified",
            "exec user process",
            "cannot execute binary file",
            "container command…not found",
            "container command…could not be invoked",
            "entrypoint…not found",
        ),
        unless=("error mounting", "nvidia-container-cli", "/proc/self/attr", "apparmor"),
        why="the command of the container cannot be run",
    ),
)
"""Of containers that do not start."""

_CONFIG_ERROR = "createcontainerconfigerror"

_CONFIG_RULES: tuple[Rule, ...] = (
    Rule(
        "storage.device_not_found",
        ("|stat *: no such file or directory",),
        why="the kubelet does not find the path that should be mounted",
    ),
    *START_RULES,
)
"""Of a container that was not even created: the kubelet looks for paths to mount, not for a command."""

START_SHAPES = (
    "oci runtime",
    "runc create failed",
    "runc run failed",
    "failed to create containerd task",
    "failed to create shim",
    "failed to start container",
    "failed to create container",
    "container_linux.go",
    "starting container process",
    "unable to start container process",
    "exec user process",
    "crun:",
    "containercannotrun",
    _CONFIG_ERROR,
)

START_REASONS = frozenset(
    {
        _CONFIG_ERROR,
        "createcontainererror",
        "runcontainererror",
        "starterror",
        "containercannotrun",
        "failedtostartcontainer",
        "failedtocreatecontainer",
        "prestarthookerror",
        "poststarthookerror",
    }
)

_PROBE_REASONS = frozenset({"unhealthy", "killing", "probewarning", "probeerror"})

_PROBE_SHAPES = ("liveness probe", "startup probe", "readiness probe", "(probe result: failure)")

_CONFIG_SHAPES = (
    "error: secret",
    "error: configmap",
    "couldn't find key",
    "couldn't get configmap",
    "couldn't get secret",
    "non-existent config key",
    "non-existent secret",
)


def judge_probe(said: Said) -> Classification | None:
    """What a message about a probe says. None: it is about something else."""
    if said.reason not in _PROBE_REASONS and not said.has(*_PROBE_SHAPES):
        return None
    return by(PROBE_RULES, said, "no probe that ends the container")


def judge_start(said: Said) -> Classification | None:
    """What a message about a start says. None: it is about something else, or a log that says it better."""
    asked = said.reason in START_REASONS or said.has(*START_SHAPES)
    if not asked and not (said.reason == "failed" or said.has(*_CONFIG_SHAPES)):
        return None
    answer = first(_CONFIG_RULES if said.reason == _CONFIG_ERROR else START_RULES, said.text)
    if answer is None and said.reason == _CONFIG_ERROR:
        return Classification(
            CONFIG_MISSING, phrase=said.written.reason, why="the kubelet cannot make its configuration"
        )
    if answer is None and asked and said.exit_code is None:
        return Classification("", why="the container did not start, and no known reason is said")
    return answer
