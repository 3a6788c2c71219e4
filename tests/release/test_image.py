"""The tree of the image: what is in it, that it is the same each time, and that both roles run from it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from nodetell import alive

from release import locks
from release.archive import ENVIRONMENT, archive, layer, write
from release.rootfs import APPLICATION, COMMAND, INTERPRETER, NOBODY, RootfsError, build, size_of
from tests import needs

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MOST_BYTES = 120_000_000
PROBE = (f"/{INTERPRETER}", "-IS", f"/{APPLICATION}/nodetell/alive_check.py")


def installed(to: Path) -> None:
    """What the image's lock names as it is installed here, and nodetell: as `pip install --target` has it."""
    for pinned in locks.read("image"):
        try:
            distribution = metadata.distribution(pinned.name)
        except metadata.PackageNotFoundError:
            assert pinned.marker, f"{pinned.name} is in the lock and not installed"
            continue
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(distribution.locate_file(file)), to / file)
    caches = shutil.ignore_patterns("__pycache__")
    for package in ("agent", "aggregator", "cli", "proto/nodetell"):
        shutil.copytree(ROOT / package, to / Path(package).name, ignore=caches)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("packages")
    installed(where)
    return where


@pytest.fixture(scope="module")
def tree(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("image") / "root"
    build(root, packages, Path(sys.executable))
    return root


def files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def test_it_is_small(tree: Path) -> None:
    assert 30_000_000 < size_of(tree) < MOST_BYTES


def test_there_is_nothing_to_run_but_the_interpreter_and_the_command(tree: Path) -> None:
    programs = {
        path.relative_to(tree).as_posix()
        for path in files(tree)
        if path.stat().st_mode & 0o111 and not re.search(r"\.so(\.|$)|/ld-", path.as_posix())
    }
    assert {path for path in programs if not path.startswith(("opt/", "usr/local/lib/"))} == {
        "usr/local/bin/nodetell",
        "usr/local/bin/python3",
    }
    names = {path.name for path in tree.rglob("*")}
    assert not names & {
        "sh",
        "bash",
        "dash",
        "busybox",
        "gcc",
        "cc",
        "ld",
        "apt",
        "dpkg",
        "pip",
        "ensurepip",
        "setuptools",
    }


def test_what_is_in_it_is_what_the_lock_names(tree: Path) -> None:
    names = {path.name.removesuffix(".dist-info") for path in (tree / APPLICATION).glob("*.dist-info")}
    there = {(locks.canonical(name), version) for name, _, version in (each.rpartition("-") for each in names)}
    locked = {(pinned.name, pinned.version): bool(pinned.marker) for pinned in locks.read("image")}
    assert there <= set(locked)
    assert {entry for entry, optional in locked.items() if not optional} <= there


def test_every_file_of_the_packages_is_in_it(tree: Path) -> None:
    listed = ["git", "ls-files", "-z", "agent", "aggregator", "cli", "proto/nodetell"]
    listing = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name.removeprefix("proto/") for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    if listing.returncode or not names:
        pytest.skip("not a git checkout: which files are the repository's cannot be told")
    unread = (".pyi", ".pyx", ".pxd", ".c", ".h")
    missing = [each for each in names if not each.endswith(unread) and not (tree / APPLICATION / each).is_file()]
    assert missing == []


def test_nobody_may_write_but_where_state_is(tree: Path) -> None:
    for path in tree.rglob("*"):
        if path.is_symlink():
            continue
        mode = path.stat().st_mode
        assert not mode & (stat.S_ISUID | stat.S_ISGID), path
        assert not mode & stat.S_IWOTH or path == tree / "tmp", path


def test_all_is_compiled(tree: Path) -> None:
    sources = [path for path in files(tree) if path.suffix == ".py" and "lib2to3" not in path.parts]
    assert len(sources) > 500
    missing = [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))]
    assert missing == []


def test_the_same_again(tree: Path, packages: Path, tmp_path: Path) -> None:
    build(tmp_path / "again", packages, Path(sys.executable))
    assert layer(tree) == layer(tmp_path / "again")


