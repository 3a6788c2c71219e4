"""Where nobody is asked who they are, only this host's own names are answered to: a page from elsewhere could otherwise
have its name point here, and a browser on this host would let it read everything (DNS rebinding)."""

from __future__ import annotations

import ipaddress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from aggregator.web.problems import ProblemError


@web.middleware
async def own_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses whoever asks for another name."""
    named = request.headers.getall(hdrs.HOST, [])
    if len(named) != 1 or not is_own(named[0]):
        said = f'"{named[0][:100]}"' if named else "no name"
        raise ProblemError(421, f"{said} is asked for, and only this host's own names are answered to: 127.0.0.1")
    return await handler(request)


def is_own(host: str) -> bool:
    """A name or address of the loopback interface, as it stands in a request, with or without a port."""
    name = host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
