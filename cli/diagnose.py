"""`nodetell diagnose`: an evidence bundle through the very collectors, state and signatures of a live cluster.

Nothing here asks what time it is: the snapshots' times drive everything, so a bundle says the same on every machine.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.collectors.base import Collector
from agent.collectors.registry import collectors
from agent.collectors.sweep import sweep
from agent.delta import DeltaEncoder
from agent.host import Failure, ReadError
from agent.hosts.bundle import Bundle, BundleError, BundleHost, Snapshot, open_bundle
from agent.reading import source_item
from aggregator.cluster.decode import Decoder
from aggregator.cluster.lists import damage, load
from aggregator.cluster.objects import NodeObject
from aggregator.cluster.state import RESOURCES, ClusterState
from aggregator.convert import gap_from_coverage
from aggregator.findings import Record
from aggregator.history.minutes import Minutes
from aggregator.installed import installed
from aggregator.model import Gap
from aggregator.node_items import UpdateError
from aggregator.node_state import NodeState
from aggregator.signatures.thresholds import Thresholds
from aggregator.view import ClusterView
from cli import api_history
from cli.documents import emit_document, wants_document
from cli.exits import UNREADABLE, CliError
from cli.findings_table import COLUMNS
from cli.listing import choice, emit_listing
from cli.render import report_text
from cli.report import Report, diagnosis_json
from cli.terminal import emit, look

_NAMED = 3
"""Odd objects of one list that are named."""
_FILES = {"secrets": "secret-metadata"}
"""Names of files that are not those of their resources."""
_READ = frozenset(_FILES.get(resource, resource) for resource in RESOURCES)
_NODE_FOLDER = re.compile(r"(?:^|/)nodes/([^/]+)/")


def run(arguments: argparse.Namespace) -> int:
    """Diagnose a bundle and print what was found; the exit status is that of the contract. With --serve, show it as a
    page until Ctrl-C instead."""
    if arguments.serve is not None:
        from cli.serve import run as serve  # noqa: PLC0415  # a diagnosis alone loads no server

        return serve(arguments)
    wanted = choice(arguments, COLUMNS)
    report = of_path(arguments.bundle)
    if wants_document(arguments):
        emit_document(diagnosis_json(report), arguments)
    elif wanted.table:
        emit_listing(report.records, wanted, look(sys.stdout, os.environ), "no findings")
    else:
        emit(report_text(report, look(sys.stdout, os.environ), verbose=arguments.verbose))
    return report.status


def of_path(path: str) -> Report:
    """Everything that can be said of the bundle there. Raises CliError where it cannot be read at all."""
    try:
        with open_bundle(Path(path)) as bundle:
            return diagnose(bundle)
    except BundleError as error:
        raise CliError(UNREADABLE, str(error)) from error


def diagnose(
    bundle: Bundle,
    thresholds: Thresholds | None = None,
    make_collectors: Callable[[], Sequence[Collector]] = collectors,
) -> Report:
    """Everything that can be said of a bundle."""
    return judged(bundle, join(bundle, make_collectors), thresholds)


def judged(bundle: Bundle, joined: Joined, thresholds: Thresholds | None = None) -> Report:
    """What the signatures say of its hosts and objects."""
    view = joined.view
    verdict = installed().judge(view, limits_of(joined, thresholds)).verdict
    gaps = joined.gaps + [
        gap_from_coverage(name, each) for name, state in view.hosts.items() for each in state.coverage()
    ]
    gaps += verdict.gaps
    records = [Record(finding, "", 0.0, 0.0) for finding in verdict.findings]
    unique = sorted(set(gaps), key=lambda gap: (gap.node, gap.signal, gap.status, gap.because))
    return Report(bundle.cluster, bundle.snapshots[-1].at, records, unique)


def limits_of(joined: Joined, thresholds: Thresholds | None = None) -> Thresholds:
    """What a bundle is judged by: its windows reach from the last snapshot to the one before it, at least."""
    limits = thresholds or Thresholds()
    return replace(limits, window_s=max(limits.window_s, joined.last_interval_s))


@dataclass(frozen=True, slots=True)
class Joined:
    """A bundle's hosts and objects, as signatures look at them."""

    view: ClusterView
    gaps: list[Gap]
    """What of the bundle could not be read."""
    last_interval_s: float
    """Time between the last two snapshots of a host, or of the API server's metrics, the longest of all; 0 where there
    is only one."""
    minutes: Mapping[str, Minutes] = field(default_factory=dict)
    """What hosts' counters and gauges did from snapshot to snapshot, by node name."""


