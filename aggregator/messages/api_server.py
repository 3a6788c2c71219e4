"""What the API server refuses, and when it does not answer."""

from __future__ import annotations

from aggregator.messages.control_plane import API_TIMEOUT, SLOW_FSYNC
from aggregator.messages.rules import Rule

NORMAL_WORK_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("client-side throttling, not priority and fairness", "throttling request took", "client-side throttling"),
        no_fault=True,
        why="the client limits itself; the API server did not refuse anything",
    ),
    Rule(
        "",
        (
            "the object has been modified; please apply your changes to the latest version",
            "too old resource version",
            "resourceversion…too old",
            "the resourceversion for the provided watch is too old",
            "http: tls handshake error from…eof",
            "watch…ended with: very short watch",
        ),
        unless=("timed out", "refused"),
        no_fault=True,
        why="normal work: a write that is tried again, a watch that begins anew, a port that was only touched",
    ),
)
"""What looks like a fault and is none."""

REFUSAL_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("would violate the pod's disruption budget", "violate the pod disruption budget"),
        why="a drain waits for a disruption budget; whether it waits for ever is not said",
    ),
    Rule(
        "",
        ("server localhost:8080 was refused", "localhost:8080/api", "127.0.0.1:8080: connect: connection refused"),
        why="kubectl's address where it has no kubeconfig: says nothing of the API server",
    ),
    Rule(
        "",
        ("client rate limiter wait returned an error",),
        unless=("lease", "update lock", "resource lock", "leader", "too many requests"),
        why="the client limits itself until its own deadline: says nothing of who it asks",
    ),
    Rule(
        "",
        ("required revision has been compacted",),
        no_fault=True,
        why="a watch that begins anew",
    ),
    Rule(
        "",
        ("address…invalid port", "missing port in address", "unsupported protocol scheme", "first path segment in url"),
        why="an address in its own configuration is malformed",
    ),
    Rule(
        "",
        (
            "webhook…denied the request",
            "webhook…x509:",
            "webhook…certificate",
            "webhook…not found",
            "webhook…unauthorized",
        ),
        unless=(
            "deadline exceeded",
            "i/o timeout",
            "client.timeout",
            "timed out",
            "connection refused",
            "no endpoints",
        ),
        why="the webhook answered, or its address or certificate is wrong: no matter of time",
    ),
    Rule(
        "cp.webhook_timeout",
        (
            "failed calling webhook",
            "failed calling admission webhook",
            "failed to call webhook",
            "failing webhook",
            "webhook…no endpoints available",
            "conversion webhook for…failed",
            "webhook call failed",
            "error calling webhook",
            "calling webhook",
            "admission webhook…timed out",
            "admission webhook…deadline exceeded",
            "webhooks…context deadline exceeded",
        ),
        why="the API server could not get an answer from an admission webhook",
    ),
    Rule(
        "cp.apf_throttled",
        (
            "the server has received too many requests and has asked us to try again later",
            "server has received too many requests",
            "too many requests, please try again later",
            "error from server (toomanyrequests)",
            "apiserver_flowcontrol_rejected",
            "priority and fairness…reject",
            "rejected by priority",
            "priority level…reject",
            "priority level…exhausted",
            "concurrency-limit",
            "time-out in queue",
            "queue-full",
        ),
        unless=("not priority and fairness", "docker", "registry", "pull rate", "manifests"),
        why="the API server turns requests away to protect itself",
    ),
)
"""The API server refuses, or what it asks does."""

NO_CONNECTION_RULE = Rule(
    "crash.dependency_unreachable",
    ("dial tcp",),
    needs=("i/o timeout", "connection refused", "no route to host", "network is unreachable", "connection timed out"),
    unless=("lookup ", "webhook", "etcdserver", "unable to connect to the server", ":6443"),
    why="the program does not even get a connection",
)
"""Of a program only, whose API server stands behind a service: what fails is the path, before the server itself."""

API_SERVER_SAYS_RULE = Rule(
    API_TIMEOUT,
    ("timed out", "context deadline exceeded", "timeout"),
    unless=("timeoutseconds", "?timeout="),
    why="the API server itself speaks of a time-out",
)
"""Of the API server's own log, where less is enough."""

TIMEOUT_RULES: tuple[Rule, ...] = (
    Rule(
        API_TIMEOUT,
        (
            "etcdserver: request timed out",
            "etcdserver: request timeout",
        ),
        also=(SLOW_FSYNC,),
        why="etcd does not answer the API server in time",
    ),
    Rule(
        API_TIMEOUT,
        (
            "timeout or abort while handling",
            "http: handler timeout",
            "handler timeout",
            "post-timeout activity",
            "serving request timed out",
            "killing connection/stream",
            "apiserver was unable to write",
            "server was unable to return a response in the time allotted",
            "request did not complete within",
            "the server is currently unable to handle the request",
            "currently unable to handle the request",
            "error from server (timeout)",
            "error from server (serviceunavailable)",
            "error from server (internalerror): an error on the server",
            "did you specify the right host or port",
            "apiserver not ready",
            "apiserver is shutting down",
            "apiserver received an error that is not an metav1.status",
            "unable to connect to the server",
            "failed to get api group resources",
            "failed to get server groups",
            "couldn't get current server api group list",
            "failed to contact apiserver",
            "etcd cluster is unavailable",
            "failed to get api server",
            "api server…timed out",
            "kubernetes api…timed out",
            "kubernetes api…unreachable",
            "error updating node status, will retry",
            "unable to update node status",
            "unable to register node with api server",
            "unable to register node with apiserver",
            "apiserver request latency",
            "kube-apiserver…timeout",
        ),
        unless=("x509:", "unauthorized", "no such host", "getsockopt: no route", "probe failed"),
        why="the API server does not answer, or not in time",
    ),
    Rule(
        API_TIMEOUT,
        (
            "/api/v1/",
            "/apis/",
            "/api/v1?",
            "/api?",
            "/version",
            "/healthz?timeout",
            ":6443",
            "10.96.0.1:443",
            "10.43.0.1:443",
            "10.100.0.1:443",
            "172.20.0.1:443",
            "10.0.0.1:443",
            "172.30.0.1:443",
            "10.233.0.1:443",
            "10.152.183.1:443",
            "kubernetes.default.svc",
        ),
        needs=(
            "context deadline exceeded",
            "client.timeout exceeded",
            "i/o timeout",
            "connection refused",
            "tls handshake timeout",
            "connection timed out",
            "timeout awaiting response",
            "request canceled",
            "http2: client connection lost",
            "connection reset",
            "no route to host",
            ": eof",
            "timed out",
        ),
        unless=("webhook", "probe failed", "no such host", "/registry/", ":53:", "plugin/errors"),
        why="the API server does not answer, or not in time",
    ),
)
"""The API server does not answer."""
