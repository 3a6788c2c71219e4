"""Bundles: the layout as docs/bundle.md has it, what is missing or odd in it, and reads that must not leave it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host import ClockState, Failure, ReadError
from agent.hosts.archive import Limits
from agent.hosts.bundle import NO_TIME, Bundle, BundleError, open_bundle
from tests.recorded import host_of, write_files

MANIFEST = {
    "format": 1,
    "cluster": "prod-a",
    "snapshots": [{"name": "t0", "at": "2026-11-22T10:00:00Z"}, {"name": "t1", "at": "2026-11-22T10:01:00.5+01:00"}],
}
T0 = 1795341600.0


def bundle_of(directory: Path, files: Mapping[str, object]) -> Bundle:
    write_files(directory, files)
    return open_bundle(directory)


def told(bundle: Bundle) -> list[str]:
    return [str(problem) for problem in bundle.problems]


def test_the_layout(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path,
        {
            "bundle.json": MANIFEST,
            "t0/nodes/node-a/proc/uptime": b"1.0 2.0\n",
            "t0/nodes/node-b/fsync.json": [],
            "t0/kube/nodes.json": {"items": []},
            "t0/kube/whatever.json": b"?",
            "t1/nodes/node-a/": b"",
            "t1/nodes/.hidden/": b"",
            "t1/nodes/a-file": b"",
            "notes.txt": b"",
        },
    )
    assert bundle.cluster == "prod-a"
    assert told(bundle) == []
    # Sorted by time: an offset is taken into account.
    assert [(each.name, each.at) for each in bundle.snapshots] == [("t1", T0 - 3600 + 60.5), ("t0", T0)]
    later = bundle.snapshots[1]
    assert set(later.hosts) == {"node-a", "node-b"}
    assert later.hosts["node-a"].read("proc/uptime") == b"1.0 2.0\n"
    assert set(bundle.snapshots[0].hosts) == {"node-a"}
    assert later.kube == bundle.snapshots[0].kube == {"nodes": b'{"items": []}'}


def test_object_lists_come_from_the_nearest_earlier_snapshot_and_metrics_from_none_other(tmp_path: Path) -> None:
    names = ["t0", "t1", "t2", "t3"]
    manifest = {"format": 1, "snapshots": [{"name": n, "at": f"2026-11-22T10:0{i}:00Z"} for i, n in enumerate(names)]}
    files: dict[str, object] = {f"{name}/nodes/n/": b"" for name in names}
    files |= {"bundle.json": manifest, "t1/kube/pods.json": b"1", "t3/kube/pods.json": b"3"}
    files |= {"t0/kube/apiserver.metrics": b"m0", "t3/kube/leases.json": b"l3"}
    snapshots = bundle_of(tmp_path, files).snapshots
    assert [each.kube["pods"] for each in snapshots] == [b"1", b"1", b"1", b"3"]
    assert [each.kube_from["pods"] for each in snapshots] == ["t1", "t1", "t1", "t3"]
    assert [each.kube["leases"] for each in snapshots] == [b"l3"] * 4
    assert [each.kube.get("apiserver.metrics") for each in snapshots] == [b"m0", None, None, None]


def test_without_a_manifest_the_folder_is_one_snapshot(tmp_path: Path) -> None:
    folder = tmp_path / "my-cluster"
    bundle = bundle_of(
        folder,
        {
            "nodes/n/path-mtu.json": [{"at": "2026-11-22T10:00:00Z"}],
            "kube/pods.json": {"items": [{"metadata": {"creationTimestamp": "2026-11-22T10:00:01Z"}}]},
            "kube/leases.json": {"items": [{"spec": {"renewTime": "2026-11-22T10:00:02.250000Z"}}]},
            "kube/secret-metadata.json": {"expirationTimestamp": "2030-01-01T00:00:00Z"},
        },
    )
    assert bundle.cluster == "my-cluster"
    assert [(each.name, each.at) for each in bundle.snapshots] == [("my-cluster", T0 + 2.25)]
    assert told(bundle) == []


def test_a_node_tells_the_time_of_a_snapshot_that_nobody_dated(tmp_path: Path) -> None:
    files = {"nodes/n/proc/stat": b"cpu 1\nbtime 1795341000\n", "nodes/n/proc/uptime": b"600.50 1.0\n"}
    assert bundle_of(tmp_path, files).snapshots[0].at == T0 + 0.5


def test_a_snapshot_without_any_time_is_at_the_epoch_and_says_so(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "x", {"nodes/n/proc/stat": b""})
    assert bundle.snapshots[0].at == NO_TIME
    assert told(bundle) == ["x: no time in it: taken as 1970-01-01T00:00:01Z"]


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b'{"format": 1,', "bundle.json: no JSON: Expecting property name enclosed in double quotes: line 1 column 14"),
        (b"[" * 100_000, "bundle.json: no JSON: "),
        (b"\xff\xfe\x00", "bundle.json: no JSON: "),
        ([], "bundle.json: no JSON object"),
        ({"format": 1, "snapshots": {}}, 'bundle.json: "snapshots" is no list'),
        ({"format": 1, "snapshots": [{"name": "../t0", "at": "x"}]}, "is not the name of a folder"),
        ({"format": 1, "snapshots": [{"name": "t9", "at": "2026-11-22T10:00:00Z"}]}, '"t9" is not in the bundle'),
        ({"format": 1, "snapshots": [7]}, "is not the name of a folder"),
        ({"format": 1, "cluster": 7}, '"cluster" is no string'),
    ],
)
def test_a_damaged_manifest_costs_only_what_it_said(tmp_path: Path, manifest: object, problem: str) -> None:
    folder = tmp_path / "c"
    bundle = bundle_of(folder, {"bundle.json": manifest, "t0/nodes/n/": b"", "t1/kube/pods.json": b"{}", "else/x": b""})
    assert [each.name for each in bundle.snapshots] == ["t0", "t1"]
    assert bundle.cluster == "c"
    assert problem in told(bundle)[0]
    assert "\n" not in told(bundle)[0]


def test_odd_entries_of_a_manifest_cost_themselves(tmp_path: Path) -> None:
    good = {"name": "t0", "at": "2026-11-22T10:00:00Z"}
    snapshots = [good, {"name": "t1", "at": "yesterday"}, good]
    files = {"bundle.json": {"format": 2, "snapshots": snapshots}, "t0/nodes/n/": b"", "t1/nodes/n/": b""}
    bundle = bundle_of(tmp_path, files)
    assert [each.name for each in bundle.snapshots] == ["t1", "t0"]
    assert told(bundle) == [
        "bundle.json: format 2 is not known; read as format 1",
        'bundle.json: snapshots[1]: "at" is no RFC 3339 time',
        "t1/: no time in it: taken as 1970-01-01T00:00:01Z",
        'bundle.json: snapshots[2]: "t0" is named twice',
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["snapshots", "name", "at", "format"]), inner),
    )
)
def test_no_manifest_raises(tmp_path_factory: pytest.TempPathFactory, manifest: object) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    assert bundle_of(folder, {"bundle.json": manifest, "t0/nodes/n/": b""}).snapshots


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"x"), lambda _: None])
def test_what_is_no_bundle_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "b.tar.gz"
    make(path)
    with pytest.raises(BundleError) as refused:
        open_bundle(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("prefix", ["", "./", "case-17/", "./case-17/"])
def test_archives(tmp_path: Path, prefix: str) -> None:
    write_files(tmp_path / "dir", {"bundle.json": {**MANIFEST, "cluster": None}, "t0/nodes/n/proc/stat": b"btime 7\n"})
    archive = tmp_path / "case.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "dir", arcname=prefix or ".")
    with open_bundle(archive) as bundle:
        host = bundle.snapshots[0].hosts["n"]
        assert host.read("proc/stat") == b"btime 7\n"
        unpacked = Path(host.proc)
        assert unpacked.is_dir()
        assert bundle.cluster == ("case-17" if "case-17" in prefix else "case")
        assert told(bundle) == ['bundle.json: snapshots[1]: "t1" is not in the bundle']
    assert not unpacked.exists()


def test_an_archive_of_one_bare_snapshot(tmp_path: Path) -> None:
    write_files(tmp_path / "nodes", {"n/proc/stat": b"x"})
    archive = tmp_path / "node-a.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "nodes", arcname="nodes")
    with open_bundle(archive) as bundle:
        assert [(each.name, set(each.hosts)) for each in bundle.snapshots] == [("node-a", {"n"})]


def test_a_refused_archive_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    write_files(tmp_path / "dir", {"nodes/n/proc/stat": bytes(5000)})
    archive = tmp_path / "b.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "dir", arcname=".")
    with pytest.raises(BundleError, match="unpacks to more than 4000 bytes: refused"):
        open_bundle(archive, Limits(unpacked_bytes=4000))
    assert list(scratch.iterdir()) == []


def test_reads_never_leave_the_bundle(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "stat").write_bytes(b"secret")
    bundle = tmp_path / "bundle"
    host = host_of(bundle, {"proc/uptime": b"1 1\n", "sys/": b""})
    node = bundle / "nodes" / "n"
    (node / "proc" / "stat").symlink_to(secret / "stat")
    (node / "sys" / "block").symlink_to("../../../../secret")
    (node / "proc" / "again").symlink_to("uptime")
    (bundle / "nodes" / "elsewhere").symlink_to(secret)
    for path in ("proc/stat", "sys/block/stat"):
        with pytest.raises(ReadError, match="a link that leaves the bundle: refused") as refused:
            host.read(path)
        assert refused.value.failure is Failure.DAMAGED
    with pytest.raises(ReadError, match="leaves the bundle"):
        host.entries("sys/block")
    for path in ("../n/proc/uptime", "/etc/passwd", "proc//uptime", "proc/./uptime", "proc/\0"):
        with pytest.raises(ReadError, match="not a path below its root"):
            host.read(path)
    assert host.read("proc/again") == b"1 1\n"
    assert set(open_bundle(bundle).snapshots[0].hosts) == {"n"}


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"proc/stat": b"12345", "sys/class/": b"", "huge.json": b"[1, 2, 3]"})
    os.mkfifo(tmp_path / "nodes" / "n" / "proc" / "pipe")
    with pytest.raises(ReadError, match="nodes/n/proc/absent: not in the bundle") as absent:
        host.read("proc/absent")
    assert absent.value.failure is Failure.ABSENT
    with pytest.raises(ReadError, match="not a regular file"):
        host.read("proc/pipe")
    with pytest.raises(ReadError, match="is a directory"):
        host.read("sys/class")
    with pytest.raises(ReadError, match="more than 4 bytes"):
        host.read("proc/stat", 4)
    assert host.read("proc/stat", 5) == b"12345"
    assert host.entries("proc") == ["pipe", "stat"]
    with pytest.raises(ReadError):
        host.link_target("proc/stat")
    small = open_bundle(tmp_path, Limits(json_bytes=8)).snapshots[0].hosts["n"]
    with pytest.raises(ReadError, match=r"nodes/n/huge.json: more than 8 bytes"):
        small.document("huge.json")


def test_documents(tmp_path: Path) -> None:
    host = host_of(tmp_path, {"fsync.json": [1], "path-mtu.json": b'[{"a": NaN}]', "cut.json": b'[{"a":\n 1}, '})
    assert host.document("fsync.json") == [1]
    assert host.document("other.json") is None
    with pytest.raises(ReadError, match="NaN is no JSON number"):
        host.document("path-mtu.json")
    with pytest.raises(ReadError, match=r"nodes/n/cut.json: no JSON: .*line 2 column \d") as damaged:
        host.document("cut.json")
    assert damaged.value.failure is Failure.DAMAGED


@pytest.mark.parametrize(
    ("document", "state"),
    [
        ({"synchronized": True, "offset_seconds": -0.004}, ClockState(True, -4000, None)),
        ({"synchronized": False}, ClockState(False, None, None)),
        ({"synchronized": True, "offset_seconds": 0, "max_error_us": 5, "new": 1}, ClockState(True, 0, 5)),
    ],
)
def test_clock(tmp_path: Path, document: object, state: ClockState) -> None:
    assert host_of(tmp_path, {"clock.json": document}).clock() == state


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"synchronized": "yes"},
        {"synchronized": True, "offset_seconds": "late"},
        {"synchronized": True, "offset_seconds": 1e300},
        {"synchronized": True, "max_error_us": -1},
    ],
)
def test_odd_clocks_are_damaged(tmp_path: Path, document: object) -> None:
    with pytest.raises(ReadError) as damaged:
        host_of(tmp_path, {"clock.json": document}).clock()
    assert damaged.value.failure is Failure.DAMAGED
    with pytest.raises(ReadError) as absent:
        host_of(tmp_path / "none", {"proc/stat": b""}).clock()
    assert absent.value.failure is Failure.ABSENT


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m"])
def test_a_directory_of_any_name_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BundleError) as refused:
        open_bundle(tmp_path / name)
    assert str(refused.value).isprintable()
    with pytest.raises(BundleError) as missing:
        open_bundle(tmp_path / name / "x")
    assert str(missing.value).isprintable()
