"""Findings and a host to print: made up, with the awkward cases in them."""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb
from nodetell.v1 import operator_pb2

from aggregator.findings import Record
from aggregator.model import Evidence, Finding, Gap, RuledOut, Severity, Stage
from cli.report import Report

AT = 1_795_341_660.0  # 2026-11-22T10:01:00Z


def finding(name: str, severity: Severity = Severity.WARNING, **more: object) -> Finding:
    """A finding with id `name`, without evidence unless given."""
    fields: dict[str, object] = {
        "id": name,
        "code": f"mtu.{name}",
        "incident": "mtu_mismatch",
        "stage": Stage.RISK,
        "severity": severity,
        "summary": f"The summary of {name}.",
        "nodes": ("node-a",),
        "evidence": (),
        "clears_when": "it is over",
    }
    return Finding(**(fields | more))  # type: ignore[arg-type]  # fields by name, for brevity


def report() -> Report:
    """A chain of two, an independent one, one that is over, and gaps of which two are alike."""
    evidence = (
        Evidence("node-a", "link.mtu", "flannel.1", 1500, "bytes", "rtnetlink", AT),
        Evidence("node-a", "counter.delta", "Ip.FragFails", 12_345, "packets", "/proc/net/snmp", AT - 1.5),
        Evidence("node-a", "link.mode", "evil\x1b[31m", "external", "", "rtnetlink", AT),
        Evidence("node-b", "usage", "cpu", 0.123456, "", "psutil", AT),
        Evidence("node-b", "clock", "synchronized", False, "", "adjtimex", AT),
    )
    root = finding(
        "overlay_exceeds_underlay",
        nodes=tuple(f"node-{letter}" for letter in "abcdefgh"),
        objects=("Pod/default/web-0",),
        summary="On 8 nodes, node-a for one: flannel.1 is given packets of 1500, with 50 of vxlan they need 1550, "
        "eth0 carries 1500.",
        evidence=evidence,
        ruled_out=(RuledOut("net.nic_errors", "eth0: 0 errors, 0 drops in 60 s"),),
        remediation=(
            "Set the MTU of flannel.1 to 1450 or less.",
            "Restart pods afterwards: a pod keeps the MTU it was born with.",
        ),
    )
    effect = finding(
        "drop_fingerprint", Severity.CRITICAL, stage=Stage.ACTIVE, caused_by=(root.id,), evidence=evidence[:1]
    )
    other = finding("conntrack_full", Severity.INFO, code="net.conntrack_full", nodes=())
    over = finding("icmp_blocked", code="mtu.icmp_blocked")
    return Report(
        "prod-a",
        AT,
        [
            Record(root, "mtu_mismatch", AT - 60, AT, unconfirmed="node-b is silent for 20 s"),
            Record(effect, "mtu_mismatch", AT - 30, AT),
            Record(other, "mtu_mismatch", AT, AT),
            Record(over, "mtu_mismatch", AT - 500, AT - 100, resolved=AT - 90, because="cleared"),
        ],
        [
            Gap(
                "node-a",
                "fsync",
                "missing",
                "t1/nodes/node-a/fsync.json: not in the bundle",
                "name a directory to probe",
            ),
            Gap(
                "node-b",
                "fsync",
                "missing",
                "t1/nodes/node-b/fsync.json: not in the bundle",
                "name a directory to probe",
            ),
            Gap("", "kube/pods", "damaged", "t1/kube/pods.json: line 1, column 9 (offset 8): Expecting value"),
        ],
    )


