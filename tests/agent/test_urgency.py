"""Which news waits for the batch."""

from __future__ import annotations

import pytest
from nodetell.v1 import facts_pb2 as pb

from agent.reading import Block, Reading
from agent.urgency import is_urgent, is_urgent_item, items_changed, urgent_moves

URGENT = """
rx_errors tx_errors rx_dropped tx_dropped rx_length_errors rx_over_errors rx_crc_errors rx_frame_errors rx_fifo_errors
rx_missed_errors tx_aborted_errors tx_carrier_errors tx_fifo_errors tx_heartbeat_errors tx_window_errors
FragOKs FragFails FragCreates ReasmReqds ReasmOKs ReasmFails ReasmTimeout InDestUnreachs OutDestUnreachs InTimeExcds
OutTimeExcds InPktTooBigs OutPktTooBigs InDiscards OutDiscards InNoRoutes OutNoRoutes InErrors RcvbufErrors InErrs
ListenDrops ListenOverflows TCPBacklogDrop TCPMTUPFail dropped
"""
ROUTINE = """
rx_packets tx_packets rx_bytes tx_bytes multicast collisions rx_compressed rx_nohandler rx_otherhost_dropped
InReceives OutRequests InSegs OutSegs RetransSegs TCPTimeouts processed time_squeeze
reads_completed discards_completed discards_merged sectors_discarded discard_ms flush_ms le_64us gt_1048576us
some_total_us
"""


def test_names() -> None:
    assert [name for name in URGENT.split() if not is_urgent(name)] == []
    assert [name for name in ROUTINE.split() if is_urgent(name)] == []


@pytest.mark.parametrize(
    "key", ["link/5", "route/254/::/0/3/0", "host", "mount/31", "coverage/fsync", "fs/ext4/sda1", "latency/x/y"]
)
def test_items_that_do_not_wait(key: str) -> None:
    assert is_urgent_item(key)


@pytest.mark.parametrize(
    "key", ["usage", "clock", "conntrack", "pressure/io", "collector/links", "drop/x/y", "retransmits/1//x"]
)
def test_gauges_wait(key: str) -> None:
    assert not is_urgent_item(key)


def holding(*items: tuple[str, int], **blocks: Block) -> Reading:
    return Reading({key: pb.Item(key=key, link=pb.Link(mtu=mtu)) for key, mtu in items}, dict(blocks))


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (holding(("link/1", 1)), holding(("link/1", 1)), False),
        (holding(("link/1", 1)), holding(("link/1", 2)), True),
        (holding(("link/1", 1)), holding(), True),
        (holding(), holding(("link/1", 1)), True),
        (holding(("link/1", 1)), holding(("link/2", 1)), True),
        (holding(("usage", 1)), holding(("usage", 2)), False),
        (holding(("usage", 1)), holding(), False),
        (holding(("usage", 1)), holding(("link/1", 1)), True),
        (holding(("usage", 1), ("link/1", 1)), holding(("clock", 1), ("link/1", 2)), True),
        (holding(("link/1", 1)), holding(("usage", 1)), True),
    ],
)
def test_items_changed(before: Reading, after: Reading, changed: bool) -> None:
    assert items_changed(before, after) is changed


def test_urgent_moves() -> None:
    names = ("rx_packets", "rx_dropped", "tx_errors")
    before = holding(
        a=Block(names, (1, 1, 1)), b=Block(names, (1, 1, 1)), c=Block(names, (1, 1, 1)), d=Block(("x",), (1,))
    )
    after = holding(
        a=Block(names, (9, 1, 1)),
        b=Block(names, (9, 2, 1)),
        c=Block(("rx_dropped",), (5,)),
        d=Block(("x",), (2,)),
        e=Block(names, (7, 7, 7)),
    )
    assert list(urgent_moves(before, after)) == ["b"]