def join(bundle: Bundle, make_collectors: Callable[[], Sequence[Collector]] = collectors) -> Joined:
    """All hosts taken through all snapshots, with the last snapshot's objects."""
    objects, gaps = _objects(bundle.snapshots)
    listed_at = _listed_at(bundle.snapshots)
    gaps += _older_lists(bundle.snapshots, listed_at)
    gaps += [_problem_gap(problem) for problem in bundle.problems]
    gaps += _damaged_lists(bundle.snapshots)
    names, name_gaps = _node_names((name for snapshot in bundle.snapshots for name in snapshot.hosts), objects.nodes)
    gaps += name_gaps
    history = _History(bundle.snapshots, names, make_collectors)
    gaps += history.gaps
    figures = api_history.metrics(bundle.snapshots)
    gaps += figures.gaps
    view = ClusterView(bundle.cluster, history.states, objects, listed_at, figures.history)
    last_interval_s = max(history.last_interval_s, figures.last_interval_s)
    return Joined(view, gaps, last_interval_s, history.minutes)


# -- hosts ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Recorded:
    """What one host needs over all its snapshots: some collectors keep what they read before."""

    state: NodeState
    minutes: Minutes
    collectors: Sequence[Collector]
    encoder: DeltaEncoder = field(default_factory=DeltaEncoder)
    seen_at: list[float] = field(default_factory=list)


class _History:
    """All hosts of a bundle, taken through its snapshots in their order."""

    def __init__(
        self,
        snapshots: Sequence[Snapshot],
        names: Mapping[str, str],
        make_collectors: Callable[[], Sequence[Collector]],
    ) -> None:
        self.gaps: list[Gap] = []
        span = snapshots[-1].at - snapshots[0].at
        self._hosts: dict[str, _Recorded] = {}
        for snapshot in snapshots:
            for folder, host in sorted(snapshot.hosts.items()):
                name = names[folder]
                if name not in self._hosts:
                    state = NodeState(name, history_s=span + 900.0)
                    self._hosts[name] = _Recorded(state, Minutes(state), make_collectors())
                self._take(self._hosts[name], host, snapshot)
        for name, recorded in self._hosts.items():
            if recorded.seen_at and recorded.seen_at[-1] < snapshots[-1].at:
                because = f"not in the last snapshot ({snapshots[-1].name}): what is said of it is of an earlier one"
                self.gaps.append(Gap(name, "snapshot", "degraded", because))

    @property
    def states(self) -> dict[str, NodeState]:
        """By node name."""
        return {name: recorded.state for name, recorded in sorted(self._hosts.items()) if recorded.seen_at}

    @property
    def minutes(self) -> dict[str, Minutes]:
        """By node name."""
        return {name: recorded.minutes for name, recorded in self._hosts.items()}

    @property
    def last_interval_s(self) -> float:
        """Time between the last two snapshots of a host, of all hosts the longest; 0 where there is only one."""
        times = (recorded.seen_at for recorded in self._hosts.values())
        return max((each[-1] - each[-2] for each in times if len(each) > 1), default=0.0)

    def _take(self, recorded: _Recorded, host: BundleHost, snapshot: Snapshot) -> None:
        reading = sweep(host, recorded.collectors, snapshot.at)
        for signal, source in reading.sources.items():  # as from an agent: what has no source was not read
            reading.add(source_item(signal, source))
        try:
            recorded.minutes.take(recorded.encoder.full(reading, round(snapshot.at * 1000)), snapshot.at)
            if recorded.seen_at:
                recorded.minutes.spread(recorded.seen_at[-1])
        except UpdateError as error:
            because = f"snapshot {snapshot.name} is refused: {error}"
            self.gaps.append(Gap(recorded.state.name, "snapshot", "damaged", because))
        else:
            recorded.seen_at.append(snapshot.at)


