"""The codes of incident 3: what each means, when it clears, what to do first. docs/findings.md must agree."""

from __future__ import annotations

from aggregator.model import Severity
from aggregator.signatures.code import Code

_MTU = "mtu_mismatch"

CODES = {
    entry.code: entry
    for entry in (
        Code(
            "mtu.overlay_exceeds_underlay",
            _MTU,
            "the overlay is given packets that do not fit the device that carries it",
            "the inner MTU plus the encapsulation is at most the MTU of the device below, on every node",
            (
                "Restart or re-create pods afterwards: a pod keeps the MTU it was born with.",
                "Until then, clamp TCP's MSS on the overlay (nftables: tcp option maxseg size set rt mtu).",
            ),
        ),
        Code(
            "mtu.inconsistent_on_node",
            _MTU,
            "interfaces of one node that must agree on their MTU do not",
            "the interfaces have one MTU, or the larger one no longer sends through the smaller",
            (
                "Give the bridge, its ports, both ends of each veth and the overlay they send through one MTU.",
                "It is set in the CNI's configuration; re-create the pods afterwards.",
            ),
        ),
        Code(
            "mtu.inconsistent_across_nodes",
            _MTU,
            "the same interface role has different MTUs on nodes of one pool",
            "all nodes of the pool have one MTU for this role",
            (
                "Bring the odd nodes to the MTU of the others (netplan, cloud-init, the CNI's configuration).",
                "Then restart the CNI's agent there: it reads the MTU once, at its start.",
            ),
        ),
        Code(
            "mtu.path_black_hole",
            _MTU,
            "packets of full size vanish on the way and nobody is told",
            "a probe of full size gets through in both directions",
            (
                "Lower the overlay's MTU to what the path passes, or raise the hop that is smaller (a VPN, a switch).",
                "Let ICMP type 3 code 4 (IPv6: type 2) pass every firewall between the nodes.",
                "As a stopgap set net.ipv4.tcp_mtu_probing=1 in the pods' sysctls.",
            ),
        ),
        Code(
            "mtu.path_smaller",
            _MTU,
            "the path is smaller than the interfaces at its ends, and says so by ICMP",
            "a probe of full size gets through",
            ("Lower the interfaces' MTU to the path's, or raise the hop that is smaller: routed pods see no ICMP.",),
        ),
        Code(
            "mtu.drop_fingerprint",
            _MTU,
            "the node drops its own encapsulated packets because they are too big for its way out",
            "a whole window passes in which the tunnel drops nothing or the too-big counters stand still",
            (
                "Compare the overlay's MTU plus encapsulation with learned path MTUs (ip route get PEER).",
                "Lower the overlay's MTU accordingly.",
            ),
        ),
        Code(
            "mtu.icmp_blocked",
            _MTU,
            "the node throws away the ICMP that would tell pods to send smaller packets",
            "a whole window passes without discarded ICMP beside packets that are too big",
            (
                "Find the rule that drops the node's outgoing ICMP (nft list ruleset, iptables -S OUTPUT).",
                "Let type 3 code 4 (IPv6: type 2) pass.",
            ),
        ),
        Code(
            "mtu.fragmenting",
            _MTU,
            "the overlay only works because its packets are cut in two",
            "a whole window passes in which the node makes no fragments",
            ("Lower the overlay's MTU so that nothing is cut: a path that drops fragments would break it.",),
        ),
        Code(
            "mtu.fragments_lost",
            _MTU,
            "fragments are lost on the way, so packets of full size never arrive",
            "a whole window passes in which fragments that are sent arrive and are put together",
            (
                "Lower the overlay's MTU so that nothing is cut.",
                "Then look for the firewall or network that drops fragments.",
            ),
        ),
        Code(
            "net.nic_errors",
            "network",
            "a network device drops packets by itself",
            "a whole window passes without errors on the device",
            (
                "Look at the device's own counters (ethtool -S DEVICE).",
                "CRC and carrier: cable or optics. FIFO and missed: ring size (ethtool -g) or interrupts.",
            ),
        ),
        Code(
            "net.overlay_drops",
            "network",
            "the overlay interface drops packets, and nothing proves it to be MTU",
            "a whole window passes with fewer drops on the overlay",
            (
                "Look for a peer that is gone and what still points to it (bridge fdb, ip neigh show dev TUNNEL).",
                "Then no route to the VTEP (ip route get), a full queue below (tc -s qdisc), lost multicast.",
            ),
        ),
        Code(
            "net.queue_drops",
            "network",
            "packets are dropped because a CPU's input backlog is full",
            "a whole window passes without drops from the backlog",
            ("Spread receive work over CPUs (RSS, RPS) or raise net.core.netdev_max_backlog and netdev_budget.",),
        ),
        Code(
            "net.conntrack_full",
            "network",
            "the connection tracking table is full, so new connections are dropped",
            "the table is below the threshold",
            ("Raise net.netfilter.nf_conntrack_max, and find who opens the connections (conntrack -L | ...).",),
            active=Severity.CRITICAL,
        ),
    )
}
