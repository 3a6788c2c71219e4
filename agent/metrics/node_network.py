"""Interfaces and the protocol stack, under node_exporter's names; pods' ends of veths as one sum.

node_exporter's columns are those of /proc/net/dev, some of them sums of what the kernel counts one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from nodetell.metrics import FIELD, Kind, Metric, Told, one
from nodetell.v1 import facts_pb2 as pb

from agent.bounds import is_pods
from agent.collectors.netcounters import KEPT
from agent.metrics import texts
from agent.metrics.rising import Rising
from agent.reading import Block, Reading

PODS = "veth*"
"""The "device" that stands for all pods' ends; patterns that leave out veths leave it out, too."""
_VETHS = ("veth", "netkit")
_NAMED = ("veth", "cali", "lxc")
"""Without rtnetlink kinds are not known, and names must do: those that CNI plug-ins give."""

_COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "receive_bytes": ("Bytes received.", ("rx_bytes",)),
    "receive_packets": ("Packets received.", ("rx_packets",)),
    "receive_errs": ("Packets received with errors.", ("rx_errors",)),
    "receive_drop": ("Packets dropped on the way in.", ("rx_dropped", "rx_missed_errors")),
    "receive_fifo": ("Packets lost to a full FIFO on the way in.", ("rx_fifo_errors",)),
    "receive_frame": (
        "Packets received that were no frames.",
        ("rx_frame_errors", "rx_length_errors", "rx_over_errors", "rx_crc_errors"),
    ),
    "receive_compressed": ("Compressed packets received.", ("rx_compressed",)),
    "receive_multicast": ("Multicast packets received.", ("multicast",)),
    "receive_nohandler": ("Packets received that nobody wanted.", ("rx_nohandler",)),
    "transmit_bytes": ("Bytes sent.", ("tx_bytes",)),
    "transmit_packets": ("Packets sent.", ("tx_packets",)),
    "transmit_errs": ("Packets that could not be sent for errors.", ("tx_errors",)),
    "transmit_drop": ("Packets dropped on the way out.", ("tx_dropped",)),
    "transmit_fifo": ("Packets lost to a full FIFO on the way out.", ("tx_fifo_errors",)),
    "transmit_colls": ("Collisions.", ("collisions",)),
    "transmit_carrier": (
        "Packets lost for want of a carrier.",
        ("tx_carrier_errors", "tx_aborted_errors", "tx_heartbeat_errors", "tx_window_errors"),
    ),
    "transmit_compressed": ("Compressed packets sent.", ("tx_compressed",)),
}
_NETDEV = tuple(
    Metric(f"node_network_{name}_total", Kind.COUNTER, told, ("device",)) for name, (told, _) in _COLUMNS.items()
)
UP = Metric("node_network_up", Kind.GAUGE, '1: the interface\'s operational state is "up".', ("device",))
MTU = Metric("node_network_mtu_bytes", Kind.GAUGE, "MTU of the interface.", ("device",))
INDEX = Metric("node_network_iface_id", Kind.GAUGE, "Index of the interface.", ("device",))
TYPE = Metric("node_network_protocol_type", Kind.GAUGE, "Type of the interface: ARPHRD_ of Linux.", ("device",))
PODS_ENDS = Metric(
    "nodetell_pod_interfaces", Kind.GAUGE, f'Interfaces of pods: their ends here, which "{PODS}" stands for.'
)
NETSTAT = Metric(
    f"node_netstat_{FIELD}", Kind.UNTYPED, "A field of /proc/net/snmp, netstat or snmp6, by its block and name."
)
_SOFTNET = (
    Metric("node_softnet_processed_total", Kind.COUNTER, "Packets that each CPU took in.", ("cpu",)),
    Metric("node_softnet_dropped_total", Kind.COUNTER, "Packets dropped, for its backlog was full.", ("cpu",)),
    Metric("node_softnet_times_squeezed_total", Kind.COUNTER, "Times that it had to stop with packets left.", ("cpu",)),
)
METRICS = (*_NETDEV, UP, MTU, INDEX, TYPE, PODS_ENDS, NETSTAT, *_SOFTNET)

