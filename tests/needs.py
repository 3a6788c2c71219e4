"""What a test needs of the machine. Each function skips the test with a precise reason that begins with "needs: "."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import uuid

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
def _no_kind(name: str) -> str:
    options = {"vxlan": "id 1 dstport 4789", "geneve": "id 1 remote 192.0.2.1", "vlan": "id 1"}.get(name, "")
    below = "link base0" if name in ("macvlan", "ipvlan", "vlan") else ""
    base = "ip link add base0 type veth peer name base1 && " if below else ""
    return _in_namespace("sh", "-c", f"{base}ip link add probe0 {below} type {name} {options}")


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
