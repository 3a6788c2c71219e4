"""Evidence bundles: hosts recorded in a directory or a .tar.gz, in the layout that docs/bundle.md describes.

Whatever is missing, unknown or damaged narrows what can be read and never fails the rest. Nothing outside the bundle
is read.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent.host import Failure, ReadError
from agent.hosts.archive import LIMITS, ArchiveError, Limits, extract
from agent.hosts.bundle_host import BundleHost
from agent.hosts.files import printable
from agent.hosts.folder import Folder

__all__ = ["Bundle", "BundleError", "BundleHost", "Snapshot", "open_bundle"]

FORMAT = 1
"""The format of bundle.json that this loader knows."""

KUBE_FILES = frozenset(
    {
        "apiserver.metrics",
        "nodes.json",
        "pods.json",
        "events.json",
        "persistentvolumes.json",
        "persistentvolumeclaims.json",
        "storageclasses.json",
        "volumeattachments.json",
        "csinodes.json",
        "leases.json",
        "poddisruptionbudgets.json",
        "resourcequotas.json",
        "replicasets.json",
        "statefulsets.json",
        "deployments.json",
        "daemonsets.json",
        "jobs.json",
        "services.json",
        "endpointslices.json",
        "serviceaccounts.json",
        "resourceslices.json",
        "resourceclaims.json",
        "secret-metadata.json",
    }
)
"""Files of a kube/ folder that are known."""

_METRICS_BYTES = 256 << 20


class BundleError(Exception):
    """The bundle cannot be read at all: why, one line."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at one moment."""

    name: str
    at: float
    """Seconds since the epoch."""
    hosts: dict[str, BundleHost]
    """By folder name."""
    kube: dict[str, bytes]
    """Contents of the files of kube/ by name without ".json" ("nodes", "apiserver.metrics"). An object list that this
    snapshot lacks is the nearest other's, earlier rather than later; metrics are this snapshot's own or none, as
    counters mean nothing at another time."""
    kube_from: dict[str, str] = field(default_factory=dict)
    """Name of the snapshot that each of them was taken from."""


@dataclass(slots=True)
class Bundle:
    """An open bundle. Close it: an archive has been unpacked to a temporary directory."""

    cluster: str
    snapshots: list[Snapshot]
    """By time."""
    problems: list[ReadError] = field(default_factory=list)
    """What was refused, damaged or announced and missing."""
    _close: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Remove what was unpacked; the hosts cannot be read any more."""
        self._close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_bundle(path: Path, limits: Limits = LIMITS) -> Bundle:
    """Open a directory or .tar.gz. Raises BundleError if it cannot be read at all."""
    try:
        if path.is_dir():
            return _load(path, path.resolve().name, [], lambda: None, limits)
    except OSError as error:
        raise BundleError(f"{printable(str(path))}: {error.strerror or error}") from error
    holder = tempfile.TemporaryDirectory(prefix="nodetell-bundle-")
    try:
        problems = extract(path, Path(holder.name), limits)
        top, name = _top(Path(holder.name), path)
        return _load(top, name, problems, holder.cleanup, limits)
    except ArchiveError as error:
        holder.cleanup()
        raise BundleError(f"{printable(str(path))}: {error}") from error
    except OSError as error:
        holder.cleanup()
        raise BundleError(f"{printable(str(path))}: {error.strerror or error}") from error
    except BaseException:
        holder.cleanup()
        raise


def _top(unpacked: Path, archive: Path) -> tuple[Path, str]:
    """The bundle's folder within what was unpacked, and its name: members may lie under one common folder."""
    inside = list(unpacked.iterdir())
    alone = inside[0] if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink() else None
    if alone is not None and alone.name not in {"nodes", "kube"}:
        return alone, alone.name
    return unpacked, re.sub(r"(\.tar)?\.t?gz$", "", archive.name)


def _load(path: Path, name: str, problems: list[ReadError], close: Callable[[], None], limits: Limits) -> Bundle:
    root = Folder(os.path.realpath(path), path, "", limits.json_bytes)
    manifest = _manifest(root, problems)
    cluster = manifest.get("cluster")
    if cluster is not None and not isinstance(cluster, str):
        problems.append(ReadError(Failure.DAMAGED, "bundle.json", '"cluster" is no string'))
    announced = list(_announced(manifest, root, problems))
    if not announced:
        try:
            announced = [_undated(snapshot, folder, problems) for snapshot, folder in _found(root, name)]
        except ReadError as error:
            raise BundleError(f"{printable(str(path))}: {error.reason}") from error
    if not announced:
        raise BundleError(f"{printable(str(path))}: no bundle: neither a snapshot nor a nodes/ or kube/ folder in it")
    announced.sort(key=lambda entry: entry[1])
    return Bundle(
        cluster if isinstance(cluster, str) and cluster else name, _snapshots(announced, problems), problems, close
    )


def _manifest(root: Folder, problems: list[ReadError]) -> dict[str, object]:
    """bundle.json; empty if there is none or it cannot be understood."""
    try:
        manifest = root.json("bundle.json")
    except ReadError as error:
        if error.failure is not Failure.ABSENT:
            problems.append(error)
        return {}
    if not isinstance(manifest, dict):
        problems.append(ReadError(Failure.DAMAGED, "bundle.json", "no JSON object"))
        return {}
    if manifest.get("format") != FORMAT:
        reason = f"format {manifest.get('format')!r:.40} is not known; read as format {FORMAT}"
        problems.append(ReadError(Failure.DAMAGED, "bundle.json", reason))
    return manifest


_Entry = tuple[str, float, Folder]


