"""Fails where a test was skipped for want of something that this machine has.

A test that needs more than a plain process says so in its skip: "needs: WHAT". What the machine has is found out by
doing it, here and independently of the tests' own judgement.
"""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree

_TRY_BPF = """
import ctypes, platform, struct, sys
if not __import__("os").path.exists("/sys/kernel/btf/vmlinux"):
    sys.exit(1)
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0))
gpl = ctypes.create_string_buffer(b"GPL")
attributes = struct.pack("<IIQQ", 17, 2, ctypes.addressof(code), ctypes.addressof(gpl)).ljust(152, bytes(1))
buffer = ctypes.create_string_buffer(attributes, 152)
sys.exit(ctypes.CDLL(None).syscall(number, ctypes.c_long(5), buffer, ctypes.c_long(152)) < 0)
"""
"""Loads a raw tracepoint program that does nothing."""


_TRY_FANOTIFY = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
group = libc.fanotify_init(0x200, 0)
mask = ctypes.c_uint64(0x8000)
refused = group < 0 or libc.fanotify_mark(group, ctypes.c_uint(0x101), mask, ctypes.c_int(-100), b"/") < 0
sys.exit(refused and ctypes.get_errno() in (errno.EPERM, errno.EINVAL, errno.ENOSYS))
"""
"""Asks for errors of the root file system (FAN_FS_ERROR); others may be refused for what they are."""


def works(*command: str) -> bool:
    """True where the command can be run and succeeds."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0  # noqa: S603 - own commands
    except (OSError, subprocess.TimeoutExpired):
        return False


def has_link_kind(kind: str) -> bool:
    """True where the kernel makes a link of this kind, tried in a namespace of its own."""
    extra = {
        "vxlan": ["id", "7", "dstport", "4789"],
        "geneve": ["id", "7", "remote", "192.0.2.1"],
        "vlan": ["link", "lo", "id", "7"],
        "macvlan": ["link", "lo"],
    }.get(kind, [])
    return works("unshare", "--net", "ip", "link", "add", "try0", "type", kind, *extra)


ATTEMPTS = (
    ({"nft", "nftables"}, "nftables", "unshare --net nft list ruleset"),
    ({"fuse"}, "fuse", "test -e /dev/fuse"),
    ({"bpf", "BPF"}, "bpf(2)", (sys.executable, "-c", _TRY_BPF)),
    ({"fanotify"}, "FAN_FS_ERROR", (sys.executable, "-c", _TRY_FANOTIFY)),
    ({"br_netfilter"}, "br_netfilter", "test -d /proc/sys/net/bridge"),
    ({"atheris"}, "atheris", (sys.executable, "-c", "import atheris")),
    ({"helm"}, "helm as a library", (sys.executable, "-c", "import helm_python")),
    ({"kustomize"}, "kustomize as a library", "test -e .venv/kustomize/pykustomize"),
    ({"tbf"}, "qdisc tbf", "unshare --net tc qdisc add dev lo root tbf rate 64kbit burst 2000 limit 4000"),
)
"""Words of a reason, what they stand for, and how to find out whether it is there."""


def excuse(reason: str) -> str:
    """What this machine really lacks of what the reason names; empty: nothing, so the test should have run."""
    if os.geteuid() != 0:
        return "not root"
    if not works("unshare", "--net", "true"):
        return "no network namespaces"
    words = reason.replace(",", " ").replace(":", " ").split()
    for names, thing, attempt in ATTEMPTS:
        if names.intersection(words):
            return "" if works(*(attempt.split() if isinstance(attempt, str) else attempt)) else f"no {thing}"
    if "kind" in words:
        kinds = words[words.index("kind") + 1 :]
        return "" if kinds and has_link_kind(kinds[0]) else f"no link kind {' '.join(kinds)}"
    for tool in ("ip", "ethtool", "tc", "unshare", "etcd"):
        if tool in words and not works("sh", "-c", f"command -v {tool}"):
            return f"no {tool}"
    return ""


def main(path: str) -> int:
    """Reads pytest's JUnit report; 1 if a skip has no excuse."""
    status = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):  # noqa: S314 - pytest's own report
        for skipped in case.iter("skipped"):
            reason = skipped.get("message", "")
            if reason.startswith("needs: ") and not excuse(reason):
                name = f"{case.get('classname')}::{case.get('name')}"
                print(f"ci: {name} was skipped here ({reason}) and need not be")  # noqa: T201
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
