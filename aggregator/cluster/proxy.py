"""Through which proxy the API server is reached: by the variables and rules of kubectl and every other Go program.

Other HTTP clients read them differently (ALL_PROXY; no networks in NO_PROXY), and an aggregator would then ask a proxy
for an address that only the cluster knows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(server: str, env: Mapping[str, str]) -> str | None:
    """URL of the proxy for this server; None: it is reached directly. As golang.org/x/net/http/httpproxy has it."""
    url = urlsplit(server)
    host = (url.hostname or "").rstrip(".")
    names = ("HTTPS_PROXY", "https_proxy") if url.scheme == "https" else ("HTTP_PROXY", "http_proxy")
    proxy = next((value for name in names if (value := env.get(name, ""))), "")
    if not proxy or _is_here(host):
        return None
    port = url.port or (443 if url.scheme == "https" else 80)
    excepted = next((value for name in ("NO_PROXY", "no_proxy") if (value := env.get(name, ""))), "")
    if any(_matches(entry.strip().lower(), host, port) for entry in excepted.split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_here(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _matches(entry: str, host: str, port: int) -> bool:
    """The server is one that an entry of NO_PROXY means: "*", a network, an address or a domain, maybe with a port."""
    if entry in ("", "*"):
        return entry == "*"
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry.strip("[]")) is None:
        name, colon, number = entry.rpartition(":")
        if colon and number.isdigit():
            if int(number) != port:
                return False
            entry = name
    entry = entry.strip("[]")
    if (excepted := _address(entry)) is not None:
        return address == excepted
    if entry.startswith("*."):
        entry = entry[1:]
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith(f".{entry}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
