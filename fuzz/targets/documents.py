"""JSON documents of a node's folder that agents write, and others may: fsync, path-mtu, pod-links, drops, ..."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from agent.collectors.base import Collector
from agent.collectors.drops import DropsCollector, parse_drop_reasons, parse_drop_sites
from agent.collectors.fsync import FsyncCollector
from agent.collectors.histograms import parse_fsync
from agent.collectors.path_mtu import PathMtuCollector, parse_path_mtu, path_mtu_document
from agent.collectors.pod_links import PodLinksCollector, parse_pod_links
from agent.collectors.retransmits import RetransmitsCollector, parse_retransmits
from agent.reading import Reading
from fuzz import mutators
from fuzz.hosts import collected
from fuzz.target import Target, sometimes

_FSYNC = [
    {
        "process": "etcd", "device": "259:0", "mount": "/var/lib/etcd", "method": "passive", "bounds_us": [1000, 2000],
        "counts": [5, 6, 7], "file_class": "wal", "cgroup_id": 77, "pod_uid": "u", "attached_by": "x",
        "observed_permille": 50,
    },
    {"process": "nodetell", "mount": "/m", "method": "probe", "bounds_us": [64], "counts": [0, 18446744073709551615]},
]  # fmt: skip
_PATH = {
    "peer": "node-2", "via": "overlay", "from": "10.0.0.1", "to": "10.0.0.2", "interface": "flannel.1",
    "interface_mtu": 1450, "path_mtu": 1400, "icmp_seen": False, "rtt_ms": 0.25, "at": "2026-01-02T03:04:05Z",
}  # fmt: skip
_POD = {"pod_uid": "u", "interface": "eth0", "mtu": 1450, "host_interface": "veth1", "addresses": ["10.1.0.1/24"]}
_SITES = [
    {"reason": "PKT_TOO_BIG", "site": "ip_forward", "interface": "eth0", "count": 5, "netns": 4026531840, "ifindex": 2}
]
_RETRANSMITS = [
    {
        "pod_uid": None,
        "peer": "10.0.0.2",
        "large": 5,
        "small": 0,
        "consecutive_timeouts": 2,
        "netns": 1,
        "host_network": True,
    }
]
_DOCUMENTS: dict[str, object] = {
    "fsync.json": _FSYNC,
    "path-mtu.json": [_PATH, {**_PATH, "path_mtu": None}],
    "pod-links.json": [_POD],
    "drop-sites.json": [*_SITES, *_SITES],
    "drop-reasons.json": {"NO_SOCKET": 7, "PKT_TOO_BIG": 1},
    "retransmits.json": _RETRANSMITS,
}
_PARSERS: Mapping[str, Callable[[object], tuple[object, list[str]]]] = {
    "fsync.json": parse_fsync,
    "path-mtu.json": parse_path_mtu,
    "pod-links.json": parse_pod_links,
    "drop-sites.json": parse_drop_sites,
    "drop-reasons.json": parse_drop_reasons,
    "retransmits.json": parse_retransmits,
}


def check(case: bytes) -> None:
    """An odd entry is a problem and the others are good; all that is taken can be told and written down again."""
    files = mutators.files_of(case)
    for name, parse in _PARSERS.items():
        if name in files:
            try:
                document = json.loads(files[name])
            except (ValueError, RecursionError):
                continue
            _, problems = parse(document)
            assert all("\n" not in problem for problem in problems)
    if not sometimes(case, 4):
        return
    running: list[Collector] = [
        FsyncCollector(),
        PathMtuCollector(),
        PodLinksCollector(),
        DropsCollector(),
        RetransmitsCollector(),
    ]
    (reading,) = collected(running, files)
    _written_again(reading)
    try:
        document = json.loads(files.get("path-mtu.json", b"[]"))
    except (ValueError, RecursionError):
        return
    if isinstance(document, list):
        items, _ = parse_path_mtu([_PATH, *document])
        assert any(item.path_mtu.peer == "node-2" for item in items)
        assert len(parse_pod_links([_POD, *document])[0]) >= 1


def _written_again(reading: Reading) -> None:
    probes = {key: item for key, item in reading.items.items() if item.HasField("path_mtu")}
    again, problems = parse_path_mtu(path_mtu_document(Reading(items=dict(probes))))
    assert not problems
    assert {item.key for item in again} == probes.keys()


def _seeds() -> Iterable[bytes]:
    for name, document in _DOCUMENTS.items():
        yield mutators.case_of({name: json.dumps(document).encode()})


TARGET = Target(check, _seeds, mutate=mutators.files)
