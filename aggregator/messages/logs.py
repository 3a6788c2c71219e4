"""What no area claims: logs of the kernel, of etcd, of anything; normal work; and how a container ended."""

from __future__ import annotations

from aggregator.messages import api_server, applications, containers, control_plane, kernel, unreachable
from aggregator.messages.identity import IDENTITY_RULES
from aggregator.messages.model import Classification
from aggregator.messages.rules import first
from aggregator.messages.said import Said, by

EXIT_ZERO = "crash.exit_zero"
SEGFAULT = "crash.segfault"

_NORMAL = frozenset(
    {
        "scheduled",
        "pulling",
        "provisioning",
        "pulled",
        "created",
        "started",
        "successfulcreate",
        "successfuldelete",
        "scalingreplicaset",
        "successfulattachvolume",
        "successfulmountvolume",
        "provisioningsucceeded",
        "nodeready",
        "nodehassufficientmemory",
        "nodehasnodiskpressure",
        "nodehassufficientpid",
        "nodeallocatableenforced",
        "registerednode",
        "nodeschedulable",
        "triggeredscaleup",
        "successfulrescale",
        "leaderelection",
        "completed job",
        "sawcompletedjob",
        "volumeresizesuccessful",
        "filesystemresizesuccessful",
        "waitforfirstconsumer",
        "ensuredloadbalancer",
    }
)


def judge_normal(said: Said) -> Classification | None:
    """What an event of normal work says. None: it is another."""
    if said.reason == "leaderelection":
        return first((*control_plane.ELECTION_RULES, control_plane.ELECTED_RULE), said.text)
    if said.reason in _NORMAL:
        return Classification("", phrase=said.written.reason, no_fault=True, why="an event of normal work")
    return None


_ETCD_SAID = (*kernel.CLOCK_RULES, *control_plane.ETCD_OWN_RULES, *control_plane.ELECTION_RULES)

_FIRST_OF_ALL = (
    *kernel.CLOCK_RULES,
    *api_server.REFUSAL_RULES,
    *IDENTITY_RULES,
    *control_plane.ELECTION_RULES,
    *control_plane.ETCD_RULES,
)

_LAST_OF_ALL = (*api_server.TIMEOUT_RULES, *kernel.HOST_RULES)

_NO_FAULT = (*api_server.NORMAL_WORK_RULES, control_plane.ELECTED_RULE)
"""After all others: one line of a log may be harmless, the next one not."""

_OF_THE_PLATFORM = (*_FIRST_OF_ALL, *_LAST_OF_ALL, unreachable.DNS_RULE, unreachable.TLS_RULE, *_NO_FAULT)
"""A kubelet or API server that gets no connection does not crash of it, so what programs die of is not looked for."""

_OF_A_PROGRAM = (
    *_FIRST_OF_ALL,
    api_server.NO_CONNECTION_RULE,
    unreachable.TLS_RULE,
    *_LAST_OF_ALL,
    *applications.APPLICATION_RULES,
    *_NO_FAULT,
)

_OWN_REASONS = frozenset({"", "error", "crashloopbackoff", "backoff", "completed", "terminated", "containercannotrun"})
_PLATFORM = ("apiserver", "kube", "kernel", "etcd", "node", "containerd", "cri", "docker", "persistentvolume", "pv")
_PLATFORM_KINDS = ("replicaset", "deployment", "statefulset", "daemonset", "job", "service", "storageclass", "ingress")


def judge_etcd(said: Said) -> Classification | None:
    """What etcd's own log says. None: it is another, or says nothing known."""
    return first(_ETCD_SAID, said.text) if said.object.startswith("etcd") else None


def judge_kernel(said: Said) -> Classification | None:
    """What the kernel's own log says. None: it is another."""
    if not said.object.startswith("kernel"):
        return None
    return by(kernel.KERNEL_RULES, said, "no known fault of the kernel's")


def judge_oom(said: Said) -> Classification | None:
    """A container that was killed over its memory limit. None: it was not."""
    denied = said.has(
        'oomkilled": false', 'oomkilled\\": false', "oomkilled=false", "oomkilled: false", "oomkilled:false"
    )
    if said.reason in ("oomkilled", "oomkilling") or (said.has("|oomkilled|") and not denied):
        return Classification(containers.OOM, (), "OOMKilled", why="the kernel killed it over its memory limit")
    return None


def judge_log(said: Said) -> Classification | None:
    """What any log says. None: nothing known."""
    if said.object.startswith(("apiserver", "kube-apiserver")):
        return first((*_OF_THE_PLATFORM, api_server.API_SERVER_SAYS_RULE), said.text)
    return first(_OF_A_PROGRAM if _by_a_program(said) else _OF_THE_PLATFORM, said.text)


def _by_a_program(said: Said) -> bool:
    """Whether a program in a container says it, and not the platform of itself, nor an event of a pod."""
    if said.object == "pod":
        return said.reason in _OWN_REASONS
    return not said.object.startswith((*_PLATFORM, *_PLATFORM_KINDS))


_BY_EXIT_CODE = {
    0: (EXIT_ZERO, "the process ends by itself, without an error"),
    126: (containers.COMMAND, "the shell could not execute the command"),
    127: (containers.COMMAND, "the shell did not find the command"),
    139: (SEGFAULT, "ended by SIGSEGV"),
}

_KILLED = {137: "SIGKILL", 143: "SIGTERM", 130: "SIGINT", 129: "SIGHUP"}


def judge_exit(said: Said) -> Classification | None:
    """What the exit code alone says. None: there is none."""
    code = said.exit_code
    if code is None:
        return None
    phrase = f"exit code {code}"
    if code in _BY_EXIT_CODE:
        label, why = _BY_EXIT_CODE[code]
        return Classification(label, (), phrase, why=why)
    if code in _KILLED:
        return Classification("", (), phrase, why=f"ended by {_KILLED[code]}: who sent it is not said")
    if code == 128:
        return Classification("", (), phrase, why="it did not start, and no known reason is said")
    return Classification(
        applications.APP_ERROR, (), phrase, why="the program ends with an error, and no cause is said"
    )


def judge_telling_exit(said: Said) -> Classification | None:
    """Exit codes that say more than what the program printed before."""
    return judge_exit(said) if said.exit_code in (126, 127, 139) else None
