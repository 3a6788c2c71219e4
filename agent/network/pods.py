"""Interfaces inside pods, read from outside: rtnetlink answers for another namespace that one of our links leads to.

The kernel wants CAP_NET_ADMIN for that, although nothing is changed (rtnl_get_net_ns_capable() in
net/core/rtnetlink.c).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import Struct

from nodetell.v1 import facts_pb2 as pb

from agent.host import Failure, ReadError
from agent.netlink import addresses, links, wire
from agent.netlink.connection import DumpConnection, NetlinkError
from agent.netlink.wire import Batch, DecodeError

IFLA_TARGET_NETNSID, IFA_TARGET_NETNSID = 46, 10
"""Since Linux 4.20."""
_S32, _U32 = Struct("=i"), Struct("=I")
_SKIP_STATS = wire.attribute(links.IFLA_EXT_MASK, _U32.pack(links.RTEXT_FILTER_SKIP_STATS))
_REMEDY = "give the agent CAP_NET_ADMIN, or run it as root; it changes nothing"
_GONE = {errno.ENODEV, errno.EINVAL, errno.ENOENT}


@dataclass(slots=True)
class _Taken:
    """What one answer holds."""

    links: list[pb.Link] = field(default_factory=list)
    addresses: list[addresses.Address] = field(default_factory=list)

    def take(self, data: memoryview) -> Batch:
        batch = wire.split(data)
        for message in batch.messages:
            with contextlib.suppress(DecodeError):
                if message.type == wire.RTM_NEWLINK and (link := links.decode_link(message.body)) is not None:
                    self.links.append(link)
                elif message.type == wire.RTM_NEWADDR and (found := addresses.decode_address(message.body)) is not None:
                    self.addresses.append(found)
        return batch


def pairs(host_links: Mapping[int, pb.Link]) -> dict[int, pb.Link]:
    """Links of a pair whose other end is in another namespace that can be asked, by ifindex."""
    return {
        ifindex: link
        for ifindex, link in host_links.items()
        if link.HasField("peer_netnsid")
        and link.kind in links.PAIR_KINDS
        and link.peer_netnsid >= 0
        and link.peer_ifindex > 0
    }


def pod_links(asked: Mapping[int, pb.Link]) -> dict[int, pb.PodLink]:
    """The far ends of `pairs`, by ifindex of ours. One that goes meanwhile is left out.

    Raises ReadError where the kernel refuses, or does not know how.
    """
    if not asked:
        return {}
    connection = DumpConnection()
    try:
        found = {ifindex: _far_end(connection, link) for ifindex, link in asked.items()}
        return {ifindex: far for ifindex, far in found.items() if far is not None}
    except NetlinkError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            reason = "the kernel tells of other namespaces only with CAP_NET_ADMIN"
            raise ReadError(Failure.DENIED, "rtnetlink", reason, _REMEDY) from error
        raise ReadError(Failure.FAILED, "rtnetlink", error.strerror or str(error)) from error
    finally:
        connection.close()


def _far_end(connection: DumpConnection, link: pb.Link) -> pb.PodLink | None:
    netns = _S32.pack(link.peer_netnsid)
    asked = _Taken()
    body = (
        links.IFINFOMSG.pack(0, 0, link.peer_ifindex, 0, 0) + wire.attribute(IFLA_TARGET_NETNSID, netns) + _SKIP_STATS
    )
    try:
        connection.ask(wire.RTM_GETLINK, body, asked.take)
    except NetlinkError as error:
        if error.errno in _GONE:
            return None
        raise
    far = next((found for found in asked.links if found.ifindex == link.peer_ifindex), None)
    if far is None:
        return None
    ours = _Taken()
    body = addresses.IFADDRMSG.pack(0, 0, 0, 0, far.ifindex) + wire.attribute(IFA_TARGET_NETNSID, netns)
    with contextlib.suppress(NetlinkError):  # the MTU is what matters
        connection.dump(wire.RTM_GETADDR, body, ours.take, ours.addresses.clear)
    texts = _texts(found for found in ours.addresses if found.ifindex == far.ifindex)
    return pb.PodLink(interface=far.name, mtu=far.mtu, host_interface=link.name, addresses=texts)


def _texts(found: Iterable[addresses.Address]) -> list[str]:
    return sorted({each.text for each in found})
