"""The codes of incident 1: what each means, when it clears, what to do first. docs/findings.md must agree."""

from __future__ import annotations

from aggregator.signatures.code import Code

_CRASH = "crash_loop"
_PULLED = "the image is pulled, or nothing asks for it any more"
_RENEWED = "; of what will expire: once it is renewed, or no pod uses it any more"
_RUNS = "the container has run for ten minutes without ending, or is gone"

CODES = {
    entry.code: entry
    for entry in (
        Code(
            "image.unauthorized",
            _CRASH,
            "the registry does not give the image to whoever asks with these credentials",
            f"{_PULLED}{_RENEWED}",
            (
                "See whether the image exists under that very name: registries answer the same for a private one.",
                "See which pull secret the pod and its ServiceAccount name, and whether it is for this registry.",
                "On a cloud's own registry: see whether the node's role or the kubelet's credential provider may pull.",
            ),
        ),
        Code(
            "image.not_found",
            _CRASH,
            "the registry has no such image or tag",
            _PULLED,
            ("See which tags there are: a typo, or a build that has not been pushed (or only for another platform).",),
        ),
        Code(
            "image.registry_unreachable",
            _CRASH,
            "the registry cannot be reached, or is not trusted",
            _PULLED,
            (
                "From one of the nodes: resolve the registry's name, connect to it, complete a TLS handshake.",
                "A handshake that hangs although the connection stands is what a path that loses large packets does.",
            ),
        ),
        Code(
            "image.rate_limited",
            _CRASH,
            "the registry gives no more images to this address or account for now",
            _PULLED,
            ("Pull with an account, or through a cache (pull-through mirror); pin images that nodes have already.",),
        ),
        Code(
            "image.invalid_name",
            _CRASH,
            "the image's name is malformed",
            _PULLED,
            ("Correct the reference: lower case, registry/repository:tag, no blanks, no template left unfilled.",),
        ),
        Code(
            "image.disk_or_snapshotter",
            _CRASH,
            "the image was fetched and could not be unpacked on the node",
            _PULLED,
            ("See the free space and inodes of the runtime's directory on the nodes concerned, and its log.",),
        ),
        Code(
            "image.unknown",
            _CRASH,
            "the image does not come, and nothing says why",
            _PULLED,
            ("Look at the events of the pod when it is tried next: `kubectl describe pod`.",),
        ),
        Code(
            "crash.config_missing",
            _CRASH,
            "a Secret, a ConfigMap or a key that the container needs is not there",
            "the container is created, or nothing asks for it any more",
            ("Create what is missing, or correct its name: the kubelet tries again by itself.",),
        ),
        Code(
            "crash.oom",
            _CRASH,
            "the container is killed for want of memory, again and again",
            _RUNS,
            (
                "See how much it needs: raise its memory limit, or bound its heap below the limit.",
                "If its memory rises without bound, it leaks: a higher limit puts the next kill off.",
            ),
        ),
        Code(
            "crash.liveness_probe",
            _CRASH,
            "the kubelet kills the container because its probe fails",
            _RUNS,
            (
                "See why it does not answer: a slow start wants a startup probe, a slow answer a longer time-out.",
                "A probe that asks a dependency makes the dependency's outage this container's.",
            ),
        ),
        Code(
            "crash.command_not_found",
            _CRASH,
            "the container's command cannot be executed",
            _RUNS,
            ("See command and args against what is in the image: path, execute permission, interpreter, platform.",),
        ),
        Code(
            "crash.segfault",
            _CRASH,
            "the process crashes on an invalid memory access",
            _RUNS,
            ("Get a core dump; look for a library, CPU feature or platform that the image was not built for.",),
        ),
        Code(
            "crash.exit_zero",
            _CRASH,
            "the process ends by itself without an error, and is started anew each time",
            _RUNS,
            (
                "A batch command belongs into a Job, or needs restartPolicy OnFailure.",
                "A wrapper that starts a daemon and ends: run the daemon in the foreground.",
            ),
        ),
        Code(
            "crash.identity",
            _CRASH,
            "the container ends because it is not who it says it is: its credentials are refused",
            f"{_RUNS}{_RENEWED}",
            ("Look at the identity, not at the application: ServiceAccount and its annotations, role, token, Secret.",),
        ),
        Code(
            "crash.dependency_unreachable",
            _CRASH,
            "the container ends because something that it needs does not answer",
            _RUNS,
            (
                "See whether what it connects to has endpoints and answers from another pod on the same node.",
                "A connection that stands and then hangs beyond some size is a path that loses large packets.",
            ),
        ),
        Code(
            "crash.permission_fs",
            _CRASH,
            "the container may not read or write a file that it needs",
            _RUNS,
            ("See runAsUser, fsGroup and readOnlyRootFilesystem against the owner of the path that is named.",),
        ),
        Code(
            "crash.app_error",
            _CRASH,
            "the container ends with an error of its own, and nothing points elsewhere",
            _RUNS,
            ("Read its last log: `kubectl logs --previous`. What was looked at and ruled out stands above.",),
        ),
    )
}
"""By code."""