def _announced(manifest: dict[str, object], root: Folder, problems: list[ReadError]) -> Iterator[_Entry]:
    """The snapshots that bundle.json names and that are there."""
    entries = manifest.get("snapshots", [])
    if not isinstance(entries, list):
        problems.append(ReadError(Failure.DAMAGED, "bundle.json", '"snapshots" is no list'))
        return
    seen = set()
    for number, entry in enumerate(entries):
        place = f"bundle.json: snapshots[{number}]"
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or name in {".", ".."} or "/" in name or "\0" in name:
            problems.append(ReadError(Failure.DAMAGED, place, '"name" is not the name of a folder'))
            continue
        if name in seen:
            problems.append(ReadError(Failure.DAMAGED, place, f'"{printable(name)}" is named twice'))
            continue
        seen.add(name)
        if not root.has_folder(name):
            problems.append(ReadError(Failure.ABSENT, place, f'"{printable(name)}" is not in the bundle'))
            continue
        at = _timestamp(entry.get("at"))
        if at is None:
            problems.append(ReadError(Failure.DAMAGED, place, '"at" is no RFC 3339 time'))
            yield _undated(name, root.below(name), problems)
        else:
            yield name, at, root.below(name)


def _found(root: Folder, name: str) -> list[tuple[str, Folder]]:
    """Snapshots of a bundle that names none: the folder itself, or else those of its folders that look like one."""
    if root.has_folder("nodes") or root.has_folder("kube"):
        return [(name, root)]
    folders = [(entry, root.below(entry)) for entry in root.entries() if root.has_folder(entry)]
    return [(entry, folder) for entry, folder in folders if folder.has_folder("nodes") or folder.has_folder("kube")]


def _timestamp(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, taken as UTC where it says nothing; None: it is none."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


# Fields that tell when something happened; others (expiry, deletion) may lie in the future.
_PAST = re.compile(
    rb'"(?:at|creationTimestamp|firstTimestamp|lastTimestamp|eventTime|lastObservedTime|acquireTime|renewTime|'
    rb'lastHeartbeatTime|lastTransitionTime|lastUpdateTime|lastProbeTime|startTime|startedAt|finishedAt|time)"'
    rb'\s*:\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))"'
)


NO_TIME = 1.0
"""What stands for the time of a snapshot that has none, seconds since the epoch. Not 0: that is no time on the wire,
and what has none is refused."""


def _undated(name: str, folder: Folder, problems: list[ReadError]) -> _Entry:
    """A snapshot whose time nobody says: the newest one found in it.

    That is the newest of the times in its JSON files and of the nodes' clocks (time of boot + uptime); NO_TIME if
    there is none.
    """
    told = [_timestamp(max(_PAST.findall(raw), default=b"").decode()) or 0.0 for raw in _json_texts(folder)]
    newest = max([*told, *(_node_clock(node) for _, node in _nodes(folder, []))], default=0.0)
    if newest <= 0:
        place = folder.place or name
        problems.append(ReadError(Failure.ABSENT, place, "no time in it: taken as 1970-01-01T00:00:01Z"))
    return name, newest if newest > 0 else NO_TIME, folder


def _json_texts(folder: Folder) -> Iterator[bytes]:
    """Raw texts of the files that hold times, one after another."""
    sources = [(folder, f"kube/{name}") for name in sorted(KUBE_FILES) if name.endswith(".json")]
    sources += [(node, "path-mtu.json") for _, node in _nodes(folder, [])]
    for source, name in sources:
        try:
            yield source.read(name, source.json_bytes)
        except ReadError:
            continue  # whoever needs it says so


def _node_clock(node: Folder) -> float:
    """What the node's clock said when its files were copied, seconds since the epoch; 0: it cannot be told."""
    try:
        boot = re.search(rb"^btime (\d{1,12})$", node.read("proc/stat", 8 << 20), re.MULTILINE)
        uptime = re.match(rb"(\d{1,12}(?:\.\d+)?)\s", node.read("proc/uptime", 1 << 12))
    except ReadError:
        return 0.0
    return int(boot[1]) + float(uptime[1]) if boot and uptime else 0.0


def _snapshots(entries: Iterable[_Entry], problems: list[ReadError]) -> list[Snapshot]:
    """With hosts and kube/ files, its own or the nearest."""
    listed = list(entries)
    kubes = [_kube(folder, problems) for _, _, folder in listed]
    snapshots = []
    for index, (name, at, folder) in enumerate(listed):
        hosts = {node: BundleHost(node, below) for node, below in _nodes(folder, problems)}
        kube, kube_from = dict(kubes[index]), dict.fromkeys(kubes[index], name)
        for other in [*range(index - 1, -1, -1), *range(index + 1, len(listed))]:
            for resource in kubes[other].keys() - kube.keys() - {"apiserver.metrics"}:
                kube[resource] = kubes[other][resource]
                kube_from[resource] = listed[other][0]
        snapshots.append(Snapshot(name, at, hosts, kube, kube_from))
    return snapshots


def _nodes(folder: Folder, problems: list[ReadError]) -> list[tuple[str, Folder]]:
    try:
        names = folder.entries("nodes")
    except ReadError as error:
        if error.failure is not Failure.ABSENT:
            problems.append(error)
        return []
    nodes = folder.below("nodes")
    return [(name, nodes.below(name)) for name in names if not name.startswith(".") and nodes.has_folder(name)]


def _kube(folder: Folder, problems: list[ReadError]) -> dict[str, bytes]:
    texts = {}
    try:
        names = folder.entries("kube")
    except ReadError as error:
        if error.failure is not Failure.ABSENT:
            problems.append(error)
        return {}
    for name in names:
        if name in KUBE_FILES:
            try:
                texts[name.removesuffix(".json")] = folder.read(f"kube/{name}", _METRICS_BYTES)
            except ReadError as error:
                problems.append(error)
    return texts
