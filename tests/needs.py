"""What a test needs of the machine. Each function skips the test with a precise reason that begins with "needs: "."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest


def root_netns() -> None:
    """Root, iproute2, and permission to make network namespaces."""
    reason = _no_netns()
    if reason:
        pytest.skip(f"needs: {reason}")


def kind(name: str) -> None:
    """A kernel that makes links of a kind ("vxlan"); root_netns() as well."""
    root_netns()
    reason = _no_kind(name)
    if reason:
        pytest.skip(f"needs: links of kind {name}: {reason}")


def nft() -> None:
    """nftables, in namespaces; root_netns() as well."""
    root_netns()
    reason = _no_nft()
    if reason:
        pytest.skip(f"needs: nftables: {reason}")


def loop_devices() -> None:
    """Root, and loop devices that can be attached."""
    reason = _no_loop()
    if reason:
        pytest.skip(f"needs: {reason}")


def mounts_of_pid_1() -> None:
    """A test whose mounts are pid 1's, which is where an agent looks."""
    for _ in range(5):  # mounts of others come and go meanwhile
        if Path("/proc/1/mountinfo").read_bytes() == Path("/proc/self/mountinfo").read_bytes():
            return
    pytest.skip("needs: the mount namespace of pid 1, and this is another")


def file_system(fs_type: str) -> None:
    """A kernel that mounts a type of file system, and its mkfs; loop_devices() as well."""
    loop_devices()
    if shutil.which(f"mkfs.{fs_type}") is None:
        pytest.skip(f"needs: mkfs.{fs_type}, which is not installed")
    if f"\t{fs_type}\n" not in Path("/proc/filesystems").read_text():
        pytest.skip(f"needs: a kernel with {fs_type}")


def file_system_errors() -> None:
    """Permission, and a kernel, to be told of errors that file systems meet."""
    reason = _no_file_system_errors()
    if reason:
        pytest.skip(f"needs: fanotify for errors: {reason}")


def uevent_trigger() -> None:
    """Permission to have the kernel say that a block device changed."""
    if os.geteuid() != 0:
        pytest.skip("needs: root, to have uevents sent")
    if not any(os.access(disk / "uevent", os.W_OK) for disk in Path("/sys/block").glob("*")):
        pytest.skip("needs: a block device whose uevent file in sysfs can be written to")


def bridge_filter() -> None:
    """Bridges that hand packets to iptables; root_netns() as well."""
    root_netns()
    if not os.path.isdir("/proc/sys/net/bridge"):
        pytest.skip("needs: br_netfilter: the module is not loaded")


def qdisc(name: str) -> None:
    """tc, and a kernel that has a queueing discipline ("tbf"); root_netns() as well."""
    root_netns()
    reason = _no_qdisc(name)
    if reason:
        pytest.skip(f"needs: qdisc {name}: {reason}")


def bpf() -> None:
    """Root, and a kernel that loads BPF programs on BTF tracepoints."""
    reason = _no_bpf()
    if reason:
        pytest.skip(f"needs: bpf: {reason}")


def fuse() -> None:
    """Root and /dev/fuse, to make a device of any slowness; loop_devices() as well."""
    loop_devices()
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs: fuse: there is no /dev/fuse")


def tool(name: str) -> None:
    """A command."""
    if shutil.which(name) is None:
        pytest.skip(f"needs: {name}: it is not installed")


def _error(*command: str) -> str:
    """Why a command fails, one line; empty: it works."""
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip() or f"{' '.join(command)}: exit status {done.returncode}").splitlines()[0]


@functools.cache
def _no_netns() -> str:
    if os.geteuid() != 0:
        return "root, to make network namespaces"
    return _in_namespace("true")


@functools.cache
def _no_loop() -> str:
    if os.geteuid() != 0:
        return "root, to attach loop devices"
    return _error("losetup", "-f")


@functools.cache
def _no_kind(name: str) -> str:
    options = {"vxlan": "id 1 dstport 4789", "geneve": "id 1 remote 192.0.2.1", "vlan": "id 1"}.get(name, "")
    below = "link base0" if name in ("macvlan", "ipvlan", "vlan") else ""
    base = "ip link add base0 type veth peer name base1 && " if below else ""
    return _in_namespace("sh", "-c", f"{base}ip link add probe0 {below} type {name} {options}")


@functools.cache
def _no_qdisc(name: str) -> str:
    options = {"tbf": "rate 64kbit burst 2000 limit 4000"}.get(name, "")
    return _in_namespace("sh", "-c", f"tc qdisc add dev lo root {name} {options}")


@functools.cache
def _no_nft() -> str:
    return _in_namespace("nft", "add", "table", "inet", "probe")


def _in_namespace(*command: str) -> str:
    namespace = f"nt-needs-{uuid.uuid4().hex[:8]}"
    reason = _error("ip", "netns", "add", namespace)
    if reason:
        return reason
    try:
        return _error("ip", "netns", "exec", namespace, *command)
    finally:
        subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


@functools.cache
def _no_file_system_errors() -> str:
    from agent.events.fs_errors import FsErrors  # tests of other parts need no agent
    from agent.host import Failure, ReadError

    try:
        errors = FsErrors()
    except ReadError as error:
        return error.reason
    try:
        errors.mark("/")
    except ReadError as error:  # there may be something about this one file system that has it refused
        return error.reason if error.failure is Failure.DENIED or "does not know" in error.reason else ""
    finally:
        errors.close()
    return ""


@functools.cache
def _no_bpf() -> str:
    from agent.sensor.drops import tap  # tests of other parts need no sensor
    from agent.sensor.kernel import Kernel

    if os.geteuid() != 0:
        return "root"
    trial = tap(Kernel("/proc", "/sys", "/sys/kernel/tracing"), 16)
    try:
        return "" if trial.start() else "; ".join(trial.refused.values())
    finally:
        trial.close()
