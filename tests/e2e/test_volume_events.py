"""Devices and mounts, for real: both roles as processes, and somebody who attaches, mounts, breaks and takes away.

What is asked of it: each step is in the aggregator's view of the node within a second, because the kernel told of it;
the agent's own accounting shows that it did not poll meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodetell.v1 import facts_pb2 as pb

from cli.access import on_this_host
from cli.client import Operator, operator
from cli.facts import HostFacts
from tests import needs

pytestmark = pytest.mark.needs_root

NODETELL = (sys.executable, "-m", "cli.main")
NODE = "storage-node"
WITHIN_S = 1.0
BATCH_S = 0.5
UID = "74144af8-4695-4c2c-9d81-1aba358643c0"
PV = "pvc-ff4a9b1f-0e3f-48e8-9c45-1cf5592448df"
HASH = "37eba84ace78c3ef4d714588a353d59e3e8bec5f556a1fcfcf23dd565d92ff5b"


def run(*command: str | Path) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Node:
    """The node as the aggregator sees it, and where its kubelet would mount things."""

    operator: Operator
    kubelet: Path
    caused: float = 0.0
    """When the last step was begun, monotonic."""

    def does(self, *command: str | Path) -> None:
        """Take a step on the host."""
        self.caused = time.monotonic()
        run(*command)

    def facts(self) -> HostFacts:
        return HostFacts(self.operator.node(NODE))

    def until(self, what: str, seen: Callable[[HostFacts], object], within_s: float = WITHIN_S) -> HostFacts:
        """The view once it shows what the last step caused; fails if it does not so soon after the step was begun."""
        while True:
            facts = self.facts()
            took = time.monotonic() - self.caused
            if seen(facts):
                print(f"{what}: {took * 1000:.0f} ms")  # noqa: T201  # with -s
                return facts
            assert took < within_s, f"{what}: not seen within {within_s:g} s; there is {tell(facts)}"
            time.sleep(0.005)

    def status(self, collector: str) -> pb.CollectorStatus:
        return next(item.collector for item in self.facts().of("collector") if item.collector.name == collector)


def tell(facts: HostFacts) -> list[str]:
    """What a failed test shows."""
    kinds = ("volume", "attached_device", "attach_event", "kernel_event")
    return [" ".join(str(item).split())[:300] for kind in kinds for item in facts.of(kind)][-12:]


def volume(facts: HostFacts, key: str) -> pb.Volume | None:
    return next((item.volume for item in facts.of("volume") if item.key == key), None)


def device(facts: HostFacts, name: str) -> pb.AttachedDevice | None:
    found = (item.attached_device for item in facts.of("attached_device"))
    return next((each for each in found if each.identity.name == name), None)


def steps(facts: HostFacts, name: str, since: float = 0.0) -> list[str]:
    """The timeline of a device: what happened to it, in order, from a time on (seconds since the epoch)."""
    words = pb.AttachEventKind.DESCRIPTOR.values_by_number
    found = [
        (int(item.key.partition("/")[2]), item.attach_event)
        for item in facts.of("attach_event")
        if item.attach_event.device == name and item.attach_event.at_unix_ms / 1000 >= since - 0.1
    ]
    prefix = "ATTACH_EVENT_KIND_"
    return [words[event.kind].name.removeprefix(prefix).lower() for _, event in sorted(found, key=lambda each: each[0])]


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[None]:
    """A nodetell process, ended gently."""
    started = subprocess.Popen([*NODETELL, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """An aggregator and an agent at work."""
    needs.loop_devices()
    needs.mounts_of_pid_1()
    with at_work(tmp_path_factory.mktemp("kubelet")) as made:
        yield made


@contextlib.contextmanager
def at_work(kubelet: Path, *flags: str) -> Iterator[Node]:
    """An aggregator and an agent with these flags, once the agent's facts have arrived."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = ("--node", NODE, "--insecure", "--aggregator", address, "--host.kubelet", str(kubelet))
    with (
        process("aggregator", "--listen", address, "--insecure", "--cluster", "lab", "--state-directory", ""),
        process("agent", *own, "--stream.batch-interval-s", str(BATCH_S), *flags),
        operator(on_this_host(address), 5) as asked,
    ):
        made = Node(asked, kubelet)
        deadline = time.monotonic() + 20
        while not (_known(made) and made.facts().items):
            assert time.monotonic() < deadline, "the agent's facts did not arrive within 20 s"
            time.sleep(0.1)
        yield made


def _known(node: Node) -> bool:
    import grpc

    try:
        return any(each.node == NODE for each in node.operator.nodes().nodes)
    except grpc.RpcError:
        return False