# -- cluster objects -----------------------------------------------------------------------------------------------


def _objects(snapshots: Sequence[Snapshot]) -> tuple[ClusterState, list[Gap]]:
    """What the API server has in the last snapshot, and what in its lists is damaged."""
    state, decoder, snapshot = ClusterState(), Decoder(), snapshots[-1]
    api_history.note_leases(snapshots, state, decoder)
    gaps: list[Gap] = []
    for resource in RESOURCES:
        file = _FILES.get(resource, resource)
        if (data := snapshot.kube.get(file)) is not None:
            where = snapshot.kube_from.get(file, snapshot.name)
            if problems := load(state, resource, data, decoder):
                more = f"; {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
                because = f"{where}/kube/{file}.json: {'; '.join(problems[:_NAMED])}{more}"
                gaps.append(Gap("", f"kube/{resource}", "damaged", because))
    return state, gaps


def _listed_at(snapshots: Sequence[Snapshot]) -> float:
    """When the objects were listed that hold for the last snapshot: nothing ages while nobody looks."""
    last, times = snapshots[-1], {snapshot.name: snapshot.at for snapshot in snapshots}
    listed = (times[last.kube_from.get(file, last.name)] for file in last.kube if file in _READ)
    return max(listed, default=last.at)


def _older_lists(snapshots: Sequence[Snapshot], listed_at: float) -> list[Gap]:
    """That the objects are of an earlier snapshot than the last one."""
    last = snapshots[-1]
    if listed_at >= last.at:
        return []
    because = f"not in the last snapshot ({last.name}): objects are as they were {last.at - listed_at:,.0f} s before it"
    return [Gap("", "kube", "degraded", because)]


def _damaged_lists(snapshots: Sequence[Snapshot]) -> list[Gap]:
    """Files of object lists that are no JSON, each once, with line and offset. Those that are diagnosed from name their
    damage themselves."""
    gaps = []
    for snapshot in snapshots:
        for resource, data in snapshot.kube.items():
            own = snapshot.kube_from.get(resource, snapshot.name) == snapshot.name
            read = resource in _READ and snapshots[-1].kube.get(resource) is data
            if own and not read and resource != api_history.METRICS and (reason := damage(data)):
                because = f"{snapshot.name}/kube/{resource}.json: {reason}"
                gaps.append(Gap("", f"kube/{resource}", "damaged", because))
    return gaps


def _node_names(folders: Iterable[str], nodes: Mapping[str, NodeObject]) -> tuple[dict[str, str], list[Gap]]:
    """Name of the node by name of the folder: its own, or that of the node with this Hostname address."""
    by_hostname = {node.addresses["Hostname"]: node.name for node in nodes.values() if "Hostname" in node.addresses}
    all_folders = sorted(set(folders))
    names: dict[str, str] = {}
    gaps = []
    for folder in all_folders:
        name = folder if folder in nodes else by_hostname.get(folder, folder)
        if name != folder and name in all_folders:
            name = folder
            gaps.append(
                Gap(folder, "kube/nodes", "degraded", f"the node of this host name has a folder of its own: {folder}")
            )
        elif nodes and name not in nodes:
            because = "no Node has this name or Hostname address: taken as a host by itself"
            gaps.append(Gap(folder, "kube/nodes", "degraded", because))
        names[folder] = name
    return names, gaps


def _problem_gap(problem: ReadError) -> Gap:
    """What was wrong with the bundle itself; the node is in the path of what was damaged."""
    node = _NODE_FOLDER.search(problem.place)
    status = "missing" if problem.failure in (Failure.ABSENT, Failure.DENIED) else "damaged"
    return Gap(node[1] if node else "", "bundle", status, str(problem), problem.remedy)
