"""What the rules see on one host: what follows from its items, worked out once for as long as they stay, and the rest.

A host's windows lie on its own clock, so all of it holds until the host's state, or its Node, is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import is_not

from nodetell.v1 import facts_pb2 as pb

from aggregator import limits
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.pools import pool_of
from aggregator.model import Gap, Stage
from aggregator.node_state import NodeState
from aggregator.signatures.mtu import configuration, connections, fragments, lookalikes, paths, too_big
from aggregator.signatures.mtu.observation import Observation
from aggregator.signatures.mtu.roles import Role, roles_of
from aggregator.signatures.mtu.topology import HostNetwork, TunnelFit
from aggregator.signatures.mtu.window import NIC_ERROR_COUNTERS, HostWindow, devices_below
from aggregator.signatures.thresholds import Thresholds

_NAME = "mtu_mismatch"

Place = tuple[str, tuple[str, ...]]
"""What of a Node the rules use: its pool and its pods' ranges."""


@dataclass(slots=True)
class Configuration:
    """What follows from a host's items and its Node alone."""

    rests_on: tuple[object, ...]
    """Items as the state has them: the same objects for as long as none of them changed."""
    probed: Sequence[pb.Item]
    """Likewise: they change as often as paths are probed."""
    node: NodeObject | None
    """The Node as it was last; only its place counts."""
    place: Place | None
    network: HostNetwork
    fits: list[TunnelFit]
    gaps: list[Gap]
    misfits: list[configuration.Misfit]
    roles: list[Role]
    probes: list[paths.Probe]
    """Of any age."""
    watched: Mapping[str, frozenset[str]]
    """Counters by subject that rules begin with: where none of these has risen, none of them has anything to say."""


@dataclass(slots=True)
class HostView:
    """One host as it is now."""

    known: Configuration
    window: HostWindow
    observations: list[Observation] = field(default_factory=list)
    """What its own facts say."""
    gaps: list[Gap] = field(default_factory=list)
    probes: list[paths.Probe] = field(default_factory=list)
    """Those that are young enough."""
    cut: tuple[int, int, float] | None = None
    """What fragments.fragments_made says."""


def look(state: NodeState, node: NodeObject | None, thresholds: Thresholds) -> HostView:
    """All that the rules say of one host by itself."""
    known = configure(state, node)
    window = HostWindow(known.network, known.fits, thresholds)
    view = HostView(known, window)
    most = limits.NODE.findings
    view.gaps = [*known.gaps[:most], *islice(lookalikes.unwatched(known.network), most)]
    view.probes = paths.young(known.probes, state.at, thresholds)
    moved = any(counter in known.watched.get(subject, ()) for subject, counter in state.faults(thresholds.window_s))
    view.observations = list(islice(_rules(known, window, moved), most))
    if len(view.observations) == most:
        because = f"{most} or more MTUs of this node do not fit: others are left out (the aggregator's limit findings)"
        view.gaps.append(Gap(state.name, "links", "degraded", because))
    view.cut = fragments.fragments_made(window) if moved else None
    return view


def configure(state: NodeState, node: NodeObject | None) -> Configuration:
    """What follows from a host's items and its Node, worked out only where one that counts is another."""
    known = state.derived.get(_NAME)
    rests_on = _rests_on(state)
    if not isinstance(known, Configuration) or any(map(is_not, known.rests_on, rests_on)):
        known = state.derived[_NAME] = _configuration(HostNetwork(state, node), _place(node), rests_on)
    elif known.node is not node:
        known.node = node
        place = _place(node)
        if place != known.place:
            known = state.derived[_NAME] = _moved(known, place)
    if known.probed is not (probed := state.of("path_mtu")):
        known.probed, known.probes = probed, paths.probes(known.network)
    return known


def _rests_on(state: NodeState) -> tuple[object, ...]:
    return state.of("link"), state.of("route"), state.of("pod_link"), state.items.get("host")


def _place(node: NodeObject | None) -> Place | None:
    return (pool_of(node), tuple(node.pod_cidrs)) if node is not None else None


def _configuration(network: HostNetwork, place: Place | None, rests_on: tuple[object, ...]) -> Configuration:
    fits, gaps = configuration.overlays(network)
    misfits = configuration.misfits_on_node(network, fits)
    roles, watched = roles_of(network), _watched(network, fits, misfits)
    return Configuration(rests_on, (), network.node, place, network, fits, gaps, misfits, roles, [], watched)


def _moved(known: Configuration, place: Place | None) -> Configuration:
    """The same items with another Node: most follows from the items alone."""
    network = known.network.of_node(known.node)
    if network.local_pod_supernets != known.network.local_pod_supernets:
        return _configuration(network, place, known.rests_on)
    return replace(known, place=place, network=network, roles=roles_of(network))


_IP = frozenset({"FragFails", "FragCreates", "ReasmFails", "ReasmTimeout"})
_DEVICE = frozenset({"rx_errors", "tx_errors", *NIC_ERROR_COUNTERS})
_TUNNEL = frozenset({"tx_dropped", "tx_errors", "rx_dropped", "rx_errors"})


def _watched(
    network: HostNetwork, fits: list[TunnelFit], misfits: Iterable[configuration.Misfit]
) -> dict[str, frozenset[str]]:
    watched = {"protocol/Ip": _IP, "protocol/Ip6": _IP, "protocol/softnet": frozenset({"dropped"})}
    for links, counters in (
        (devices_below(network, fits), _DEVICE),
        (network.tunnels(), _TUNNEL),
        ((veth for misfit in misfits for veth in misfit.veths), frozenset({"rx_dropped"})),
        ((veth for misfit in misfits for veth in misfit.receivers), frozenset({"tx_dropped"})),
    ):
        for link in links:
            subject = f"link/{link.ifindex}"
            watched[subject] = watched.get(subject, frozenset()) | counters
    return watched


def _rules(known: Configuration, window: HostWindow, moved: bool) -> Iterable[Observation]:
    """`moved`: one of the counters that rules begin with has risen in the window."""
    if window.misfit_tunnels():
        yield from configuration.overlay_exceeds_underlay(known.network, known.fits)
    for misfit, seen in zip(
        known.misfits, configuration.inconsistent_on_node(known.network, known.misfits), strict=True
    ):
        harm = too_big.misfit_harm(window, misfit) if moved else ()
        yield replace(seen, stage=Stage.ACTIVE, evidence=(*seen.evidence, *harm)) if harm else seen
    if moved:
        yield from too_big.drop_fingerprint(window)
        yield from too_big.icmp_blocked(window)
        yield from fragments.fragmenting(window)
        yield from fragments.fragments_unassembled(window)
    yield from connections.timing_out(window)
    if moved:
        yield from lookalikes.nic_errors(window)
        yield from lookalikes.overlay_drops(window)
        yield from lookalikes.queue_drops(window)
    yield from lookalikes.conntrack_full(window)