@contextlib.contextmanager
def loop(image: Path) -> Iterator[Path]:
    """A loop device with a file behind it; detached in the end if it still is not."""
    made = Path(run("losetup", "-f", "--show", image))
    try:
        yield made
    finally:
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            words = line.split()
            if words[words.index("-") + 2] == str(made) or words[3] == f"/{made.name}":
                subprocess.run(["umount", words[4]], capture_output=True, check=False)
        subprocess.run(["losetup", "-d", made], capture_output=True, check=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A disk's contents."""
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(24 << 20)
    return path


def test_each_step_of_a_volumes_life_is_seen_within_a_second_and_nothing_is_polled(  # noqa: PLR0915  # one life
    node: Node, image: Path
) -> None:
    needs.file_system("ext4")
    run("mkfs.ext4", "-q", image)
    staging = node.kubelet / f"plugins/kubernetes.io/csi/d.example.com/{HASH}/globalmount"
    mounted = node.kubelet / f"pods/{UID}/volumes/kubernetes.io~csi/{PV}/mount"
    for directory in (staging, mounted):
        directory.mkdir(parents=True, exist_ok=True)
    staged_key, pod_key = f"volume/global/{HASH}", f"volume/{UID}/{PV}"
    polled = node.status("volumes").runs_by_timer
    began = time.time()

    node.caused = time.monotonic()
    with loop(image) as attached:
        name = attached.name
        facts = node.until("attach", lambda facts: "attached" in steps(facts, name, began))
        found = device(facts, name)
        assert found is not None
        assert (found.use, found.backing_file) == (pb.DEVICE_USE_UNUSED, str(image))
        assert abs(found.unused_since_unix_ms / 1000 - time.time()) < 5

        node.does("mount", attached, staging)
        facts = node.until("mount", lambda facts: (volume(facts, staged_key) or pb.Volume()).mounted)
        in_use = device(facts, name)
        assert in_use is not None
        assert (in_use.use, in_use.unused_since_unix_ms) == (pb.DEVICE_USE_MOUNTED, 0)

        node.does("mount", "--bind", staging, mounted)
        facts = node.until("bind mount", lambda facts: (volume(facts, pod_key) or pb.Volume()).mounted)
        of_pod = volume(facts, pod_key)
        assert of_pod is not None
        assert (of_pod.attached, list(of_pod.devices), of_pod.fs_type) == (True, [name], "ext4")
        assert (of_pod.staging_path, of_pod.disk.name) == (str(staging), name)
        assert (of_pod.fs_read_only, of_pod.errors) == (False, 0)

        node.does("mount", "-o", "remount,bind,ro", mounted)
        node.until("remount of the bind mount", lambda facts: (volume(facts, pod_key) or pb.Volume()).mount_read_only)
        assert not (volume(node.facts(), pod_key) or pb.Volume()).fs_read_only
        node.does("mount", "-o", "remount,ro", staging)
        facts = node.until("remount read-only", lambda facts: (volume(facts, pod_key) or pb.Volume()).fs_read_only)
        assert (volume(facts, pod_key) or pb.Volume()).fs_read_only_word == "ro"

        node.does("umount", mounted)
        node.until("unmount", lambda facts: not (volume(facts, pod_key) or pb.Volume(mounted=True)).mounted)
        node.does("umount", staging)
        node.until("unmount of the staging mount", lambda facts: steps(facts, name, began).count("unmounted") == 2)
        node.does("losetup", "-d", attached)
        facts = node.until("detach", lambda facts: "detached" in steps(facts, name, began))
        assert device(facts, name) is None

    took = time.time() - began
    assert steps(facts, name, began) == [
        "attached", "mounted", "mounted", "remounted", "remounted", "remounted", "unmounted", "unmounted", "detached",
    ]  # fmt: skip
    events = [item.attach_event for item in facts.of("attach_event") if item.attach_event.device == name]
    assert all(event.uncertain_ms == 0 and event.at_unix_ms / 1000 < time.time() for event in events)
    time.sleep(3 * BATCH_S)
    status = node.status("volumes")
    assert status.runs_by_event >= 8
    assert status.runs_by_timer - polled <= took // 60, "it polled"
    assert status.interval_ms == 60_000
    assert not [item for item in node.facts().of("coverage") if item.key == "coverage/volumes/events"]


def test_a_raw_block_volume_is_the_device_that_the_pod_was_given(node: Node, image: Path) -> None:
    given = node.kubelet / f"plugins/kubernetes.io/csi/volumeDevices/publish/pvc-raw/{UID}"
    given.parent.mkdir(parents=True, exist_ok=True)
    given.touch()
    with loop(image) as attached:
        node.does("mount", "--bind", attached, given)
        facts = node.until("raw block volume", lambda facts: volume(facts, f"volume/{UID}/pvc-raw"))
        found = volume(facts, f"volume/{UID}/pvc-raw")
        assert found is not None
        assert (found.raw_block, found.mounted, found.attached, list(found.devices)) == (
            True, False, True, [attached.name],
        )  # fmt: skip
        assert (device(facts, attached.name) or pb.AttachedDevice()).use == pb.DEVICE_USE_RAW_BLOCK


def kernel_events(facts: HostFacts, name: str) -> dict[str, pb.KernelEvent]:
    """By class, those about a device."""
    return {
        item.key.split("/")[1]: item.kernel_event
        for item in facts.of("kernel_event")
        if item.kernel_event.subject == name
    }


def _silent_about_errors() -> bool:
    """Linux 6.12 to 6.14 say nowhere but in the log that an error made an ext4 read-only."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    assert release is not None
    return (6, 12) <= (int(release[1]), int(release[2])) <= (6, 14)


def test_a_file_system_in_error_is_counted_and_seen_read_only(node: Node, image: Path) -> None:
    needs.file_system("ext4")
    if not os.access("/dev/kmsg", os.R_OK):
        pytest.skip("needs: /dev/kmsg")
    run("mkfs.ext4", "-q", image)
    mounted = node.kubelet / f"pods/{UID}/volumes/kubernetes.io~csi/pvc-error/mount"
    mounted.mkdir(parents=True, exist_ok=True)
    key = f"volume/{UID}/pvc-error"
    with loop(image) as attached:
        name = attached.name
        node.does("mount", "-o", "errors=remount-ro", attached, mounted)
        facts = node.until("mount", lambda facts: (volume(facts, key) or pb.Volume()).mounted)
        before = {word: event.count for word, event in kernel_events(facts, name).items()}
        polled = node.status("volumes").runs_by_timer
        began = time.time()
        node.caused = time.monotonic()
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")

        facts = node.until("error count", lambda facts: (volume(facts, key) or pb.Volume()).errors)
        node.until(
            "kernel event",
            lambda facts: all(
                word in (found := kernel_events(facts, name)) and found[word].count > before.get(word, 0)
                for word in ("fs_error", "remount_read_only")
            ),
            WITHIN_S + BATCH_S,  # a device of that name may have had some before: counts go with the batch
        )
        if not _silent_about_errors():
            facts = node.until("read-only", lambda facts: (volume(facts, key) or pb.Volume()).fs_read_only)
            assert (volume(facts, key) or pb.Volume()).fs_read_only_word in {"ro", "emergency_ro"}
            assert steps(facts, name)[-1] == "remounted"
        event = kernel_events(node.facts(), name)["fs_error"]
        assert began - 2 < event.last_unix_ms / 1000 < time.time() + 2
        broken = volume(node.facts(), key) or pb.Volume()
        assert (broken.errors, broken.last_error_func) == (1, "trigger_test_error")
        assert abs(broken.last_error_time - time.time()) < 5
        assert not broken.mount_read_only
        assert node.status("volumes").runs_by_timer - polled <= 1


def test_without_the_kernels_log_errors_are_seen_as_soon(image: Path, tmp_path: Path) -> None:
    needs.file_system("ext4")
    needs.mounts_of_pid_1()
    needs.file_system_errors()
    run("mkfs.ext4", "-q", image)
    kubelet, no_log = tmp_path / "kubelet", tmp_path / "no-log"
    mounted = kubelet / f"pods/{UID}/volumes/kubernetes.io~csi/pvc-error/mount"
    for directory in (mounted, no_log):
        directory.mkdir(parents=True)
    key = f"volume/{UID}/pvc-error"
    with at_work(kubelet, "--host.dev", str(no_log)) as node, loop(image) as attached:
        node.does("mount", "-o", "errors=continue", attached, mounted)
        node.until("mount", lambda facts: (volume(facts, key) or pb.Volume()).mounted)
        assert not list(node.facts().of("kernel_event"))
        for count in (1, 2, 3):
            time.sleep(WITHIN_S)
            node.caused = time.monotonic()
            Path(f"/sys/fs/ext4/{attached.name}/trigger_fs_error").write_text("a test")
            node.until("error", lambda facts, count=count: (volume(facts, key) or pb.Volume()).errors == count)  # type: ignore[misc]
        sources = {item.signal_source.signal: item.signal_source.source for item in node.facts().of("signal_source")}
        assert sources["fs_errors"] == "fanotify, /sys/fs"


def test_an_xfs_that_shut_down_is_told_by_the_kernels_log(node: Node, tmp_path: Path) -> None:
    needs.file_system("xfs")
    image = tmp_path / "xfs.img"
    with image.open("wb") as file:
        file.truncate(400 << 20)
    run("mkfs.xfs", "-q", image)
    mounted = node.kubelet / f"pods/{UID}/volumes/kubernetes.io~csi/pvc-xfs/mount"
    mounted.mkdir(parents=True, exist_ok=True)
    key = f"volume/{UID}/pvc-xfs"
    with loop(image) as attached:
        node.does("mount", attached, mounted)
        facts = node.until("mount", lambda facts: (volume(facts, key) or pb.Volume()).mounted)
        known = kernel_events(facts, attached.name)
        before = known["fs_error"].count if "fs_error" in known else 0
        node.does("xfs_io", "-x", "-c", "shutdown", mounted)
        node.until(
            "kernel event",
            lambda facts: kernel_events(facts, attached.name).get("fs_error", pb.KernelEvent()).count > before,
            WITHIN_S + BATCH_S,
        )
        assert list((volume(node.facts(), key) or pb.Volume()).devices) == [attached.name]
