"""What TCP connections tell of their paths: large segments that time out again and again where small ones pass.

It separates a black hole from loss with no probe at all: measured, a black hole gives five time-outs in a row, all of
large segments; random loss of one packet in ten gives many retransmissions and no time-outs in a row.
"""

from __future__ import annotations

from nodetell.v1 import facts_pb2 as pb

from aggregator.model import RuledOut, Stage
from aggregator.signatures.mtu.observation import Observation
from aggregator.signatures.mtu.paths import PATH_BLACK_HOLE, peer_path
from aggregator.signatures.mtu.window import HostWindow


def timing_out(window: HostWindow) -> list[Observation]:
    """Peers towards which large segments time out in a row while small ones are not sent again."""
    found = []
    for item in window.host.state.of("retransmits"):
        seen = item.retransmits
        if seen.consecutive_timeouts < window.limits.timeouts_in_a_row_min:
            continue
        large, small = (window.moves.since_it_appeared(item.key, name) for name in ("large", "small"))
        if not large or small is None:
            continue
        if small > window.limits.counters_agree_ratio * large:
            continue
        seconds = window.moves.seconds(item.key, "large")
        source = "retransmits.json" if window.host.recorded else "sensor"
        witness = window.witness
        found.append(
            Observation(
                code=PATH_BLACK_HOLE,
                about=("overlay" if window.host.is_pod_address(seen.peer) else "underlay",),
                node=window.host.state.name,
                stage=Stage.ACTIVE,
                statement=f"{_who(seen)} sent {large} large segments to {seen.peer} again in {seconds:g} s, "
                f"{seen.consecutive_timeouts} time-outs in a row, and {small} small ones",
                evidence=(
                    witness.level("tcp.timeouts_in_a_row", seen.peer, seen.consecutive_timeouts, "time-outs", source),
                    witness.rise(f"large segments to {seen.peer}", large, seconds, source, "retransmissions"),
                    witness.rise(f"small segments to {seen.peer}", small, seconds, source, "retransmissions"),
                ),
                remedies=(
                    f"First see that {seen.peer} answers small packets: one that died in mid-transfer looks like this.",
                ),
                paths=(peer_path(window.host.state.name, seen.peer),),
                ruled_out=(RuledOut("net.loss", "random loss retransmits small segments too, and seldom in a row"),),
            )
        )
    return found


def _who(seen: pb.Retransmits) -> str:
    if seen.pod_uid:
        return f"pod {seen.pod_uid}"
    return "the node itself" if seen.host_network else "a pod"
