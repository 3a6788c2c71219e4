"""Why a container does not start or is ended, as the kubelet, the runtime and the controllers say it."""

from __future__ import annotations

from aggregator.messages.rules import Rule

CONFIG_MISSING = "crash.config_missing"
OOM = "crash.oom"
LIVENESS = "crash.liveness_probe"
COMMAND = "crash.command_not_found"
SEGFAULT = "crash.segfault"
EXIT_ZERO = "crash.exit_zero"
PERMISSION_FS = "crash.permission_fs"
APP_ERROR = "crash.app_error"
QUOTA = "sched.quota"
IP_EXHAUSTED = "net.ip_exhausted"
CNI_FAILED = "net.sandbox_cni_failed"
DISK_PRESSURE = "node.disk_pressure"
MEMORY_PRESSURE = "node.memory_pressure"
PID_PRESSURE = "node.pid_pressure"
NODE_LOST = "node.lost"

SANDBOX_RULES: tuple[Rule, ...] = (
    Rule(
        IP_EXHAUSTED,
        (
            "failed to assign an ip address to container",
            "no ip addresses available in range set",
            "no ip addresses available",
            "no available ip",
            "no more ips available",
            "no more ip",
            "no free ip",
            "no ips available",
            "no ipv4 addresses",
            "no ipv6 addresses",
            "range is full",
            "out of ip",
            "ip addresses are exhausted",
            "ipam exhausted",
            "ip pool is exhausted",
            "ip pool exhausted",
            "pool exhausted",
            "pool is exhausted",
            "addresses exhausted",
            "address exhausted",
            "address space exhausted",
            "run out of ip",
            "ran out of ip",
            "insufficientfreeaddressesinsubnet",
            "insufficientcidrblocks",
            "not have enough free addresses",
            "not enough free addresses",
            "no free addresses",
            "insufficient free addresses",
            "no addresses available in requested subnet",
            "no available addresses",
            "no available address",
            "no available ip addresses",
            "noavailableaddress",
            "no more free affine blocks",
            "no configured calico pools",
            "assigned 0 out of # requested ipv4",
            "assigned 0 out of # requested ipv6",
            "all ips are allocated",
            "ip allocation failed: no",
            "failed to allocate for range #: no ip",
            "subnet is full",
            "address pool is empty",
            "no ip available",
            "could not allocate ip: no",
            "no unallocated ip",
            "no ips left",
            "exhausted all ips",
            "failed to allocate pod ip",
        ),
        why="the node or its subnet has no address left for the pod",
    ),
    Rule(
        CNI_FAILED,
        ("unable to allocate ip", "failed to allocate ip", "failed to allocate address", "ipam"),
        needs=("cni", "plugin", "network"),
        unless=("ipam plugin returned missing ip",),
        also=(IP_EXHAUSTED,),
        why="the network plugin could not give the pod an address",
    ),
    Rule(
        CNI_FAILED,
        (
            "failed to setup network for sandbox",
            "failed to set up sandbox container…network for pod",
            "failed to set up pod…network",
            "failed to teardown pod…network",
            "failed to destroy network for sandbox",
            "networkplugin cni failed",
            "network plugin is not ready",
            "network plugin not ready",
            "networkpluginnotready",
            "cni plugin not initialized",
            "cni config uninitialized",
            "cni config load failed",
            "network is not ready",
            "container runtime network not ready",
            "no networks found in /etc/cni",
            "failed to find plugin",
            "plugin type=",
            "cni plugin",
            "cni request failed",
            "cni failed",
            "add cmd:",
            "subnet.env",
            "nodename: no such file",
            "kubenet",
            "error adding network",
            "error adding pod",
            "error adding container to network",
            "error getting clusterinformation",
            "unable to connect to cilium",
            "cilium api client timeout",
            "failed to create pod network sandbox",
            "failed to create pod network",
            "failed to configure pod interface",
            "error waiting for pod: ",
            "multus",
            "failed to configure network",
            "hns failed",
            "no endpoint found",
            "cnetwork",
            "delegateadd",
            "failed to set bridge addr",
            "failed to create host veth",
            "veth",
        ),
        unless=("failed to pull",),
        why="the network plugin could not set up the pod's network",
    ),
    Rule(
        DISK_PRESSURE,
        ("no space left on device", "disk quota exceeded"),
        why="the node's disk is full",
    ),
)
"""Of pods that get no sandbox."""

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
            "error: secret…not found",
            "error: configmap…not found",
            "secret…not found",
            "secrets…not found",
            "configmap…not found",
            "configmaps…not found",
            "config map…not found",
            "container has runasnonroot and image",
            "invalid environment variable",
        ),
        unless=("failed to provision", "csi"),
        why="the container's configuration names something that is not there or not allowed",
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
        unless=('exec: "', 'exec: \\"', "exec user process"),
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
        unless=("error mounting", "nvidia-container-cli"),
        why="the command of the container cannot be run",
    ),
)
"""Of containers that do not start."""

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
)
START_REASONS = frozenset(
    {
        "createcontainerconfigerror",
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

CREATE_RULES: tuple[Rule, ...] = (
    Rule(
        QUOTA,
        ("exceeded quota", "failed quota:", "quota exceeded", "exceeded resource quota"),
        needs=("forbidden", "quota:", "resourcequota", "exceeded quota", "requested:"),
        unless=("failed to provision", "googleapi", "quota exceeded for quota metric"),
        why="a quota of the namespace is used up, or asks for limits that the pod does not set",
    ),
)
"""Of objects that the API server does not take."""

ADMISSION_RULES: tuple[Rule, ...] = (
    Rule(
        "sched.too_many_pods",
        ("didn't have enough resource: pods", "node didn't have enough capacity: pods"),
        why="the node has as many pods as it may",
    ),
    Rule(
        "sched.insufficient_resources",
        (
            "didn't have enough resource",
            "didn't have enough capacity",
            "requested number of devices unavailable",
            "no healthy devices present",
        ),
        why="the node has no longer what the scheduler counted on",
    ),
    Rule(
        "sched.node_affinity",
        ("predicate nodeaffinity failed", "predicate matchnodeselector failed", "predicate generalpredicates failed"),
        why="the node's labels are not those that the pod asks for",
    ),
    Rule(
        "sched.host_port", ("predicate podfitshostports failed", "predicate nodeports failed"), why="the port is taken"
    ),
    Rule(
        "sched.taint",
        ("predicate tainttoleration failed", "predicate podtoleratesnodetaints failed"),
        why="the node has a taint that the pod does not tolerate",
    ),
)
"""Of pods that the kubelet does not take although they were scheduled."""

EVICTION_RULES: tuple[Rule, ...] = (
    Rule(
        "",
        ("invalid capacity 0 on image filesystem", "cancelling deletion of pod"),
        no_fault=True,
        why="a kubelet that starts says so before it has counted; an eviction that was called off",
    ),
    Rule(
        DISK_PRESSURE,
        (
            "low on resource: ephemeral-storage",
            "low on resource: nodefs",
            "low on resource: imagefs",
            "low on resource: inodes",
            "low on resource: [diskpressure",
            "low on resource: disk",
            "condition: [diskpressure",
            "conditions: [diskpressure",
            "reclaim ephemeral-storage",
            "reclaim nodefs",
            "reclaim imagefs",
            "reclaim inodes",
            "nodehasdiskpressure",
            "kubelethasdiskpressure",
            "kubelet has disk pressure",
            "freediskspacefailed",
            "failed to garbage collect required amount of images",
            "image garbage collection failed",
            "disk usage on image filesystem is over the high threshold",
            "disk usage on image filesystem",
            "eviction manager: attempting to reclaim…ephemeral-storage",
            "must evict pod(s) to reclaim…ephemeral-storage",
            "diskpressure",
            "node.kubernetes.io/disk-pressure",
            "threshold quantity…ephemeral-storage",
            "nodeoutofdisk",
        ),
        unless=("hasnodiskpressure", "has no disk pressure", "diskpressure false", "diskpressure=false"),
        why="the node's disk is filling up, and the kubelet makes room",
    ),
    Rule(
        MEMORY_PRESSURE,
        (
            "low on resource: memory",
            "low on resource: [memorypressure",
            "condition: [memorypressure",
            "conditions: [memorypressure",
            "reclaim memory",
            "nodehasinsufficientmemory",
            "kubelethasinsufficientmemory",
            "kubelet has insufficient memory",
            "memorypressure",
        ),
        unless=("nodehassufficientmemory", "has sufficient memory", "memorypressure false"),
        why="the node runs out of memory, and the kubelet makes room",
    ),
    Rule(
        PID_PRESSURE,
        ("low on resource: pids", "nodehasinsufficientpid", "kubelethasinsufficientpid", "condition: [pidpressure"),
        why="the node runs out of process numbers",
    ),
    Rule(
        NODE_LOST,
        (
            "kubelet stopped posting node status",
            "nodestatusunknown",
            "node is unreachable",
            "kubelet never posted node status",
            "node…is unresponsive",
            "node.kubernetes.io/unreachable",
            "status is now: nodenotready",
            "deleting node…because it does not exist in the cloud provider",
        ),
        why="the node no longer reports",
    ),
)
"""Of nodes in trouble, and of pods that they put out."""