_FIELDS = re.compile(
    r".*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)"
    r"|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors)"
)
"""What node_exporter tells by default (its --collector.netstat.fields); what a diagnosis uses is told besides."""
_USED = frozenset(f"{block}_{name}" for block, names in KEPT.items() for name in names)


class NodeNetwork:
    """Keeps the sums over pods' interfaces from one answer to the next."""

    def __init__(self, *, pod_interfaces: bool) -> None:
        """`pod_interfaces`: each is told by itself, too."""
        self._each = pod_interfaces
        self._pods = Rising()

    def tell(self, reading: Reading) -> Iterable[Told]:
        """All of it that was read."""
        yield from self._links(reading)
        found = {}
        for file, parse in (("netstat", texts.pairs), ("snmp", texts.pairs), ("snmp6", texts.snmp6)):
            found.update(parse(reading.texts.get(f"proc/net/{file}", b"")))
        yield from (one(_netstat(name), value) for name, value in found.items() if name in _USED or _is_usual(name))
        of_cpus = texts.softnet(reading.texts.get("proc/net/softnet_stat", b""))
        for place, metric in enumerate(_SOFTNET, 1):
            yield Told(metric, [((row[0],), float(row[place])) for row in of_cpus])

    def _links(self, reading: Reading) -> Iterable[Told]:
        of_netdev = [Told(metric) for metric in _NETDEV]
        up, mtu, index, of_type = Told(UP), Told(MTU), Told(INDEX), Told(TYPE)
        links = [item.link for item in reading.items.values() if item.HasField("link")]
        if not links:
            return
        pods = [link for link in links if is_folded(link)]
        for link in sorted(links, key=_rank) if self._each else (each for each in links if not is_folded(each)):
            labels = (link.name,)
            up.rows.append((labels, link.operstate == pb.OPER_STATE_UP))
            mtu.rows.append((labels, link.mtu))
            index.rows.append((labels, link.ifindex))
            of_type.rows.append((labels, link.arp_type))
            block = reading.blocks.get(f"link/{link.ifindex}")
            if block is not None:
                for told, value in zip(of_netdev, columns(block), strict=True):
                    if value is not None:
                        told.rows.append((labels, value))
        if not self._each:
            for place, total in enumerate(self._sum(pods, reading)):
                of_netdev[place].rows.append(((PODS,), total))
        yield from of_netdev
        yield from (up, mtu, index, of_type, one(PODS_ENDS, len(pods)))

    def _sum(self, pods: Sequence[pb.Link], reading: Reading) -> Sequence[float]:
        for link in pods:
            block = reading.blocks.get(f"link/{link.ifindex}")
            if block is not None:
                values = tuple(value or 0 for value in columns(block))
                self._pods.take((), f"{link.ifindex}/{link.name}", values)
        self._pods.settle(len(pods))
        return self._pods.sums.get((), ())


def is_folded(link: pb.Link) -> bool:
    """One of those that are told as a sum."""
    return link.kind in _VETHS or is_pods(link) or (not link.kind and link.name.startswith(_NAMED))


def columns(block: Block) -> list[int | None]:
    """A link's counters as node_exporter's columns, in their order; None: the kernel does not have it."""
    plan = _plan(block.names)
    return [sum([block.values[place] for place in places]) if places else None for places in plan]


@lru_cache(maxsize=16)
def _plan(names: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    places = {name: place for place, name in enumerate(names)}
    return tuple(tuple(places[name] for name in parts if name in places) for _, parts in _COLUMNS.values())


def _rank(link: pb.Link) -> bool:
    """Pods' last: where there are too many, they are left out first."""
    return is_folded(link)


@lru_cache(maxsize=1024)
def _netstat(name: str) -> Metric:
    return Metric(NETSTAT.name.replace(FIELD, name), NETSTAT.kind, NETSTAT.help)


@lru_cache(maxsize=1024)
def _is_usual(name: str) -> bool:
    return _FIELDS.fullmatch(name) is not None