def host() -> operator_pb2.GetNodeResponse:
    """A host with tunnels, pods' veths, a disk, a probe, a volume and gaps."""
    up = pb.OPER_STATE_UP
    links = [
        pb.Link(ifindex=1, name="lo", mtu=65536, up=True, loopback=True, addresses=["127.0.0.1/8"]),
        pb.Link(ifindex=2, name="eth0", mtu=1500, up=True, operstate=up, hardware=True, addresses=["10.0.0.11/24"]),
        pb.Link(
            ifindex=3, name="flannel.1", kind="vxlan", mtu=1450, up=True,
            tunnel=pb.Tunnel(id=1, underlay=2, underlay_source=pb.UNDERLAY_SOURCE_LINK),
        ),
        pb.Link(ifindex=4, name="cni0", kind="bridge", mtu=1450, up=True, operstate=up, addresses=["10.244.0.1/24"]),
        pb.Link(ifindex=5, name="genev_sys_6081", kind="geneve", mtu=65000, up=True, tunnel=pb.Tunnel(external=True)),
        pb.Link(ifindex=6, name="eth0.100", kind="vlan", mtu=1500, up=False, operstate=pb.OPER_STATE_DOWN, lower=2),
        *(
            pb.Link(
                ifindex=10 + i, name=f"veth{i}", kind="veth", mtu=1450, up=True, operstate=up, master=4,
                peer_ifindex=2, peer_netnsid=i,
            )
            for i in range(5)
        ),
        pb.Link(ifindex=20, name="wg\x1b]0;x\x07", kind="wireguard", mtu=1420, up=True, tunnel=pb.Tunnel()),
    ]  # fmt: skip
    items = [pb.Item(key=f"link/{link.ifindex}", link=link) for link in links]
    boot = round((AT - 90_061) * 1000)
    latency = pb.LatencySource(
        process="nodetell", mount="/var/lib/etcd", method=pb.LATENCY_METHOD_PROBE, bounds_us=[1000, 2000, 4000]
    )
    disk = pb.Disk(dev="259:0", name="nvme0n1", size_bytes=100 << 30, model="Disk X", columns=20)
    volume = pb.Volume(pod_uid="u-1", volume_name="pvc-1", driver="ebs.csi.aws.com", mounted=True, dev="259:1")
    usage = pb.Usage(cpu_busy_bp=1234, memory_total_bytes=8 << 30, memory_available_bytes=3 << 30)
    denied = "kubelet/pods: permission denied"
    gap = pb.Coverage(signal="volumes", status=pb.COVERAGE_STATUS_DEGRADED, because=denied, remedy="run as root")
    items += [
        pb.Item(key="host", host=pb.HostInfo(boot_time_unix_ms=boot, kernel_release="6.1.0", machine="x86_64", cpus=4)),
        pb.Item(key="disk/259:0", disk=disk),
        pb.Item(key="disk/7:0", disk=pb.Disk(dev="7:0", name="loop0", columns=20)),
        pb.Item(key="latency/probe/nodetell/x", latency=latency),
        pb.Item(key="volume/u/pvc-1", volume=volume),
        pb.Item(key="usage", usage=usage),
        pb.Item(key="clock", clock=pb.Clock(synchronized=True, offset_us=-250, max_error_us=16_000)),
        pb.Item(key="pressure/io", pressure=pb.Pressure(resource="io", some_avg10_bp=250, full_avg10_bp=100)),
        pb.Item(key="conntrack", conntrack=pb.Conntrack(count=1200, max=262144)),
        pb.Item(key="coverage/kubelet", coverage=gap),
        pb.Item(key="collector/disks", collector=pb.CollectorStatus(name="disks", hung=True)),
    ]  # fmt: skip
    facts = pb.NodeFacts(node="node-a", at_unix_ms=round(AT * 1000), items=items)
    counters = {
        "link/3": {"tx_packets": 1000, "tx_dropped": 20},
        "protocol/Ip": {"FragFails": 20, "InReceives": 5},
        "disk/259:0": {"reads_completed": 1, "writes_completed": 1, "flushes_completed": 200, "flush_ms": 400},
        "latency/probe/nodetell/x": {"le_1000us": 0, "le_2000us": 98, "le_4000us": 2, "gt_4000us": 0},
    }
    for number, (subject, values) in enumerate(counters.items(), 1):
        facts.schemas.add(id=number, names=values)
        facts.blocks.add(first_slot=100 * number, schema=number, subject=subject, values=values.values())
    changes = [("link/3", "tx_dropped", 20), ("disk/259:0", "flushes_completed", 10), ("disk/259:0", "flush_ms", 35)]
    return operator_pb2.GetNodeResponse(
        summary=operator_pb2.NodeSummary(
            node="node-a", connected=True, agent_version="0.1.0", facts_at_unix_ms=round(AT * 1000),
            heard_at_unix_ms=round(AT * 1000), links=12, disks=2, volumes=1, coverage_gaps=1, findings=2,
            clock_offset_us=-12_510_000, clock_bound_us=415, clock_measured_unix_ms=round(AT * 1000) - 9_000,
        ),
        facts=facts,
        changes=[
            operator_pb2.CounterChange(subject=subject, name=name, increment=increment, over_ms=60_000)
            for subject, name, increment in changes
        ],
    )  # fmt: skip
