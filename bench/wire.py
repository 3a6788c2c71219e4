"""Bytes that pass loopback, told apart by port: what each of several processes sends and is sent."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

_TABLE = "nodetell_bench"


def obstacle() -> str:
    """Why this can't be done here; empty: it can."""
    return "" if shutil.which("nft") else "needs nft, to count bytes by port: apt-get install nftables"


def ruleset(ports: Iterable[int]) -> str:
    """Counters for nft(8). A packet over loopback is seen once, on its way out, in whichever direction it goes."""
    counters = "".join(f"  counter port{port} {{ }}\n" for port in ports)
    rules = "".join(
        f'    th {side} {port} counter name "port{port}"\n' for port in ports for side in ("sport", "dport")
    )
    chain = "  chain out {\n    type filter hook output priority 0;\n    oifname != lo return\n"
    return f"table inet {_TABLE} {{\n{counters}{chain}    meta l4proto != {{ tcp, udp }} return\n{rules}  }}\n}}\n"


def count_ports(ports: Iterable[int]) -> None:
    """Count from now on, in this network namespace."""
    subprocess.run(["nft", "-f", "-"], input=ruleset(ports), text=True, check=True)


def counted() -> dict[int, int]:
    """Bytes so far by port, with the headers of IP and TCP or UDP."""
    listing = subprocess.run(["nft", "-j", "list", "counters"], capture_output=True, text=True, check=True)
    return parse(json.loads(listing.stdout))


def parse(listing: dict[str, Any]) -> dict[int, int]:
    """Of `nft -j list counters`."""
    counters = (entry["counter"] for entry in listing["nftables"] if "counter" in entry)
    return {int(one["name"].removeprefix("port")): one["bytes"] for one in counters if one["table"] == _TABLE}
