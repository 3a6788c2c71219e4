"""Which series shows what a piece of evidence says, by its signal: the one visible place. Pure.

A signal is either in SHOWN or, with the reason, in WITHOUT. Subjects are told as signatures tell them (an interface by
its name, a file system by its path) and found among the facts of the host; what is not there any more has no chart.
"""

from __future__ import annotations

from aggregator.cluster.metric_families import APF_WAIT_SECONDS, ETCD_SECONDS, REQUEST_SECONDS, WEBHOOK_SECONDS
from aggregator.web.charts import of_api, of_host
from aggregator.web.charts.asked import Asked, Maker, RunsChart, Shown


def shown(asked: Asked) -> Shown | None:
    """What to draw for it; None: nothing."""
    signal = asked.evidence.signal
    maker = SHOWN.get(signal) or next((make for prefix, make in SHOWN_LIKE.items() if signal.startswith(prefix)), None)
    return maker(asked) if maker is not None else None


def reason_without(signal: str) -> str:
    """Why there is no chart of a signal; empty: there is one, or nobody has thought of it."""
    exact = WITHOUT.get(signal, "")
    return exact or next(
        (why for prefix, why in WITHOUT.items() if prefix[-1] == "." and signal.startswith(prefix)), ""
    )


def _runs(asked: Asked) -> Shown | None:
    pod = asked.view.objects.pods.get(asked.evidence.subject)
    return RunsChart(pod.key) if pod is not None and pod.containers else None


SHOWN: dict[str, Maker] = {
    "api.errors": of_api.api_errors,
    "api.p99": of_api.tail("API server", REQUEST_SECONDS),
    "api.p99.usual": of_api.traffic,
    "apf.wait.p99": of_api.tail("waiting at priority level", APF_WAIT_SECONDS),
    "clock.measured": of_host.clock,
    "clock.offset": of_host.clock,
    "conntrack.count": of_host.conntrack,
    "conntrack.max": of_host.conntrack,
    "container.alive": _runs,
    "container.exit_code": _runs,
    "container.restarts": _runs,
    "container.waiting": _runs,
    "counter.apf_rejected": of_api.rejected,
    "counter.api_errors": of_api.api_errors,
    "counter.client_rate": of_api.client,
    "counter.delta": of_host.delta,
    "counter.disk.queue": of_host.disk,
    "counter.disk.writes": of_host.disk,
    "counter.disk.writes.before": of_host.disk,
    "counter.etcd.database": of_host.etcd_size,
    "counter.etcd.in_use": of_host.etcd_size,
    "counter.etcd.leader_changes": of_host.leader_changes,
    "counter.fs_errors": of_host.fs_errors,
    "counter.request_rate": of_api.requests,
    "counter.request_rate.usual": of_api.requests,
    "counter.webhook_calls": of_api.webhook_calls,
    "counter.webhook_failures": of_api.webhook_failures,
    "etcd.has_leader": of_host.etcd_leader,
    "etcd.quota": of_host.etcd_size,
    "etcd_request.p99": of_api.tail("API server waiting for etcd", ETCD_SECONDS),
    "filesystem.errors": of_host.fs_errors,
    "fsync.calls": of_host.fsync,
    "fsync.p50": of_host.fsync,
    "fsync.p99": of_host.fsync,
    "fsync.rate": of_host.fsync_rate,
    "fsync.rate.before": of_host.fsync_rate,
    "fsync.waited": of_host.fsync_rate,
    "kernel.event": of_host.kernel,
    "link.mtu": of_host.mtu,
    "mount.fs_read_only": of_host.volume,
    "path.mtu": of_host.path,
    "tcp.timeouts_in_a_row": of_host.timeouts,
    "used.cpu": of_host.used,
    "used.memory": of_host.used,
    "veth.mtu": of_host.mtu,
    "volume.mounted": of_host.volume,
    "webhook.p99": of_api.tail("admission webhook", WEBHOOK_SECONDS),
}
"""By signal."""
SHOWN_LIKE: dict[str, Maker] = {"counter.kernel_": of_host.kernel}
"""By how a signal begins."""

_ONE_MOMENT = "an object of the API server as it is now: its past is not kept"
_WORDS = "words, not a figure"
_AGE = "an age: it says when it began by itself"
_LEVEL = "a level of the API server's, of which only the newest is kept"
WITHOUT: dict[str, str] = {
    "api.silent": _AGE,
    "apiserver.says": _WORDS,
    "autoscaler.says": _WORDS,
    "budget.": _ONE_MOMENT,
    "claim.": _ONE_MOMENT,
    "claims.": _ONE_MOMENT,
    "class.": _ONE_MOMENT,
    "classes": _WORDS,
    "controller.refused": _AGE,
    "counter.apf.seats": _LEVEL,
    "counter.leader_changes": "counted over leases, whose past is not kept",
    "counter.leases": "counted over leases, whose past is not kept",
    "counter.leases_late": "counted over leases, whose past is not kept",
    "counter.objects": _LEVEL,
    "csinode.drivers": _ONE_MOMENT,
    "device.": "an attached device is there or is not: the node's page lists when devices came and went",
    "diagnosis.unknown": _WORDS,
    "etcd_request.p99.usual": "it stands in the chart of what has climbed, before it did",
    "event.": _WORDS,
    "free.": _ONE_MOMENT,
    "identity.": _WORDS,
    "lease.": "an age, a length and a name: the past of leases is not kept",
    "log.pattern": _WORDS,
    "message": _WORDS,
    "node.": "a condition, which says by itself since when it holds",
    "nodes": _ONE_MOMENT,
    "pod.": _AGE,
    "pods.stranded": _ONE_MOMENT,
    "pool.": "a sum over a pool's nodes: the chart of each node is on its own page",
    "quota.": _ONE_MOMENT,
    "route.mtu": "routes' MTUs are told when they change and not kept: the interface's own are",
    "scheduler.says": _WORDS,
    "tunnel.overhead": "it never changes",
    "volume.place": _ONE_MOMENT,
    "volumeattachment.": _ONE_MOMENT,
    "volumes.": _ONE_MOMENT,
}
"""Why there is none, by signal; one that ends in "." by how it begins."""
