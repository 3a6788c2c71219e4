"""Records a host into a node's folder of an evidence bundle, so that a diagnosis of the copy is one of the host.

What to copy is not listed here: all collectors run once on a host that notes what they read. So a new signal is in the
bundle as soon as it has a collector.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nodetell.redact import without_secrets

from agent.collectors.drops import drop_reasons_document, drop_sites_document
from agent.collectors.histograms import fsync_document
from agent.collectors.kernel_log import telling_records
from agent.collectors.path_mtu import path_mtu_document
from agent.collectors.pod_links import pod_links_document
from agent.collectors.registry import collectors
from agent.collectors.retransmits import retransmits_document
from agent.collectors.sweep import sweep
from agent.host import ClockState, Failure, Host, Network, ReadError
from agent.reading import Reading, merged

_ASIDE = ("proc/uptime", "proc/vmstat")
"""Files that the bundle's layout names and that no collector needs of a live host."""


_MEASURED = {
    "fsync": "fsync.json",
    "drops": "drop-sites.json",
    "retransmits": "retransmits.json",
    "pod_links": "pod-links.json",
}
"""Documents of signals, by signal, of which there is nothing on a healthy host."""


class _NotingHost:
    """agent.host.Host that passes everything on and keeps what was read."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.files: dict[str, bytes] = {}
        self.directories: dict[str, Sequence[str]] = {}
        self.documents: dict[str, object] = {}
        self.clock_state: ClockState | None = None
        self.failures: dict[str, ReadError] = {}

    @property
    def name(self) -> str:
        return self._host.name

    @property
    def live(self) -> bool:
        return self._host.live

    @property
    def proc(self) -> str:
        return self._host.proc

    @property
    def network(self) -> Network:
        return self._host.network

    def read(self, path: str, limit: int = 8 << 20) -> bytes:
        try:
            raw = self._host.read(path, limit)
        except ReadError as error:
            self.failures[path] = error
            raise
        self.files[path] = raw
        return raw

    def entries(self, path: str) -> Sequence[str]:
        try:
            names = self._host.entries(path)
        except ReadError as error:
            self.failures[path] = error
            raise
        self.directories[path] = names
        return names

    def link_target(self, path: str) -> str:
        return self._host.link_target(path)

    def descriptor(self, path: str) -> int:
        return self._host.descriptor(path)

    def document(self, name: str) -> object | None:
        try:
            document = self._host.document(name)
        except ReadError as error:
            self.failures[name] = error
            raise
        if document is not None:
            self.documents[name] = document
        return document

    def clock(self) -> ClockState:
        try:
            self.clock_state = self._host.clock()
        except ReadError as error:
            self.failures["clock.json"] = error
            raise
        return self.clock_state


def write_host(host: Host, directory: Path, reading: Reading | None = None) -> list[ReadError]:
    """Write the files of one host into `directory` (".../nodes/NODE"), which is made if need be.

    `reading` is what an agent of that host knows by now, for the latencies it has measured; a copy made without
    one has none. Returns what could not be copied, but for what the host does not have. Raises OSError if the directory
    cannot be written to.
    """
    noting = _NotingHost(host)
    seen = sweep(noting, collectors(), 0.0)  # the time matters only to a host that does not tell when it booted
    for path in _ASIDE:
        _try(noting, path)
    problems = [error for error in noting.failures.values() if error.failure is not Failure.ABSENT]
    documents = dict(noting.documents)
    problems += _network(host, documents)
    if host.live:
        try:
            noting.files["kmsg"] = telling_records(host)
        except ReadError as error:
            problems += [error] if error.failure is not Failure.ABSENT else []
    if noting.clock_state is not None:
        documents["clock.json"] = _clock(noting.clock_state)
    known = merged({"now": seen, "agent": reading}) if reading is not None else seen
    measured = {
        "fsync.json": fsync_document(known),
        "drop-reasons.json": drop_reasons_document(known),
        "drop-sites.json": drop_sites_document(known),
        "retransmits.json": retransmits_document(known),
        "pod-links.json": pod_links_document(known),
        "path-mtu.json": path_mtu_document(known),
    }
    # What was measured and saw nothing is an empty document: none at all would say that it was not measured.
    watched = {_MEASURED[signal] for signal in known.sources if host.live and signal in _MEASURED}
    documents.update({name: document for name, document in measured.items() if document or name in watched})
    machine = seen.items["host"].host.machine if "host" in seen.items else ""
    if machine:
        noting.files["proc/sys/kernel/arch"] = machine.encode() + b"\n"  # the kernel has this file since 6.1 only
    _write(directory, noting, documents)
    return problems


def _try(host: Host, path: str) -> None:
    try:
        host.read(path)
    except ReadError:
        return  # noted by the host


def _network(host: Host, documents: dict[str, object]) -> list[ReadError]:
    from agent.network.ipjson import render  # noqa: PLC0415  # an agent that only reports does not need it

    try:
        inventory = host.network.inventory()
        counters = host.network.counters()
    except ReadError as error:
        return [error]
    documents.update(render(inventory, counters))
    problems = list(inventory.problems)
    if not inventory.has_kinds:
        problems.append(ReadError(Failure.DENIED, inventory.source, "kinds of links and tunnels are not known"))
    return problems


def _clock(state: ClockState) -> dict[str, object]:
    document: dict[str, object] = {"synchronized": state.synchronized}
    if state.offset_us is not None:
        document["offset_seconds"] = state.offset_us / 1e6
    if state.max_error_us is not None:
        document["max_error_us"] = state.max_error_us
    return document


def _write(directory: Path, noted: _NotingHost, documents: dict[str, object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for path, raw in noted.files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_without_passwords(raw) if path.endswith("/mountinfo") else raw)
    for path, names in noted.directories.items():
        (directory / path).mkdir(parents=True, exist_ok=True)  # that there is nothing in it says something too
        for name in names:
            # What was listed and not read is a directory: a disk, a volume without data of its own.
            target = directory / path / name
            if not target.exists():
                target.mkdir(parents=True)
    for name, document in documents.items():
        (directory / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _without_passwords(mountinfo: bytes) -> bytes:
    """Sources and options of mounts may have credentials in them."""
    lines = mountinfo.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join(map(without_secrets, lines)).encode("utf-8", "surrogateescape")


def pack(directory: Path, archive: Path) -> None:
    """Make a .tar.gz of a bundle's directory; the same bytes for the same files. There whole or not at all.

    Members lie under one folder named after the archive. Raises OSError.
    """
    top = archive.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz") or "bundle"
    descriptor, temporary = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with (
                gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                _add(tar, directory, top)
            raw.flush()
            os.fsync(raw.fileno())
        Path(temporary).chmod(0o600)  # it tells much of the host
        Path(temporary).replace(archive)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    if path.is_dir() and not path.is_symlink():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
        for below in sorted(path.iterdir()):
            _add(tar, below, f"{name}/{below.name}")
    elif path.is_file() and not path.is_symlink():
        contents = path.read_bytes()
        member.mode, member.size = 0o644, len(contents)
        tar.addfile(member, io.BytesIO(contents))