def test_the_archive_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "root" / "var/lib/nodetell").mkdir(parents=True)
    (tmp_path / "root" / "file").write_text("content")
    write(archive(tmp_path / "root", "nodetell:test", "amd64"), tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:

        def content(name: str) -> bytes:
            member = tar.extractfile(name)
            assert member is not None
            return member.read()

        (loaded,) = json.loads(content("manifest.json"))
        config = json.loads(content(loaded["Config"]))
        index = json.loads(content("index.json"))
        manifest = json.loads(content(f"blobs/{index['manifests'][0]['digest'].replace(':', '/')}"))
        names = set(tar.getnames())
        packed = content(f"blobs/{manifest['layers'][0]['digest'].replace(':', '/')}")
    assert loaded["RepoTags"] == ["nodetell:test"]
    assert config["config"]["User"] == f"{NOBODY}:{NOBODY}"
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 1
    for each in (manifest["config"], *manifest["layers"]):
        assert f"blobs/{each['digest'].replace(':', '/')}" in names
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        owners = {entry.name: entry.uid for entry in tar}
    assert owners["file"] == 0
    assert owners["var/lib/nodetell"] == NOBODY


def test_the_dockerfile_says_the_same_as_the_archive() -> None:
    environment = next(line for line in DOCKERFILE.splitlines() if line.startswith("ENV "))
    assert tuple(environment.split()[1:]) == ENVIRONMENT
    assert f"USER {NOBODY}:{NOBODY}" in DOCKERFILE
    assert f'ENTRYPOINT ["/{COMMAND}"]' in DOCKERFILE
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert last.split()[:2] == ["FROM", "scratch"]
    assert "RUN" not in last.split()


@pytest.mark.parametrize("copied", sorted(set(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE))))
def test_what_the_dockerfile_copies_is_there_and_not_ignored(copied: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in copied.split():
        assert (ROOT / name).exists()
        assert name in allowed


def test_what_it_is_not_made_of(tmp_path: Path, packages: Path) -> None:
    with pytest.raises(RootfsError, match="nodetell is not installed there"):
        build(tmp_path / "a", tmp_path, Path(shutil.which("python3") or ""))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    with pytest.raises(RootfsError, match="is not empty"):
        build(tmp_path / "b", packages, Path(shutil.which("python3") or ""))
    with pytest.raises(RootfsError, match="does not run"):
        build(tmp_path / "c", packages, tmp_path / "no-python")


MOUNTED = """
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
mount -t proc proc "$0/host/proc"
mount --rbind /proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --rbind /sys "$0/host/sys"
mount -t tmpfs -o uid=65534,gid=65534,mode=0700 tmpfs "$0/var/lib/nodetell"
mount --bind "$RUN_DIRECTORY" "$0/run/nodetell"
mount -o remount,bind,ro "$0"
exec chroot --userspec=65534:65534 "$0" "$@"
"""
"""As a runtime does it: a mount namespace, a root that is read-only, nobody's user."""


class Contained:
    """Processes from the tree."""

    def __init__(self, root: Path, shared: Path) -> None:
        self.root, self.shared = root, shared
        shared.chmod(0o777)
        self.environment = dict(entry.split("=", 1) for entry in ENVIRONMENT)
        self.running: list[subprocess.Popen[bytes]] = []

    def _command(self, *arguments: str) -> list[str]:
        inside = ["unshare", "--mount", "/bin/sh", "-c", MOUNTED, str(self.root)]
        return [*inside, *arguments] if arguments[0].startswith("/") else [*inside, f"/{COMMAND}", *arguments]

    def _environment(self) -> dict[str, str]:
        path = f"{os.environ['PATH']}:{self.environment['PATH']}"
        return {**self.environment, "PATH": path, "RUN_DIRECTORY": str(self.shared)}

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            self.running.append(
                subprocess.Popen(self._command(*arguments), stderr=output, stdout=output, env=self._environment())
            )
        return self.running[-1]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*arguments), check=False, capture_output=True, text=True, env=self._environment(), timeout=30
        )


@pytest.fixture
def contained(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contained]:
    found = Contained(tree, tmp_path_factory.mktemp("run"))
    yield found
    for process in found.running:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in found.running:
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.needs_root
def test_both_roles_run_from_it_as_nobody_on_a_read_only_root(contained: Contained, tmp_path: Path) -> None:
    needs.root_netns()
    address = f"127.0.0.1:{free_port()}"
    logs = tmp_path / "aggregator.log", tmp_path / "agent.log"
    aggregator = contained.start(
        *("aggregator", "--insecure", "--listen", address, "--state-directory", "/var/lib/nodetell"),
        *("--alive-file", "/run/nodetell/aggregator.alive"),
        log=logs[0],
    )
    contained.start(
        *("agent", "--insecure", "--aggregator", address, "--node", "from-the-image"),
        *("--host.proc", "/host/proc", "--host.sys", "/host/sys", "--alive-file", "/run/nodetell/agent.alive"),
        log=logs[1],
    )
    end = time.monotonic() + 45
    while True:
        told = contained.run("nodes", "--aggregator", address, "--insecure", "--format", "json")
        nodes = json.loads(told.stdout)["nodes"] if told.returncode == 0 else []
        if [node["node"] for node in nodes if node["connected"] and node["links"]] == ["from-the-image"]:
            break
        assert time.monotonic() < end, (told, [log.read_text() for log in logs])
        time.sleep(0.3)
    # What their probes run, and what it says of a loop that does not come round any more.
    for role in ("aggregator", "agent"):
        probe = contained.run(*PROBE, f"/run/nodetell/{role}.alive", "60", "ready")
        assert (probe.returncode, probe.stderr) == (0, "")
    aggregator.send_signal(signal.SIGSTOP)
    time.sleep(alive.BEAT_S + 0.5)
    probe = contained.run(*PROBE, "/run/nodetell/aggregator.alive", str(alive.BEAT_S))
    assert (probe.returncode, "s old" in probe.stderr) == (1, True), probe


@pytest.mark.needs_root
def test_each_command_says_its_help_there(contained: Contained) -> None:
    needs.root_netns()
    told = contained.run("--help")
    assert told.returncode == 0, told
    assert "diagnose" in told.stdout
