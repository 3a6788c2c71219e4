"""Incident 3, mtu_mismatch: what is too large for its way, by configuration, counters or probes, and look-alikes.

A function of the joined view alone. Rules see one host (or compare hosts) and make observations; the same cause on
several hosts becomes one finding; a finding that another explains carries its id.

What the rules say of a host is kept, with the view's objects, until that host is another, so that an evaluation costs
what has changed: of 5,000 hosts one that changed is looked at, and those of which there is anything to say are joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nodetell.v1 import facts_pb2 as pb

from aggregator.cluster.objects import NodeObject
from aggregator.model import Evidence, Gap, Verdict
from aggregator.node_state import NodeState
from aggregator.signatures.host_memo import HostMemo
from aggregator.signatures.mtu import fragments, paths
from aggregator.signatures.mtu.grouping import findings
from aggregator.signatures.mtu.host import HostView, configure, look
from aggregator.signatures.mtu.observation import Observation, Witness
from aggregator.signatures.mtu.roles import RoleTable
from aggregator.signatures.mtu.settling import MAYBE_MTU, Elsewhere, settle
from aggregator.signatures.mtu.window import HostWindow
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView

_NAME = "mtu_mismatch"


def evaluate(view: ClusterView, thresholds: Thresholds) -> Verdict:
    """Findings and gaps of the MTU incident and its look-alikes for the whole cluster."""
    # Taken out while it is worked on: what raises leaves nothing half done behind.
    kept = view.objects.derived.pop(_NAME, None)
    hosts = kept if isinstance(kept, _Hosts) and kept.thresholds == thresholds else _Hosts(thresholds)
    hosts.follow(view)
    verdict = Verdict(findings(view.cluster, hosts.settled(view)), hosts.gaps())
    view.objects.derived[_NAME] = hosts
    return verdict


def prepare(state: NodeState, node: NodeObject | None) -> None:
    """Work out what follows from a host's items alone, ahead of the evaluation that asks for it."""
    configure(state, node)


def hosts_with_small_paths(view: ClusterView) -> Iterable[str]:
    """Hosts with a probe that got through below full size only, as `evaluate` found; all hosts where it did not."""
    kept = view.objects.derived.get(_NAME)
    return sorted(kept.small) if isinstance(kept, _Hosts) else view.hosts


class _Hosts:
    """What is known of each host, and which of them there is anything to say of."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._memo: HostMemo[HostView] = HostMemo()
        self._views = self._memo.known
        self._roles = RoleTable()
        self._seen: set[str] = set()
        """Hosts with observations of their own."""
        self._limited: set[str] = set()
        """Hosts with gaps."""
        self.small: set[str] = set()
        """Hosts with a probe that got through below full size only."""
        self._cutting: set[str] = set()
        """Hosts that cut their overlay's packets."""

    def follow(self, view: ClusterView) -> None:
        """Look at the hosts that have changed since."""
        for name, state, node in self._memo.changed(view):
            self._look(name, state, node)
        for name in self._memo.gone(view):
            self._roles.put(name, "", ())
            for names in (self._seen, self._limited, self.small, self._cutting):
                names.discard(name)

    def _look(self, name: str, state: NodeState, node: NodeObject | None) -> None:
        before = self._views.get(name)
        made = self._views[name] = look(state, node, self.thresholds)
        if before is None or before.known is not made.known:
            self._roles.put(name, made.known.place[0] if made.known.place else "", made.known.roles)
        for names, holds in (
            (self._seen, made.observations),
            (self._limited, made.gaps),
            (self.small, any(probe.too_small for probe in made.probes)),
            (self._cutting, made.cut is not None),
        ):
            if holds:
                names.add(name)
            else:
                names.discard(name)

    def gaps(self) -> list[Gap]:
        """What could not be compared, host by host."""
        return [gap for name in sorted(self._limited) for gap in self._views[name].gaps]

    def settled(self, view: ClusterView) -> list[Observation]:
        """All observations, node by node, those of one node made to know of each other."""
        by_node = {name: list(self._views[name].observations) for name in self._seen}
        for seen in self._between(view):
            by_node.setdefault(seen.node, []).append(seen)
        ordered = {name: by_node[name] for name in sorted(by_node)}
        elsewhere = Elsewhere.of(ordered)
        return [
            seen
            for name, observations in ordered.items()
            for seen in settle(observations, elsewhere, self._clean(name, observations))
        ]

    def _between(self, view: ClusterView) -> list[Observation]:
        """What only several hosts together show."""
        views = self._views
        cutting = {name: (views[name].window, cut) for name in self._cutting if (cut := views[name].cut) is not None}
        small = [probe for name in sorted(self.small) for probe in views[name].probes if probe.too_small]
        return [
            *fragments.lost_between(cutting, self._arrivals, lambda: view.nodes.keys() <= view.hosts.keys()),
            *self._roles.inconsistent(self._link_mtu),
            *paths.path_rules(small, self._probes_of),
        ]

    def _arrivals(self) -> Mapping[str, tuple[HostWindow, int | None]]:
        return {name: (each.window, fragments.arrived(each.window)) for name, each in sorted(self._views.items())}

    def _link_mtu(self, name: str, link: pb.Link) -> Evidence:
        host = self._views[name].known.network
        return Witness(name, host.state.at).level("link.mtu", link.name, link.mtu, "bytes", host.source("link"))

    def _probes_of(self, name: str) -> Sequence[paths.Probe]:
        return self._views[name].probes if name in self._views else ()

    def _clean(self, name: str, observations: Sequence[Observation]) -> str:
        return paths.clean(list(self._probes_of(name))) if any(s.code in MAYBE_MTU for s in observations) else ""
