"""`nodetell collect`: an evidence bundle of this host, and of the cluster's objects where credentials are at hand."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodetell.names import node_name_from, node_name_problem
from nodetell.settings import SettingsError, load

from agent.bundle_writer import pack, write_host
from agent.hosts.live import live_host
from agent.settings import AgentSettings
from aggregator.settings import AggregatorSettings
from cli import exits
from cli.documents import emit_document, wants_document
from cli.report import iso
from cli.role_settings import env_prefix
from cli.terminal import clean, complain, emit

if TYPE_CHECKING:
    from aggregator.cluster.credentials import Credentials

FORMAT = 1
"""Of bundle.json."""
_ARCHIVES = (".tar.gz", ".tgz")


@dataclass(slots=True)
class _Collection:
    """What is collected, where to, and what could not be."""

    node: str
    cluster: str
    roots: AgentSettings
    directory: Path
    kube: Credentials | None
    snapshots: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        """Tell of something that could not be collected, once."""
        if problem not in self.problems:
            self.problems.append(problem)
            complain(f"not collected: {clean(problem)}")


def run(arguments: argparse.Namespace) -> int:
    """Collect and say where it is; what could not be read is told and never fatal."""
    path = Path(arguments.path)
    try:
        with _destination(path) as directory:
            collection = _prepare(arguments, directory)
            _take_snapshots(collection, arguments.snapshots, arguments.interval)
            if path.name.endswith(_ARCHIVES):
                pack(directory, path)
    except OSError as error:
        raise exits.CliError(exits.OUTPUT, f"{error.filename or path}: {error.strerror or error}") from error
    _tell(collection, path, arguments)
    return exits.OK


@contextlib.contextmanager
def _destination(path: Path) -> Iterator[Path]:
    """The directory to write to: PATH itself, or one that is packed into it and removed. Only its owner may read it."""
    if path.name.endswith(_ARCHIVES):
        if path.exists():
            raise exits.CliError(exits.CANNOT_CREATE, f"{path}: exists already")
        if not path.absolute().parent.is_dir():
            raise exits.CliError(exits.CANNOT_CREATE, f"{path}: there is no directory {path.parent}")
        with tempfile.TemporaryDirectory(prefix="nodetell-collect-") as directory:
            yield Path(directory)
        return
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        empty = not any(path.iterdir())
    except OSError as error:
        raise exits.CliError(exits.CANNOT_CREATE, f"{path}: {error.strerror}") from error
    if not empty:
        raise exits.CliError(exits.CANNOT_CREATE, f"{path}: is not empty")
    yield path


def _prepare(arguments: argparse.Namespace, directory: Path) -> _Collection:
    """Names and credentials. The agent's environment counts, so that in an agent's container it sees the same host."""
    try:
        roots = load(AgentSettings, None, os.environ, {}, env_prefix("agent"))
    except SettingsError as error:
        raise exits.CliError(exits.CONFIG, str(error)) from error
    node = arguments.node or roots.node or node_name_from(socket.gethostname())
    if problem := node_name_problem(node):
        raise exits.CliError(exits.USAGE, f"--node: {problem}")
    collection = _Collection(node, arguments.cluster or AggregatorSettings().cluster, roots, directory, None)
    if not arguments.no_kube:
        collection.kube = _credentials(arguments.kubeconfig, collection)
        if collection.kube is not None and not arguments.cluster:
            collection.cluster = collection.kube.cluster
    return collection


def _credentials(kubeconfig: str | None, collection: _Collection) -> Credentials | None:
    from aggregator.cluster import credentials  # noqa: PLC0415  # slow to import, and not needed with --no-kube

    source = credentials.find(kubeconfig, os.environ, Path.home())
    if source is None:
        collection.say("the cluster's objects: no kubeconfig and no service account at hand (--kubeconfig names one)")
        return None
    try:
        return credentials.load(source, os.environ)
    except credentials.KubeError as error:
        collection.say(f"the cluster's objects: {error}")
        return None


def _take_snapshots(collection: _Collection, count: int, interval_s: float) -> None:
    host = live_host(
        collection.node, collection.roots.host.proc, collection.roots.host.sys, collection.roots.host.kubelet
    )
    began = time.monotonic()
    for number in range(count):
        wait = began + number * interval_s - time.monotonic()
        if wait > 0:
            complain(f"next snapshot in {wait:.0f} s")
            time.sleep(wait)
        name = f"t{number}"
        complain(f"snapshot {number + 1} of {count}")
        collection.snapshots.append({"name": name, "at": iso(time.time())})
        folder = collection.directory / name
        for problem in write_host(host, folder / "nodes" / collection.node):
            collection.say(str(problem))
        if collection.kube is not None:
            _take_kube(collection, collection.kube, folder / "kube", last=number == count - 1)
        manifest = {"format": FORMAT, "cluster": collection.cluster, "snapshots": collection.snapshots}
        (collection.directory / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _take_kube(collection: _Collection, credentials: Credentials, folder: Path, *, last: bool) -> None:
    """Counters of the API server in each snapshot, so that they have rates; its objects in the last one."""
    from aggregator.cluster.credentials import KubeError  # noqa: PLC0415  # see above
    from cli import kube  # noqa: PLC0415  # see above

    folder.mkdir()
    try:
        with kube.connect(credentials) as client:
            kube.collect_metrics(client, folder, collection.say)
            if last:
                complain("the cluster's objects")
                kube.collect_objects(client, folder, collection.say)
    except KubeError as error:
        collection.say(f"the cluster's objects: {error}")


def _tell(collection: _Collection, path: Path, arguments: argparse.Namespace) -> None:
    if wants_document(arguments):
        emit_document(
            {
                "path": str(path),
                "cluster": collection.cluster,
                "node": collection.node,
                "snapshots": collection.snapshots,
                "problems": collection.problems,
            },
            arguments,
        )
        return
    what = "interfaces, addresses, routes, counters, disks, mounts and volumes of this host"
    if collection.kube is not None:
        what += "; the cluster's objects, pods with what stands in their environment, of secrets only names and times"
    emit(f"{clean(str(path))}: {len(collection.snapshots)} snapshots of {collection.node}. In it: {what}")
    emit(f"diagnose it with: nodetell diagnose {clean(str(path))}")
